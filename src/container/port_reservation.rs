//! Reserves a port for a container on this machine's network until the container listens there
//! itself.
//!
//! The reservation is a Unix socket in the abstract name space (unix(7)): like ports it belongs to
//! the network namespace, holds for all users, and goes with the process. So of two containers that
//! are published on one port at the same moment, one is refused, however long either needs to
//! listen.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// A port that no other container gets while this value lives.
#[derive(Debug)]
pub(super) struct PortReservation {
    /// Held for its name alone.
    _socket: UnixListener,
}

impl PortReservation {
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`]: another container has reserved it.
    pub(super) fn take(port: u16) -> io::Result<Self> {
        UnixListener::bind_addr(&address(port)?).map(|socket| Self { _socket: socket })
    }
}

/// Whether a container has reserved the port.
pub(super) fn is_reserved(port: u16) -> bool {
    address(port).is_ok_and(|address| UnixStream::connect_addr(&address).is_ok())
}

fn address(port: u16) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("mpimg/port/{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_reserved_once_until_it_is_released() {
        // A port that nothing else in these tests reserves.
        let port = 1;
        assert!(!is_reserved(port));
        let held = PortReservation::take(port).unwrap();
        assert!(is_reserved(port));
        assert_eq!(PortReservation::take(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(held);
        assert!(!is_reserved(port));
    }
}
