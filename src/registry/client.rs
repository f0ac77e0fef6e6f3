//! The client: what all requests of one run share. It connects, and reads credentials and
//! certificates, only when needed.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::auth::{Authenticator, CredentialSources};
use super::endpoint::Endpoint;
use super::environment::Environment;
use super::host::host_of;
use super::ranges::MOST_AT_ONCE;
use super::registries_conf::{RegistriesConf, RegistryLocation};
use super::retry::RetryPolicy;
use super::tls::{Connections, Warned, certs_dirs};
use super::transport::Transport;
use crate::error::Result;
use crate::oci::Repository;
use crate::progress::Progress;

/// How a [`Client`] works. `Default` is what the command does without flags.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Where credentials come from.
    pub credentials: CredentialSources,
    /// containers-registries.conf(5); `None`: `CONTAINERS_REGISTRIES_CONF`, else the user's, else
    /// the system's.
    pub registries_conf: Option<PathBuf>,
    /// PEM files with further certificate authorities.
    pub ca_files: Vec<PathBuf>,
    /// Folders of certificates by `host:port`; `None`: `~/.config/containers/certs.d`, then
    /// containers' and docker's in /etc.
    pub certs_dirs: Option<Vec<PathBuf>>,
    /// Registries (`host[:port]`) that may be reached by plain HTTP or with a certificate that does
    /// not verify.
    pub insecure: Vec<String>,
    /// Mirrors of Docker Hub, asked before it: `host[:port][/path]`.
    pub mirrors: Vec<String>,
    /// Receives transfers, retries and warnings.
    pub progress: Progress,
    /// Where upload sessions are kept for the next process; `None`: an upload that is cut off
    /// starts again.
    pub state_dir: Option<PathBuf>,
    /// How many blobs of more than one chunk are uploaded at once at most, at least 1. How many of
    /// their chunks are under way is found out: as many as fill the link.
    pub concurrency: usize,
    /// Size of an upload chunk in bytes, within the limits that the registry sets.
    pub chunk_size: u64,
    /// How often and how patiently things are tried again.
    pub retry: RetryPolicy,
    /// Cancelled by the caller on Ctrl-C or SIGTERM: chunks in flight are finished and recorded,
    /// nothing new is begun.
    pub cancel: CancellationToken,
    /// Environment variables, but for proxies (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`) and
    /// `SSL_CERT_FILE`: those are the process's own.
    pub environment: Environment,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: CredentialSources::default(),
            registries_conf: None,
            ca_files: Vec::new(),
            certs_dirs: None,
            insecure: Vec::new(),
            mirrors: Vec::new(),
            progress: Progress::silent(),
            state_dir: None,
            concurrency: 8,
            chunk_size: 5 << 20,
            retry: RetryPolicy::default(),
            cancel: CancellationToken::new(),
            environment: Environment::process(),
        }
    }
}

/// Talks to registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    /// registries.conf, read when a registry is first asked for: commands that need none work where
    /// it cannot be read.
    conf: OnceLock<RegistriesConf>,
    transport: Arc<Transport>,
    /// Shared by all clients that are made of this one.
    warned: Warned,
    endpoints: Mutex<HashMap<(String, bool), Arc<Endpoint>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.options).finish()
    }
}

/// A repository at a registry that is spoken to.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) endpoint: Arc<Endpoint>,
    /// The repository's path there.
    pub(crate) path: String,
}

impl Client {
    /// A client. Nothing is read or connected yet.
    pub fn new(options: ClientOptions) -> Self {
        Self::with_conf(options, OnceLock::new(), Warned::default())
    }

    fn with_conf(options: ClientOptions, conf: OnceLock<RegistriesConf>, warned: Warned) -> Self {
        let certs = options.certs_dirs.clone().unwrap_or_else(|| certs_dirs(&options.environment));
        let (authorities, progress) = (options.ca_files.clone(), options.progress.clone());
        let connections = Connections::new(authorities, certs, options.retry.connect_timeout, progress, warned.clone());
        let ranges = MOST_AT_ONCE.min(options.concurrency.max(1));
        let transport = Arc::new(Transport::new(connections, options.retry.clone(), options.cancel.clone(), ranges));
        Self(Arc::new(Inner { options, conf, transport, warned, endpoints: Mutex::default() }))
    }

