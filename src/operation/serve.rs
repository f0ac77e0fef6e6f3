//! Serving a registry from a folder of this machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Mpimg;
use crate::error::{Error, Result};
use crate::serve::{AuthOptions, LogHook, Registry, RegistryOptions, Server, TlsOptions};

/// Where a registry listens, and what it serves.
#[derive(Clone)]
#[non_exhaustive]
pub struct ServeRequest {
    /// `HOST:PORT`; port 0 takes a free one.
    pub addr: String,
    /// The folder with the data; `registry` in the local store's folder without it.
    pub dir: Option<PathBuf>,
    /// Refuse pushes and deletions.
    pub read_only: bool,
    /// Encrypted connections; `None`: plain HTTP.
    pub tls: Option<TlsOptions>,
    /// A file of users as `htpasswd -B` writes it; without one anybody may pull and push.
    pub htpasswd: Option<PathBuf>,
    /// Whether anybody may pull where there are users.
    pub anonymous_pull: bool,
    /// Called for each request.
    pub log: Option<LogHook>,
}

impl ServeRequest {
    /// A registry that takes pushes, with its data in the local store's folder.
    pub fn new(addr: impl Into<String>) -> Self {
        Self { addr: addr.into(), dir: None, read_only: false, tls: None, htpasswd: None, anonymous_pull: false, log: None }
    }
}

/// A registry that listens. Requests are answered while [`ServedRegistry::run`] is driven.
#[derive(Debug)]
pub struct ServedRegistry {
    registry: Registry,
    server: Server,
    cancel: tokio_util::sync::CancellationToken,
}

impl Mpimg {
    /// Opens the folder and listens.
    ///
    /// # Errors
    /// [`Usage`](crate::ErrorKind::Usage): the folder holds something else, another registry has it
    /// open, or certificate, key or users cannot be read; [`Network`](crate::ErrorKind::Network):
    /// the address cannot be used.
    pub async fn serve(&self, request: ServeRequest) -> Result<ServedRegistry> {
        let ServeRequest { addr, dir, read_only, tls, htpasswd, anonymous_pull, log } = request;
        let auth = match htpasswd {
            Some(path) => {
                let text = std::fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
                Some(AuthOptions::from_htpasswd(&text, anonymous_pull)?)
            }
            None => None,
        };
        let dir = match dir {
            Some(dir) => dir,
            // Opened first: the store does not move into a folder that something else has made.
            None => self.open_store().await?.root().join("registry"),
        };
        raise_file_limit();
        let registry =
            Registry::open(RegistryOptions { dir: Some(dir), read_only, auth, tls, log, ..RegistryOptions::default() })?;
        let server = registry.bind(addr.as_str()).await;
        let server = server.map_err(|error| {
            let taken = error.causes().iter().any(|cause| cause.contains("Address already in use"));
            let error = error.wrap(format!("cannot serve on `{addr}`"));
            if taken { error.with_hint("another program listens there: choose another port, or 0 for a free one") } else { error }
        })?;
        Ok(ServedRegistry { registry, server, cancel: self.cancellation().clone() })
    }
}

/// Lets this process have as many files open as it may: each client takes one, and shells start
/// programs with 1,024.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Without it fewer clients at once are served.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

impl ServedRegistry {
    /// The address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The addresses by which this machine and others reach it, the best first.
    pub fn reachable_addrs(&self) -> Vec<SocketAddr> {
        self.server.reachable_addrs()
    }

    /// The certificate that a client must trust, where the registry has made it.
    pub fn certificate(&self) -> Option<&std::path::Path> {
        self.server.certificate()
    }

    /// The folder with the data.
    pub fn dir(&self) -> PathBuf {
        self.registry.dir().to_owned()
    }

    /// Answers requests until the operations are cancelled; those under way may then finish.
    /// Returns how many were answered.
    ///
    /// # Errors
    /// [`Network`](crate::ErrorKind::Network): the listener fails.
    pub async fn run(self) -> Result<u64> {
        let Self { registry, server, cancel } = self;
        server.run(async move { cancel.cancelled().await }).await?;
        Ok(registry.requests())
    }
}
