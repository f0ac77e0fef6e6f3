//! Ctrl-C, SIGTERM and SIGHUP, sent while a RUN step is running, a registry serves or a push waits.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use mpimg::serve::Fault;

use super::fixture::{DOCKERFILE, Serving, folder};
use crate::home::Home;
use crate::judge_path;

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Reads standard error until a line has `text`.
pub(crate) fn wait_for(child: &mut Child, text: &str) {
    let mut seen = String::new();
    for line in BufReader::new(child.stderr.as_mut().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains(text) {
            return;
        }
        seen += &format!("{line}\n");
    }
    panic!("no `{text}` on standard error:\n{seen}");
}

/// Starts a build whose RUN prints `started` and then goes on for longer than any test waits;
/// returns when it is there.
fn start_build(home: &Home) -> Child {
    let folder =
        folder(home, "run", "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/sleep\nRUN echo started; sleep 600\n");
    std::fs::copy(judge_path("busybox"), folder.join("busybox")).unwrap();
    let mut command = home.mpimg();
    command.args(["build", "--progress", "plain"]).arg(&folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait_for(&mut child, "] started");
    child
}

/// Nothing may be mounted, running or half-written.
pub(crate) fn assert_clean(home: &Home) {
    let store = home.path().with_file_name("store");
    let store = store.to_str().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(store), "{mounts}");
    for process in std::fs::read_dir("/proc").unwrap() {
        let root = std::fs::read_link(process.unwrap().path().join("root"));
        assert!(!root.is_ok_and(|root| root.to_string_lossy().starts_with(store)));
    }
    let work = std::fs::read_dir(format!("{store}/tmp")).unwrap().count();
    assert_eq!(work, 0, "work folders are left");
}

#[test]
fn ctrl_c_stops_a_run_step_and_leaves_nothing() {
    let home = Home::new();
    let child = start_build(&home);
    send(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(output.stdout, b"");
    assert_clean(&home);
}

#[test]
fn sigterm_is_told_by_its_own_exit_code() {
    let home = Home::new();
    let child = start_build(&home);
    send(&child, Signal::TERM);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
    assert_clean(&home);
}

#[test]
fn a_terminal_that_goes_away_stops_the_work_as_sigterm_does() {
    let home = Home::new();
    let child = start_build(&home);
    send(&child, Signal::HUP);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(129));
    assert_clean(&home);
}

#[test]
fn serve_tells_its_address_and_ends_in_order() {
    let home = Home::new();
    let mut command = home.mpimg();
    command.args(["serve", "--addr", "127.0.0.1:0", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    let addr = json["addr"].as_str().unwrap();
    assert_eq!(json["addresses"], serde_json::json!([addr]));
    let folder = folder(&home, "plain", "FROM scratch\nCOPY app app\n");
    let push = home.mpimg().arg("push").arg(&folder).args(["-r", &format!("{addr}/app")]).output().unwrap();
    assert!(push.status.success(), "{}", String::from_utf8_lossy(&push.stderr));
    send(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_second_ctrl_c_ends_a_push_at_once_though_its_registry_does_not_answer() {
    let (seen, waiting) = std::sync::mpsc::channel();
    let registry = Serving::faulty(move |request| match request.method.as_str() {
        "POST" => {
            // The test looks at the first one only.
            let _ = seen.send(());
            Fault::Stall
        }
        _ => Fault::None,
    });
    let home = Home::new();
    let folder = folder(&home, "plain", DOCKERFILE);
    let mut command = home.mpimg();
    command.args(["push", "-r", &format!("{}/app", registry.host)]).arg(&folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    waiting.recv().unwrap();
    send(&child, Signal::INT);
    wait_for(&mut child, "interrupted: stopping");
    send(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(130), Vec::new()));
}
