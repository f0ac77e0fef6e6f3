//! Connections: certificate authorities, client certificates, plain HTTP; one connection pool for
//! each set of them.
//!
//! The system's certificate store is read only for an encrypted connection: a push to this machine
//! needs none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::redirect;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use super::environment::Environment;
use super::host::{host_and_port, is_loopback};
use super::proxies::Proxies;
use super::verifier::{AnyCertificate, Verifier};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::progress::Progress;

/// hyper's own limit is 100; Go's programs read a megabyte of them.
const MOST_HEADERS: usize = 1000;

/// Files of certs.d that were warned of: each only once, by all that share this.
pub(crate) type Warned = Arc<Mutex<BTreeSet<PathBuf>>>;

/// Makes and keeps HTTP clients.
pub(crate) struct Connections {
    ca_files: Vec<PathBuf>,
    certs_dirs: Vec<PathBuf>,
    connect_timeout: Duration,
    proxies: Proxies,
    progress: Progress,
    warned: Warned,
    plain: OnceLock<reqwest::Client>,
    direct: OnceLock<reqwest::Client>,
    secure: Mutex<BTreeMap<Profile, reqwest::Client>>,
}

/// What one encrypted connection needs beside the system's authorities.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Profile {
    insecure: bool,
    /// Past any proxy.
    direct: bool,
    /// The authorities of certs.d.
    authorities: Vec<PathBuf>,
    /// Client certificate and key.
    pair: Option<(PathBuf, PathBuf)>,
}

impl Connections {
    pub(crate) fn new(
        ca_files: Vec<PathBuf>,
        certs_dirs: Vec<PathBuf>,
        connect_timeout: Duration,
        progress: Progress,
        warned: Warned,
    ) -> Self {
        let (plain, direct, secure) = Default::default();
        let proxies = Proxies::from_environment();
        Self { ca_files, certs_dirs, connect_timeout, proxies, progress, warned, plain, direct, secure }
    }

    /// The client for what belongs to this machine alone and no proxy can reach: plain HTTP.
    pub(crate) fn direct(&self) -> Result<reqwest::Client> {
        if let Some(client) = self.direct.get() {
            return Ok(client.clone());
        }
        let client = plain_client(builder(self.connect_timeout).no_proxy())?;
        Ok(self.direct.get_or_init(|| client).clone())
    }

    /// Whether encrypted connections go through a proxy.
    pub(crate) fn has_proxy(&self) -> bool {
        self.proxies.has_https()
    }

    /// The client for requests to `url`.
    pub(crate) fn client(&self, url: &Url, insecure: bool) -> Result<reqwest::Client> {
        // No proxy reaches this machine's own registries (as in Go's programs, docker and skopeo
        // among them).
        let direct = url.host_str().is_some_and(is_loopback) || self.proxies.is_excepted(url);
        if url.scheme() != "https" && direct {
            return self.direct();
        }
        if url.scheme() != "https" {
            if let Some(client) = self.plain.get() {
                return Ok(client.clone());
            }
            let client = plain_client(self.proxies.apply(builder(self.connect_timeout))?)?;
            return Ok(self.plain.get_or_init(|| client).clone());
        }
        let profile = Profile { direct, ..self.profile(&host_and_port(url), insecure)? };
        let mut secure = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = secure.get(&profile) {
            return Ok(client.clone());
        }
        let client = self.secure_client(&profile)?;
        secure.insert(profile, client.clone());
        Ok(client)
    }

    /// Whether a certs.d folder speaks of this host: then it is meant to be encrypted, even on this
    /// machine.
    pub(crate) fn has_certificates(&self, authority: &str) -> bool {
        self.certs_dir(authority).is_some()
    }

    fn profile(&self, authority: &str, insecure: bool) -> Result<Profile> {
        let mut profile = Profile { insecure, ..Profile::default() };
        if let Some(folder) = self.certs_dir(authority) {
            read_certs_dir(&folder, &mut profile)?;
        }
        Ok(profile)
    }

