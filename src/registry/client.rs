//! The client: what all requests of one run share.
//!
//! Refuses nothing by itself.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::auth::CredentialSources;
use super::check::{AnonymousReport, CheckItem};
use super::pull::PulledImage;
use super::push::PushSession;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Platform, Reference, Repository};
use crate::progress::Progress;

/// How a [`Client`] works. `Default` is what the command does without flags.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Where credentials come from.
    pub credentials: CredentialSources,
    /// containers-registries.conf(5); `None`: `CONTAINERS_REGISTRIES_CONF`, else the user's, else the system's.
    pub registries_conf: Option<PathBuf>,
    /// PEM files with further certificate authorities.
    pub ca_files: Vec<PathBuf>,
    /// Registries (`host[:port]`) that may be reached by plain HTTP or with a certificate that does not verify.
    pub insecure: Vec<String>,
    /// Mirrors of Docker Hub, asked before it: `host[:port][/path]`.
    pub mirrors: Vec<String>,
    /// Receives transfers, retries and warnings.
    pub progress: Progress,
    /// Where upload sessions are kept for the next process; `None`: an upload that is cut off starts again.
    pub state_dir: Option<PathBuf>,
    /// How many blobs are uploaded at once.
    pub concurrency: usize,
    /// Size of an upload chunk in bytes, within the limits that the registry sets.
    pub chunk_size: u64,
    /// Cancelled by the caller on Ctrl-C or SIGTERM: chunks in flight are finished and recorded, nothing new is begun.
    pub cancel: CancellationToken,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: CredentialSources::default(),
            registries_conf: None,
            ca_files: Vec::new(),
            insecure: Vec::new(),
            mirrors: Vec::new(),
            progress: Progress::silent(),
            state_dir: None,
            concurrency: 8,
            chunk_size: 5 << 20,
            cancel: CancellationToken::new(),
        }
    }
}

/// Talks to registries. Cheap to clone; clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client(Arc<ClientOptions>);

impl Client {
    /// A client. Nothing is connected yet; files of credentials and certificates are read when they are needed.
    pub fn new(options: ClientOptions) -> Result<Self> {
        Ok(Self(Arc::new(options)))
    }

    /// Finds the image of `reference` for `platform`. Manifest and config are fetched and checked, layers are not fetched.
    pub async fn pull_image(&self, reference: &Reference, _platform: &Platform) -> Result<PulledImage> {
        Err(Error::new(ErrorKind::Unsupported, format!("cannot pull `{reference}`")))
    }

    /// Begins a push into `repository`. Must be called on a tokio runtime, which then carries the uploads.
    pub fn push(&self, repository: &Repository) -> Result<PushSession> {
        Err(Error::new(ErrorKind::Unsupported, format!("cannot push `{repository}`")))
    }

    /// Whether the image at `digest` can be pulled without credentials: manifest, config and every layer.
    pub async fn check_anonymous(&self, _repository: &Repository, _digest: &Digest) -> AnonymousReport {
        AnonymousReport { items: Vec::new(), pulls: None }
    }

    /// What a push into `repository` needs, one thing after the other; what depends on a failed one is left out.
    pub async fn check(&self, _repository: &Repository) -> Vec<CheckItem> {
        Vec::new()
    }
}
