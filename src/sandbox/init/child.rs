//! Process 1 of a sandbox: mounts, starts the command, reaps whatever ends, and kills the rest when
//! the command has ended.
//!
//! When it ends, the kernel kills every process of its namespace.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, mount_move, unmount};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, chdir, fchdir, kill_process};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::descriptors::fd_path;
use super::plan::RootPlan;
use super::process::{Fork, child_events, clear_child_events, exit_now, fork, unshare};
use super::stubs::Stubs;
use super::{command, mounted_root};
use crate::sandbox::channel::{read_message, write_message};
use crate::sandbox::setup_error::{BecauseOf as _, Cause, SetupError, Step as _};
use crate::sandbox::{Exit, IsolationKind, RunSpec};

/// What process 1 reports to the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// Everything is mounted; these stubs were made for it.
    Ready(Stubs),
    /// The command has been started: from now on numbers of signals may be sent back.
    Started,
    Ended(Exit),
    Failed(SetupError),
}

pub(super) fn run(
    isolation: IsolationKind,
    spec: &RunSpec,
    probe: bool,
    report: &UnixStream,
    fakeroot: Option<&UnixStream>,
) -> Result<Exit, SetupError> {
    unshare(UnshareFlags::NEWNS).step(|| "unshare(CLONE_NEWNS)".into()).because_of(Cause::Namespace)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).step(|| "make mounts private".into())?;
    rustix::system::sethostname(spec.hostname.as_bytes()).step(|| "sethostname".into())?;
    let prepared = mounted_root::build(isolation, spec, &RootPlan::new(isolation, spec))?;
    let command = command::prepare(isolation, spec, &prepared.root, fakeroot)?;
    pivot(&prepared.root)?;
    write_message(report, &Report::Ready(prepared.stubs)).step(|| "report".into())?;
    if probe {
        return command.rehearse().map(|()| Exit::Code(0));
    }
    let events = child_events().step(|| "signalfd".into())?;
    match fork().step(|| "fork".into())? {
        Fork::Child => exit_now(command.become_it()),
        Fork::Parent(pid) => {
            write_message(report, &Report::Started).step(|| "report".into())?;
            Ok(reap_until_end(pid, &events, report))
        }
    }
}

/// Makes `root` the root of this mount namespace and lets go of everything else.
fn pivot(root: &OwnedFd) -> Result<(), SetupError> {
    fchdir(root).step(|| "enter the new root".into())?;
    match rustix::process::pivot_root(".", ".") {
        Ok(()) => unmount(".", UnmountFlags::DETACH).step(|| "unmount the old root".into())?,
        // Docker's default filter forbids pivot_root even with CAP_SYS_ADMIN, and an initial ramfs
        // cannot be pivoted.
        Err(Errno::PERM | Errno::INVAL) => {
            mount_move(fd_path(root), "/").step(|| "move the new root".into())?;
            fchdir(root).step(|| "enter the new root".into())?;
            rustix::process::chroot(".").step(|| "chroot".into())?;
        }
        Err(errno) => return Err(errno).step(|| "pivot_root".into()),
    }
    chdir("/").step(|| "enter the new root".into())
}

/// Reaps whatever ends until `command` has. Meanwhile `helper` may send numbers of signals for it:
/// its own number is known here alone, and belongs to no other process before it is reaped.
fn reap_until_end(command: Pid, events: &OwnedFd, helper: &UnixStream) -> Exit {
    loop {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(exit) = exit_of(status).filter(|_| pid == command) {
                return exit;
            }
        }
        let mut fds = [PollFd::new(events, PollFlags::IN), PollFd::new(helper, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            // Cannot happen; an endless loop would be worse than a wrong status.
            Err(_) => return Exit::Code(255),
        }
        let signalled = !fds[1].revents().is_empty();
        clear_child_events(events);
        if signalled {
            match read_message::<i32>(helper) {
                Ok(Some(number)) => {
                    let _ = Signal::from_named_raw(number).map(|signal| kill_process(command, signal));
                }
                // With the helper this process ends.
                Ok(None) | Err(_) => return Exit::Signal(9),
            }
        }
    }
}

pub(super) fn exit_of(status: WaitStatus) -> Option<Exit> {
    let code = status.exit_status().map(|code| Exit::Code(code as u8));
    code.or_else(|| status.terminating_signal().map(|signal| Exit::Signal(signal as u8)))
}
