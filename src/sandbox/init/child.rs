//! Process 1 of a sandbox: mounts, starts the command, reaps whatever ends, and kills the rest when the command has ended.
//!
//! Refuses to be left: when it ends, the kernel kills every process of its namespace.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, mount_move, unmount};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, chdir, fchdir};
use rustix::thread::UnshareFlags;

use super::namespaces::Report;
use super::process::{Fork, exit_now, fork, unshare};
use super::{SetupError, command, fd_path, rootfs};
use crate::sandbox::wire::{Step as _, send_file, write_message};
use crate::sandbox::{Exit, IsolationKind, RunSpec};

pub(super) fn run(
    isolation: IsolationKind,
    spec: &RunSpec,
    probe: bool,
    report: &UnixStream,
    fakeroot: Option<&UnixStream>,
) -> Result<Exit, SetupError> {
    unshare(UnshareFlags::NEWNS).step(|| "unshare(CLONE_NEWNS)".into())?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).step(|| "make mounts private".into())?;
    rustix::system::sethostname(spec.hostname.as_bytes()).step(|| "sethostname".into())?;
    let prepared = rootfs::build(isolation, spec)?;
    let command = command::prepare(isolation, spec, &prepared.root, fakeroot)?;
    pivot(&prepared.root)?;
    write_message(report, &Report::Ready(prepared.stubs)).step(|| "report".into())?;
    if probe {
        return command.rehearse().map(|()| Exit::Code(0));
    }
    match fork().step(|| "fork".into())? {
        Fork::Child => exit_now(command.become_it()),
        Fork::Parent(pid) => {
            let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).step(|| "pidfd_open".into())?;
            write_message(report, &Report::Started).and_then(|()| send_file(report, process)).step(|| "report".into())?;
            Ok(reap_until(pid))
        }
    }
}

/// Makes `root` the root of this mount namespace and lets go of everything else.
fn pivot(root: &OwnedFd) -> Result<(), SetupError> {
    fchdir(root).step(|| "enter the new root".into())?;
    match rustix::process::pivot_root(".", ".") {
        Ok(()) => unmount(".", UnmountFlags::DETACH).step(|| "unmount the old root".into())?,
        // Docker's default filter forbids pivot_root even with CAP_SYS_ADMIN, and an initial ramfs cannot be pivoted.
        Err(Errno::PERM | Errno::INVAL) => {
            mount_move(fd_path(root), "/").step(|| "move the new root".into())?;
            fchdir(root).step(|| "enter the new root".into())?;
            rustix::process::chroot(".").step(|| "chroot".into())?;
        }
        Err(errno) => return Err(errno).step(|| "pivot_root".into()),
    }
    chdir("/").step(|| "enter the new root".into())
}

fn reap_until(command: Pid) -> Exit {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => {
                if let Some(exit) = exit_of(status) {
                    return exit;
                }
            }
            Ok(_) | Err(Errno::INTR) => {}
            // Cannot happen while the command lives; an endless loop would be worse than a wrong status.
            Err(_) => return Exit::Code(255),
        }
    }
}

pub(super) fn exit_of(status: WaitStatus) -> Option<Exit> {
    let code = status.exit_status().map(|code| Exit::Code(code as u8));
    code.or_else(|| status.terminating_signal().map(|signal| Exit::Signal(signal as u8)))
}
