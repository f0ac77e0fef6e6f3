//! Processes whose parent has died: where there is no namespace to end with, somebody has to adopt
//! them, and to kill them.
//!
//! All children are killed, so the caller must have no other children left.

use std::fs::File;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::descriptors::pipe;
use super::process::{Fork, exit_now, fork};
use crate::sandbox::setup_error::{SetupError, Step as _};
use crate::store::process_stat;

/// Makes orphaned descendants children of this process.
pub(in crate::sandbox) fn adopt() -> Result<(), Errno> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
}

/// Goes on in a child, and stays as its parent: if the child is killed, this process kills what the
/// child has left running. Returns in the child only, what can be read from (its end) as soon as
/// the parent has been killed: then the child is to do that.
pub(super) fn guard() -> Result<File, SetupError> {
    adopt().step(|| "prctl(PR_SET_CHILD_SUBREAPER)".into())?;
    let (alive, keep_alive) = pipe()?;
    let worker = match fork().step(|| "fork".into())? {
        Fork::Child => return Ok(alive),
        Fork::Parent(worker) => worker,
    };
    let status = loop {
        match rustix::process::waitpid(Some(worker), WaitOptions::empty()) {
            Ok(Some((_, status))) => break status,
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => exit_now(1),
        }
    };
    kill_descendants();
    drop(keep_alive);
    // The caller is told how the child has ended.
    if let Some(signal) = status.terminating_signal().and_then(super::process::signal) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
    }
    exit_now(status.exit_status().unwrap_or(1))
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