    /// # Errors
    /// [`Usage`](crate::ErrorKind::Usage): registries.conf cannot be read.
    fn conf(&self) -> Result<&RegistriesConf> {
        if let Some(conf) = self.0.conf.get() {
            return Ok(conf);
        }
        let options = &self.0.options;
        let conf = RegistriesConf::read(options.registries_conf.as_deref(), &options.environment)?;
        Ok(self.0.conf.get_or_init(|| conf.with_mirrors(&options.mirrors)))
    }

    /// A client that works as this one does, with no credentials, tokens or connections of it.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        self.with_credentials(CredentialSources { anonymous: true, ..CredentialSources::default() })
    }

    /// A client for work that must neither hold a build up nor be shown: it gives up soon and says
    /// nothing. What this one knows of registries, it need not ask again.
    #[must_use]
    pub(crate) fn in_background(&self) -> Self {
        let mut options = self.0.options.clone();
        options.progress = Progress::silent();
        options.retry.attempts = options.retry.attempts.min(2);
        options.retry.connect_timeout = options.retry.connect_timeout.min(Duration::from_secs(5));
        // What nobody sees must not count as told.
        let client = Self::with_conf(options, self.0.conf.clone(), Warned::default());
        // Connections are its own, so that nothing else waits for one.
        let known = self.0.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.iter().map(|(place, endpoint)| {
            let endpoint = endpoint.with(client.0.transport.clone(), client.0.options.progress.clone());
            (place.clone(), Arc::new(endpoint))
        });
        client.0.endpoints.lock().unwrap_or_else(PoisonError::into_inner).extend(known);
        client
    }

    /// A client that works as this one does, and stops when `cancel` does, too.
    #[must_use]
    pub(crate) fn cancelled_by(&self, cancel: CancellationToken) -> Self {
        let options = ClientOptions { cancel, ..self.0.options.clone() };
        Self::with_conf(options, self.0.conf.clone(), self.0.warned.clone())
    }

    /// This client with other credentials.
    pub(crate) fn with_credentials(&self, credentials: CredentialSources) -> Self {
        let options = ClientOptions { credentials, ..self.0.options.clone() };
        Self::with_conf(options, self.0.conf.clone(), self.0.warned.clone())
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.0.options
    }

    pub(crate) fn transport(&self) -> &Arc<Transport> {
        &self.0.transport
    }

    /// Where a push into `repository` goes, and everything else that must see the registry itself.
    pub(crate) fn destination(&self, repository: &Repository) -> Result<Route> {
        Ok(self.route(self.conf()?.destination(repository)?))
    }

    /// Asks a registry what it wants of its clients, so that the connection and the answer are
    /// there when they are needed. What fails is told by the request that needs it.
    pub(crate) async fn make_ready(&self, repository: &Repository) {
        if let Ok(Route { endpoint, path }) = self.destination(repository) {
            let asked = endpoint.discover(&path).await;
            tracing::debug!(answered = asked.is_ok(), "asked the destination beside the source");
        }
    }

    /// Whether the registry of `repository` is a Harbor, as far as it has told: its token server
    /// says so.
    pub(crate) fn is_harbor(&self, repository: &Repository) -> Result<bool> {
        Ok(self.destination(repository)?.endpoint.auth.service().as_deref() == Some("harbor-registry"))
    }

    /// Where a pull from `repository` may come from, in the order to try.
    pub(crate) fn sources(&self, repository: &Repository, by_digest: bool) -> Result<Vec<Route>> {
        let places = self.conf()?.sources(repository, by_digest)?;
        Ok(places.into_iter().map(|place| self.route(place)).collect())
    }

    fn route(&self, place: RegistryLocation) -> Route {
        let options = &self.0.options;
        let listed = |name: &String| name == "*" || name == &place.registry || name == host_of(&place.registry);
        let insecure = place.insecure || options.insecure.iter().any(listed);
        let mut endpoints = self.0.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = endpoints.entry((place.registry.clone(), insecure)).or_insert_with(|| {
            let auth = Authenticator::new(
                &place.registry,
                insecure,
                options.credentials.clone(),
                options.environment.clone(),
                options.progress.clone(),
            );
            Arc::new(Endpoint::new(&place.registry, insecure, auth, self.0.transport.clone(), options.progress.clone()))
        });
        Route { endpoint: endpoint.clone(), path: place.path }
    }
}
