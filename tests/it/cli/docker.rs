//! mpimg started by the name `docker`: scripts of the kinds that pipelines have, and a real
//! docker's answers beside its own.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use super::fixture::{Left, write};
use crate::home::Home;
use crate::registry::fixture::{Server, distribution_in};
use crate::sandbox::docker::Docker;
use crate::skip::{Missing, needs_root, skip};
use crate::{judge, judges, run};

const USER: &str = "pipeline";
const PASSWORD: &str = "pass word";

/// A home whose PATH begins with a folder in which `docker` is mpimg.
struct DropIn {
    home: Home,
    programs: PathBuf,
}

impl DropIn {
    fn new() -> Self {
        let home = Home::new();
        let programs = home.path().join("programs");
        std::fs::create_dir(&programs).unwrap();
        for name in ["docker", "executor", "buildah"] {
            symlink(env!("CARGO_BIN_EXE_mpimg"), programs.join(name)).unwrap();
        }
        Self { home, programs }
    }

    /// A command that finds this `docker` first.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mpimg = self.home.mpimg();
        let mut command = Command::new(program.as_ref());
        command.env_clear().envs(mpimg.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.programs.display())).env_remove("MPIMG_LOG");
        command.current_dir(self.home.path()).stdin(std::process::Stdio::null());
        command
    }

    fn docker(&self) -> Command {
        self.command(self.programs.join("docker"))
    }

    fn run(&self, arguments: &[&str]) -> Left {
        Left::of(self.docker().args(arguments).output().unwrap())
    }
}

