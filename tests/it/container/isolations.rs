//! The same with each isolation other than root.

use std::os::unix::fs::MetadataExt as _;

use super::fixture::{Containers, SERVER, free_port, page, running, wait_until};
use crate::skip::{needs_emulated, needs_root};

pub(super) fn users_volumes_and_ports(containers: &Containers, published: &str, port: u16) {
    let home = containers.home.path();
    std::fs::create_dir(home.join("data")).unwrap();
    std::fs::write(home.join("data/old"), "old").unwrap();
    std::fs::write(home.join("data/stays"), "stays").unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, home.join("data/fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    // As of the home, so of what is in it.
    let owner = home.metadata().unwrap();
    for path in ["data", "data/old", "data/stays", "data/fifo"] {
        std::os::unix::fs::chown(home.join(path), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let script = "id -u; id -G; echo $HOME; cat /data/stays; rm /data/old; mkfifo /data/another; mkdir /data/new; \
                  echo text >/data/new/file; exit 3";
    let left = containers.run(&["-v", "./data:/data", "-u", "root"], script);
    assert_eq!((left.code, left.out.as_str()), (Some(3), "0\n0\n/root\nstays"), "{left:?}");
    assert_eq!(std::fs::read_to_string(home.join("data/new/file")).unwrap(), "text\n");
    assert!(!home.join("data/old").exists() && home.join("data/another").exists());
    let left = containers.run(&["-u", "aria"], "id -u; echo $HOME; touch /home/aria/mine && stat -c %u /home/aria/mine");
    assert_eq!(left.out, "1000\n/home/aria\n1000\n", "{left:?}");

    let inside = format!("PORT={port}");
    let script = format!("(setsid sleep 7{port} &); {SERVER}");
    let one = containers.start(&["-p", published, "-e", &inside, "-e", "PAGE=here", "--name", "one"], &script);
    assert_eq!(page(one["ports"][0]["host"].as_u64().unwrap()), "here");
    wait_until("all of it runs", || running(&format!("7{port}")).len() == 1);
    assert_eq!(containers.mpimg(&["stop", "one"]).code, Some(0));
    assert_eq!(containers.list()[0]["status"], 143);
    containers.assert_nothing_left(&format!("7{port}"));
}

#[test]
fn a_user_namespace_runs_containers_as_root_does() {
    needs_root!();
    users_volumes_and_ports(&Containers::on("userns"), "127.0.0.1:0:8080", 8080);
}

/// What a pod of Kubernetes' "restricted" standard has: nothing.
const RESTRICTED: &str = "exec setpriv --reuid=5000 --regid=0 --clear-groups --no-new-privs --bounding-set=-all -- \"$@\"";

#[test]
fn without_any_privilege_containers_run_as_root_does() {
    needs_root!();
    needs_emulated!();
    let containers = Containers::of(("emulated", RESTRICTED));
    let port = free_port();
    users_volumes_and_ports(&containers, &format!("{port}:{port}"), port);
    let left = containers.run(&["-d", "--name", "two"], "trap 'echo ended; exit 5' TERM; echo up; while :; do sleep 0.02; done");
    assert_eq!(left.code, Some(0), "{left:?}");
    wait_until("it is up", || containers.mpimg(&["logs", "two"]).out == "up\n");
    assert_eq!(containers.mpimg(&["stop", "two"]).code, Some(0));
    assert_eq!(containers.mpimg(&["logs", "two"]).out, "up\nended\n");
    assert_eq!(containers.list().iter().filter(|one| one["name"] == "two" && one["status"] == 5).count(), 1);
    // A folder that may not be written to, and one of its files that cannot be copied back: all
    // else is.
    let data = containers.home.path().join("data");
    let script = "echo x >/data/new/file; mkdir /data/locked; echo y >/data/zzz; touch /shown/no";
    let left = containers.run(&["-v", "./data:/data", "-v", "./data:/shown:ro"], script);
    assert!(left.err.contains("Read-only file system"), "{left:?}");
    assert_eq!(std::fs::read_to_string(data.join("zzz")).unwrap(), "y\n");
    rustix::fs::chmod(data.join("new"), 0o500.into()).unwrap();
    let left = containers.run(&["-v", "./data:/data"], "rm /data/new/file; rm /data/zzz");
    assert!(left.err.contains("data/new/file") && left.err.contains("Permission denied"), "{left:?}");
    assert!(!data.join("zzz").exists() && data.join("new/file").exists());
}

#[test]
fn without_namespaces_volumes_are_copied_back_and_ports_stay_where_they_are() {
    needs_root!();
    let containers = Containers::on("chroot");
    let port = free_port();
    users_volumes_and_ports(&containers, &format!("{port}:{port}"), port);
    for (flags, message) in [
        (["-p", "1:2"], "port 2 cannot be published as 1: the container has this machine's network"),
        (["--network", "private"], "a container with isolation `chroot` cannot have a network of its own"),
    ] {
        let left = containers.run(&flags, "true");
        assert_eq!(left.code, Some(125));
        assert!(left.err.contains(message) && left.err.contains("hint: "), "{}", left.err);
    }
}
