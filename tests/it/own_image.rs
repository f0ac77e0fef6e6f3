//! The image of mpimg itself: made by `container/build`, and at work in containers that a real
//! Docker engine gives no rights.
//!
//! The command under test goes in, with its libraries. A static one, which is what
//! `container/build` makes where it is not given one, takes minutes to compile: `MPIMG_STATIC=FILE`
//! puts that in instead, and then nothing of this machine is in the image but it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::home::Home;
use crate::registry::tls::{MANNERS, front};
use crate::sandbox::docker::Docker;
use crate::skip::{Missing, needs_root, skip};
use crate::{judge, judges, run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The command that goes in, and whether it needs no libraries.
fn binary(home: &Home) -> (PathBuf, bool) {
    if let Some(binary) = std::env::var_os("MPIMG_STATIC") {
        return (binary.into(), true);
    }
    let stripped = home.path().join("mpimg");
    run(judge("strip").arg("-o").arg(&stripped).arg(env!("CARGO_BIN_EXE_mpimg")));
    (stripped, false)
}

/// Puts the images into the engine: `mpimg` and `mpimg-shell`. What the first holds, a path a line.
fn build(home: &Home, docker: &Docker, authority: &Path) -> String {
    let (binary, is_static) = binary(home);
    let settings: Vec<_> = home.mpimg().get_envs().map(|(name, value)| (name.to_owned(), value.map(Into::into))).collect();
    let mut script = Command::new(Path::new(ROOT).join("container/build"));
    for (name, value) in settings {
        let value: Option<std::ffi::OsString> = value;
        script.env(name, value.unwrap_or_default());
    }
    run(script.args(["--shell", "/bin/busybox", "--binary"]).arg(&binary).arg("--ca-file").arg(authority));
    for name in ["mpimg", "mpimg-shell"] {
        let archive = home.path().join(format!("{name}.tar"));
        let output = format!("docker-archive:{}:{name}:latest", archive.display());
        run(home.mpimg().args(["save", "-q", "-o", &output, name]));
        run(docker.command().args(["load", "--quiet", "--input"]).arg(&archive));
    }
    let files = run(home.mpimg().args(["inspect", "--files", "mpimg"]));
    assert_eq!(files.contains("ld-linux"), !is_static, "{files}");
    files
}

fn ok(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_image_builds_and_pushes_a_project_in_an_unprivileged_container() {
    needs_root!();
    let Some(docker) = Docker::start() else { skip!(Missing::Dockerd) };
    let home = Home::new();
    let front = front("client_max_body_size 0;", MANNERS);
    // By name, found in the container's own /etc/hosts; encrypted, and trusted for the authorities
    // in the image alone.
    let registry = format!("localhost:{}", front.nginx.address.port());
    let files = build(&home, &docker, &front.authority);
    for path in ["usr/bin/mpimg", "etc/ssl/certs/ca-certificates.crt", "tmp", "workspace"] {
        assert!(files.lines().any(|line| line.trim_end_matches('/').ends_with(path)), "no {path} in\n{files}");
    }

    let project = home.path().join("adapter");
    run(judge("cp").arg("-r").arg(Path::new(ROOT).join("fixtures/hello-adapter")).arg(&project));
    run(judge("cp").arg("-r").arg(judges().join("base")).arg(project.join("base")));
    std::fs::write(project.join("Dockerfile.run"), "FROM oci:base:base\nRUN id -u >/who && echo ran\nCOPY app app\n").unwrap();
    run(judge("chmod").args(["-R", "a+rwX"]).arg(&project));
    let volume = format!("{}:/workspace", project.display());
    let container = |flags: &[&str], image: &str, command: &[&str]| {
        let mut docker = docker.command();
        docker.args(["run", "--rm", "--network", "host", "--volume", &volume]).args(flags).arg(image).args(command);
        docker.output().unwrap()
    };

    let here = run(home.mpimg().args(["build", "-q"]).arg(&project));
    let restricted = ["--user", "1234:1234", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    for (name, flags) in
        [("root", &[][..]), ("user", &restricted), ("reading", &["--read-only", "--tmpfs", "/tmp", "--volume", "/var/lib/mpimg"])]
    {
        let repository = format!("{registry}/mp/{name}");
        let push = ["push", "--no-ttl", "-q", "--tag", "1", "-r", &repository, "--require-anonymous-pull"];
        assert_eq!(ok(&container(flags, "mpimg", &push)), here, "{name}");
        let digest = here.trim();
        let certificates = format!("SSL_CERT_FILE={}", front.authority.display());
        let image = format!("docker://{repository}@{digest}");
        run(Command::new("env").arg(certificates).arg(crate::judge_path("skopeo")).args(["inspect", "--raw", &image]));
    }

    // RUN: in the container, which is its boundary.
    let built = container(&[], "mpimg", &["build", "-q", "-f", "Dockerfile.run"]);
    let here_too = run(home.mpimg().args(["build", "-q", "-f", "Dockerfile.run"]).current_dir(&project));
    assert_eq!(ok(&built), here_too);

    // What GitLab writes into the shell of an image.
    let script =
        "mpimg push --no-ttl --tag 2 --digest-file digest -r \"$REPOSITORY\" >pushed && grep DIGEST pushed && cat digest";
    let repository = format!("REPOSITORY={registry}/mp/shell");
    let printed = ok(&container(&["--env", &repository], "mpimg-shell", &["sh", "-ec", script]));
    assert_eq!(printed.lines().collect::<Vec<_>>(), [format!("DIGEST={}", here.trim()).as_str(), here.trim()]);
}
