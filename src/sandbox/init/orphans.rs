//! Processes whose parent has died: where there is no namespace to end with, somebody has to adopt
//! them, and to kill them.
//!
//! All children are killed, so the caller must have no other children left.

use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use crate::store::process_stat;

/// Makes orphaned descendants children of this process.
pub(in crate::sandbox) fn adopt() -> Result<(), Errno> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
}

/// Kills and reaps until nothing is left: whatever a killed process leaves behind becomes a child
/// of this one.
pub(in crate::sandbox) fn kill_descendants() {
    loop {
        kill_children();
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Kills the processes whose parent is this one.
pub(in crate::sandbox) fn kill_children() {
    for child in children() {
        let _ = rustix::process::kill_process(child, Signal::KILL);
    }
}

/// Processes whose parent is this one.
fn children() -> Vec<Pid> {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parent_of = |path: PathBuf| process_stat::parent(&process_stat::read(&path.join("stat"))?);
    let pids = entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<i32>().ok()?, entry.path())));
    pids.filter(|(_, path)| parent_of(path.clone()) == Some(me)).filter_map(|(pid, _)| Pid::from_raw(pid)).collect()
}