/// A registry that lets [`USER`] in, on plain HTTP.
fn registry() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("htpasswd");
    std::fs::write(&passwords, judge("htpasswd").args(["-Bbn", "-C", "4", USER, PASSWORD]).output().unwrap().stdout).unwrap();
    let server = distribution_in(folder, &format!("auth: {{htpasswd: {{realm: r, path: {}}}}}", passwords.display()));
    server.wait();
    server
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn scripts_of_pipelines_run_as_they_stand() {
    needs_root!();
    let (registry, drop_in) = (registry(), DropIn::new());
    let host = registry.address.to_string();
    let base = format!("{host}/lib/base:1");
    run(drop_in.docker().args(["login", "-u", USER, "-p", PASSWORD, &host]));
    let mut import = drop_in.home.mpimg();
    run(import.args(["import", "-q", "--compression", "gzip:1"]).arg(judges().join("bookworm.tar")).arg(&base));
    run(drop_in.docker().args(["push", "-q", &base]));
    run(drop_in.docker().args(["logout", &host]));

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/docker");
    let scripts = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<PathBuf> = scripts.filter(|path| path.file_name().is_some_and(|name| name != "prelude.sh")).collect();
    scripts.sort();
    assert_eq!(scripts.len(), 38);
    let (scripts, failed) = (Mutex::new(scripts), Mutex::new(Vec::new()));
    // Two at once, as two jobs on one machine have them.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(script) = scripts.lock().unwrap().pop() else { break };
                    let mut bash = drop_in.command("bash");
                    bash.arg(&script).env("REGISTRY", &host).env("REGISTRY_USER", USER).env("REGISTRY_PASSWORD", PASSWORD);
                    let output = bash.output().unwrap();
                    if !output.status.success() {
                        failed.lock().unwrap().push(format!("{}: {}\n{}", script.display(), output.status, both(&output)));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// What is asked of both: standard output and exit code must be the same, and standard error empty
/// with both or neither.
const SAME: &[&[&str]] = &[
    &["inspect", "-f", "{{.Id}} {{.RepoTags}} {{.Architecture}}/{{.Os}}", "app:1"],
    &["inspect", "-f", "{{json .Config.Labels}} {{.Config.Env}} {{.Config.Cmd}} {{.Config.Entrypoint}}", "app:1"],
    &["inspect", "-f", "{{index .Config.Labels \"a.b\"}}|{{.Config.Labels.none}}|{{index .Config.Labels \"none\"}}", "app:1"],
    &["inspect", "-f", "{{json .RootFS.Layers}} {{len .RootFS.Layers}}", "app:1"],
    &["inspect", "-f", "{{range .Config.Env}}{{println .}}{{end}}", "app:1"],
    &["inspect", "-f", "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}},{{else}}none{{end}}", "app:1"],
    &["inspect", "-f", "{{range $p, $_ := .Config.ExposedPorts}}{{$p}} {{end}}{{.Config.ExposedPorts}}", "app:1"],
    &["inspect", "-f", "{{if .Config.Healthcheck}}yes{{else}}no{{end}} {{.Config.User}}|{{.Config.WorkingDir}}", "app:1"],
    &["inspect", "-f", "{{json .Config.OnBuild}} {{.Config.Volumes}} {{json .Config.Volumes}} {{.Config.StopSignal}}", "app:1"],
    &["inspect", "-f", "{{printf \"%.19s|%-8s|%v\" .Id .Os .Config.Tty}} {{upper .Os}}", "app:1"],
    &["inspect", "-f", "{{with index .RepoTags 0}}{{.}}{{end}} {{slice .Id 7 19}} {{eq .Os \"linux\"}}", "app:1"],
    &["inspect", "-f", ".", "app:1"],
    &["inspect", "-f", "{{.Nope}}", "app:1"],
    &["inspect", "-f", "{{.Config.Nope}}", "app:1"],
    &["inspect", "-f", "{{index .RepoTags 7}}", "app:1"],
    &["inspect", "-f", "{{.Id", "app:1"],
    &["inspect", "-f", "{{nope .Id}}", "app:1"],
    &["inspect", "nosuch:1"],
    &["inspect", "-f", ".", "nosuch:1"],
    &["image", "inspect", "nosuch:1"],
    &["container", "inspect", "nosuch"],
    &["inspect", "-f", "{{.Id}}", "app:1", "nosuch", "app:1"],
    &["images", "-q", "app"],
    &["images", "-q", "nosuch"],
    &["images", "-q", "--no-trunc", "app:1"],
    &["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "app"],
    &["images", "--format", "table {{.Repository}}\\t{{.Tag}}\\t{{.ID}}", "app"],
    &["images", "--format", "{{.Nope}}", "app"],
    &["images", "--format", "{{json .Tag}}", "app"],
    &["images", "-q", "--filter", "reference=ap*:1"],
    &["images", "-q", "--filter", "label=a.b=two"],
    &["images", "-q", "--filter", "label=a.b=three"],
    &["images", "-q", "--filter", "dangling=true"],
    &["images", "-q", "--filter", "nope=1"],
    &["images", "a", "b"],
    &["history", "-q", "--no-trunc", "app:1"],
    &["history", "--format", "{{.CreatedBy}}", "--no-trunc", "app:1"],
    &["history", "nosuch"],
    &["tag", "app:1", "app:2"],
    &["tag", "app:1", "Upper:2"],
    &["tag", "nosuch:1", "x:2"],
    &["images", "--format", "{{.Tag}}", "app"],
    &["rmi", "app:2"],
    &["rmi", "nosuch:1"],
    &["rmi", "-f", "nosuch:1"],
    &["rmi"],
    &["save", "nosuch:1"],
    &["create", "--name", "one", "app:1", "cat", "/f"],
    &[
        "inspect",
        "-f",
        "{{.Name}} {{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.Path}} {{.Args}} {{.Image}}",
        "one",
    ],
    &["inspect", "-f", "{{.Config.Image}} {{.Config.Cmd}} {{.Config.Labels}} {{.HostConfig.AutoRemove}}", "one"],
    &["ps", "-q"],
    &["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.Image}} {{.Command}} {{.Status}} {{.State}}"],
    &["ps", "-a", "--filter", "name=on", "--format", "{{.Names}}"],
    &["ps", "-a", "--filter", "status=exited", "--format", "{{.Names}}"],
    &["ps", "--format", "table {{.Names}}\\t{{.Image}}"],
    &["cp", "one:/f", "copied"],
    &["cp", "one:/nosuch", "copied"],
    &["cp", "one:/f", "nofolder/"],
    &["cp", "none:/f", "copied"],
    &["logs", "one"],
    &["rmi", "app:1"],
    &["start", "one"],
    &["wait", "one"],
    &["logs", "one"],
    &["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one"],
    &["ps", "-a", "--filter", "exited=0", "--format", "{{.Names}}"],
    &["cp", "one:/f", "-"],
    &["rm", "one"],
    &["rm", "one"],
    &["rm", "-f", "one"],
    &["start", "one"],
    &["stop", "one"],
    &["kill", "one"],
    &["wait", "one"],
    &["logs", "one"],
    &["port", "one"],
    &["run", "--rm", "app:1", "cat", "/f"],
    &["run", "--rm", "app:1", "sh", "-c", "exit 7"],
    &["run", "--rm", "app:1", "nosuch"],
    &["run", "--rm", "app:1", "/etc"],
    &["run", "--rm", "-e", "A=1", "-w", "/tmp", "app:1", "sh", "-c", "echo $A $PWD"],
    &["run", "--rm", "-u", "1:2", "--entrypoint", "id", "app:1", "-u"],
    &["run", "--nope", "app:1"],
    &["run", "-it", "app:1", "true"],
    &["run", "--rm", "--network", "nosuch", "app:1", "true"],
    &["run", "--rm", "-v", "a/b:/x", "app:1", "true"],
    &["run", "--rm", "--tmpfs", "/x:foo", "app:1", "true"],
    &["run", "--rm", "--restart", "always", "app:1", "true"],
    &["create", "--name", "two", "app:1", "cat", "/etc/new", "/d/f"],
    &["cp", "context", "two:/d"],
    &["cp", "copied", "two:/etc/new"],
    &["cp", "context", "two:/f"],
    &["cp", "copied", "two:/no/such"],
    &["cp", "copied", "two:/nosuch/"],
    &["cp", "nosuch", "two:/"],
    &["cp", "two:/d/f", "back"],
    &["start", "-a", "two"],
    &["cp", "two:/etc/new", "again"],
    &["rm", "two"],
    &["run", "--rm", "-e", "UNSET_ANYWHERE", "-e", "A", "app:1", "sh", "-c", "echo [$A]"],
    &["run", "-d", "-a", "stdout", "app:1", "true"],
    &["run", "--rm", "-m", "100m", "--memory-swap", "1m", "app:1", "true"],
    &["run", "--rm", "-m", "100m", "--memory-reservation", "200m", "app:1", "true"],
    &["create", "--name", "three", "-v", "/tmp:/t:ro", "-l", "com.team=a,b", "app:1", "true"],
    &[
        "inspect",
        "-f",
        "{{json .HostConfig.Binds}} {{if .State.Health}}h{{else}}none{{end}} {{.HostConfig.Privileged}} {{.HostConfig.LogConfig.Type}}",
        "three",
    ],
    &["inspect", "-f", "{{.State.Health.Status}}", "three"],
    &["inspect", "-f", "{{.HostConfig.NanoCpus}} {{.HostConfig.ReadonlyRootfs}}", "three"],
    &[
        "ps",
        "-a",
        "--filter",
        "label=a.b=two",
        "--format",
        "{{.Labels}} {{.Label \"com.team\"}}|{{.Label \"none\"}}|{{.Label \"x\"}}",
    ],
    &["ps", "-a", "--format", "table {{.Names}}\\t{{.Label \"com.team\"}}"],
    &["commit", "-m", "why", "-a", "me", "three", "committed:1"],
    &["inspect", "-f", "{{.Config.Cmd}} {{.Author}} {{.Comment}} {{json .Config.Labels}}", "committed:1"],
    &["commit", "-c", "FROM x", "three", "committed:2"],
    &["run", "--name", "four", "app:1", "sh", "-c", "echo new > /new; rm /f"],
    &["commit", "-c", "CMD [\"cat\", \"/new\"]", "-c", "ENV C=1", "four", "committed:2"],
    &["inspect", "-f", "{{.Config.Cmd}} {{.Config.Env}}", "committed:2"],
    &["run", "--rm", "committed:2"],
    &["run", "--rm", "committed:2", "ls", "/f"],
    &["commit", "nosuch", "committed:3"],
    &["rm", "three", "four"],
    &["rmi", "committed:1", "committed:2"],
    &["container", "prune"],
    &["image", "prune"],
    &["image", "prune", "-a"],
    &["network", "prune"],
    &["system", "prune"],
    &["system", "prune", "-a", "--volumes"],
    &["container", "prune", "-f", "--filter", "label!"],
    &["context", "create", "default"],
    &["context", "use", "nosuch"],
    &["network", "create", "net1"],
    &["network", "create", "net1"],
    &["network", "create", "-d", "foo", "net2"],
    &["network", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Scope}} {{len .Containers}}", "net1"],
    &["network", "ls", "--filter", "name=net1", "--format", "{{.Name}} {{.Driver}}"],
    &["network", "inspect", "nosuch"],
    &["network", "rm", "net1", "nosuch"],
    &["network", "prune", "-f"],
    &["volume", "create", "vol1"],
    &["volume", "create", "a/b"],
    &["volume", "create", "-d", "foo", "vol2"],
    &["volume", "ls", "-q", "--filter", "name=vol1"],
    &["volume", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Scope}}", "vol1"],
    &["volume", "inspect", "nosuch"],
    &["volume", "rm", "vol1"],
    &["volume", "rm", "vol1"],
    &["volume", "rm", "-f", "vol1"],
    &["ps", "--filter", "status=foo"],
    &["ps", "--filter", "exited=x"],
    &["ps", "-a", "--filter", "label=x"],
    &["container", "prune", "-f", "--filter", "foo=bar"],
    &["image", "prune", "-f", "--filter", "until=x"],
    &["--log-level", "foo", "ps"],
    &["help", "nosuch"],
    &["build", "--nope", "."],
    &["nosuch"],
    &["image", "nosuch"],
    &["rmi", "app:1"],
];

#[test]
fn answers_are_those_of_a_real_docker() {
    needs_root!();
    let Some(engine) = Docker::start() else { skip!(Missing::Dockerd) };
    let drop_in = DropIn::new();
    let context = drop_in.home.path().join("context");
    std::fs::create_dir(&context).unwrap();
    write(&context, "f", "content of f\n");
    let dockerfile = "FROM base\nCOPY f /f\nENV A=b C=\"d e\"\nLABEL a.b=two x=1\nEXPOSE 80/tcp\nCMD [\"cat\", \"/f\"]\n";
    write(&context, "Dockerfile", dockerfile);
    run(drop_in.home.mpimg().args(["import", "-q", "--compression", "gzip:1"]).arg(judges().join("bookworm.tar")).arg("base"));
    run(drop_in.docker().args(["build", "-q", "-t", "app:1"]).arg(&context));
    run(drop_in.docker().args(["rmi", "base"]));
    run(drop_in.docker().args(["save", "-o", "app.tar", "app:1"]));
    run(engine.command().arg("load").arg("-i").arg(drop_in.home.path().join("app.tar")));

    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(other.path().join("context")).unwrap();
    write(&other.path().join("context"), "f", "content of f\n");
    let mut wrong = Vec::new();
    for arguments in SAME {
        let theirs = engine.command().args(*arguments).current_dir(other.path()).output().unwrap();
        let ours = drop_in.docker().args(*arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // A tar has times, an ID and what was deleted with an image are each engine's own.
        let own = matches!(arguments[0], "create" | "commit")
            || arguments.starts_with(&["rmi", "committed:1"])
            || arguments.starts_with(&["network", "create"])
            || arguments.contains(&"-")
            || arguments == &["rmi", "app:1"];
        let same_output = if own { theirs.stdout.is_empty() == ours.stdout.is_empty() } else { theirs.stdout == ours.stdout };
        let same_error = theirs.stderr.is_empty() == ours.stderr.is_empty();
        if !same_output || theirs.status.code() != ours.status.code() || !same_error {
            let shown = |name: &str, output: &Output| {
                format!("  {name}: exit {:?}\n{}---\n{}", output.status.code(), text(&output.stdout), text(&output.stderr))
            };
            wrong.push(format!("docker {}\n{}{}", arguments.join(" "), shown("docker", &theirs), shown("mpimg", &ours)));
        }
    }
    let copied = |folder: &Path| std::fs::read_to_string(folder.join("copied")).unwrap();
    assert_eq!(copied(other.path()), copied(&drop_in.home.path()));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), SAME.len(), wrong.join("\n"));
}

