//! Containers that a real dockerd makes, as CI jobs run in them: the isolation that each gives, and
//! the same image on all of them.
//!
//! The daemon is the test's own and is used to make restricted environments alone. Where it cannot
//! start, the test says so, and Debian's tools with a system-call filter stand in for it
//! (`isolations`).

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::home::Home;
use crate::skip::{Missing, needs_root, skip};
use crate::{judge, judge_path, judges, run};

/// What containers are made of, under this name.
const IMAGE: &str = "bookworm:test";

/// A dockerd that shares nothing with the machine's. It makes no networks: containers use the
/// machine's.
pub(crate) struct Docker {
    folder: TempDir,
    daemon: Child,
}

impl Docker {
    /// Starts it. `None` where this machine does not let it start.
    pub(crate) fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let log = std::fs::File::create(at("log")).unwrap();
        // In a mount namespace of its own, and ended with this test: nothing stays mounted or
        // running when that is killed.
        let mut daemon = judge("unshare");
        daemon.args(["--mount", "--propagation", "private", "setpriv", "--pdeathsig", "TERM"]).arg(judge_path("dockerd"));
        daemon.args(["--bridge=none", "--iptables=false", "--host"]).arg(format!("unix://{}", at("socket").display()));
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            daemon.arg(flag).arg(at(name));
        }
        let daemon = daemon.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut docker = Self { folder, daemon };
        let begun = Instant::now();
        while !docker.command().arg("info").output().unwrap().status.success() {
            if docker.daemon.try_wait().unwrap().is_some() || begun.elapsed() > Duration::from_secs(60) {
                let log = std::fs::read_to_string(docker.folder.path().join("log")).unwrap();
                eprintln!("dockerd does not start on this machine:\n{log}");
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(docker)
    }

    /// docker's command for it.
    pub(crate) fn command(&self) -> Command {
        let mut docker = judge("docker");
        docker.arg("--host").arg(format!("unix://{}", self.folder.path().join("socket").display()));
        docker.env("DOCKER_CONFIG", self.folder.path());
        docker
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
    }
}

/// What a step may do to files, so that the layers of overlay and of `chroot` can be held against
/// each other.
const DOCKERFILE: &str = r#"
ARG BASE
FROM $BASE AS build
RUN mkdir -p /out/dist && echo built >/out/dist/app && ln /out/dist/app /out/dist/again && ln -s app /out/dist/link
FROM $BASE
RUN chmod 700 /srv 2>/dev/null || mkdir -m 700 /srv; chown 1:2 /opt && mkfifo /opt/fifo && rm /opt/one
RUN chown -R 0:0 /opt/data && chmod 644 /opt/data/a && mv /opt/data/a /opt/data/z && mv /opt/data/z /opt/data/a
COPY app app
COPY --from=build /out /out
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch --mount=type=bind,source=app,target=/in \
    --mount=type=secret,id=token,mode=0444 cat /run/secrets/token >/token && cp /in/main /opt/copied && touch /cache/x /scratch/y
RUN --mount=type=bind,from=build,source=/out,target=/from --mount=type=cache,from=build,source=/out,target=/seeded \
    ls /from/dist /seeded/dist >/opt/listed
USER aria
WORKDIR /home/aria/src
RUN id >id && umask >umask && echo $HOME >home && test -c /dev/null && test -w /dev/shm && head -c 5 /dev/zero >zeros
USER root
RUN rm -r /out/dist && mkdir /out/dist && echo new >/out/dist/new && chown -R aria:aria /out && chmod 4755 /opt/setuid
RUN sleep 1000 & echo left a process behind
"#;

/// A folder with a project, for every environment to build.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("context/app")).unwrap();
        std::fs::write(at("context/Dockerfile"), DOCKERFILE).unwrap();
        std::fs::write(at("context/app/main"), "print(1)\n").unwrap();
        std::fs::write(at("token"), "hunter2").unwrap();
        // A copy, since not everybody may read umoci's.
        run(judge("cp").arg("-r").arg(judges().join("base")).arg(at("base")));
        run(judge("chmod").args(["-R", "u=rwX,go=rX"]).arg(folder.path()));
        Self { folder }
    }

    /// What `mpimg build` is given where this folder is `folder`.
    fn arguments(folder: &Path) -> Vec<String> {
        let base = format!("BASE=oci:{}/base:base", folder.display());
        let secret = format!("id=token,src={}/token", folder.display());
        let context = folder.join("context").display().to_string();
        ["build", "--build-arg", &base, "--secret", &secret, &context].map(str::to_owned).into()
    }

    /// Its digest on this machine.
    fn digest(&self) -> String {
        let home = Home::new();
        let arguments = Self::arguments(self.folder.path());
        run(home.mpimg().args(arguments).args(["-q", "--isolation", "root"]))
    }
}

/// What came of a container.
struct Outcome {
    /// What `mpimg doctor` said of isolation.
    isolation: Value,
    /// What `mpimg build` printed to standard output and to standard error.
    digest: String,
    messages: String,
}

