//! RUN's flags, option by option, as the Dockerfile reference of BuildKit has them: what a command
//! sees with each, on an overlay and where nothing can be mounted.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::home::Home;
use crate::judges;
use crate::skip::{needs_emulated, needs_root, possible};

/// A flag with what the command after it prints, each `>|` a line: with isolation `root`, and where
/// that differs on `chroot` and `emulated`.
struct Case {
    flags: &'static str,
    command: &'static str,
    seen: &'static str,
    chroot: Option<&'static str>,
    emulated: Option<&'static str>,
}

const fn case(flags: &'static str, command: &'static str, seen: &'static str) -> Case {
    Case { flags, command, seen, chroot: None, emulated: None }
}

/// In a chroot nothing can be kept from being written to.
const fn differs(flags: &'static str, command: &'static str, seen: &'static str, chroot: &'static str) -> Case {
    Case { flags, command, seen, chroot: Some(chroot), emulated: None }
}

/// Where nothing can be mounted, nothing can be limited, and the machine has one name.
const fn unlimited(flags: &'static str, command: &'static str, seen: &'static str, elsewhere: &'static str) -> Case {
    Case { flags, command, seen, chroot: Some(elsewhere), emulated: Some(elsewhere) }
}

const CASES: &[Case] = &[
    // type=bind: target, dst, destination; source, src; from; ro, rw.
    case("--mount=target=/in", "cat /in/file; ls -d /in/*", "of the project|/in/file|/in/sub"),
    case("--mount=type=bind,dst=/in,src=file", "cat /in", "of the project"),
    case("--mount=type=bind,destination=in,source=/sub", "pwd; cat /work/in/inner", "/work|inside"),
    case("--mount=type=bind,from=other,source=/there,target=/in", "ls /in; cat /in/x", "x|of the stage"),
    case(
        "--mount=type=bind,from=oci:@BASE@:base,source=/etc/passwd,target=/in",
        "head -n 1 /in",
        "root:x:0:0:root:/root:/bin/sh",
    ),
    differs("--mount=type=bind,source=sub,target=/in", "echo x 2>&- >/in/new && echo written", "", "written"),
    differs("--mount=type=bind,source=sub,target=/in,rw=false", "echo x 2>&- >/in/new && echo written", "", "written"),
    case("--mount=type=bind,source=sub,target=/in,rw", "echo x >/in/new; ls /in", "inner|new"),
    case("--mount=type=bind,source=sub,target=/in,readwrite=true", "ls /in", "inner"),
    // type=cache: id, target, ro, sharing, from, source, mode, uid, gid.
    case("--mount=type=cache,target=/c", "stat -c '%a %u:%g' /c; touch /c/kept", "755 0:0"),
    case("--mount=type=cache,id=/c,target=/d", "ls /d", "kept"),
    case("--mount=type=cache,id=own,target=/c,mode=0710,uid=5,gid=60", "stat -c '%a %u:%g' /c; ls /c", "710 5:60"),
    case("--mount=type=cache,id=from,target=/c,from=other,source=/there", "cat /c/x", "of the stage"),
    differs("--mount=type=cache,target=/c,ro", "ls /c; echo x 2>&- >/c/no && echo written", "kept", "kept|written"),
    case("--mount=type=cache,target=/c,readonly=false,sharing=locked", "ls /c", "kept"),
    // Without a flag: as BuildKit, the image's own /etc/hostname, and hosts and resolv.conf that
    // cannot be changed.
    case("", "wc -c </etc/hostname; echo own >/etc/hostname; cat /etc/hostname", "0|own"),
    unlimited("", "hostname | grep -c buildkitsandbox", "1", "0"),
    case("", "cat /etc/hostname", "own"),
    differs("", "echo x 2>&- >>/etc/hosts && echo written", "", "written"),
    // Parents first, whatever the order in the line.
    case("--mount=target=/in/a/b,source=sub --mount=type=tmpfs,target=/in", "ls /in/a/b; touch /in/x && ls /in", "inner|a|x"),
    // type=tmpfs: target, size.
    case("--mount=type=tmpfs,target=/new", "stat -c %a /new", "1777"),
    case("--mount=type=tmpfs,target=/opt", "stat -c %a /opt", "750"),
    case("--mount=type=tmpfs,target=/t", "ls -A /t; echo x >/t/y; cat /t/y", "x"),
    unlimited("--mount=type=tmpfs,target=/t,size=1m", "head -c 2000000 /dev/zero 2>&- >/t/y && echo all", "", "all"),
    // type=secret: id, source; target; env; required; mode, uid, gid.
    case("--mount=type=secret,id=token", "cat /run/secrets/token; stat -c ' %a %u:%g' /run/secrets/token", "hunter2 400 0:0"),
    case(
        "--mount=type=secret,src=token,dst=/s,mode=0440,uid=5,gid=60",
        "stat -c '%a %u:%g' /s; ls /run/secrets 2>&-",
        "440 5:60",
    ),
    case("--mount=type=secret,target=/etc/token", "cat /etc/token; echo", "hunter2"),
    case("--mount=type=secret,id=token,env=TOKEN", "echo $TOKEN; ls /run/secrets 2>&-", "hunter2"),
    case("--mount=type=secret,id=token,env=TOKEN,target=/s,required", "echo $TOKEN; cat /s; echo", "hunter2|hunter2"),
    case("--mount=type=secret,id=none --mount=type=secret,id=none,env=NONE", "ls /run/secrets 2>&-; echo ${NONE-unset}", "unset"),
    // type=ssh: id, target, required, mode, uid, gid.
    case("--mount=type=ssh", "echo $SSH_AUTH_SOCK; stat -c '%a %u:%g' $SSH_AUTH_SOCK", "/run/buildkit/ssh_agent.0|600 0:0"),
    case(
        "--mount=type=ssh,id=key,target=/a,mode=0660,uid=5,gid=60,required",
        "echo $SSH_AUTH_SOCK; stat -c '%a %u:%g' /a",
        "/a|660 5:60",
    ),
    case("--mount=type=ssh --mount=type=ssh,id=key", "ls /run/buildkit", "ssh_agent.0|ssh_agent.1"),
    case("--mount=type=ssh,id=none", "echo $SSH_AUTH_SOCK; ls /run/buildkit 2>&-", "/run/buildkit/ssh_agent.0"),
    case("--network=default", "echo on", "on"),
    case("--network=host", "echo on", "on"),
    case("--security=sandbox", "echo on", "on"),
    case("--device=vendor.com/gpu=all", "echo on", "on"),
    // fsync of a device fails (EINVAL), unless it is answered before it gets there.
    case("", "dd if=/dev/zero of=/dev/null count=1 conv=fsync 2>&- && echo at once", "at once"),
    case("--mount=type=cache,target=/c,ro", "dd if=/dev/zero of=/dev/null count=1 conv=fsync 2>&- && echo at once", "at once"),
    case("--mount=type=cache,target=/c", "dd if=/dev/zero of=/dev/null count=1 conv=fsync 2>&- && echo at once", ""),
    // Nothing of all this is in the image.
    case("", "ls -d /in /c /d /t /s /a /work/in /run/secrets /run/buildkit 2>&-", ""),
];

