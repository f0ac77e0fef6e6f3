//! Process 1 of a sandbox: mounts, starts the command, reaps whatever ends, and kills the rest when
//! the command has ended.
//!
//! When it ends, the kernel kills every process of its namespace.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, mount_move, unmount};
use rustix::process::{chdir, fchdir};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::descriptors::{fd_path, pipe, wait_for_exec};
use super::plan::RootPlan;
use super::process::{Fork, child_events, exit_now, fork, unshare};
use super::reap::{reap_until_end, send_signal};
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
        return command.enter().map(|()| Exit::Code(0));
    }
    let events = child_events().step(|| "signalfd".into())?;
    let (executed, executing) = pipe()?;
    match fork().step(|| "fork".into())? {
        Fork::Child => exit_now(command.exec()),
        Fork::Parent(pid) => {
            // Who hears of the start may look at the process, and must not see this program.
            drop(executing);
            wait_for_exec(&executed, report)?;
            write_message(report, &Report::Started).step(|| "report".into())?;
            Ok(reap_until_end(pid, &events, report, |helper| match read_message::<i32>(helper) {
                Ok(Some(number)) => {
                    send_signal(pid, number);
                    None
                }
                // With the helper this process ends.
                Ok(None) | Err(_) => Some(Exit::Signal(9)),
            }))
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