impl Outcome {
    /// Runs mpimg in a container. With `volume`, its state is not on the container's own file
    /// system.
    fn of(docker: &Docker, project: &Project, flags: &[&str], volume: bool) -> Self {
        let out = tempfile::tempdir().unwrap();
        std::fs::set_permissions(out.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let mounts: [(&Path, &str); 3] = [
            (Path::new(env!("CARGO_BIN_EXE_mpimg")), "/usr/local/bin/mpimg:ro"),
            (project.folder.path(), "/project:ro"),
            (out.path(), "/out"),
        ];
        let mut command = docker.command();
        command.args(["run", "--rm", "--network", "host", "--env", "HOME=/tmp", "--env"]);
        command.arg(if volume { "MPIMG_HOME=/out/store" } else { "MPIMG_HOME=/tmp/store" });
        for (source, target) in mounts {
            command.arg("--volume").arg(format!("{}:{target}", source.display()));
        }
        let arguments = Project::arguments(Path::new("/project"));
        let script = "mpimg doctor --json >/out/doctor; mpimg \"$@\" >/out/digest 2>/out/messages; test ! -e /out/store || chmod -R u+rwX /out/store; rm -rf /out/store";
        run(command.args(flags).arg(IMAGE).args(["sh", "-c", script, "sh"]).args(arguments));
        let read = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
        let mut doctor: Value = serde_json::from_str(&read("doctor")).unwrap();
        Self { isolation: doctor["isolation"].take(), digest: read("digest"), messages: read("messages") }
    }

    fn attempt(&self, isolation: &str) -> (Option<i64>, &str, &str) {
        let attempts = self.isolation["attempts"].as_array().unwrap();
        let attempt = attempts.iter().find(|attempt| attempt["isolation"] == isolation).unwrap();
        let text = |field: &str| attempt[field].as_str().unwrap_or_default();
        (attempt["errno"].as_i64(), text("step"), text("remedy"))
    }
}

const NEW_NAMESPACES: &str = "unshare(CLONE_NEWPID|CLONE_NEWIPC|CLONE_NEWUTS)";
const PRIVILEGED: &str = "run as root on a virtual machine or in a privileged container (`docker run --privileged`)";
const UNCONFINED: &str = "allow user namespaces: seccomp and AppArmor unconfined for this container (`--security-opt seccomp=unconfined \
                          --security-opt apparmor=unconfined`), or use sudo";
const VOLUME: &str = "put the state directory (`MPIMG_HOME`) on a volume, a tmpfs or a local disk";
const EPERM: Option<i64> = Some(1);

#[test]
fn each_kind_of_container_gives_its_isolation_and_all_of_them_the_same_image() {
    needs_root!();
    let Some(docker) = Docker::start() else { skip!(Missing::Dockerd) };
    run(docker.command().arg("import").arg(judges().join("bookworm.tar")).arg(IMAGE));
    let project = Project::new();
    let digest = project.digest();
    let container = |flags: &[&str], volume| Outcome::of(&docker, &project, flags, volume);

    // What GitLab's docker executor gives, and most others.
    let plain = container(&[], false);
    assert_eq!(plain.isolation["selected"], "chroot", "{}", plain.isolation);
    assert_eq!(plain.attempt("root"), (EPERM, NEW_NAMESPACES, PRIVILEGED));
    assert_eq!(plain.attempt("userns"), (EPERM, "unshare(CLONE_NEWUSER)", UNCONFINED));
    let told = plain.messages.matches("RUN uses `chroot`, which is not a security boundary").count();
    assert_eq!((plain.digest, told), (digest.clone(), 1), "{}", plain.messages);

    // Mounts, but neither pivot_root nor a file system that an overlay can write to.
    let mounts = container(&["--cap-add", "SYS_ADMIN"], true);
    assert_eq!(mounts.isolation["selected"], "root", "{}", mounts.isolation);
    assert_eq!(mounts.digest, digest, "{}", mounts.messages);
    let no_volume = container(&["--cap-add", "SYS_ADMIN"], false);
    assert_eq!(no_volume.isolation["selected"], "chroot", "{}", no_volume.isolation);
    assert_eq!(no_volume.attempt("root"), (Some(22), "mount overlay", VOLUME));
    assert_eq!(no_volume.digest, digest, "{}", no_volume.messages);

    // What Kubernetes gives where no profile is set.
    let unconfined = container(&["--security-opt", "seccomp=unconfined"], true);
    assert_eq!(unconfined.isolation["selected"], "userns", "{}", unconfined.isolation);
    assert_eq!(unconfined.digest, digest, "{}", unconfined.messages);

    // The same as an ordinary user, who has no range of ids there and may not use newuidmap.
    let seccomp =
        ["--user", "1000", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined"];
    let one_id = container(&seccomp, true);
    assert_eq!(one_id.isolation["selected"], "single", "{}", one_id.isolation);
    assert_eq!(one_id.digest, digest, "{}", one_id.messages);
    // Its own file system is an overlay, on which no other can be put.
    let no_volume = container(&seccomp, false);
    assert_eq!(no_volume.attempt("single"), (Some(22), "mount overlay", VOLUME));
    assert_eq!(no_volume.isolation["selected"], "emulated", "{}", no_volume.isolation);
    assert_eq!(no_volume.digest, digest, "{}", no_volume.messages);

    // What a restricted pod gives, with the user of OpenShift: no privileges, nothing to mount, a
    // state folder on the container's own files.
    let restricted = container(&["--user", "1000660000:0", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"], false);
    assert_eq!(restricted.isolation["selected"], "emulated", "{}", restricted.isolation);
    assert_eq!(restricted.attempt("single"), (EPERM, "unshare(CLONE_NEWUSER)", UNCONFINED));
    assert_eq!(restricted.attempt("chroot").1, "chroot as uid 1000660000 without CAP_SYS_CHROOT");
    assert_eq!(restricted.digest, digest, "{}", restricted.messages);
}
