//! What a caller may want of a running command: signals, and connections to ports of the command's
//! own network.
//!
//! Connections are made here because this process is inside that network, and handed out as
//! descriptors: a socket stays in the network that it was made in.
//!
//! It does not wait for a connection: the caller gets the socket while it still connects.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, Signal};

use super::process;
use crate::sandbox::channel::{read_message, send_file, write_message};
use crate::sandbox::setup_error::SetupError;
use crate::sandbox::setup_error::Step as _;
use crate::sandbox::wire::{Control, Reply};
use crate::sandbox::{UPLINK_ADDRESS, UPLINK_MTU};

/// The way to the command's process: process 1 of its namespace passes signals on.
pub(super) struct Command<'a> {
    process_one: &'a UnixStream,
    /// `None` once it runs: then nothing needs to be kept.
    early: Option<Vec<Signal>>,
}

impl<'a> Command<'a> {
    pub(super) fn new(process_one: &'a UnixStream) -> Self {
        Self { process_one, early: Some(Vec::new()) }
    }

    pub(super) fn started(&mut self) {
        for signal in self.early.take().into_iter().flatten() {
            self.send(signal);
        }
    }

    /// Sends it a signal, at its start if it has not started yet.
    pub(super) fn signal(&mut self, signal: Signal) {
        match &mut self.early {
            Some(early) => early.push(signal),
            None => self.send(signal),
        }
    }

    fn send(&self, signal: Signal) {
        // A command that has ended meanwhile needs no signal.
        let _ = write_message(self.process_one, &signal.as_raw());
    }
}

/// Reports to the caller that the command runs.
pub(super) fn tell_start(control: &UnixStream, pid: Pid) -> Result<(), SetupError> {
    write_message(control, &Reply::Started(pid.as_raw_nonzero().get())).step(|| "report the start".into())
}

/// Makes an interface whose packets the caller gets, or reports why there is none.
pub(super) fn open_uplink(control: &UnixStream) -> Result<(), SetupError> {
    let sent = match uplink() {
        Ok(packets) => write_message(control, &Reply::Tun(None)).and_then(|()| send_file(control, packets)),
        Err(errno) => write_message(control, &Reply::Tun(Some(errno.raw_os_error()))),
    };
    sent.step(|| "report the network".into())
}

fn uplink() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let tun = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    process::tun_up(&tun, UPLINK_ADDRESS, UPLINK_MTU)?;
    Ok(tun)
}

/// Does what the next order says; false once the connection to the caller is of no more use.
pub(super) fn obey(control: &UnixStream, signal: impl FnOnce(Signal)) -> bool {
    match read_message::<Control>(control) {
        Ok(Some(Control::Signal(number))) => {
            if let Some(known) = process::signal(number) {
                signal(known);
            }
            true
        }
        Ok(Some(Control::Dial(port))) => answer(control, dial(port)).is_ok(),
        Ok(None) | Err(_) => false,
    }
}

fn answer(control: &UnixStream, dialled: Result<OwnedFd, Errno>) -> std::io::Result<()> {
    match dialled {
        Ok(socket) => write_message(control, &Reply::Dialled(None)).and_then(|()| send_file(control, socket)),
        Err(errno) => write_message(control, &Reply::Dialled(Some(errno.raw_os_error()))),
    }
}

fn dial(port: u16) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&socket, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port)) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}
