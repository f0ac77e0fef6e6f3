//! A further command in a sandbox that runs already: enters its namespaces or its chroot and starts
//! the command there, with its few privileges.
//!
//! An error for kinds of isolation that have nothing to enter.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::descriptors::{open_folder, pipe, wait_for_exec};
use super::process::{Fork, child_events, exit_now, fork};
use super::reap::{reap_until_end, send_signal};
use super::{command, userns};
use crate::sandbox::channel::{read_message, write_message};
use crate::sandbox::setup_error::{SetupError, Step as _};
use crate::sandbox::wire::{Control, Reply};
use crate::sandbox::{Exit, IsolationKind, RootSpec, RunSpec};

/// In the order in which they are entered: the first gives the right to enter the others, the last
/// takes /proc away.
const NAMESPACES: [(&str, LinkNameSpaceType); 6] = [
    ("user", LinkNameSpaceType::User),
    ("net", LinkNameSpaceType::Network),
    ("ipc", LinkNameSpaceType::InterProcessCommunication),
    ("uts", LinkNameSpaceType::HostNameAndNISDomainName),
    ("pid", LinkNameSpaceType::ProcessID),
    ("mnt", LinkNameSpaceType::Mount),
];

/// Runs `spec`'s command in the namespaces of the process `pid`, or in its chroot; of its root file
/// system nothing else is looked at.
pub(super) fn run(isolation: IsolationKind, pid: i32, spec: &RunSpec, control: &UnixStream) -> Result<Exit, SetupError> {
    match (isolation, &spec.root) {
        (IsolationKind::Root | IsolationKind::UserNamespace, _) => enter(pid)?,
        (IsolationKind::Chroot, RootSpec::Tree { path }) => {
            let tree = open_folder(path)?;
            rustix::process::fchdir(&tree).step(|| "enter the tree".into())?;
            rustix::process::chroot(".").step(|| "chroot".into())?;
        }
        (IsolationKind::Chroot | IsolationKind::SingleId | IsolationKind::Emulated, _) => {
            return Err(SetupError::new(format!("enter a container with isolation `{isolation}`"), None));
        }
    }
    let root =
        rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).step(|| "open /".into())?;
    let command = command::prepare(isolation, spec, &root, None)?;
    let events = child_events().step(|| "signalfd".into())?;
    let (executed, executing) = pipe()?;
    match fork().step(|| "fork".into())? {
        Fork::Child => exit_now(command.exec()),
        Fork::Parent(child) => {
            drop(executing);
            wait_for_exec(&executed, control)?;
            // A caller that is gone has the command killed below.
            let _ = write_message(control, &Reply::Started(child.as_raw_nonzero().get()));
            Ok(wait(child, &events, control))
        }
    }
}

/// Enters the namespaces of a process.
fn enter(pid: i32) -> Result<(), SetupError> {
    let mut others: Vec<(OwnedFd, &str, LinkNameSpaceType)> = Vec::new();
    for (name, kind) in NAMESPACES {
        let path = format!("/proc/{pid}/ns/{name}");
        let number = |path: &str| std::fs::metadata(path).map(|namespace| namespace.ino()).step(|| format!("look at {path}"));
        // Entering one's own user namespace is an error.
        if number(&path)? != number(&format!("/proc/self/ns/{name}"))? {
            let file =
                rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step(|| format!("open {path}"))?;
            others.push((file, name, kind));
        }
    }
    for (file, name, kind) in &others {
        move_into_link_name_space(file.as_fd(), Some(*kind)).step(|| format!("enter the {name} namespace"))?;
        if *name == "user" {
            userns::become_root()?;
        }
    }
    Ok(())
}

/// Waits for the command, and passes signals on; kills it when the caller goes.
fn wait(command: Pid, events: &OwnedFd, control: &UnixStream) -> Exit {
    reap_until_end(command, events, control, |control| match read_message::<Control>(control) {
        Ok(Some(Control::Signal(number))) => {
            send_signal(command, number);
            None
        }
        // Its ports are those of the container.
        Ok(Some(Control::Dial(_))) => None,
        Ok(None) | Err(_) => {
            let _ = kill_process(command, Signal::KILL);
            Some(Exit::Signal(9))
        }
    })
}
