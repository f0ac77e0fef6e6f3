//! TLS for the registry: the caller's certificate, or one that is made and kept in the registry's
//! folder.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::{SelfSigned, self_signed, today};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};

/// How many days a made certificate is good for: what browsers and Apple's programs take at most.
const LIFETIME: i64 = 825;

/// A certificate that ends within this many days is replaced.
const RENEWAL: i64 = 30;

/// Which certificate a registry shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsOptions {
    /// PEM files: the certificate with those between it and its authority, and its key.
    Files {
        /// The certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// One that signs itself, for this machine's names and addresses. It is kept in the registry's
    /// folder: a client that trusts it need not do so again.
    Made,
}

/// A certificate that is ready to be shown.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    /// The file that a client needs to trust it; `None` where that is the caller's business.
    pub(super) trust: Option<PathBuf>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate, or makes it for `addresses`.
    pub(super) fn open(options: &TlsOptions, folder: &Path, addresses: &[SocketAddr]) -> Result<Self> {
        let (certificate, key, trust) = match options {
            TlsOptions::Files { certificate, key } => (certificate.clone(), key.clone(), None),
            TlsOptions::Made => {
                let folder = folder.join("tls");
                let (certificate, key) = (folder.join("registry.crt"), folder.join("registry.key"));
                make(&folder, &certificate, &key, &names(addresses))?;
                (certificate.clone(), key, Some(certificate))
            }
        };
        let wrong = || format!("`{}` and `{}` are not a certificate and its key", certificate.display(), key.display());
        let chain: Vec<_> =
            CertificateDer::pem_file_iter(&certificate).and_then(Iterator::collect).context(ErrorKind::Usage, wrong)?;
        let secret = PrivateKeyDer::from_pem_file(&key).context(ErrorKind::Usage, wrong)?;
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, secret))
            .context(ErrorKind::Usage, wrong)?;
        Ok(Self { config: Arc::new(config), trust })
    }
}

/// What this machine is called, as far as it knows.
fn names(addresses: &[SocketAddr]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(addresses.iter().map(|address| address.ip()).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_ascii_lowercase();
    names.extend(Some(host).filter(|host| !host.is_empty()));
    names.sort();
    names.dedup();
    names
}

/// Makes the certificate, unless the one that is there is for all these names and lasts.
fn make(folder: &Path, certificate: &Path, key: &Path, names: &[String]) -> Result<()> {
    let list = folder.join("names.json");
    let today = today();
    let known: Option<(Vec<String>, i64)> = fs::read(&list).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let lasts = |end: i64| end > today + RENEWAL;
    let serves = known.is_some_and(|(known, end)| lasts(end) && names.iter().all(|name| known.contains(name)));
    if serves && certificate.exists() && key.exists() {
        return Ok(());
    }
    let end = today + LIFETIME;
    let SelfSigned { certificate: made, key: secret } = self_signed("mpimg serve", names, today, end)?;
    fs::create_dir_all(folder).map_err(|error| Error::io("make the folder", folder, error))?;
    write(key, secret.as_bytes(), 0o600)?;
    write(certificate, made.as_bytes(), 0o644)?;
    write(&list, &serde_json::to_vec(&(names, end)).unwrap_or_default(), 0o644)
}

/// Writes a file, whole or not at all.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let new = path.with_extension("new");
    let write = || {
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|error| Error::io("write", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_certificate_stays_until_it_lacks_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let certificate = folder.path().join("tls/registry.crt");
        let open = |addresses: &[SocketAddr]| {
            Tls::open(&TlsOptions::Made, folder.path(), addresses).unwrap();
            fs::read(&certificate).unwrap()
        };
        let first = open(&[address("192.0.2.1:5000")]);
        assert_eq!(open(&[address("192.0.2.1:6000")]), first);
        assert_eq!(open(&[]), first);
        assert_ne!(open(&[address("192.0.2.2:5000")]), first);
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(folder.path().join("tls/registry.key")).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
}
