//! A process of the sandbox that is killed while a command runs, as the kernel does where memory runs
//! out: nothing of the command runs on, the build says so, and the next one is right.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::plain_users::{ONE_ID, as_user, give};
use crate::build::run_faults::running;
use crate::cli::signals::{assert_clean, wait_for};
use crate::home::Home;
use crate::run;
use crate::skip::{is_possible, needs_root};

/// Processes that descend from `ancestor` and are named as the sandbox's are, in the order of their
/// descent.
fn sandbox_processes(ancestor: u32) -> Vec<i32> {
    let children = |parent: i32| {
        let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
        let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>()).collect::<Vec<_>>()
    };
    let is_named = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "mpimg-sandbox\n");
    let (mut found, mut next) = (Vec::new(), children(ancestor as i32));
    while !next.is_empty() {
        found.extend(next.iter().copied().filter(is_named));
        next = next.into_iter().filter(is_named).flat_map(children).collect();
    }
    found
}

#[test]
fn a_killed_process_of_the_sandbox_leaves_nothing_running_and_the_next_build_is_right() {
    needs_root!();
    let mut digest: Option<String> = None;
    // How many processes each isolation has beside the command.
    for (isolation, processes) in [("root", 2), ("single", 3), ("chroot", 2), ("emulated", 1)] {
        if !is_possible(isolation) {
            continue;
        }
        for victim in 0..processes {
            let home = Home::new();
            let marker = format!("marker-helper-{}-{isolation}-{victim}", std::process::id());
            let context = home.path().join("context");
            std::fs::create_dir(&context).unwrap();
            let write = |wait: &str| {
                let base = home.path().join("base").display().to_string();
                let step = format!("RUN mkdir -m 700 /opt/x && chown 7:8 /opt/x && seq 9 >/opt/x/y; {wait}\n");
                std::fs::write(context.join("Dockerfile"), format!("FROM oci:{base}:base\n{step}")).unwrap();
            };
            write(&format!(
                "(setsid sh -c 'while : {marker}; do sleep 1; done' &); echo started; trap '' TERM; while :; do sleep 1; done"
            ));
            give(&home);
            let user = if ["root", "chroot"].contains(&isolation) { "exec \"$@\"" } else { ONE_ID };
            let mpimg = |flags: &[&str], context: &PathBuf| -> Command {
                let mut command = as_user(&home, user);
                command.args(["build", "--isolation", isolation]).args(flags).arg(context);
                command
            };
            let mut build = mpimg(&["--progress", "plain"], &context);
            let mut child = build.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            wait_for(&mut child, "] started");
            let all = sandbox_processes(child.id());
            assert_eq!(all.len(), processes, "{isolation}: {all:?}");
            assert!(!running(&marker).is_empty());
            kill_process(Pid::from_raw(all[victim]).unwrap(), Signal::KILL).unwrap();
            let begun = Instant::now();
            let output = child.wait_with_output().unwrap();
            assert!(begun.elapsed() < Duration::from_secs(30), "{isolation} {victim}: {:?}", begun.elapsed());
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(running(&marker), Vec::<String>::new(), "{isolation} {victim}: {said}");
            assert_eq!(output.status.code(), Some(1), "{isolation} {victim}: {said}");
            assert!(
                said.contains("RUN failed\n") && said.contains("hint: unless somebody killed it, memory ran out"),
                "{isolation} {victim}: {said}"
            );
            assert_clean(&home);
            write("true");
            let next = run(&mut mpimg(&["-q"], &context));
            assert_eq!(digest.get_or_insert_with(|| next.clone()), &next, "{isolation}");
        }
    }
}
