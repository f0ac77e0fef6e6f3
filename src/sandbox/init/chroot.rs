//! The isolation without namespaces: the helper puts devices and files into the step's own tree,
//! starts the command in a chroot, and afterwards kills everything that descends from it.
//!
//! This is not a security boundary: the command sees the machine's processes and network as its
//! parent container does.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};
use rustix::thread::{CapabilitySet, capabilities};

use super::descriptors::{expect_mounted_with, open_folder, pipe, remove_tree, wait_for_exec};
use super::owners::Owners;
use super::plan::RootPlan;
use super::process::{Fork, die_with_parent, exit_now, fork};
use super::reap::exit_of;
use super::substitute_mounts::SubstituteMounts;
use super::{attended, command, copied_root, orphans, overlay, process, ssh, volumes};
use crate::layer::LayerPath;
use crate::sandbox::channel::{read_message, write_message};
use crate::sandbox::setup_error::{SetupError, Step as _};
use crate::sandbox::{Exit, IsolationKind, NetworkAccess, RootSpec, RunSpec};

/// Returns how the command ended and the paths whose ctime this function has changed.
pub(super) fn run(spec: &RunSpec, probe: bool, control: &UnixStream) -> Result<(Exit, Vec<LayerPath>), SetupError> {
    let RootSpec::Tree { path } = &spec.root else {
        return Err(SetupError::new("a step with isolation `chroot` with an overlay", None));
    };
    if spec.network != NetworkAccess::Host {
        return Err(SetupError::new("a network of its own with isolation `chroot`", Some(Errno::PERM.raw_os_error())));
    }
    let own = capabilities(None).step(|| "capget".into())?.effective;
    if !own.contains(CapabilitySet::SYS_CHROOT) {
        let uid = rustix::process::geteuid().as_raw();
        return Err(SetupError::new(format!("chroot as uid {uid} without CAP_SYS_CHROOT"), Some(Errno::PERM.raw_os_error())));
    }
    // Nothing else would end processes that have left their parents. A container's monitor would,
    // and a rehearsal starts none.
    let guard = if probe || spec.container { None } else { Some(orphans::guard()?) };
    let aside = path.with_extension("aside");
    overlay::make_folder(path)?;
    // Devices can be made, and programs copied, where neither can be used.
    expect_mounted_with(path, &[("exec", StatVfsMountFlags::NOEXEC), ("dev", StatVfsMountFlags::NODEV)])?;
    overlay::make_folder(&aside)?;
    Owners::OnDisk.make_lasting_folders(&open_folder(path)?, spec)?;
    let mut mounts = SubstituteMounts::new(open_folder(path)?, open_folder(&aside)?);
    let outcome = ssh::listen(&Owners::OnDisk, spec, &aside).and_then(ssh::Agents::serve).and_then(|agents| {
        copied_root::build(&mut mounts, spec, &RootPlan::new(IsolationKind::Chroot, spec), &aside)?;
        let volumes = volumes::note(mounts.tree(), spec)?;
        let command = command::prepare(IsolationKind::Chroot, spec, mounts.tree(), None)?;
        let exit = supervise(&command, mounts.tree(), agents, guard.as_ref(), probe, control);
        // Also of a command that failed or was killed: its logs are what somebody wants then.
        volumes::copy_all_back(&volumes).and(exit)
    });
    let touched = mounts.touched();
    let restored = mounts.restore();
    let _ = remove_tree(&aside);
    let exit = outcome?;
    restored.map(|()| (exit, touched))
}

fn supervise(
    command: &command::Command<'_>,
    tree: &OwnedFd,
    agents: ssh::Server,
    guard: Option<&File>,
    probe: bool,
    control: &UnixStream,
) -> Result<Exit, SetupError> {
    // Orphans come to this process instead of leaving it.
    orphans::adopt().step(|| "prctl(PR_SET_CHILD_SUBREAPER)".into())?;
    let (alive, keep_alive) = pipe()?;
    let (reports, report) = pipe()?;
    let events = process::child_events().step(|| "signalfd".into())?;
    let pid = match fork().step(|| "fork".into())? {
        Fork::Child => {
            drop((keep_alive, reports));
            let entered = die_with_parent(&OwnedFd::from(alive)).and_then(|()| enter(tree));
            let probed = if probe { entered.and_then(|()| device_works()).and_then(|()| command.enter()) } else { entered };
            exit_now(match probed {
                Ok(()) if probe => 0,
                Ok(()) => command.exec(),
                Err(error) => i32::from(write_message(&report, &error).is_err()),
            })
        }
        Fork::Parent(pid) => pid,
    };
    drop((report, alive));
    let started = wait_for_exec(&reports, control).and_then(|()| attended::tell_start(control, pid));
    let exit = started.and_then(|()| wait_or_hang_up(pid, &events, guard, control));
    drop(agents);
    orphans::kill_descendants();
    drop(keep_alive);
    match read_message::<SetupError>(reports).step(|| "start the command".into())? {
        Some(error) => Err(error),
        None => exit,
    }
}

fn enter(tree: &OwnedFd) -> Result<(), SetupError> {
    rustix::process::fchdir(tree).step(|| "enter the tree".into())?;
    rustix::process::chroot(".").step(|| "chroot".into())
}

/// A file system that is mounted nodev lets devices be made but not used.
fn device_works() -> Result<(), SetupError> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).step(|| "open /dev/null inside".into()).map(drop)
}

fn wait_or_hang_up(pid: Pid, events: &OwnedFd, guard: Option<&File>, control: &UnixStream) -> Result<Exit, SetupError> {
    loop {
        let ended = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG).step(|| "wait".into())?;
        if let Some(exit) = ended.and_then(|(_, status)| exit_of(status)) {
            return Ok(exit);
        }
        let mut fds = vec![PollFd::new(events, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        fds.extend(guard.map(|guard| PollFd::new(guard, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            polled => polled.step(|| "wait for the command".into()).map(drop)?,
        }
        let asked = !fds[1].revents().is_empty();
        if fds.get(2).is_some_and(|guard| !guard.revents().is_empty()) {
            return Err(SetupError::ended_early());
        }
        process::clear_child_events(events);
        // Not reaped before the next turn, so the number is still its own.
        let signal = |signal| {
            let _ = rustix::process::kill_process(pid, signal);
        };
        if asked && !attended::obey(control, signal) {
            return Err(SetupError::new("wait for the command (the caller is gone)", None));
        }
    }
}
