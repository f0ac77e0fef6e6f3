//! An embedded registry: the push, pull, content discovery and content management parts of the OCI distribution
//! specification 1.1.1, over plain HTTP, with the data in one plain folder.
//!
//! Refuses TLS, replication and garbage collection of whole images: it serves a developer's machine and tests.

mod auth;
mod fault;
mod options;

use std::net::SocketAddr;
use std::path::Path;

pub use auth::{AuthOptions, AuthScheme, User};
pub use fault::{Answer, Fault, RequestInfo, Served};
pub use options::{FaultHook, LogHook, RegistryOptions};

use crate::error::{Error, ErrorKind, Result};

/// A registry: its data and its rules. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    options: RegistryOptions,
}

impl Registry {
    /// Opens the folder, or makes it.
    pub fn open(options: RegistryOptions) -> Result<Self> {
        Ok(Self { options })
    }

    /// The folder that holds the data.
    pub fn dir(&self) -> &Path {
        self.options.dir.as_deref().unwrap_or(Path::new(""))
    }

    /// Listens on `addr` (`HOST:PORT`; port 0 takes a free one). Requests are answered once [`Server::run`] is called.
    pub async fn bind(&self, addr: impl tokio::net::ToSocketAddrs) -> Result<Server> {
        let _ = addr;
        Err(Error::new(ErrorKind::Unsupported, "not yet"))
    }
}

/// A registry that listens.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
}

impl Server {
    /// The address it is bound to, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Addresses under which clients reach it: [`Server::addr`] itself, or, where it listens on every interface, this machine's
    /// address towards the network first and the loopback address last.
    pub fn reachable_addrs(&self) -> Vec<SocketAddr> {
        vec![self.addr]
    }

    /// Answers requests until `shutdown` is ready; then lets those under way finish within [`RegistryOptions::grace`].
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        shutdown.await;
        Ok(())
    }
}