fn build(home: &Home, isolation: &str, steps: &str) -> Output {
    let context = home.path().join("context");
    fs::create_dir_all(context.join("sub")).unwrap();
    fs::write(context.join("file"), "of the project\n").unwrap();
    fs::write(context.join("sub/inner"), "inside\n").unwrap();
    fs::write(context.join(".dockerignore"), "Dockerfile\n.dockerignore\n").unwrap();
    let base = judges().join("base").display().to_string();
    let text = format!(
        "FROM oci:@BASE@:base AS other\nRUN mkdir /there && echo of the stage >/there/x\nFROM oci:@BASE@:base\nWORKDIR /work\nRUN chmod 750 /opt\n{steps}"
    );
    fs::write(context.join("Dockerfile"), text.replace("@BASE@", &base)).unwrap();
    let sockets = ["default", "key"].map(|id| (id, home.path().join(id)));
    let _listening = sockets.each_ref().map(|(_, path)| UnixListener::bind(path).unwrap());
    let secret: PathBuf = home.path().join("secret");
    fs::write(&secret, "hunter2").unwrap();
    let mut command: Command = home.mpimg();
    command.args(["build", "--no-cache", "--progress", "plain", "--isolation", isolation]);
    command.args(["--secret", &format!("id=token,src={}", secret.display())]);
    for (id, socket) in &sockets {
        command.args(["--ssh", &format!("{id}={}", socket.display())]);
    }
    command.arg(&context).output().unwrap()
}

#[test]
fn a_command_sees_what_each_option_says() {
    needs_root!();
    let mut steps = String::new();
    for (number, case) in CASES.iter().enumerate() {
        let (flags, command) = (case.flags, case.command);
        steps += &format!("RUN {flags} ({command}) | while read -r line; do echo \"{number}>|$line\"; done\n");
    }
    for isolation in possible(["root", "chroot", "emulated"]) {
        let output = build(&Home::new(), isolation, &steps);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{isolation}: {text}");
        for (number, case) in CASES.iter().enumerate() {
            let mark = format!("] {number}>|");
            let seen: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(&mark)?.1)).collect();
            let differs = match isolation {
                "chroot" => case.chroot,
                "emulated" => case.emulated,
                _ => None,
            };
            let expected = differs.unwrap_or(case.seen);
            let expected: Vec<&str> = expected.split('|').filter(|line| !line.is_empty()).collect();
            assert_eq!(seen, expected, "{isolation}: RUN {} {}", case.flags, case.command);
        }
    }
}

