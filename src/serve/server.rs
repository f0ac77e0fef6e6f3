//! A registry that listens: its address, and its life from the first request to an orderly end.
//!
//! Never hangs: connections that do not end in time after a stop are cut.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::CancellationToken;

use super::blocking::blocking;
use super::connection::{CuttingListener, Peer};
use super::registry_state::RegistryState;
use super::service::{self, Service};
use super::tls::Tls;
use super::tls_listener::TlsListener;
use crate::error::{ErrorKind, Result, ResultExt as _};

/// How often expired uploads and garbage are looked for.
const SWEEP: Duration = Duration::from_secs(3600);

/// How long the bytes that have arrived may take to their files once the server has stopped.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// A registry that listens. Dropped, it stops listening.
#[derive(Debug)]
pub struct Server {
    app: Arc<RegistryState>,
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<Tls>,
}

impl Server {
    pub(super) async fn bind(app: Arc<RegistryState>, addr: impl ToSocketAddrs) -> Result<Self> {
        let listen = async {
            let listener = TcpListener::bind(addr).await?;
            let addr = listener.local_addr()?;
            std::io::Result::Ok((listener, addr))
        };
        let (listener, addr) = listen.await.context(ErrorKind::Network, || "cannot listen for requests".into())?;
        let mut server = Self { app, listener, addr, tls: None };
        if let Some(options) = &server.app.options.tls {
            server.tls = Some(Tls::open(options, server.app.disk.root(), &server.reachable_addrs())?);
        }
        Ok(server)
    }

    /// The certificate that a client must trust, where the registry has made it.
    pub fn certificate(&self) -> Option<&std::path::Path> {
        self.tls.as_ref()?.trust.as_deref()
    }

    /// The address that it is bound to, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Addresses under which clients reach it: [`Server::addr`] itself, or, where it listens on
    /// every interface, this machine's address towards the network, if it has one, and then the
    /// loopback address.
    pub fn reachable_addrs(&self) -> Vec<SocketAddr> {
        let loopback: IpAddr = match self.addr {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        if !self.addr.ip().is_unspecified() {
            return vec![self.addr];
        }
        let outward = outward_addr(self.addr.ip());
        outward.into_iter().chain([loopback]).map(|ip| SocketAddr::new(ip, self.addr.port())).collect()
    }

    /// Answers requests until `shutdown` is ready; then lets those under way finish within
    /// [`super::RegistryOptions::grace`] and cuts the rest. What was received of a cut upload is
    /// kept.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Network`] if the listener fails.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let Self { app, listener, addr, tls } = self;
        let listener = CuttingListener(listener);
        match tls {
            Some(tls) => run_on(app, TlsListener::new(listener, addr, tls.config), shutdown).await,
            None => run_on(app, listener, shutdown).await,
        }
    }
}

async fn run_on<L>(app: Arc<RegistryState>, listener: L, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()>
where
    L: Listener<Addr = SocketAddr>,
    Peer: for<'a> Connected<IncomingStream<'a, L>>,
{
    let stopped = CancellationToken::new();
    // Also when this future is dropped: its connections would live on by themselves.
    let _stop = stopped.clone().drop_guard();
    let stopping = CancellationToken::new();
    let service = Service { app: app.clone(), stopped: stopped.clone() };
    let router = Router::new().fallback(service::answer).with_state(service);
    let serve = axum::serve(listener, router.into_make_service_with_connect_info::<Peer>());
    let graceful = serve.with_graceful_shutdown({
        let stopping = stopping.clone();
        async move {
            shutdown.await;
            stopping.cancel();
        }
    });
    let grace = app.options.grace;
    let out_of_time = async {
        stopping.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    let ended = tokio::select! {
        ended = graceful => ended.context(ErrorKind::Network, || "cannot answer requests".into()),
        () = out_of_time => Ok(()),
        () = sweep(app.clone()) => Ok(()),
    };
    stopped.cancel();
    // The bytes of uploads that were cut are on their way to their files. None of this waits for a
    // client any more.
    app.tasks.close();
    let _ = tokio::time::timeout(LAST_WRITES, app.tasks.wait()).await;
    ended
}

/// Removes expired uploads and garbage now and then, for ever.
async fn sweep(app: Arc<RegistryState>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let app = app.clone();
        // A failure is logged where it becomes a refusal, and the next round tries again.
        let _ = blocking(move || {
            if !app.options.read_only {
                app.disk.remove_expired_uploads(app.options.upload_expiry)?;
                app.disk.collect_garbage(app.options.garbage_age)?;
                app.sessions.forget_removed();
            }
            Ok(())
        })
        .await;
    }
}

/// The address from which this machine would talk to the network. Connecting a UDP socket sends
/// nothing; it only chooses a route, here to an address that documentation has for itself (RFC
/// 5737, RFC 3849).
fn outward_addr(unspecified: IpAddr) -> Option<IpAddr> {
    let far = match unspecified {
        IpAddr::V4(_) => IpAddr::from([192, 0, 2, 1]),
        IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    };
    let socket = UdpSocket::bind((unspecified, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}