/// Values that a real docker 28 refuses with exit code 125, whatever mpimg makes of their flags.
const WRONG_VALUES: &[[&str; 2]] = &[
    ["--pull", "foo"],
    ["--memory-swap", "x"],
    ["--memory-reservation", "x"],
    ["--cpus", "x"],
    ["--cpus", "-1"],
    ["--cpu-shares", "x"],
    ["--blkio-weight", "x"],
    ["--cpuset-cpus", "x"],
    ["--pids-limit", "x"],
    ["--oom-score-adj", "5000"],
    ["--shm-size", "x"],
    ["--shm-size", "-1"],
    ["--stop-signal", "FOO"],
    ["--stop-timeout", "x"],
    ["--restart", "foo"],
    ["--restart", "on-failure:x"],
    ["--ulimit", "foo"],
    ["--ulimit", "nofile=10:5"],
    ["--cpus", "0.001"],
    ["--cpus", "100000"],
    ["--health-interval", "x"],
    ["--health-interval", "100us"],
    ["--health-timeout", "-1s"],
    ["--health-start-period", "1us"],
    ["--health-retries", "-1"],
    ["--runtime", "foo"],
    ["--log-driver", "foo"],
    ["--label", "=x"],
    ["--label-file", "/nosuch"],
    ["--env", "=x"],
    ["--dns", "x"],
    ["--ipc", "foo"],
    ["--pid", "foo"],
    ["--uts", "foo"],
    ["--userns", "foo"],
    ["--cgroupns", "foo"],
    ["--isolation", "foo"],
    ["--security-opt", "foo"],
    ["--sysctl", "foo"],
    ["--cap-add", "FOO"],
    ["--cap-drop", "FOO"],
    ["--expose", "x"],
    ["--attach", "foo"],
    ["--add-host", "foo"],
    ["--platform", "foo"],
];

