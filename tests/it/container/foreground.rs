//! Containers in the foreground: what they see, how they end, and that nothing stays.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::fixture::{Containers, Left, base, running, wait_until, with_input};
use crate::skip::needs_root;

#[test]
fn a_command_s_streams_and_status_are_passed_through() {
    needs_root!();
    let containers = Containers::new();
    let left = containers.run(&["--hostname", "web"], "hostname; pwd; echo $BASE $HOME; echo wrong >&2; exit 7");
    assert_eq!((left.code, left.out.as_str(), left.err.as_str()), (Some(7), "web\n/\nyes /root\n", "wrong\n"));
    assert_eq!(containers.run(&[], "kill -9 $$").code, Some(137));
    let missing = Left::of(containers.command(&["run", &base(), "/nowhere"]).output().unwrap());
    assert_eq!((missing.code, missing.err.contains("cannot run `/nowhere`")), (Some(127), true), "{missing:?}");
    assert_eq!(containers.list(), Vec::<serde_json::Value>::new());
    containers.assert_nothing_left("nothing");
}

#[test]
fn environment_user_and_folder_are_the_image_s_unless_given() {
    needs_root!();
    let containers = Containers::new();
    let file = containers.home.path().join("env");
    std::fs::write(&file, "# comment\nA=from file\nB=\nHOSTED\n").unwrap();
    let file = file.to_str().unwrap();
    let flags = ["--env-file", file, "-e", "A=1=2", "-e", "HOSTED", "-e", "UNSET", "-u", "aria:audio", "-w", "/new/folder"];
    let mut command =
        containers.run_command(&flags, "echo \"$A,$B,$HOSTED,${UNSET-unset},$BASE\"; id -u; id -G; pwd; echo $HOME");
    let left = Left::of(command.env("HOSTED", "here").output().unwrap());
    assert_eq!(left.out, "1=2,,here,unset,yes\n1000\n29\n/new/folder\n/home/aria\n", "{left:?}");
    let unknown = containers.run(&["-u", "nobody"], "true");
    assert_eq!(unknown.code, Some(125));
    assert!(unknown.err.starts_with("error: user `nobody` is not in /etc/passwd of the image\nhint: "), "{}", unknown.err);
}

#[test]
fn an_entrypoint_takes_the_arguments() {
    needs_root!();
    let containers = Containers::new();
    let left = containers.mpimg(&["run", "--entrypoint", "echo", &base(), "a", "-b"]);
    assert_eq!((left.code, left.out.as_str()), (Some(0), "a -b\n"));
    // What follows the image is the command's, although `run` has flags of these names.
    let left = containers.mpimg(&["run", "--entrypoint", "echo", &base(), "-v", "--", "--rm", "-it"]);
    assert_eq!((left.code, left.out.as_str()), (Some(0), "-v -- --rm -it\n"));
    let left = containers.mpimg(&["run", "--entrypoint", "", &base()]);
    assert_eq!(left.code, Some(125));
    assert!(left.err.contains("the image has no command, and none was given"), "{}", left.err);
}

#[test]
fn volumes_are_this_machine_s_folders_and_files() {
    needs_root!();
    let containers = Containers::new();
    let home = containers.home.path();
    std::fs::create_dir_all(home.join("data/below")).unwrap();
    std::fs::write(home.join("file"), "content\n").unwrap();
    let flags = ["-v", "./data:/data", "-v", "./data:/ro:ro", "-v", "./file:/etc/file", "-v", "./made:/made"];
    let left = containers.run(
        &[&flags[..], &["--mount", "type=tmpfs,target=/t,tmpfs-size=1m", "-u", "0"]].concat(),
        "cat /etc/file; echo x >/data/below/x; touch /ro/y; echo z >/t/z; echo m >/made/m; stat -c %a /t; stat -f -c %b /t",
    );
    assert_eq!(left.out, "content\n1777\n256\n");
    assert!(left.err.contains("/ro/y: Read-only file system"), "{}", left.err);
    assert_eq!(std::fs::read_to_string(home.join("data/below/x")).unwrap(), "x\n");
    assert_eq!(std::fs::read_to_string(home.join("made/m")).unwrap(), "m\n");
}

