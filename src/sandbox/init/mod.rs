//! The helper: a process with one thread that sets a sandbox up, runs the command in it and takes it down again.
//!
//! ```text
//! mpimg ──socket──► helper (this machine's namespaces; cleans up stubs)
//!                     └─ init (process 1 of its own namespaces; mounts, reaps)
//!                          └─ the command (few capabilities, filtered system calls)
//! ```
//! Each dies with the one above it, and with process 1 die all processes of its namespace and its mounts.
//!
//! Refuses to use standard error for itself: that belongs to the command.

mod attended;
mod child;
mod chroot;
mod command;
mod copy;
#[cfg(target_arch = "x86_64")]
mod emulated;
#[cfg(not(target_arch = "x86_64"))]
mod emulated {
    //! The isolation without privileges is not there on this processor: its loader is made of instructions of x86-64.
    use super::{SetupError, UnixStream};
    use crate::layer::LayerPath;
    use crate::sandbox::{Exit, RunSpec};

    pub(super) fn run(_: &RunSpec, _: bool, _: &UnixStream) -> Result<(Exit, Vec<LayerPath>), SetupError> {
        Err(SetupError::new(format!("start the loader of isolation `emulated` on {}", std::env::consts::ARCH), None))
    }
}
mod emulated_mounts;
mod fakeroot;
mod files;
mod mounts;
mod namespaces;
mod notify;
mod notify_target;
pub(super) mod orphans;
mod overlay;
mod owners;
mod privileges;
pub(super) mod process;
mod rootfs;
mod seccomp;
mod ssh;
mod stubs;
mod userns;
mod volumes;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;

use super::IsolationKind;
pub(super) use userns::name_of_map;

use super::wire::{self, Reply, Request, SetupError, Step as _, read_message, send_file, write_message};
use crate::layer::diff::{Change, changes};
use crate::layer::unpack::{self, UnpackOptions, Whiteouts, unpack};

/// The helper's `main`. Returns its exit status.
pub(super) fn main() -> i32 {
    let Ok(control) = take_control() else { return 1 };
    let Ok(Some(request)) = read_message::<Request>(&control) else { return 1 };
    if matches!(request, Request::Run { stdin: true, .. }) && take_stdin(&control).is_err() {
        return 1;
    }
    let reply = carry_out(request, &control).unwrap_or_else(Reply::Failed);
    i32::from(write_message(&control, &reply).is_err())
}

/// Makes standard input the control socket, then `/dev/null`, and sees that no other descriptor reaches the command.
fn take_control() -> Result<UnixStream, SetupError> {
    process::close_others_on_exec().step(|| "close_range".into())?;
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).step(|| "dup".into())?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).step(|| "open /dev/null".into())?;
    rustix::stdio::dup2_stdin(&null).step(|| "dup2".into())?;
    rustix::process::umask(Mode::empty());
    // Out of the terminal's process group: Ctrl-C is the caller's to handle.
    rustix::process::setsid().step(|| "setsid".into())?;
    Ok(UnixStream::from(control))
}

/// The command's standard input, which follows the request.
fn take_stdin(control: &UnixStream) -> Result<(), SetupError> {
    let stdin = wire::receive_file(control).step(|| "receive standard input".into())?;
    rustix::stdio::dup2_stdin(&stdin).step(|| "dup2".into())
}

fn carry_out(request: Request, control: &UnixStream) -> Result<Reply, SetupError> {
    match request {
        Request::Run { isolation: IsolationKind::Emulated, spec, probe, .. } => {
            emulated::run(&spec, probe, control).map(|(exit, touched)| Reply::EndedInTree(exit, touched))
        }
        Request::Run { isolation: IsolationKind::Chroot, spec, probe, .. } => {
            chroot::run(&spec, probe, control).map(|(exit, touched)| Reply::EndedInTree(exit, touched))
        }
        Request::Run { isolation, spec, probe, .. } => namespaces::run(isolation, &spec, probe, control).map(Reply::Ended),
        Request::Unpack { isolation, into, lower, limits, recorded } => {
            userns::enter(isolation)?;
            let options = UnpackOptions { whiteouts: Whiteouts::UserOverlay, lower, limits, recorded, owner_table: false };
            let unpacked = unpack(control, &into, &options);
            Ok(unpacked.map_or_else(|error| Reply::Refused(error.into()), Reply::Unpacked))
        }
        Request::Changes { isolation, upper, lower } => {
            let entered = userns::enter(isolation);
            let told = entered.map(|()| changes(&upper, &lower).and_then(|changes| tell(changes, control)));
            // The reply follows the last change, also where there was none.
            write_message(control, &wire::Change::End).step(|| "tell what has changed".into())?;
            Ok(told?.map_or_else(|error| Reply::Refused(error.into()), |()| Reply::Done))
        }
        Request::Remove { isolation, path } => {
            userns::enter(isolation)?;
            remove_tree(&path).step(|| format!("remove `{}`", path.display())).map(|()| Reply::Done)
        }
    }
}

fn tell(changes: Vec<Change>, control: &UnixStream) -> crate::Result<()> {
    let lost = |error| crate::Error::new(crate::ErrorKind::Io, "cannot tell what has changed").with_source(error);
    for change in changes {
        let file = change.open()?;
        write_message(control, &wire::Change::Entry(change.entry)).map_err(lost)?;
        if let Some(file) = file {
            send_file(control, file).map_err(lost)?;
        }
    }
    Ok(())
}

/// Removes a folder with all that is in it; none there is no error.
pub(in crate::sandbox) fn remove_tree(path: &Path) -> Result<(), rustix::io::Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(rustix::io::Errno::INVAL) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(parent, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        parent => unpack::remove(&parent?, name.as_bytes()),
    }
}

/// Dies when the parent dies. `alive` is the reading end of a pipe that only the parent can write: it closes the gap before this call.
fn die_with_parent(alive: &OwnedFd) -> Result<(), SetupError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).step(|| "prctl(PR_SET_PDEATHSIG)".into())?;
    let mut fds = [rustix::event::PollFd::new(alive, rustix::event::PollFlags::IN)];
    let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut fds, Some(&none)) {
        Ok(0) => Ok(()),
        _ => Err(SetupError::new("start (the parent is gone)", None)),
    }
}

fn open_folder(path: &std::path::Path) -> Result<OwnedFd, SetupError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).step(|| format!("open `{}`", path.display()))
}

/// The path of an open descriptor, for calls that only take paths. Needs the /proc that this process was born with.
fn fd_path(fd: &OwnedFd) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn pipe() -> Result<(File, File), SetupError> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step(|| "pipe".into())?;
    Ok((reader.into(), writer.into()))
}