#[test]
fn wrong_values_are_refused_as_docker_refuses_them() {
    let drop_in = DropIn::new();
    for [flag, value] in WRONG_VALUES {
        let left = drop_in.run(&["run", flag, value, "app:1", "true"]);
        assert_eq!((left.code, left.out.as_str()), (Some(125), ""), "{flag} {value}");
        assert!(left.err.starts_with(&format!("invalid argument {value:?} for \"")), "{flag} {value}: {}", left.err);
    }
    let refused = drop_in.run(&["builder", "prune", "--keep-storage", "x"]);
    assert_eq!(refused.code, Some(125), "{}", refused.err);
}

#[test]
fn half_an_archive_is_no_success() {
    let drop_in = DropIn::new();
    let context = drop_in.home.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("noise"), crate::registry::fixture::noise(7, 1 << 20)).unwrap();
    write(&context, "Dockerfile", "FROM scratch\nCOPY noise /\n");
    run(drop_in.docker().args(["build", "-q", "-t", "a"]).arg(&context));
    let script = "docker save a | head -c 10 >/dev/null; echo ${PIPESTATUS[0]}";
    let output = drop_in.command("bash").args(["-c", script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{}", both(&output));
}

#[test]
fn help_is_there_for_every_word() {
    let drop_in = DropIn::new();
    for (words, begins) in [
        (&["help"][..], "Usage:  docker [OPTIONS] COMMAND\n"),
        (&["help", "run"], "Usage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]\n"),
        (&["help", "image"], "Usage:  docker image COMMAND\n"),
        (&["help", "image", "ls"], "Usage:  docker image ls "),
        (&["network", "--help"], "Usage:  docker network COMMAND\n"),
        (&["volume", "-h"], "Usage:  docker volume COMMAND\n"),
    ] {
        let left = drop_in.run(words).done();
        assert!(left.out.starts_with(begins), "{words:?}: {}", left.out);
    }
    let buildah = |words: &[&str]| Left::of(drop_in.command("buildah").args(words).output().unwrap()).done().out;
    assert!(buildah(&["help"]).contains("  push "));
    assert!(buildah(&["help", "push"]).contains("buildah push "));
    assert!(buildah(&["manifest", "--help"]).contains("  create "));
}

#[test]
fn messages_stand_on_the_stream_that_docker_uses() {
    let drop_in = DropIn::new();
    for (arguments, code, out, err) in [
        (&["inspect", "nosuch:1"][..], 1, "[]\n", "Error: No such object: nosuch:1\n"),
        (&["rmi", "-f", "nosuch"], 0, "", "Error response from daemon: No such image: nosuch:latest\n"),
        (&["rm", "-f", "nosuch"], 0, "", "Error response from daemon: No such container: nosuch\n"),
        (&["tag", "nosuch:1", "x"], 1, "", "Error response from daemon: No such image: nosuch:1\n"),
        (&["save", "nosuch"], 1, "", "Error response from daemon: reference does not exist\n"),
        (&["images", "-q"], 0, "", ""),
        (&["nosuch"], 1, "", "docker: unknown command: docker nosuch\n\nRun 'docker --help' for more information\n"),
    ] {
        let left = drop_in.run(arguments);
        assert_eq!((left.code, left.out.as_str(), left.err.as_str()), (Some(code), out, err), "{arguments:?}");
    }
    let wrong = drop_in.run(&["build", "--nope", "."]);
    assert_eq!(wrong.code, Some(125));
    assert!(wrong.err.starts_with("unknown flag: --nope\n\nUsage:  docker build [OPTIONS] PATH | URL | -\n"), "{}", wrong.err);
    let push = drop_in.run(&["push", "registry.invalid/a/b:1"]);
    assert_eq!(push.out, "The push refers to repository [registry.invalid/a/b]\n");
    assert_eq!(push.err, "An image does not exist locally with the tag: registry.invalid/a/b\n");
    let refused = drop_in.run(&["swarm", "init"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.starts_with("error: ") && refused.err.contains("\nhint: "), "{}", refused.err);
    let version = drop_in.run(&["--version"]).done();
    assert!(version.out.starts_with("Docker version 28."), "{}", version.out);
}

#[test]
fn what_changes_nothing_is_said_once_and_what_is_missing_has_a_remedy() {
    let drop_in = DropIn::new();
    let context = drop_in.home.path().join("context");
    std::fs::create_dir(&context).unwrap();
    write(&context, "Dockerfile", "FROM scratch\nLABEL a=b\n");
    let left =
        drop_in.run(&["-H", "tcp://nowhere:1", "build", "--rm", "--squash=false", "--force-rm", "-t", "a", "context"]).done();
    let notes: Vec<&str> = left.err.lines().filter(|line| line.starts_with("note: ")).collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].starts_with("note: --host has no effect here: "), "{notes:?}");
    let left = drop_in.run(&["run", "--gpus", "all", "a"]);
    assert_eq!(left.code, Some(125));
    assert!(left.err.contains("`--gpus`") && left.err.contains("hint: "), "{}", left.err);
    // Help names what differs.
    let help = drop_in.run(&["run", "--help"]).done();
    assert!(help.out.starts_with("Usage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]\n"), "{}", help.out);
    assert!(help.out.contains("--gpus") && help.out.contains("(not here: "), "{}", help.out);
    // `-h` is the host name there.
    assert!(drop_in.run(&["run", "-h"]).err.starts_with("flag needs an argument: "));
}
