//! The helper's own part for the kinds of isolation with namespaces: enter them, start process 1,
//! wait for it, remove the stubs it made.
//!
//! It mounts nothing itself, so it keeps seeing the file systems of the machine.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use super::child::Report;
use super::descriptors::pipe;
use super::fakeroot::Fakeroot;
use super::owners::Owners;
use super::process::die_with_parent;
use super::process::{Fork, exit_now, fork, loopback_up, unshare};
use super::stubs::{self, Stubs};
use super::{attended, child, overlay, ssh, userns};
use crate::sandbox::channel::{read_message, write_message};
use crate::sandbox::setup_error::{BecauseOf as _, Cause, SetupError, Step as _};
use crate::sandbox::{Exit, IsolationKind, NetworkAccess, RootSpec, RunSpec};

/// Also returns whether the command was told of an effect that did not happen.
pub(super) fn run(
    isolation: IsolationKind,
    spec: &RunSpec,
    probe: bool,
    control: &UnixStream,
) -> Result<(Exit, bool), SetupError> {
    let RootSpec::Overlay { upper, work, .. } = &spec.root else {
        return Err(SetupError::new(format!("a step with isolation `{isolation}` with a private tree"), None));
    };
    userns::enter(isolation)?;
    overlay::make_folder(work)?;
    let owners = Owners::new(isolation, &spec.user);
    let agents = ssh::listen(&owners, spec, work)?.serve()?;
    let fakeroot = isolation.records_owners_in_xattrs().then(|| Fakeroot::start(&spec.user)).transpose()?;
    enter(spec.network)?;
    if spec.uplink && !probe {
        attended::open_uplink(control)?;
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
            let (stubs, outcome) = supervise(pid, reports, control, fakeroot.as_ref());
            let pretended = fakeroot.as_ref().is_some_and(Fakeroot::has_pretended);
            drop((keep_alive, agents, fakeroot));
            stubs::remove(upper, &stubs)?;
            let exit = outcome?;
            owners.end(upper).map(|()| (exit, pretended))
        }
    }
}

fn enter(network: NetworkAccess) -> Result<(), SetupError> {
    let mut flags = UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if network != NetworkAccess::Host {
        flags |= UnshareFlags::NEWNET;
    }
    unshare(flags).step(|| "unshare(CLONE_NEWPID|CLONE_NEWIPC|CLONE_NEWUTS)".into()).because_of(Cause::Namespace)?;
    match network {
        NetworkAccess::Host => return Ok(()),
        NetworkAccess::None | NetworkAccess::Private => loopback_up().step(|| "bring up the loopback interface".into())?,
    }
    if network == NetworkAccess::Private {
        allow_low_ports_and_ping();
    }
    Ok(())
}

/// As Docker does since 20.10: every user of a container with a network of its own may listen on
/// ports below 1024, and ping (ip(7), icmp(7)). Where /proc/sys cannot be written, only root may.
fn allow_low_ports_and_ping() {
    let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    // Each group of the range must exist in this user namespace (user_namespaces(7): ID, ID
    // outside, how many).
    let map = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    let groups = map.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["0", _, count] => count.parse::<u32>().ok(),
        _ => None,
    });
    let last = groups.unwrap_or(1).saturating_sub(1).min(i32::MAX as u32);
    let _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", format!("0 {last}"));
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
fn supervise(
    pid: Pid,
    reports: UnixStream,
    control: &UnixStream,
    mut fakeroot: Option<&Fakeroot>,
) -> (Stubs, Result<Exit, SetupError>) {
    let mut command = attended::Command::new(&reports);
    let mut stubs = Stubs::default();
    let mut outcome = Err(SetupError::ended_early());
    loop {
        if wait_or_hang_up(&reports, control, &mut command, &mut fakeroot) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            break;
        }
        match read_message(&reports) {
            Ok(Some(Report::Ready(made))) => stubs = made,
            Ok(Some(Report::Started)) if attended::tell_start(control, pid).is_ok() => command.started(),
            Ok(Some(Report::Started)) => break,
            Ok(Some(Report::Ended(exit))) => outcome = Ok(exit),
            Ok(Some(Report::Failed(error))) => outcome = Err(error),
            Ok(None) | Err(_) => break,
        }
    }
    while let Err(Errno::INTR) = rustix::process::waitpid(Some(pid), WaitOptions::empty()) {}
    (stubs, outcome)
}

/// Waits for a report; true when the caller has hung up instead, or what answers the command's
/// calls has been killed.
fn wait_or_hang_up(
    reports: &UnixStream,
    control: &UnixStream,
    command: &mut attended::Command<'_>,
    fakeroot: &mut Option<&Fakeroot>,
) -> bool {
    loop {
        let mut fds = vec![PollFd::new(reports, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        // Its end alone.
        fds.extend(fakeroot.map(|fakeroot| PollFd::new(fakeroot.socket(), PollFlags::empty())));
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return true,
            Ok(_) if !fds[0].revents().is_empty() => return false,
            Ok(_) if fds.get(2).is_some_and(|end| !end.revents().is_empty()) => {
                // By itself it ends with the command.
                if fakeroot.take().is_some_and(Fakeroot::was_killed) {
                    return true;
                }
            }
            Ok(_) if attended::obey(control, |signal| command.signal(signal)) => {}
            Ok(_) => return true,
        }
    }
}
