//! The helper's own part for the kinds of isolation with namespaces: enter them, start process 1, wait for it, remove the stubs it made.
//!
//! Refuses to mount anything itself: its view of the file systems stays that of the machine.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::fakeroot::Fakeroot;
use super::owners::Owners;
use super::process::{Fork, exit_now, fork, loopback_up, unshare};
use super::stubs::{self, Stubs};
use super::{SetupError, attended, child, die_with_parent, overlay, pipe, ssh, userns};
use crate::sandbox::wire::{Step as _, read_message, receive_file, write_message};
use crate::sandbox::{Exit, IsolationKind, Network, RootSpec, RunSpec};

/// What process 1 tells the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// Everything is mounted; these stubs were made for it.
    Ready(Stubs),
    /// The command has been started; a descriptor of its process follows.
    Started,
    Ended(Exit),
    Failed(SetupError),
}

pub(super) fn run(isolation: IsolationKind, spec: &RunSpec, probe: bool, control: &UnixStream) -> Result<Exit, SetupError> {
    let RootSpec::Overlay { upper, work, .. } = &spec.root else {
        return Err(SetupError::new(format!("a step with isolation `{isolation}` with a private tree"), None));
    };
    userns::enter(isolation)?;
    overlay::make_folder(work)?;
    let owners = Owners::new(isolation, &spec.user);
    let agents = ssh::listen(&owners, spec, work)?.serve()?;
    let fakeroot = (isolation == IsolationKind::SingleId).then(|| Fakeroot::start(&spec.user)).transpose()?;
    enter(spec.network)?;
    if spec.way_out && !probe {
        attended::open_way_out(control)?;
    }
    let (reports, report) = UnixStream::pair().step(|| "make a socket".into())?;
    let (alive, keep_alive) = pipe()?;
    match fork().step(|| "fork".into())? {
        Fork::Child => {
            drop((reports, keep_alive));
            let fakeroot = fakeroot.as_ref().map(Fakeroot::socket);
            exit_now(process_one(isolation, spec, probe, &OwnedFd::from(alive), &report, fakeroot))
        }
        Fork::Parent(pid) => {
            drop((report, alive));
            let (stubs, outcome) = supervise(pid, reports, control);
            drop((keep_alive, agents, fakeroot));
            stubs::remove(upper, &stubs)?;
            let exit = outcome?;
            owners.end(upper).map(|()| exit)
        }
    }
}

fn enter(network: Network) -> Result<(), SetupError> {
    let mut flags = UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if network != Network::Host {
        flags |= UnshareFlags::NEWNET;
    }
    unshare(flags).step(|| "unshare(CLONE_NEWPID|CLONE_NEWIPC|CLONE_NEWUTS)".into())?;
    match network {
        Network::None | Network::Private => loopback_up().step(|| "bring up the loopback interface".into()),
        Network::Host => Ok(()),
    }
}

fn process_one(
    isolation: IsolationKind,
    spec: &RunSpec,
    probe: bool,
    alive: &OwnedFd,
    report: &UnixStream,
    fakeroot: Option<&UnixStream>,
) -> i32 {
    let outcome = die_with_parent(alive).and_then(|()| child::run(isolation, spec, probe, report, fakeroot));
    let last = match outcome {
        Ok(exit) => Report::Ended(exit),
        Err(error) => Report::Failed(error),
    };
    i32::from(write_message(report, &last).is_err())
}

/// Hears process 1 out until it is gone; kills it when the caller goes.
fn supervise(pid: Pid, mut reports: UnixStream, control: &UnixStream) -> (Stubs, Result<Exit, SetupError>) {
    let mut command = attended::Command::default();
    let mut stubs = Stubs::default();
    let mut outcome = Err(SetupError::new("start process 1", None));
    loop {
        if wait_or_hang_up(&reports, control, &mut command) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            break;
        }
        match read_message(&mut reports) {
            Ok(Some(Report::Ready(made))) => stubs = made,
            Ok(Some(Report::Started)) => match receive_file(&reports) {
                Ok(process) if attended::tell_start(control, pid).is_ok() => command.started(process),
                _ => break,
            },
            Ok(Some(Report::Ended(exit))) => outcome = Ok(exit),
            Ok(Some(Report::Failed(error))) => outcome = Err(error),
            Ok(None) | Err(_) => break,
        }
    }
    while let Err(Errno::INTR) = rustix::process::waitpid(Some(pid), WaitOptions::empty()) {}
    (stubs, outcome)
}

/// Waits for a report; true when the caller has hung up instead.
fn wait_or_hang_up(reports: &UnixStream, control: &UnixStream, command: &mut attended::Command) -> bool {
    loop {
        let mut fds = [PollFd::new(reports, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return true,
            Ok(_) if !fds[0].revents().is_empty() => return false,
            Ok(_) if attended::obey(control, |signal| command.signal(signal)) => {}
            Ok(_) => return true,
        }
    }
}
