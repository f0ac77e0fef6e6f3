//! Containers in the background: ports, names, stopping, logs, and what is left of them.

use serde_json::json;

use super::fixture::{Containers, SERVER, free_port, page, running, wait_until};
use crate::home::Home;
use crate::skip::{Missing, needs_root, skip};

fn host_port(container: &serde_json::Value) -> u64 {
    container["ports"][0]["host"].as_u64().unwrap()
}

#[test]
fn two_that_want_the_same_port_run_at_once() {
    needs_root!();
    let containers = Containers::new();
    let one = containers.start(&["-e", "PAGE=one", "-p", "127.0.0.1:0:8080", "--name", "one"], SERVER);
    let two = containers.start(&["-e", "PAGE=two", "-p", "8080"], SERVER);
    assert_ne!(host_port(&one), host_port(&two));
    assert_eq!((page(host_port(&one)), page(host_port(&two))), ("one".into(), "two".into()));
    assert_eq!((&one["state"], &one["network"], &one["name"]), (&json!("running"), &json!("private"), &json!("one")));

    let taken = format!("{}:80", host_port(&two));
    let left = containers.run(&["-d", "-p", &taken], SERVER);
    assert_eq!(left.code, Some(125));
    let message = format!("error: port {} is taken by another container (process ", host_port(&two));
    assert!(left.err.starts_with(&message) && left.err.contains("hint: "), "{}", left.err);
    let left = containers.run(&["-d", "--name", "one"], "true");
    assert_eq!(left.code, Some(125));
    assert!(left.err.contains("has the name `one`"), "{}", left.err);

    let stats: serde_json::Value = serde_json::from_str(&containers.mpimg(&["stats", "--json", "one"]).out).unwrap();
    let stats = &stats["containers"][0];
    assert!(stats["memory"].as_u64().unwrap() > 0 && stats["processes"].as_u64().unwrap() >= 2, "{stats}");
    assert_eq!(containers.list().len(), 2, "those that could not be started have left something");
}

#[test]
fn stop_sends_the_signal_and_kills_what_does_not_end() {
    needs_root!();
    let containers = Containers::new();
    containers.start(&["--name", "polite"], "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done");
    containers.start(&["--name", "rude"], "trap '' TERM; (setsid sleep 70003 &); echo up; sleep 70003");
    wait_until("both run", || ["polite", "rude"].iter().all(|name| containers.mpimg(&["logs", name]).out == "up\n"));
    assert_eq!(containers.mpimg(&["stop", "-t", "1", "polite", "rude"]).code, Some(0));
    assert_eq!(containers.mpimg(&["logs", "polite"]).out, "up\nbye\n");
    let states: Vec<_> = containers.list().iter().map(|one| (one["name"].clone(), one["status"].clone())).collect();
    assert!(states.contains(&(json!("polite"), json!(5))) && states.contains(&(json!("rude"), json!(137))), "{states:?}");
    containers.assert_nothing_left("70003");
    assert_eq!(containers.mpimg(&["stop", "polite"]).code, Some(0), "stopping a stopped one is done");
    assert_eq!(containers.mpimg(&["stop", "--rm", "polite", "rude"]).code, Some(0));
    assert_eq!(containers.list().len(), 0);
    assert_eq!(containers.mpimg(&["stop", "polite"]).code, Some(1));
}

#[test]
fn logs_keep_the_streams_apart_and_follow_until_the_end() {
    needs_root!();
    let containers = Containers::new();
    let one = containers.start(&[], "echo one; echo two >&2; sleep 0.3; echo three; exit 4");
    let id = one["id"].as_str().unwrap();
    let left = containers.mpimg(&["logs", "-f", &id[..6]]);
    assert_eq!((left.code, left.out.as_str(), left.err.as_str()), (Some(0), "one\nthree\n", "two\n"));
    assert_eq!(containers.mpimg(&["logs", "--tail", "1", id]).out, "three\n");
    assert_eq!(containers.mpimg(&["logs", "--tail", "all", id]).out, "one\nthree\n");
    let stamped = containers.mpimg(&["logs", "-t", id]).out;
    assert!(stamped.lines().all(|line| line.as_bytes()[10] == b'T' && line.contains("Z ")), "{stamped}");
    assert_eq!(containers.list()[0]["status"], 4);
    let gone = containers.start(&["--rm"], "exit 1");
    wait_until("it is forgotten", || containers.list().iter().all(|one| one["id"] != gone["id"]));
}

/// The process that holds a running container: the grandparent of the container's first.
pub(super) fn monitor_of(container: &serde_json::Value) -> i32 {
    let parent = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse::<i32>().unwrap()
    };
    let monitor = parent(parent(container["pid"].as_i64().unwrap() as i32));
    let line = std::fs::read_to_string(format!("/proc/{monitor}/cmdline")).unwrap();
    assert!(line.starts_with("mpimg-container"), "{line}");
    monitor
}

