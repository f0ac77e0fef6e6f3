//! mp-build in a container that may do nothing, from an empty store, with a registry beside it.

use std::os::unix::fs::PermissionsExt as _;

use super::project::{Build, make, package, pak_in, pak_of, read_pak};
use super::{BARE, python};
use crate::home::Home;
use crate::registry::fixture::distribution;
use crate::sandbox::docker::Docker;
use crate::skip::{Missing, needs_root, skip};
use crate::{judge, judge_path, judges, run};

/// What only root may do, in an image without a base.
const STEPS: &str = "COPY busybox /bin/busybox
COPY etc /etc
RUN busybox mkdir -p /data /home/aria && busybox chown -R aria:5 /data /home/aria && busybox chmod 2775 /data && busybox mknod /data/null c 1 3
USER aria
WORKDIR /home/aria
RUN busybox id >id && busybox touch /data/own && (busybox touch /etc/no || echo refused >no)
USER root
";

#[test]
fn a_restricted_container_makes_the_pak_that_root_makes() {
    needs_root!();
    let Some(docker) = Docker::start() else { skip!(Missing::Dockerd) };
    run(docker.command().arg("import").arg(judges().join("bookworm.tar")).arg("restricted:test"));
    let home = Home::new();
    let project = home.path().join("bare");
    make(&home, "static", &project);
    std::fs::copy(judge_path("busybox"), project.join("busybox")).unwrap();
    std::fs::write(project.join("apiVersion"), r#"{"majorVersion": 1, "minorVersion": 0, "maintenanceVersion": 0}"#).unwrap();
    std::fs::create_dir(project.join("etc")).unwrap();
    std::fs::write(project.join("etc/passwd"), "root:x:0:0::/:/bin/sh\naria:x:1000:1000::/home/aria:/bin/sh\n").unwrap();
    std::fs::write(project.join("etc/group"), "root:x:0:\naria:x:1000:\n").unwrap();
    std::fs::write(project.join("Dockerfile"), BARE.replace("ENTRYPOINT", &format!("{STEPS}ENTRYPOINT"))).unwrap();
    let packages = package(&home);
    run(judge("chmod").args(["-R", "a+rX"]).arg(&project).arg(&packages));
    let out = tempfile::tempdir().unwrap();
    std::fs::set_permissions(out.path(), std::fs::Permissions::from_mode(0o777)).unwrap();

    let sdk = judges().join("python/lib/python3.11/site-packages");
    let mut command = docker.command();
    // A network of its own, in which the adapter's port is free.
    command.args(["run", "--rm", "--network", "none", "--user", "1000660000:0", "--cap-drop", "ALL"]);
    command.args(["--security-opt", "no-new-privileges", "--env", "HOME=/tmp/home", "--env", "MPIMG_HOME=/tmp/store"]);
    command.args(["--env", "MPIMG_PYTHON=/usr/bin/python3", "--env", "PYTHONPATH=/package:/sdk", "--env", "PYTHONHASHSEED=0"]);
    command.args(["--env", "LC_ALL=C.UTF-8", "--env", "SOURCE_DATE_EPOCH=1000000000"]);
    for (source, target) in [
        (env!("CARGO_BIN_EXE_mpimg").as_ref(), "/usr/local/bin/mpimg:ro"),
        (project.as_path(), "/project:ro"),
        (packages.as_path(), "/package:ro"),
        (sdk.as_path(), "/sdk:ro"),
        (out.path(), "/out"),
    ] {
        command.arg("--volume").arg(format!("{}:{target}", source.display()));
    }
    let script = "umask 0002; mkdir /tmp/home; cp -r /project /tmp/bare; mpimg serve --addr 127.0.0.1:5000 >/out/serve 2>&1 &
        mpimg mp-build --no-ttl -i -p /tmp/bare -P 8080 --registry-tag 127.0.0.1:5000/mp/adapter --registry-username u \\
            --registry-password p >/out/said 2>&1; echo $? >/out/code
        cp -r /tmp/bare/build /out/build; chmod -R a+rwX /out/*";
    run(command.args(["restricted:test", "sh", "-c", script]));
    let read = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
    assert_eq!(read("code"), "0\n", "{}{}", read("said"), read("serve"));
    assert!(read("said").contains("RUN uses `emulated`"), "{}", read("said"));

    let registry = distribution("");
    let build = Build::new(&home, &project, &registry);
    let mut root = build.command(&home.path().join("store"), &python("1.3.1"));
    let root = root.args(["--isolation", "root"]).env("SOURCE_DATE_EPOCH", "1000000000").output().unwrap();
    let (expected, mut theirs) = read_pak(&pak_of(&project, &root));
    let (found, mut ours) = read_pak(&pak_in(out.path()));
    assert_eq!(found, expected);
    // The image's digest is one of the lines.
    assert!(ours["DIGEST"].starts_with("sha256:"));
    assert_eq!((ours.remove("REGISTRY"), theirs.remove("REGISTRY").is_some()), (Some("127.0.0.1:5000".to_owned()), true));
    assert_eq!(ours, theirs);
}
