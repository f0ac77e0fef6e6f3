//! A signature as an image under the tag `sha256-HEX.sig`: what Harbor before 2.15 and cosign
//! before 3 look for.
//!
//! Each layer is a "simple signing" document (containers/image, docs/containers-signature.5.md) and
//! carries its signature as an annotation (cosign, specs/SIGNATURE_SPEC.md).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::key::{PublicKey, SigningKey};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::image::{attachment_image, cosign_tag};
use crate::oci::{Descriptor, Digest, MediaType, Tag};

/// The type of the document.
pub const SIMPLE_SIGNING_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of its layer that has the signature in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const KIND: &str = "cosign container image signature";

/// What is signed: that an image of a repository has a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimpleSigning {
    critical: Critical,
    /// Anything; not needed, and not trusted for more than it says.
    #[serde(default)]
    optional: Option<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: SignedImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SignedImage {
    docker_manifest_digest: String,
}

impl SimpleSigning {
    /// That the image `digest` belongs to `repository`.
    pub fn new(repository: &str, digest: &Digest) -> Self {
        let identity = Identity { docker_reference: repository.to_owned() };
        let image = SignedImage { docker_manifest_digest: digest.to_string() };
        Self { critical: Critical { identity, image, kind: KIND.to_owned() }, optional: None }
    }

    fn bytes(&self) -> Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from).context(ErrorKind::Io, || "cannot write the signed document".to_owned())
    }

    /// Whether `payload` says that an image has `digest`, and `signature` (base64; `None`: the
    /// layer has none) is by `key`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: what is wrong.
    pub fn verify(payload: &[u8], signature: Option<&str>, digest: &Digest, key: &PublicKey) -> Result<Self> {
        let missing = || Error::new(ErrorKind::Corrupt, format!("the annotation `{SIGNATURE_ANNOTATION}` is missing"));
        let signature = signature.ok_or_else(missing)?;
        let damaged = || "the signature is not base64".to_owned();
        let signature = STANDARD.decode(signature.trim()).context(ErrorKind::Corrupt, damaged)?;
        key.verify(payload, &signature)?;
        // Read only once it is known whose it is.
        let document: Self = serde_json::from_slice(payload)
            .context(ErrorKind::Corrupt, || "the signed document is not of the form \"simple signing\"".to_owned())?;
        let signed = &document.critical.image.docker_manifest_digest;
        if *signed != digest.to_string() {
            return Err(Error::new(ErrorKind::Corrupt, format!("the signature is for another image, `{signed}`")));
        }
        Ok(document)
    }

    /// The repository that was signed.
    pub fn repository(&self) -> &str {
        &self.critical.identity.docker_reference
    }
}

/// The image that carries the signatures of one image.
#[derive(Debug, Clone)]
pub struct SimpleSigningImage {
    /// The manifest.
    pub manifest: Bytes,
    /// The config.
    pub config: Bytes,
    /// The layer that was added, unless the very same signature was there.
    pub payload: Bytes,
}

impl SimpleSigningImage {
    /// The tag under which signatures of `digest` are found.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: never for a digest that was parsed.
    pub fn tag(digest: &Digest) -> Result<Tag> {
        Tag::parse(&cosign_tag(digest, "sig"))
    }

    /// Signs the image `digest` of `repository`. `before` are the layers that the tag has already:
    /// other people's signatures stay. `None`: this very signature is among them.
    ///
    /// # Errors
    /// Those of [`SigningKey::sign`].
    pub fn sign(repository: &str, digest: &Digest, key: &SigningKey, before: &[Descriptor]) -> Result<Option<Self>> {
        let payload = SimpleSigning::new(repository, digest).bytes()?;
        let own = Descriptor::of(MediaType::from(SIMPLE_SIGNING_TYPE), &payload);
        let good = |layer: &Descriptor| {
            let signature = layer.annotations.get(SIGNATURE_ANNOTATION).map(String::as_str);
            layer.digest == own.digest && SimpleSigning::verify(&payload, signature, digest, key.public()).is_ok()
        };
        if before.iter().any(good) {
            return Ok(None);
        }
        let signature = STANDARD.encode(key.sign(&payload)?);
        let annotations = BTreeMap::from([(SIGNATURE_ANNOTATION.to_owned(), signature)]);
        let layers: Vec<Descriptor> = before.iter().cloned().chain([Descriptor { annotations, ..own }]).collect();
        let (manifest, config) = attachment_image(&layers)?;
        Ok(Some(Self { manifest, config, payload }))
    }
}
