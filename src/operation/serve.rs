//! Serving a registry from a folder of this machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Mpimg;
use crate::error::{ErrorKind, Result, ResultExt as _};
use crate::serve::{LogHook, Registry, RegistryOptions, Server};

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
    /// Called for each request.
    pub log: Option<LogHook>,
}

impl ServeRequest {
    /// A registry that takes pushes, with its data in the local store's folder.
    pub fn new(addr: impl Into<String>) -> Self {
        Self { addr: addr.into(), dir: None, read_only: false, log: None }
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
    /// [`ErrorKind::Usage`]: the folder holds something else, or another registry has it open; [`ErrorKind::Network`]: the
    /// address cannot be used.
    pub async fn serve(&self, request: ServeRequest) -> Result<ServedRegistry> {
        let ServeRequest { addr, dir, read_only, log } = request;
        let dir = match dir {
            Some(dir) => dir,
            // Opened first: the store does not move into a folder that something else has made.
            None => self.store()?.root().join("registry"),
        };
        let registry = Registry::open(RegistryOptions { dir: Some(dir), read_only, log, ..RegistryOptions::default() })?;
        let server = registry.bind(addr.as_str()).await;
        let server = server.context(ErrorKind::Network, || format!("cannot serve on `{addr}`"))?;
        Ok(ServedRegistry { registry, server, cancel: self.cancellation().clone() })
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

    /// The folder with the data.
    pub fn dir(&self) -> PathBuf {
        self.registry.dir().to_owned()
    }

    /// Answers requests until the operations are cancelled; those under way may then finish. Returns how many were answered.
    ///
    /// # Errors
    /// [`ErrorKind::Network`]: the listener fails.
    pub async fn run(self) -> Result<u64> {
        let Self { registry, server, cancel } = self;
        server.run(async move { cancel.cancelled().await }).await?;
        Ok(registry.requests())
    }
}
