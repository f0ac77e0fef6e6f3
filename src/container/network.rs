//! A container's network: whose it is, and how its published ports are reached.
//!
//! A port of a container's own network is forwarded: this process listens on this machine and, for
//! each connection, asks the sandbox for a socket that was made and connected inside.
//!
//! Refuses ports that are taken, before anything is started.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::network_thread::NetworkThread;
use super::port_reservation::{PortReservation, is_reserved};
use super::record::HOST;
use super::{NetworkMode, PortMapping, nat, port_owner};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::sandbox::{IsolationKind, NetworkAccess, Remote};

/// One of its own, in words.
const PRIVATE: &str = "private";

/// Which network, and what listens for it.
pub(super) struct NetworkPlan {
    pub(super) network: NetworkAccess,
    /// Whether a network of its own shall have a way to other machines.
    pub(super) uplink: bool,
    /// In words, for the record.
    pub(super) words: &'static str,
    /// What the user should know at the start.
    pub(super) note: Option<String>,
    /// The ports with what is really listened on.
    pub(super) ports: Vec<PortMapping>,
    /// One a port, where they are forwarded.
    listeners: Vec<TcpListener>,
    /// One a port, where the container listens itself.
    reservations: Vec<PortReservation>,
}

/// Decides on the network and takes the ports.
///
/// # Errors
/// [`ErrorKind::Network`]: a port is taken. [`ErrorKind::Unsupported`]: the isolation cannot give
/// what `mode` asks for.
pub(super) fn plan(isolation: IsolationKind, mode: NetworkMode, ports: &[PortMapping]) -> Result<NetworkPlan> {
    // On this machine's network a container listens on all addresses, whatever it was published on.
    let same = ports.iter().all(|port| port.host == port.container && port.ip.is_none());
    match mode {
        NetworkMode::Host => host(ports),
        NetworkMode::Private | NetworkMode::None if isolation.needs_tree() => {
            let message = format!("a container with isolation `{isolation}` cannot have a network of its own");
            Err(Error::new(ErrorKind::Unsupported, message).with_hint(format!(
                "use {}; `mpimg doctor` tells what would make a better isolation work",
                Setting::Network.with("host")
            )))
        }
        NetworkMode::Auto if ports.is_empty() || isolation.needs_tree() => host(ports),
        // Without a forwarder in between the container can also reach other machines directly.
        NetworkMode::Auto if same => host(ports),
        NetworkMode::Auto | NetworkMode::Private | NetworkMode::None => private(ports, mode),
    }
}

/// This machine's network: the container itself listens on its ports.
fn host(ports: &[PortMapping]) -> Result<NetworkPlan> {
    for port in ports {
        if port.host != port.container {
            let message =
                format!("port {} cannot be published as {}: the container has this machine's network", port.container, port.host);
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint(format!(
                "publish it as it is ({}), or use an isolation with namespaces",
                Setting::Publish.with(format!("{0}:{0}", port.container))
            )));
        }
    }
    // Reserved before it is tried: a container with a network of its own listens first and looks
    // for reservations then.
    let reserve = |port: &PortMapping| PortReservation::take(port.host).map_err(|error| taken(port, error));
    let reservations = ports.iter().map(reserve).collect::<Result<Vec<_>>>()?;
    for port in ports {
        listen(port)?;
    }
    let note = (!ports.is_empty()).then(|| "network: this machine's; the container listens on its ports itself".to_owned());
    Ok(NetworkPlan {
        network: NetworkAccess::Host,
        uplink: false,
        words: HOST,
        note,
        ports: ports.to_vec(),
        listeners: Vec::new(),
        reservations,
    })
}

fn private(ports: &[PortMapping], mode: NetworkMode) -> Result<NetworkPlan> {
    let listeners = ports.iter().map(listen).collect::<Result<Vec<_>>>()?;
    if let Some(port) = ports.iter().find(|port| port.host != 0 && is_reserved(port.host)) {
        // Else the error names this very process as the one that listens.
        drop(listeners);
        return Err(taken(port, io::ErrorKind::AddrInUse.into()));
    }
    let real = |(port, listener): (&PortMapping, &TcpListener)| {
        let address = listener.local_addr().map_err(|error| taken(port, error))?;
        Ok(PortMapping { host: address.port(), ..*port })
    };
    let ports = ports.iter().zip(&listeners).map(real).collect::<Result<_>>()?;
    let uplink = mode != NetworkMode::None && nat::is_possible();
    let note = match (mode, uplink) {
        (NetworkMode::None, _) => None,
        (_, true) => Some("network: the container's own; TCP and UDP reach other machines".to_owned()),
        (_, false) => Some(format!(
            "network: the container's own, without a way out; {} gives it this machine's",
            Setting::Network.with("host")
        )),
    };
    Ok(NetworkPlan { network: NetworkAccess::Private, uplink, words: PRIVATE, note, ports, listeners, reservations: Vec::new() })
}