#[test]
fn a_killed_monitor_takes_its_container_with_it_and_the_next_command_cleans_up() {
    needs_root!();
    let containers = Containers::new();
    let one = containers.start(&["--name", "one"], "trap '' TERM; (setsid sleep 70004 &); echo up; sleep 70004");
    wait_until("it runs", || running("70004").len() == 2);
    let monitor = monitor_of(&one);
    rustix::process::kill_process(rustix::process::Pid::from_raw(monitor).unwrap(), rustix::process::Signal::KILL).unwrap();
    wait_until("all of it is gone", || running("70004").is_empty());
    assert_eq!(containers.list()[0]["state"], "killed");
    containers.assert_nothing_left("70004");
    assert_eq!(containers.mpimg(&["logs", "one"]).out, "up\n");
    assert_eq!(containers.mpimg(&["stop", "--rm", "one"]).code, Some(0));
}

#[test]
fn a_killed_helper_takes_its_container_with_it_even_without_namespaces() {
    needs_root!();
    for (isolation, marker) in [("root", "70021"), ("chroot", "70022")] {
        let containers = Containers::on(isolation);
        let one =
            containers.start(&["--name", "one"], &format!("trap '' TERM; (setsid sleep {marker} &); echo up; sleep {marker}"));
        wait_until("it runs", || running(marker).len() == 2);
        let monitor = monitor_of(&one);
        let helper = children(monitor);
        assert_eq!(helper.len(), 1);
        rustix::process::kill_process(rustix::process::Pid::from_raw(helper[0]).unwrap(), rustix::process::Signal::KILL).unwrap();
        wait_until("all of it is gone", || running(marker).is_empty());
        wait_until("that is known", || containers.list()[0]["state"] == "killed");
        containers.assert_nothing_left(marker);
        assert_eq!(containers.mpimg(&["logs", "one"]).out, "up\n");
    }
}

/// Processes that a process has started.
fn children(of: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{of}/task")).unwrap().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

#[test]
fn a_container_on_the_machine_s_network_listens_itself() {
    needs_root!();
    let containers = Containers::new();
    let port = free_port();
    let (published, own) = (format!("{port}:{port}"), format!("PORT={port}"));
    let one = containers.start(&["-p", &published, "-e", &own, "-e", "PAGE=host", "--network", "host"], SERVER);
    assert_eq!(one["network"], "host");
    assert_eq!(page(port.into()), "host");
    let left = containers.run(&["-d", "--network", "host", "-p", "1:2"], "true");
    assert_eq!(left.code, Some(125));
    assert!(left.err.contains("port 2 cannot be published as 1"), "{}", left.err);
    let left = containers.run(&["--network", "none"], "cat /proc/net/dev | tail -n +3 | cut -d: -f1");
    assert_eq!(left.out.trim(), "lo");
}

/// An address of this machine that is not its loopback's: the nearest that another machine can come
/// to.
fn own_address() -> Option<std::net::IpAddr> {
    // Nothing is sent: connecting a datagram socket only chooses the address.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[test]
fn a_network_of_its_own_reaches_other_machines_by_tcp_and_udp_where_interfaces_can_be_made() {
    needs_root!();
    let (Some(address), true) = (own_address(), std::path::Path::new("/dev/net/tun").exists()) else {
        skip!(Missing::Tun);
    };
    let listener = std::net::TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = [0; 9];
        std::io::Read::read_exact(&mut stream, &mut text).unwrap();
        // More than any buffer on the way holds.
        std::io::Write::write_all(&mut stream, &vec![b'x'; 3_000_000]).unwrap();
        text
    });
    let socket = std::net::UdpSocket::bind((address, 0)).unwrap();
    let echo = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        // A transfer of one block, as RFC 1350 has it.
        let mut text = [0; 100];
        let (length, from) = socket.recv_from(&mut text).unwrap();
        assert!(text[..length].starts_with(b"\0\x01file\0"));
        socket.send_to(b"\0\x03\0\x01from udp\n", from).unwrap();
    });
    let containers = Containers::new();
    let script = format!(
        "(echo from tcp; sleep 2) | nc {address} {port} | wc -c; tftp -g -r file -l /got {address} {echo} && cat /got; cat /etc/resolv.conf"
    );
    let left = containers.run(&["--network", "private"], &script);
    assert_eq!(left.out, "3000000\nfrom udp\nnameserver 10.0.2.3\n", "{left:?}");
    assert_eq!(&server.join().unwrap(), b"from tcp\n");
    assert_eq!(left.err, "network: the container's own; TCP and UDP reach other machines\n");
    // Without one there is no way to anywhere.
    let alone = containers.run(&["--network", "none"], &format!("nc -w 2 {address} {port} </dev/null"));
    assert_ne!(alone.code, Some(0));
}

