//! Waiting for the end of a command beside a socket whose other end steers it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, kill_process};

use super::process::clear_child_events;
use crate::sandbox::Exit;

/// Reaps whatever ends until `command` has. Meanwhile `attend` takes a message from `socket`
/// whenever there is one; if it returns something, nothing is waited for any more. Before it is
/// reaped, the command's number belongs to no other process: a signal that `attend` sends meets it.
pub(super) fn reap_until_end(
    command: Pid,
    events: &OwnedFd,
    socket: &UnixStream,
    mut attend: impl FnMut(&UnixStream) -> Option<Exit>,
) -> Exit {
    loop {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(exit) = exit_of(status).filter(|_| pid == command) {
                return exit;
            }
        }
        let mut fds = [PollFd::new(events, PollFlags::IN), PollFd::new(socket, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            // Cannot happen; an endless loop would be worse than a wrong status.
            Err(_) => return Exit::Code(255),
        }
        let has_message = !fds[1].revents().is_empty();
        clear_child_events(events);
        if let Some(exit) = has_message.then(|| attend(socket)).flatten() {
            return exit;
        }
    }
}

/// Sends a signal by its number; a number that is not a signal sends nothing.
pub(super) fn send_signal(process: Pid, number: i32) {
    let _ = super::process::signal(number).map(|signal| kill_process(process, signal));
}

pub(super) fn exit_of(status: WaitStatus) -> Option<Exit> {
    let code = status.exit_status().map(|code| Exit::Code(code as u8));
    code.or_else(|| status.terminating_signal().map(|signal| Exit::Signal(signal as u8)))
}