/// Listens where `port` says; without an address on all of them, IPv4 and IPv6.
fn listen(port: &PortMapping) -> Result<TcpListener> {
    let on = |ip: IpAddr| TcpListener::bind(SocketAddr::new(ip, port.host));
    let listener = match port.ip {
        Some(ip) => on(ip),
        None => on(Ipv6Addr::UNSPECIFIED.into()).or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
            // No IPv6 on this machine.
            _ => on(Ipv4Addr::UNSPECIFIED.into()),
        }),
    };
    listener.map_err(|error| taken(port, error))
}

fn taken(port: &PortMapping, error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let owner = port_owner::listener(port.host);
            let owner =
                owner.or_else(|| is_reserved(port.host).then(|| "another container, which does not listen yet".to_owned()));
            format!("port {} is taken by {}", port.host, owner.unwrap_or_else(|| "a process of another user".to_owned()))
        }
        _ => format!("cannot listen on port {}", port.host),
    };
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "stop what listens there, or publish the port elsewhere: {}",
                Setting::Publish.with(format!("{}:{}", port.host.wrapping_add(1).max(1024), port.container))
            )
        }
        io::ErrorKind::PermissionDenied => {
            let elsewhere = Setting::Publish.with(format!("8080:{}", port.container));
            format!("ports below 1024 are root's: publish it elsewhere, {elsewhere}")
        }
        _ => "give an address of this machine, or none".into(),
    };
    Error::new(ErrorKind::Network, message).with_hint(hint).with_source(error)
}

impl NetworkPlan {
    /// The name servers of a network that is not this machine's.
    pub(super) fn name_servers(&self) -> Option<Vec<IpAddr>> {
        (self.network != NetworkAccess::Host).then(|| self.uplink.then_some(nat::NAME_SERVER.into()).into_iter().collect())
    }

    /// Begins to forward connections. The ports are this container's until the value is dropped.
    pub(super) fn publish(self, remote: &Remote) -> Result<PublishedPorts> {
        if self.listeners.is_empty() {
            return Ok(PublishedPorts { _forwarder: None, _reservations: self.reservations });
        }
        let remote = remote.clone();
        let serve = async move {
            for (listener, port) in self.listeners.into_iter().zip(self.ports) {
                tokio::spawn(accept(listener, port.container, remote.clone()));
            }
        };
        let forwarder = NetworkThread::start("ports", serve)?;
        Ok(PublishedPorts { _forwarder: Some(forwarder), _reservations: self.reservations })
    }
}

/// The published ports of a running container.
pub(super) struct PublishedPorts {
    _forwarder: Option<NetworkThread>,
    _reservations: Vec<PortReservation>,
}

async fn accept(listener: TcpListener, port: u16, remote: Remote) {
    let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    let Ok(listener) = listener else { return };
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(pass_on(client, port, remote.clone()))),
            // Out of descriptors, or a client that has gone: neither must end the port, or keep a
            // processor busy.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}

async fn pass_on(mut client: TcpStream, port: u16, remote: Remote) {
    let (answer, dialled) = tokio::sync::oneshot::channel();
    remote.dial(port, move |socket| drop(answer.send(socket)));
    let inside = match dialled.await {
        Ok(Ok(socket)) => connected(socket).await,
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::NotConnected.into()),
    };
    match inside {
        Ok(mut inside) => drop(tokio::io::copy_bidirectional(&mut client, &mut inside).await),
        // Nothing listens there yet: the client shall see a refused connection, as near as can be.
        Err(_) => drop(client.set_zero_linger()),
    }
}

/// Waits until a socket has connected.
async fn connected(socket: OwnedFd) -> io::Result<TcpStream> {
    let stream = std::net::TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    let stream = TcpStream::from_std(stream)?;
    stream.ready(Interest::WRITABLE).await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}
