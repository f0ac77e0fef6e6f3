//! Puts what RUN gets of this machine around a command: see
//! [`RunSettings`](crate::build::RunSettings).
//!
//! Certificate authorities are files in a folder of their own, which is gone when the step ends,
//! and variables that name them: the image's own files stay as they are, so that a step may install
//! or update its certificates.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::trust_store;
use crate::build::session::Session;
use crate::build::stage::StageState;
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::layer::{LayerPath, open_inside};
use crate::sandbox::{BindSource, Mount, RootSpec, RunSpec, SecretBytes};

/// Where the files are during a step.
const FOLDER: &str = "/run/mpimg";

/// Where distributions keep the certificates that they trust: Debian and Alpine; Photon, Fedora and
/// RHEL; SUSE.
const BUNDLES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Variables that name a file of certificates, and who reads them.
const VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",       // OpenSSL, and so Python's ssl, Ruby; Go
    "CURL_CA_BUNDLE",      // curl
    "REQUESTS_CA_BUNDLE",  // Python's requests
    "PIP_CERT",            // pip
    "GIT_SSL_CAINFO",      // git
    "NODE_EXTRA_CA_CERTS", // Node
    "CARGO_HTTP_CAINFO",   // cargo
    "AWS_CA_BUNDLE",       // the AWS CLI, boto3
];

/// Adds the request's settings to `spec`.
pub(super) fn add(session: &Session<'_>, stage: &mut StageState, spec: &mut RunSpec) -> Result<()> {
    let settings = &session.request.run;
    for mount in &settings.mounts {
        let source = mount.source.canonicalize().map_err(|error| Error::io("mount", &mount.source, error))?;
        let (root, path) = match (source.parent(), source.file_name()) {
            (Some(parent), Some(name)) => (parent.to_owned(), LayerPath::clean(name.as_bytes())?),
            _ => (source.clone(), LayerPath::root()),
        };
        let target = LayerPath::clean(&mount.target)?;
        spec.mounts.push(Mount::Bind { source: BindSource::Host { root, path }, target, writable: false });
    }
    if !settings.ca_files.is_empty() {
        add_authorities(session, stage, spec)?;
    }
    for (name, value) in &settings.env {
        spec.env.retain(|(set, _)| set != name);
        spec.secret_env.push((name.clone(), value.clone()));
    }
    Ok(())
}

fn add_authorities(session: &Session<'_>, stage: &mut StageState, spec: &mut RunSpec) -> Result<()> {
    let mut bundle = trusted_by_image(session, stage, &spec.root)?;
    for path in &session.request.run.ca_files {
        let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        if certificates(&bytes).is_none_or(|found| found.is_empty()) {
            let message = format!("`{}` is not a PEM file of certificates", path.display());
            return Err(Error::new(ErrorKind::Usage, message).with_hint(format!(
                "{} takes the authority's certificate, which begins with -----BEGIN CERTIFICATE-----",
                Setting::RunCaFile
            )));
        }
        // The image's file need not end with a line feed.
        bundle.push(b'\n');
        bundle.extend(bytes);
    }
    let at = |name: &str| format!("{FOLDER}/{name}");
    let apt = format!("Acquire::https::CaInfo \"{}\";\n", at("ca.pem"));
    let wget = format!("ca_certificate = {}\n", at("ca.pem"));
    let java = trust_store::jks(&certificates(&bundle).unwrap_or_default());
    for (name, bytes) in [("ca.pem", bundle), ("apt.conf", apt.into()), ("wgetrc", wget.into()), ("ca.jks", java)] {
        let target = LayerPath::clean(at(name))?;
        spec.mounts.push(Mount::MemoryFile { bytes: SecretBytes::new(bytes), target, mode: 0o444, uid: 0, gid: 0 });
    }
    let mut set = |name: &str, value: String| {
        // The Dockerfile knows better where it says so.
        if !spec.env.iter().any(|(known, _)| known == name) {
            spec.env.push((name.to_owned(), value));
        }
    };
    VARIABLES.iter().for_each(|name| set(name, at("ca.pem")));
    set("APT_CONFIG", at("apt.conf"));
    set("WGETRC", at("wgetrc"));
    set("JAVA_TOOL_OPTIONS", format!("-Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStoreType=JKS", at("ca.jks")));
    Ok(())
}

/// The certificates of a PEM file; `None` if it is not one.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<_, _>>().ok()
}

/// What the image trusts, as PEM; what this machine trusts where it has no such file.
fn trusted_by_image(session: &Session<'_>, stage: &mut StageState, root: &RootSpec) -> Result<Vec<u8>> {
    let folders = match root {
        RootSpec::Overlay { lower, .. } => lower.iter().map(|folder| folder.as_path()).collect(),
        RootSpec::Tree { path } => vec![path.as_path()],
    };
    let tree = stage.tree(session)?;
    for bundle in BUNDLES {
        // Found in the tree of all layers, so that the first layer that has the path has the file
        // that counts.
        let Ok(resolved) = tree.resolve(bundle, true) else { continue };
        if resolved.node.is_some()
            && let Some(bytes) = folders.iter().find_map(|folder| read_inside(folder, &resolved.path))
        {
            return Ok(bytes);
        }
    }
    Ok(BUNDLES.iter().find_map(|bundle| std::fs::read(bundle).ok()).unwrap_or_default())
}

fn read_inside(folder: &Path, path: &LayerPath) -> Option<Vec<u8>> {
    let root = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file =
        open_inside(root, path.to_string().trim_start_matches('/'), flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
            .ok()?;
    let mut file = File::from(file);
    let mut bytes = Vec::new();
    (file.metadata().ok()?.is_file() && file.read_to_end(&mut bytes).is_ok()).then_some(bytes)
}