#[test]
fn more_memory_than_the_limit_ends_the_command_and_is_told() {
    needs_root!();
    for isolation in ["root", "userns", "chroot"] {
        let left = Containers::on(isolation).run(&["--memory", "32m"], "tail /dev/zero; echo $?");
        if left.err.contains("no control group can be made here") {
            // Then the limit is each process's own, and the process is told.
            assert!(left.err.contains("out of memory") || left.err.contains("memory exhausted"), "{left:?}");
            continue;
        }
        assert_eq!((left.code, left.out.as_str()), (Some(0), "137\n"), "{isolation}: {left:?}");
        assert!(left.err.contains("warning: the container has reached its memory limit of 33.6MB\nhint: "), "{}", left.err);
    }
}

#[test]
fn standard_input_is_passed_on_only_where_asked_for() {
    needs_root!();
    let containers = Containers::new();
    assert_eq!(with_input(containers.run_command(&["-i"], "cat; echo end"), "text\n").out, "text\nend\n");
    assert_eq!(with_input(containers.run_command(&[], "cat; echo end"), "text\n").out, "end\n");
    for isolation in ["root", "userns"] {
        let script = "read x; echo got $x; test -t 1 && echo terminal; tty; echo here >/dev/tty";
        let terminal = with_input(Containers::on(isolation).run_command(&["-i", "-t"], script), "text\n");
        assert!(terminal.out.ends_with("got text\r\nterminal\r\n/dev/console\r\nhere\r\n"), "{terminal:?}");
    }
}

#[test]
fn a_command_that_does_not_read_its_input_can_be_stopped_and_goes_with_mpimg() {
    needs_root!();
    let containers = Containers::new();
    for (marker, signal, code) in [("70011", Signal::TERM, Some(143)), ("70012", Signal::KILL, None)] {
        // More than any pipe holds.
        let flood = std::fs::File::open("/dev/zero").unwrap();
        let mut child = containers.run_command(&["-i"], &format!("exec sleep {marker}")).stdin(flood).spawn().unwrap();
        wait_until("it runs", || !running(marker).is_empty());
        // Time for the pipe to fill.
        std::thread::sleep(std::time::Duration::from_millis(100));
        kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), code);
        wait_until("the container is gone", || running(marker).is_empty() && containers.list().is_empty());
        containers.assert_nothing_left(marker);
    }
}

#[test]
fn signals_reach_the_command_and_the_third_kills() {
    needs_root!();
    let containers = Containers::new();
    let script = "trap 'echo INT' INT; trap 'echo TERM; exit 3' TERM; echo up; while :; do sleep 0.05; done";
    let mut child = containers.run_command(&[], script).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        line
    };
    assert_eq!(next(), "up\n");
    let send = |signal| kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
    send(Signal::INT);
    assert_eq!(next(), "INT\n");
    send(Signal::INT);
    assert_eq!(next(), "INT\n");
    send(Signal::TERM);
    assert_eq!(next(), "TERM\n");
    assert_eq!(child.wait().unwrap().code(), Some(3));

    let script = "trap '' INT; echo up; sleep 70001";
    let mut child = containers.run_command(&[], script).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    for _ in 0..100 {
        let _ = kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT);
        std::thread::sleep(std::time::Duration::from_millis(50));
        if child.try_wait().unwrap().is_some() {
            break;
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(137));
    containers.assert_nothing_left("70001");
}

#[test]
fn a_killed_mpimg_takes_its_container_with_it() {
    needs_root!();
    let containers = Containers::new();
    let mut child = containers
        .run_command(&[], "trap '' INT TERM HUP; (setsid sleep 70002 &); sleep 70002")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the container runs", || running("70002").len() == 2);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the container is gone", || running("70002").is_empty() && containers.list().is_empty());
    containers.assert_nothing_left("70002");
}

#[test]
fn json_is_refused_where_output_is_the_command_s() {
    let containers = Containers::new();
    let left = containers.run(&["--json"], "true");
    assert_eq!(left.code, Some(125));
    assert!(left.out.contains("\"kind\":\"usage\""), "{left:?}");
}