/// Each way to change a mount that is read-only, or a mount itself, and what comes of it.
const CHANGES: [&str; 31] = [
    "echo x >/in/new",
    "echo x >>/in/inner",
    "echo x >/in/inner",
    "true <>/in/inner",
    "mkdir /in/folder",
    "mkdir /in/inner",
    "mkfifo /in/fifo",
    "ln -s x /in/link",
    "ln /in/inner /in/again",
    "ln /in/inner /opt/again",
    "ln /opt/one /in/again",
    "rm /in/inner",
    "rm /in/missing",
    "mv /in/inner /in/other",
    "chmod 600 /in/inner",
    "chown 1 /in/inner",
    "touch /in/inner",
    "test -w /in/inner",
    "test -r /in/inner",
    "truncate -s 0 /in/inner",
    "cd /in && echo x >inner",
    "rmdir /in",
    "mv /in /else",
    "echo x >>/etc/hosts",
    "chmod 600 /etc/hosts",
    "rm /etc/hosts",
    "ln /etc/hosts /opt/hosts",
    "rm /run/secrets/token",
    "echo x >/c/x",
    "ln /opt/one /dev/shm/one",
    "cat /in/inner",
];

#[test]
fn a_read_only_mount_stays_as_it_is_and_says_so_without_mounts_too() {
    needs_root!();
    needs_emulated!();
    let flags = "--mount=type=bind,source=sub,target=/in --mount=type=cache,target=/c,ro --mount=type=secret,id=token";
    let commands = CHANGES.map(|command| format!("sh -c '{command}' 2>&1; echo \"$? of {command}\";")).concat();
    let steps = format!("RUN {flags} ({commands}) | while read -r line; do echo \">|$line\"; done\n");
    let seen = ["root", "emulated"].map(|isolation| {
        let text = String::from_utf8(build(&Home::new(), isolation, &steps).stderr).unwrap();
        text.lines().filter_map(|line| Some(line.split_once("] >|")?.1.to_owned())).collect::<Vec<_>>()
    });
    assert!(seen[0].len() > CHANGES.len() && seen[0].iter().any(|line| line.contains("Read-only file system")), "{seen:?}");
    assert_eq!(seen[1], seen[0]);
}

/// Flags that cannot be had, and what is said of them: on both isolations, or only where nothing
/// can be mounted.
const ERRORS: &[(&str, &str, &str, &str)] = &[
    ("root", "--mount=type=bind,source=missing,target=/in", "`/missing` is not in the build context", ""),
    ("root", "--mount=type=bind,from=other,source=/missing,target=/in", "`/missing` is not in `other`", ""),
    (
        "root",
        "--mount=type=secret,id=none,required",
        "secret `none` is required",
        "hint: give it with `--secret id=none,src=FILE`",
    ),
    ("root", "--mount=type=ssh,id=none,required", "the SSH agent `none` is required", "hint: give it with `--ssh none`"),
    (
        "root",
        "--device=vendor.com/gpu=all,required",
        "device `vendor.com/gpu=all` cannot be given to RUN",
        "hint: leave out `--device`",
    ),
    ("root", "--security=insecure", "`--security=insecure` is not allowed", "hint: allow it with `--allow security.insecure`"),
    ("chroot", "--network=none", "`--network=none` needs namespaces", "hint: see `mpimg doctor`"),
];

#[test]
fn what_cannot_be_had_is_said_with_a_remedy() {
    needs_root!();
    for (isolation, flag, error, hint) in ERRORS {
        let output = build(&Home::new(), isolation, &format!("RUN {flag} true\n"));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{flag}: {text}");
        assert!(text.contains(error) && text.contains(hint), "{flag}: {text}");
    }
}

#[test]
fn a_command_without_network_has_its_own_loopback_alone() {
    let printed = |flag: &str| {
        let output = build(&Home::new(), "auto", &format!("RUN {flag} grep -c : /proc/net/dev | sed 's/^/>|/'\n"));
        let text = String::from_utf8(output.stderr).unwrap();
        text.lines().find_map(|line| Some(line.split_once("] >|")?.1.to_owned())).unwrap_or(text)
    };
    let all = fs::read_to_string("/proc/net/dev").unwrap().matches(':').count().to_string();
    assert_eq!((printed("--network=none"), printed("--network=host"), printed("")), ("1".to_owned(), all.clone(), all));
}
