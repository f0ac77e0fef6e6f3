//! The same as an ordinary user, with a range of ids and with one id alone: nothing stays that
//! runs, or that the user cannot remove.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::fixture::{Containers, SERVER, free_port, page, running, wait_until};
use super::isolations::users_volumes_and_ports;
use crate::sandbox::plain_users::KINDS;
use crate::skip::needs_root;
use crate::{judge, run};

/// Files of users that only the container's namespace has, in folders that only those may read;
/// then for ever.
fn foreign(marker: &str) -> String {
    format!(
        "mkdir -m 700 /opt/x && touch /opt/x/f && chown -R 7:8 /opt/x && chmod 0 /opt/x; (setsid sleep {marker} &); sleep {marker}"
    )
}

/// Nothing of it runs or is kept, and the user gets rid of the store.
fn assert_all_can_go(containers: &Containers, marker: &str) {
    containers.assert_nothing_left(marker);
    assert_eq!(containers.mpimg(&["prune", "--all"]).code, Some(0));
    let store = containers.home.store();
    let as_user = ["--reuid=5000", "--regid=5000", "--clear-groups", "find"];
    run(judge("setpriv").args(as_user).arg(&store).args(["-mindepth", "1", "-delete"]));
    assert_eq!(store.read_dir().unwrap().count(), 0);
}

#[test]
fn a_plain_user_runs_containers_as_root_does() {
    needs_root!();
    for kind in KINDS {
        let containers = Containers::of(kind);
        users_volumes_and_ports(&containers, "127.0.0.1:0:8080", 8080);
        assert_eq!(containers.mpimg(&["stop", "--rm", "one"]).code, Some(0));

        let port = free_port();
        let (one, two) = (format!("{port}:8080"), format!("127.0.0.1:{}:8080", free_port()));
        let flags = |port, page, name| ["-p", port, "-e", page, "--name", name, "--network", "private", "--memory", "512m"];
        let one = containers.start(&flags(&one, "PAGE=one", "one"), SERVER);
        containers.start(&flags(&two, "PAGE=two", "two"), SERVER);
        assert_eq!((&one["isolation"], &one["network"]), (&json!(kind.0), &json!("private")));
        for (published, text) in [(port.into(), "one"), (two.split(':').nth(1).unwrap().parse().unwrap(), "two")] {
            assert_eq!(page(published), text, "{}", kind.0);
        }
        let taken = containers.run(&["-d", "-p", &format!("{port}:{port}")], SERVER);
        assert_eq!(taken.code, Some(125));
        assert!(taken.err.contains(&format!("port {port} is taken by ")), "{taken:?}");
        let stats: serde_json::Value = serde_json::from_str(&containers.mpimg(&["stats", "--json", "two"]).out).unwrap();
        let stats = &stats["containers"][0];
        assert!(stats["memory"].as_u64().unwrap() > 0 && stats["processes"].as_u64().unwrap() >= 2, "{stats}");
        assert_eq!(containers.mpimg(&["stop", "one", "two"]).code, Some(0));
        assert!(containers.list().iter().all(|one| one["status"] == 143), "{:?}", containers.list());
        assert_eq!(containers.mpimg(&["stop", "--rm", "one", "two"]).code, Some(0));
        assert_all_can_go(&containers, "8080");
    }
}

#[test]
fn a_plain_user_s_container_goes_with_whatever_is_killed() {
    needs_root!();
    for (index, kind) in KINDS.into_iter().enumerate() {
        let containers = Containers::of(kind);
        for (signal, code, patience) in [
            (Signal::INT, Some(130), false),
            (Signal::TERM, Some(143), false),
            (Signal::KILL, None, false),
            (Signal::INT, Some(137), true),
        ] {
            let marker = format!("7002{index}");
            let script = format!("{}{}", if patience { "trap '' INT; " } else { "" }, foreign(&marker));
            let mut child = containers.run_command(&[], &script).stdout(Stdio::null()).spawn().unwrap();
            wait_until("the container runs", || running(&marker).len() == 2);
            let mut ended = None;
            wait_until("it ends", || {
                let _ = kill_process(Pid::from_child(&child), signal);
                std::thread::sleep(std::time::Duration::from_millis(if patience { 50 } else { 500 }));
                ended = child.try_wait().unwrap();
                ended.is_some()
            });
            assert_eq!(ended.unwrap().code(), code, "{} {signal:?}", kind.0);
            wait_until("all of it is gone", || running(&marker).is_empty() && containers.list().is_empty());
            containers.assert_nothing_left(&marker);
        }

        let marker = format!("7003{index}");
        let one = containers.start(&["--name", "one"], &foreign(&marker));
        wait_until("it runs", || running(&marker).len() == 2);
        kill_process(Pid::from_raw(super::background::monitor_of(&one)).unwrap(), Signal::KILL).unwrap();
        wait_until("all of it is gone", || running(&marker).is_empty());
        assert_eq!(containers.list()[0]["state"], "killed");
        containers.assert_nothing_left(&marker);
        assert_eq!(containers.mpimg(&["stop", "--rm", "one"]).code, Some(0));
        assert_all_can_go(&containers, &marker);
    }
}