#[test]
fn containers_are_looked_after_where_registries_conf_cannot_be_read() {
    let home = Home::new();
    let broken = home.path().join("registries.conf");
    std::fs::write(&broken, "[[registry]\n").unwrap();
    let mpimg = |arguments: &[&str]| home.mpimg().args(arguments).env("CONTAINERS_REGISTRIES_CONF", &broken).output().unwrap();
    for command in ["ps", "stats"] {
        let output = mpimg(&[command]);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for command in ["logs", "stop"] {
        let said = String::from_utf8(mpimg(&[command, "nobody"]).stderr).unwrap();
        assert!(said.contains("there is no container `nobody`"), "{said}");
    }
}

#[test]
fn a_port_of_this_machine_is_one_container_s_before_it_listens_and_who_answers_is_told() {
    needs_root!();
    let containers = Containers::new();
    let (port, go) = (free_port(), containers.home.path().join("go"));
    std::fs::create_dir(&go).unwrap();
    let publish = format!("{port}:{port}");
    let wait = format!("while [ ! -e /go/now ]; do sleep 0.02; done; PORT={port}; {SERVER}");
    let volume = format!("{}:/go", go.display());
    let slow = containers.start(&["-e", "PAGE=slow", "-v", &volume, "-p", &publish, "--name", "slow"], &wait);
    assert_eq!(slow["network"], "host");
    let listener = || {
        let one = containers.list().into_iter().find(|one| one["name"] == "slow").unwrap();
        (one["ports"][0]["listener"].clone(), one["ports"][0]["listener_process"].clone())
    };
    assert_eq!(listener(), (json!("none"), json!(null)));
    // On this machine's network and on one of its own, where mpimg would listen at once.
    for other in [publish.clone(), format!("{port}:80")] {
        let left = containers.run(&["-d", "-p", &other], SERVER);
        assert_eq!(left.code, Some(125), "{left:?}");
        let message = format!("error: port {port} is taken by another container, which does not listen yet\n");
        assert!(left.err.starts_with(&message), "{}", left.err);
    }
    let stranger = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (owner, process) = listener();
    assert_eq!(owner, "other");
    assert!(process.as_str().unwrap().ends_with(&format!("(process {})", std::process::id())), "{process}");
    drop(stranger);
    std::fs::write(go.join("now"), "").unwrap();
    assert_eq!(page(port.into()), "slow");
    assert_eq!(listener(), (json!("container"), json!(null)));
    containers.mpimg(&["stop", "--rm", "-t", "0", "slow"]);
    containers.start(&["-e", "PAGE=next", "-e", &format!("PORT={port}"), "-p", &publish], SERVER);
    assert_eq!(page(port.into()), "next", "a container that has ended has no port");
}

#[test]
fn a_damaged_record_stops_no_work_on_other_containers() {
    let containers = Containers::new();
    needs_root!();
    let damaged = containers.start(&[], "true")["id"].as_str().unwrap().to_owned();
    containers.start(&["--name", "whole"], "sleep 70031");
    wait_until("it has ended", || containers.list().iter().any(|one| one["id"] == *damaged && one["state"] == "ended"));
    let folder = containers.home.store().join("containers").join(&damaged);
    std::fs::write(folder.join("container.json"), "{").unwrap();
    assert_eq!(containers.list().len(), 1);
    assert_eq!(containers.mpimg(&["logs", "whole"]).code, Some(0));
    let left = containers.mpimg(&["logs", &damaged]);
    assert!(left.err.contains("container.json` is damaged"), "{left:?}");
    assert!(left.err.contains(&format!("hint: remove the folder `{}`", folder.display())), "{left:?}");
    assert_eq!(containers.mpimg(&["stop", "--rm", "-t", "0", "whole"]).code, Some(0));
    assert_eq!(containers.list().len(), 0);
}

#[test]
fn each_user_of_an_own_network_may_listen_on_low_ports_and_ping() {
    needs_root!();
    let containers = Containers::new();
    // busybox's ping has no way but a raw socket; what the kernel lets other programs do, it says
    // here (icmp(7)).
    let script = "httpd -p 80 -h / && cat /proc/sys/net/ipv4/ping_group_range && id -u";
    let left = containers.run(&["--rm", "--network", "private", "--user", "aria"], script);
    assert_eq!((left.code, left.out.as_str()), (Some(0), "0\t2147483647\n1000\n"), "{left:?}");
}
