//! What a registry is opened with: where it keeps its data, who may use it, and the hooks for tests
//! and logs.
//!
//! Checks nothing by itself: the folder is looked at when the registry is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{AuthOptions, Fault, RequestInfo, Served, TlsOptions};

/// Decides for every request which fault, if any, it meets. Called once a request, before anything
/// is done.
pub type FaultHook = Arc<dyn Fn(&RequestInfo) -> Fault + Send + Sync>;

/// Called for every request, just before its answer's first byte is sent, so that a client that has
/// the answer can rely on its entry, or when its connection breaks. Must return quickly.
pub type LogHook = Arc<dyn Fn(&Served) + Send + Sync>;

/// How a [`super::Registry`] is opened. `RegistryOptions::default()` is an empty registry in a
/// temporary folder.
#[derive(Clone)]
pub struct RegistryOptions {
    /// The folder that holds everything; made if it is missing. `None`: a temporary folder, removed
    /// with the registry.
    pub dir: Option<PathBuf>,
    /// Refuse every push and deletion. The folder must exist then, and nothing is written to it.
    pub read_only: bool,
    /// Blobs and manifests are on the disk (fsync) before they are acknowledged. On by default;
    /// without it a power cut, not a killed process, may lose what was acknowledged last.
    pub durable: bool,
    /// Who may do what; `None`: everybody everything.
    pub auth: Option<AuthOptions>,
    /// Encrypted connections; `None`: plain HTTP.
    pub tls: Option<TlsOptions>,
    /// Faults to inject, for tests of clients; also of use to the tests of this library's users.
    pub faults: Option<FaultHook>,
    /// A log of requests.
    pub log: Option<LogHook>,
    /// The smallest chunk that `PATCH` takes, in bytes, announced as `OCI-Chunk-Min-Length`; only
    /// the last one may be smaller.
    pub min_chunk: Option<u64>,
    /// How long an unfinished upload without new bytes is kept. A week by default, as docker's
    /// registry has it.
    pub upload_expiry: Duration,
    /// How long a blob that no manifest names is kept. An hour by default.
    pub garbage_age: Duration,
    /// How long requests under way may go on once the server is told to stop. 10 s by default.
    pub grace: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            dir: None,
            read_only: false,
            durable: true,
            auth: None,
            tls: None,
            faults: None,
            log: None,
            min_chunk: None,
            upload_expiry: Duration::from_secs(7 * 24 * 3600),
            garbage_age: Duration::from_secs(3600),
            grace: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for RegistryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryOptions")
            .field("dir", &self.dir)
            .field("read_only", &self.read_only)
            .field("durable", &self.durable)
            .field("auth", &self.auth)
            .field("tls", &self.tls)
            .field("faults", &self.faults.is_some())
            .field("log", &self.log.is_some())
            .field("min_chunk", &self.min_chunk)
            .field("upload_expiry", &self.upload_expiry)
            .field("garbage_age", &self.garbage_age)
            .field("grace", &self.grace)
            .finish()
    }
}
