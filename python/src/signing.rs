//! Signing and verifying for a Python caller.

use std::path::{Path, PathBuf};

use mpimg::image::Transport;
use mpimg::operation::{
    FoundAttestation, FoundReferrer, FoundSignature, SignRequest, SignatureForm, VerifyRequest, generate_key as make_key,
    read_signing_key, sign_file as sign_one_file, verify_file as verify_one_file,
};
use mpimg::signature::{PublicKey, SigningKey};
use mpimg::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::call::call;
use crate::errors::raise;
use crate::options::Options;

/// `mpimg.Signed`
#[derive(IntoPyObject)]
pub(crate) struct SignedResult {
    digest: String,
    bundle: String,
    tag: Option<String>,
}

fn private_key(path: &Path, password: Option<String>) -> mpimg::Result<SigningKey> {
    let missing = || Error::new(ErrorKind::Usage, "the private key is encrypted, and no password was given");
    read_signing_key(path, || password.ok_or_else(missing))
}

fn public_keys(paths: &[PathBuf]) -> mpimg::Result<Vec<PublicKey>> {
    paths.iter().map(|path| PublicKey::read(path)).collect()
}

/// Signs an image in its registry.
#[pyfunction]
pub(crate) fn sign(
    py: Python<'_>,
    options: Options,
    image: String,
    key: PathBuf,
    password: Option<String>,
    what: (bool, bool, bool),
) -> PyResult<Vec<SignedResult>> {
    call(py, options, None, move |mpimg| async move {
        let key = private_key(&key, password)?;
        let mut request = SignRequest::new(image.parse()?, key);
        (request.tag, request.recursive, request.referrers) = what;
        let result = |signed: mpimg::operation::Signed| SignedResult {
            digest: signed.digest.to_string(),
            bundle: signed.bundle.to_string(),
            tag: signed.tag.map(|digest| digest.to_string()),
        };
        Ok(mpimg.sign(&request).await?.into_iter().map(result).collect())
    })
}

/// `mpimg.VerifiedManifest`
#[derive(IntoPyObject)]
pub(crate) struct VerifiedResult {
    digest: String,
    signed: bool,
    signatures: Vec<FoundSignatureResult>,
    attestations: Vec<FoundAttestationResult>,
    referrers: Vec<FoundReferrerResult>,
}

/// `mpimg.FoundReferrer`
#[derive(IntoPyObject)]
struct FoundReferrerResult {
    manifest: String,
    artifact_type: String,
    predicate_types: Vec<String>,
    error: Option<String>,
    signed: bool,
    signatures: Vec<FoundSignatureResult>,
}

impl FoundReferrerResult {
    fn new(found: FoundReferrer) -> Self {
        Self {
            signed: found.signed().is_some(),
            manifest: found.manifest.to_string(),
            artifact_type: found.artifact_type,
            predicate_types: found.predicate_types,
            error: found.error,
            signatures: found.signatures.into_iter().map(FoundSignatureResult::new).collect(),
        }
    }
}

/// `mpimg.FoundAttestation`
#[derive(IntoPyObject)]
struct FoundAttestationResult {
    manifest: String,
    image: String,
    error: Option<String>,
    predicate_type: String,
    /// As JSON.
    predicate: Option<String>,
}

impl FoundAttestationResult {
    fn new(found: FoundAttestation) -> Self {
        Self {
            manifest: found.manifest.to_string(),
            image: found.image.to_string(),
            error: found.error,
            predicate_type: found.predicate_type,
            predicate: found.predicate.map(|predicate| predicate.to_string()),
        }
    }
}

/// `mpimg.FoundSignature`
#[derive(IntoPyObject)]
struct FoundSignatureResult {
    form: &'static str,
    manifest: String,
    error: Option<String>,
    key: Option<String>,
    predicate_type: Option<String>,
    /// As JSON.
    predicate: Option<String>,
    repository: Option<String>,
}

impl FoundSignatureResult {
    fn new(found: FoundSignature) -> Self {
        Self {
            form: if found.form == SignatureForm::Tag { "tag" } else { "bundle" },
            manifest: found.manifest.to_string(),
            error: found.error,
            key: found.key.map(|digest| digest.to_string()),
            predicate_type: found.predicate_type,
            predicate: found.predicate.map(|predicate| predicate.to_string()),
            repository: found.repository,
        }
    }
}

/// Verifies the signatures of an image.
#[pyfunction]
pub(crate) fn verify(
    py: Python<'_>,
    options: Options,
    image: String,
    keys: Vec<PathBuf>,
    recursive: bool,
) -> PyResult<Vec<VerifiedResult>> {
    call(py, options, None, move |mpimg| async move {
        let keys = public_keys(&keys)?;
        let image = match image.parse()? {
            // A bare name is one in a registry: the local store holds no signatures.
            Transport::Store(name) => Transport::Registry(name),
            other => other,
        };
        let mut request = VerifyRequest::new(image, keys);
        request.recursive = recursive;
        let result = |manifest: mpimg::operation::VerifiedManifest| VerifiedResult {
            digest: manifest.digest.to_string(),
            signed: manifest.is_signed(),
            signatures: manifest.signatures.into_iter().map(FoundSignatureResult::new).collect(),
            attestations: manifest.attestations.into_iter().map(FoundAttestationResult::new).collect(),
            referrers: manifest.referrers.into_iter().map(FoundReferrerResult::new).collect(),
        };
        Ok(mpimg.must_be_signed(&request).await?.into_iter().map(result).collect())
    })
}

/// Signs a file: the bundle's path, and that of the bare signature.
#[pyfunction]
pub(crate) fn sign_file(
    py: Python<'_>,
    options: Options,
    file: PathBuf,
    key: PathBuf,
    password: Option<String>,
) -> PyResult<(PathBuf, PathBuf)> {
    call(py, options, None, move |_| async move {
        let key = private_key(&key, password)?;
        let signed = sign_one_file(&file, &key).await?;
        Ok((signed.bundle, signed.signature))
    })
}

/// Verifies a file's signature: the fingerprint of the key that signed.
#[pyfunction]
pub(crate) fn verify_file(py: Python<'_>, options: Options, file: PathBuf, keys: Vec<PathBuf>) -> PyResult<String> {
    call(py, options, None, move |_| async move {
        let keys = public_keys(&keys)?;
        Ok(verify_one_file(&file, keys).await?.fingerprint().to_string())
    })
}

/// Makes a key pair: the two files, and the fingerprint.
#[pyfunction]
pub(crate) fn generate_key(py: Python<'_>, prefix: PathBuf, password: String) -> PyResult<(String, String, String)> {
    let files = py.detach(|| make_key(&prefix, &password)).map_err(|error| raise(py, &error))?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    Ok((text(files.private), text(files.public), files.key.public().fingerprint().to_string()))
}
