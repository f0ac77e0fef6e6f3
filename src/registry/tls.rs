//! Connections: certificate authorities, client certificates, plain HTTP; one connection pool for each set of them.
//!
//! The system's certificate store is read only for an encrypted connection: a push to this machine needs none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Identity, redirect};
use url::Url;

use super::environment::Environment;
use super::host::{host_and_port, is_loopback};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};

/// Makes and keeps HTTP clients.
pub(crate) struct Connections {
    ca_files: Vec<PathBuf>,
    certs_dirs: Vec<PathBuf>,
    connect_timeout: Duration,
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
    authorities: Vec<PathBuf>,
    /// Client certificate and key.
    pair: Option<(PathBuf, PathBuf)>,
}

impl Connections {
    pub(crate) fn new(ca_files: Vec<PathBuf>, certs_dirs: Vec<PathBuf>, connect_timeout: Duration) -> Self {
        let (plain, direct, secure) = Default::default();
        Self { ca_files, certs_dirs, connect_timeout, plain, direct, secure }
    }

    /// The client for what belongs to this machine alone and no proxy can reach: plain HTTP.
    pub(crate) fn direct(&self) -> Result<reqwest::Client> {
        if let Some(client) = self.direct.get() {
            return Ok(client.clone());
        }
        let client = plain_client(builder(self.connect_timeout).no_proxy())?;
        Ok(self.direct.get_or_init(|| client).clone())
    }

    /// The client for requests to `url`.
    pub(crate) fn client(&self, url: &Url, insecure: bool) -> Result<reqwest::Client> {
        // No proxy reaches this machine's own registries (as in Go's programs, docker and skopeo among them).
        let list = ["NO_PROXY", "no_proxy"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
        let direct = url.host_str().is_some_and(is_loopback) || is_excepted(&list, url);
        if url.scheme() != "https" && direct {
            return self.direct();
        }
        if url.scheme() != "https" {
            if let Some(client) = self.plain.get() {
                return Ok(client.clone());
            }
            let client = plain_client(builder(self.connect_timeout))?;
            return Ok(self.plain.get_or_init(|| client).clone());
        }
        let profile = Profile { direct, ..self.profile(&host_and_port(url), insecure)? };
        let mut secure = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = secure.get(&profile) {
            return Ok(client.clone());
        }
        let client = secure_client(&profile, self.connect_timeout)?;
        secure.insert(profile, client.clone());
        Ok(client)
    }

    /// Whether a certs.d folder speaks of this host: then it is meant to be encrypted, even on this machine.
    pub(crate) fn has_certificates(&self, authority: &str) -> bool {
        self.certs_dir(authority).is_some()
    }

    fn profile(&self, authority: &str, insecure: bool) -> Result<Profile> {
        let mut profile = Profile { insecure, authorities: self.ca_files.clone(), ..Profile::default() };
        if let Some(folder) = self.certs_dir(authority) {
            read_certs_dir(&folder, &mut profile)?;
        }
        Ok(profile)
    }

    /// The first folder that has this host counts, as in containers/image; the usual port need not be named on either side.
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

/// `*.crt` are authorities, `X.cert` with `X.key` the client's pair (dockerd, "Verify repository client with certificates").
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

/// Whether a list as `NO_PROXY` has it excepts an address in a way that the HTTP library does not know, and Go's programs do: `*`
/// for addresses in numbers, too, and entries with a port.
fn is_excepted(list: &str, url: &Url) -> bool {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
    list.split(',').map(str::trim).any(|entry| match entry.rsplit_once(':') {
        Some((name, number)) if number.parse() == Ok(port) => {
            let name = name.trim_start_matches('.');
            host.strip_suffix(name).is_some_and(|below| below.is_empty() || below.ends_with('.'))
        }
        _ => entry == "*",
    })
}

fn builder(connect_timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("mpimg/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(connect_timeout)
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_nodelay(true)
        .http1_only()
}

/// A client without certificates: it cannot make an encrypted connection and reads no certificate store.
fn plain_client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
    let wrong = || "cannot set up HTTP".to_owned();
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context(ErrorKind::Network, wrong)?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    builder.tls_backend_preconfigured(tls).build().context(ErrorKind::Network, wrong)
}

fn secure_client(profile: &Profile, connect_timeout: Duration) -> Result<reqwest::Client> {
    install_provider();
    let mut certificates = Vec::new();
    for path in &profile.authorities {
        let text = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        let bundle = Certificate::from_pem_bundle(&text)
            .context(ErrorKind::Network, || format!("`{}` is not a PEM file of certificates", path.display()))?;
        if bundle.is_empty() {
            return Err(Error::new(ErrorKind::Network, format!("`{}` holds no certificate", path.display()))
                .with_hint("give a PEM file: its certificates begin with `-----BEGIN CERTIFICATE-----`"));
        }
        certificates.extend(bundle);
    }
    let builder = if profile.direct { builder(connect_timeout).no_proxy() } else { builder(connect_timeout) };
    let mut builder = builder.tls_danger_accept_invalid_certs(profile.insecure).tls_certs_merge(certificates);
    if let Some((certificate, key)) = &profile.pair {
        let mut text = std::fs::read(certificate).map_err(|error| Error::io("read", certificate, error))?;
        text.push(b'\n');
        text.extend(std::fs::read(key).map_err(|error| Error::io("read", key, error))?);
        let identity = Identity::from_pem(&text).context(ErrorKind::Network, || {
            format!("`{}` and `{}` are not a client certificate and its key", certificate.display(), key.display())
        })?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| {
        Error::new(ErrorKind::Network, "cannot set up TLS")
            .with_hint("install the package `ca-certificates`, or name a file of certificate authorities in `SSL_CERT_FILE`")
            .with_source(error)
    })
}

/// reqwest asks for a process-wide provider of cryptography; one that the program has set stays.
pub(crate) fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_exceptions_knows_ports_and_everything() {
        for (list, url, expected) in [
            ("*", "https://10.0.0.1/", true),
            ("a.example.com, b.example.com:8443", "https://b.example.com:8443/", true),
            (".example.com:443", "https://b.example.com/", true),
            ("example.com:443", "https://example.com/", true),
            ("ample.com:443", "https://example.com/", false),
            ("example.com:8443", "https://example.com/", false),
            ("10.0.0.1:5000", "http://10.0.0.1:5000/", true),
            ("[fd00::1]:5000", "http://[fd00::1]:5000/", true),
            ("fd00::1", "http://[fd00::1]:1/", false),
            ("", "https://example.com/", false),
        ] {
            assert_eq!(is_excepted(list, &Url::parse(url).unwrap()), expected, "{list} {url}");
        }
    }
}