    fn secure_client(&self, profile: &Profile) -> Result<reqwest::Client> {
        let provider = provider();
        let verifier: Arc<dyn ServerCertVerifier> = match profile.insecure {
            true => Arc::new(AnyCertificate(provider.clone())),
            false => Arc::new(Verifier::new(self.further_authorities(profile)?, provider.clone())?),
        };
        let wrong = || "cannot set up TLS".to_owned();
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.context(ErrorKind::Network, wrong)?.dangerous().with_custom_certificate_verifier(verifier);
        let tls = match &profile.pair {
            None => tls.with_no_client_auth(),
            Some((certificate, key)) => {
                let wrong =
                    || format!("`{}` and `{}` are not a client certificate and its key", certificate.display(), key.display());
                let secret = PrivateKeyDer::from_pem_file(key).context(ErrorKind::Network, wrong)?;
                tls.with_client_auth_cert(read_certificates(certificate)?, secret).context(ErrorKind::Network, wrong)?
            }
        };
        let builder = builder(self.connect_timeout);
        let builder = if profile.direct { builder.no_proxy() } else { self.proxies.apply(builder)? };
        builder.tls_backend_preconfigured(tls).build().context(ErrorKind::Network, wrong)
    }

    /// The authorities beside the system's. One of certs.d that cannot be read is left out: it may
    /// be meant for another program.
    fn further_authorities(&self, profile: &Profile) -> Result<Vec<CertificateDer<'static>>> {
        let mut authorities = Vec::new();
        for path in &self.ca_files {
            authorities.extend(read_certificates(path)?);
        }
        for path in &profile.authorities {
            match read_certificates(path) {
                Ok(read) => authorities.extend(read),
                Err(error) if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone()) => {
                    self.progress.warn(&format!("{error}: left out"), error.hint());
                }
                Err(_) => {}
            }
        }
        Ok(authorities)
    }

    /// The first folder that has this host counts, as in containers/image; the usual port need not
    /// be named on either side.
    fn certs_dir(&self, authority: &str) -> Option<PathBuf> {
        let (short, long) = match authority.strip_suffix(":443") {
            Some(host) => (host.to_owned(), authority.to_owned()),
            None => (authority.to_owned(), format!("{authority}:443")),
        };
        let folders = self.certs_dirs.iter().flat_map(|folder| [folder.join(&long), folder.join(&short)]);
        folders.into_iter().find(|folder| folder.is_dir())
    }
}

/// The folders that hold a folder for each `host[:port]`, in the order they are asked.
pub(crate) fn certs_dirs(environment: &Environment) -> Vec<PathBuf> {
    let user = environment.config_home("containers/certs.d");
    user.into_iter().chain(["/etc/containers/certs.d".into(), "/etc/docker/certs.d".into()]).collect()
}

/// `*.crt` are authorities, `X.cert` with `X.key` the client's pair (dockerd, "Verify repository
/// client with certificates").
fn read_certs_dir(folder: &Path, profile: &mut Profile) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::io("read", folder, error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => profile.authorities.push(path),
            Some("cert") => {
                let key = path.with_extension("key");
                if !key.is_file() {
                    return Err(Error::new(ErrorKind::Network, format!("`{}` has no key beside it", path.display()))
                        .with_hint(format!("put its key into `{}`", key.display())));
                }
                profile.pair.get_or_insert((path, key));
            }
            _ => {}
        }
    }
    Ok(())
}

fn builder(connect_timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("mpimg/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(connect_timeout)
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_nodelay(true)
        .http1_only()
        // Proxies and gateways add what they like; curl and Go's programs read all of it.
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_max_headers(MOST_HEADERS)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client without certificates: it cannot make an encrypted connection and reads no certificate
/// store.
fn plain_client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
    let wrong = || "cannot set up HTTP".to_owned();
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context(ErrorKind::Network, wrong)?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    builder.tls_backend_preconfigured(tls).build().context(ErrorKind::Network, wrong)
}

/// The certificates of a PEM file.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
    let hint = "give a PEM file: its certificates begin with `-----BEGIN CERTIFICATE-----`";
    let wrong = |what| Error::new(ErrorKind::Network, format!("`{}` {what}", path.display())).with_hint(hint);
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = read.map_err(|error| wrong("is not a PEM file of certificates").with_source(error))?;
    // What is inside must be a certificate, too.
    match certificates.iter().all(|certificate| webpki::anchor_from_trusted_cert(certificate).is_ok()) {
        _ if certificates.is_empty() => Err(wrong("holds no certificate")),
        true => Ok(certificates),
        false => Err(wrong("holds what is not a certificate")),
    }
}
