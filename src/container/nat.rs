//! The uplink of a container's own network, without any right on this machine's: its packets come
//! here, and each of its connections is made once more by this process, on this machine's network.
//!
//! Names are looked up by this machine's name server, which the container sees under an address of
//! its own.
//!
//! Refuses everything but TCP and UDP over IPv4. A connection is accepted before the other side has
//! answered: one that is refused there is reset.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ipstack::{IpStack, IpStackConfig, IpStackStream, IpStackUdpStream, TcpConfig, TcpOptions};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};

use super::network_thread::NetworkThread;
use crate::error::{Error, ErrorKind, Result};
use crate::sandbox::UPLINK_MTU;

/// Where the container finds this machine's name server.
pub(super) const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
const DNS: u16 = 53;

/// How long a connection may be silent: as long as Linux' connection tracking lets one be, and
/// longer than keep-alives are apart.
const TCP_SILENCE: Duration = Duration::from_secs(5 * 24 * 3600);
const UDP_SILENCE: Duration = Duration::from_secs(120);
/// The headers of a TCP segment over IPv4.
const HEADERS: u16 = 40;
/// The largest datagram.
const DATAGRAM: usize = 65536;

/// Whether interfaces can be made here; looked at once more when one is.
pub(super) fn is_possible() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok()
}

/// The error where no interface could be made.
pub(super) fn closed(error: io::Error) -> Error {
    Error::new(ErrorKind::Network, format!("no interface can be made: {error}"))
}

/// Opens the way for the packets that `packets` gives; it closes when the value is dropped.
pub(super) fn open(packets: OwnedFd) -> Result<NetworkThread> {
    let name_server = name_server(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    NetworkThread::start("nat", async move {
        let Ok(device) = PacketDevice::new(packets) else { return };
        let mut tcp = TcpConfig::default();
        tcp.timeout = TCP_SILENCE;
        tcp.options = Some(vec![TcpOptions::MaximumSegmentSize(UPLINK_MTU - HEADERS)]);
        let mut config = IpStackConfig::default();
        config.with_tcp_config(tcp).udp_timeout(UDP_SILENCE).mtu_unchecked(UPLINK_MTU);
        let mut stack = IpStack::new(config, device);
        while let Ok(stream) = stack.accept().await {
            match stream {
                IpStackStream::Tcp(mut inside) => {
                    let target = target(inside.peer_addr(), name_server);
                    tokio::spawn(async move {
                        // Dropped, the inner connection is reset.
                        if let Ok(mut outside) = TcpStream::connect(target).await {
                            let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                        }
                    });
                }
                IpStackStream::Udp(inside) => {
                    let target = target(inside.peer_addr(), name_server);
                    tokio::spawn(async move { drop(datagrams(inside, target).await) });
                }
                IpStackStream::UnknownTransport(_) | IpStackStream::UnknownNetwork(_) => {}
            }
        }
    })
}

fn target(asked: SocketAddr, name_server: Option<SocketAddr>) -> SocketAddr {
    let is_name_server = asked.ip() == IpAddr::V4(NAME_SERVER) && asked.port() == DNS;
    name_server.filter(|_| is_name_server).unwrap_or(asked)
}

/// The first name server of a resolv.conf (resolv.conf(5)).
fn name_server(text: &str) -> Option<SocketAddr> {
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    servers.map(|server: IpAddr| SocketAddr::new(server, DNS)).next()
}

async fn datagrams(mut inside: IpStackUdpStream, target: SocketAddr) -> io::Result<()> {
    let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let outside = UdpSocket::bind((any, 0)).await?;
    outside.connect(target).await?;
    let (mut sent, mut received) = (vec![0; DATAGRAM], vec![0; DATAGRAM]);
    loop {
        tokio::select! {
            // One that was silent for long ends with an error.
            read = inside.read(&mut sent) => match read? {
                0 => return Ok(()),
                read => drop(outside.send(&sent[..read]).await?),
            },
            read = outside.recv(&mut received) => inside.write_all(&received[..read?]).await?,
        }
    }
}

/// A descriptor that gives and takes packets, one at a time.
struct PacketDevice(AsyncFd<std::fs::File>);

impl PacketDevice {
    #[expect(
        deprecated,
        reason = "its sound successor is unsafe to call; a `File` always is the same descriptor, which is all it asks for"
    )]
    fn new(packets: OwnedFd) -> io::Result<Self> {
        AsyncFd::new(std::fs::File::from(packets)).map(Self)
    }
}

impl AsyncRead for PacketDevice {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            if let Ok(read) = ready.try_io(|file| file.get_ref().read(unfilled)) {
                return Poll::Ready(read.map(|read| buffer.advance(read)));
            }
        }
    }
}

impl AsyncWrite for PacketDevice {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            if let Ok(written) = ready.try_io(|file| file.get_ref().write(bytes)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_server_s_port_is_led_elsewhere() {
        let server = name_server("# comment\nsearch x\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n");
        assert_eq!(server, Some("192.0.2.53:53".parse().unwrap()));
        assert_eq!(target("10.0.2.3:53".parse().unwrap(), server), server.unwrap());
        for other in ["10.0.2.3:80", "10.0.2.2:53"] {
            assert_eq!(target(other.parse().unwrap(), server), other.parse().unwrap());
        }
    }
}
