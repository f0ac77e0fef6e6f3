//! The same with each isolation other than root.

use std::os::unix::fs::MetadataExt as _;

use super::fixture::{Containers, SERVER, free_port, page, running, wait_until};
use crate::skip::needs_root;

pub(super) fn users_volumes_and_ports(containers: &Containers, published: &str, port: u16) {
    let home = containers.home.path();
    std::fs::create_dir(home.join("data")).unwrap();
    std::fs::write(home.join("data/old"), "old").unwrap();
    std::fs::write(home.join("data/stays"), "stays").unwrap();
    // As of the home, so of what is in it.
    let owner = home.metadata().unwrap();
    for path in ["data", "data/old", "data/stays"] {
        std::os::unix::fs::chown(home.join(path), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let script = "id -u; id -G; echo $HOME; cat /data/stays; rm /data/old; mkdir /data/new; echo text >/data/new/file; exit 3";
    let left = containers.run(&["-v", "./data:/data", "-u", "root"], script);
    assert_eq!((left.code, left.out.as_str()), (Some(3), "0\n0\n/root\nstays"), "{left:?}");
    assert_eq!(std::fs::read_to_string(home.join("data/new/file")).unwrap(), "text\n");
    assert!(!home.join("data/old").exists());
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

#[test]
fn without_namespaces_volumes_are_copied_back_and_ports_stay_where_they_are() {
    needs_root!();
    let containers = Containers::on("chroot");
    let port = free_port();
    users_volumes_and_ports(&containers, &format!("{port}:{port}"), port);
    for (flags, message) in [
        (["-p", "1:2"], "port 2 cannot be published as 1: the container has this machine's network"),
        (["--network", "private"], "a network of its own cannot be given to a container with isolation `chroot`"),
    ] {
        let left = containers.run(&flags, "true");
        assert_eq!(left.code, Some(125));
        assert!(left.err.contains(message) && left.err.contains("hint: "), "{}", left.err);
    }
}
