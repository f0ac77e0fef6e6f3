//! What a caller may want of a running command: signals, and connections to ports of the command's own network.
//!
//! Connections are made here because this process is inside that network, and handed out as descriptors: a socket stays in the network
//! that it was made in.
//!
//! Refuses to wait for a connection: the caller gets the socket while it still connects.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, Signal, pidfd_send_signal};

use super::{SetupError, process};
use crate::sandbox::running::{WAY_OUT_ADDRESS, WAY_OUT_MTU};
use crate::sandbox::wire::{Order, Reply, Step as _, read_message, send_file, write_message};

/// The command's process, and the signals that came before it.
#[derive(Default)]
pub(super) struct Command {
    process: Option<OwnedFd>,
    early: Vec<Signal>,
}

impl Command {
    pub(super) fn started(&mut self, process: OwnedFd) {
        for signal in self.early.drain(..) {
            let _ = pidfd_send_signal(&process, signal);
        }
        self.process = Some(process);
    }

    /// A command that has ended meanwhile needs no signal.
    pub(super) fn signal(&mut self, signal: Signal) {
        match &self.process {
            Some(process) => {
                let _ = pidfd_send_signal(process, signal);
            }
            None => self.early.push(signal),
        }
    }
}

/// Tells the caller that the command runs.
pub(super) fn tell_start(control: &UnixStream, pid: Pid) -> Result<(), SetupError> {
    write_message(control, &Reply::Started(pid.as_raw_nonzero().get())).step(|| "report the start".into())
}

/// Makes an interface whose packets the caller gets, or tells why there is none.
pub(super) fn open_way_out(control: &UnixStream) -> Result<(), SetupError> {
    let told = match way_out() {
        Ok(packets) => write_message(control, &Reply::WayOut(None)).and_then(|()| send_file(control, packets)),
        Err(errno) => write_message(control, &Reply::WayOut(Some(errno.raw_os_error()))),
    };
    told.step(|| "report the network".into())
}

fn way_out() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let tun = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    process::tun_up(&tun, WAY_OUT_ADDRESS, WAY_OUT_MTU)?;
    Ok(tun)
}

/// Does what the next order says; false when the caller has hung up instead.
pub(super) fn obey(control: &UnixStream, signal: impl FnOnce(Signal)) -> bool {
    match read_message::<Order>(control) {
        Ok(Some(Order::Signal(number))) => {
            if let Some(known) = Signal::from_named_raw(number) {
                signal(known);
            }
            true
        }
        Ok(Some(Order::Dial(port))) => answer(control, dial(port)).is_ok(),
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
