//! An embedded registry: the push, pull, content discovery and content management parts of the OCI
//! distribution specification 1.1.1, over plain HTTP or TLS, with the data in one plain folder.
//!
//! ```no_run
//! # async fn serve() -> mpimg::Result<()> {
//! let registry = mpimg::serve::Registry::open(Default::default())?;
//! let server = registry.bind("127.0.0.1:0").await?;
//! let addr = server.addr();
//! server.run(std::future::pending()).await
//! # }
//! ```
//!
//! Each repository is an OCI image layout, `DIR/repositories/NAME/_layout`, whose blobs are hard
//! links to one shared store. A blob is seen in a repository only once it was pushed or mounted
//! there.
//!
//! For tests of programs that talk to registries it can ask for users or tokens ([`AuthOptions`]),
//! play faults ([`Fault`]) and tell every request ([`Served`]).
//!
//! Images whose last tag was deleted, and blobs that no manifest names, are freed at the start and
//! every hour.
//!
//! There is no replication: it serves a developer's machine and tests.

mod access_control;
mod auth;
mod blobs;
mod blocking;
mod body;
mod connection;
mod discovery;
mod disk;
mod error_response;
mod fault;
mod garbage;
mod index;
mod manifest;
mod manifests;
mod options;
mod range;
mod registry_state;
mod repository;
mod request_context;
mod route;
mod server;
mod service;
mod tls;
mod tls_listener;
mod token;
mod token_endpoint;
mod upload_session;
mod uploads;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use auth::{AuthOptions, AuthScheme, User};
pub use fault::{Fault, FaultResponse, RequestInfo, Served};
pub use options::{FaultHook, LogHook, RegistryOptions};
pub use server::Server;
pub use tls::TlsOptions;

use tokio_util::task::TaskTracker;

use self::access_control::AccessControl;
use self::disk::Disk;
use self::registry_state::RegistryState;
use self::upload_session::UploadSessions;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

/// A registry: its data and its rules. Cheap to clone; the folder is free again when the last clone
/// and server are gone.
#[derive(Debug, Clone)]
pub struct Registry(Arc<RegistryState>);

impl Registry {
    /// Opens the folder, or makes it, and removes what a killed registry left behind.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] if the folder holds something else or another registry has it open;
    /// [`ErrorKind::NotFound`] if it is to be served read-only and is not a registry's;
    /// [`ErrorKind::Io`] if it cannot be read or written.
    pub fn open(options: RegistryOptions) -> Result<Self> {
        let disk = Disk::open(options.dir.as_deref(), options.read_only, options.durable)?;
        if !options.read_only {
            disk.remove_expired_uploads(options.upload_expiry)?;
            disk.collect_garbage(options.garbage_age)?;
        }
        let access_control = options.auth.clone().map(AccessControl::new);
        let (sessions, requests, tasks) = (UploadSessions::default(), AtomicU64::new(0), TaskTracker::new());
        Ok(Self(Arc::new(RegistryState { options, disk, sessions, access_control, requests, tasks })))
    }

    /// The folder that holds the data.
    pub fn dir(&self) -> &Path {
        self.0.disk.root()
    }

    /// How many requests have come in.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// The names of all repositories in the order of their bytes, such as `mp/nsx`.
    pub fn repositories(&self) -> Result<Vec<String>> {
        Ok(self.0.disk.repository_names()?.iter().map(|name| name.as_str().to_owned()).collect())
    }

    /// Listens on `addr` (`HOST:PORT`; port 0 takes a free one). Requests are answered once
    /// [`Server::run`] is called.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Network`] if the address cannot be bound.
    pub async fn bind(&self, addr: impl tokio::net::ToSocketAddrs) -> Result<Server> {
        Server::bind(self.0.clone(), addr).await
    }
}
