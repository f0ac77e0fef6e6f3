//! A signed statement as a Sigstore bundle (protobuf-specs, sigstore_bundle.proto): what cosign 3
//! and Harbor from 2.15 on look for among the artifacts that refer to an image.
//!
//! Invariant: what is signed is the DSSE envelope's pre-authentication encoding
//! (secure-systems-lab/dsse, protocol.md).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::key::{PublicKey, SigningKey};
use super::statement::Statement;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::image::IN_TOTO_TYPE;
use crate::oci::Digest;

/// The type of the bundle, and of the artifact that holds it.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What the types of bundles of all versions begin with.
pub(crate) const BUNDLE_TYPES: &str = "application/vnd.dev.sigstore.bundle";
/// The type of a layer that is an envelope: what cosign before 3 attests.
pub const ENVELOPE_TYPE: &str = "application/vnd.dsse.envelope.v1+json";

/// A bundle that was made.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Its bytes.
    pub bytes: Bytes,
    /// The annotations of the artifact that holds it, by which cosign finds it.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParsedBundle {
    media_type: String,
    #[serde(default)]
    dsse_envelope: Option<Envelope>,
    #[serde(default)]
    message_signature: Option<MessageSignature>,
    #[serde(default)]
    verification_material: VerificationMaterial,
}

/// A signature of a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    #[serde(default)]
    message_digest: Option<MessageDigest>,
    signature: String,
}

#[derive(Deserialize)]
struct MessageDigest {
    digest: String,
}

/// What the signer says of the key. Not signed, so nothing is believed of it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VerificationMaterial {
    certificate: Option<serde::de::IgnoredAny>,
    x509_certificate_chain: Option<serde::de::IgnoredAny>,
}

/// A signed statement: a DSSE envelope (secure-systems-lab/dsse, envelope.md).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

fn damaged() -> String {
    "the bundle cannot be read".to_owned()
}

impl ParsedBundle {
    fn read(bytes: &[u8]) -> Result<Self> {
        let bundle: Self = serde_json::from_slice(bytes).context(ErrorKind::Corrupt, damaged)?;
        let media_type = &bundle.media_type;
        if !media_type.starts_with(BUNDLE_TYPES) {
            return Err(Error::new(ErrorKind::Corrupt, format!("a `{media_type}` is not a Sigstore bundle")));
        }
        if !is_known_version(media_type) {
            return Err(Error::new(ErrorKind::Unsupported, format!("a `{media_type}` is of a version that mpimg does not know")));
        }
        // One of public key, certificate and chain says whose the signature is
        // (`VerificationMaterial.content`): with a certificate it is for those who ask its
        // authority, whether a key of ours fits or not. cosign refuses it for a key as well.
        let material = &bundle.verification_material;
        if material.certificate.is_some() || material.x509_certificate_chain.is_some() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the bundle brings a certificate, and only the given keys are believed",
            ));
        }
        Ok(bundle)
    }
}

/// Versions 0.1 to 0.3, in the two forms that their types have had.
fn is_known_version(media_type: &str) -> bool {
    let rest = media_type.strip_prefix(BUNDLE_TYPES).unwrap_or_default();
    let version = rest.strip_prefix("+json;version=").or_else(|| rest.strip_prefix(".v")?.strip_suffix("+json"));
    version.is_some_and(|version| {
        ["0.1", "0.2", "0.3"]
            .into_iter()
            .any(|known| version.strip_prefix(known).is_some_and(|patch| patch.is_empty() || patch.starts_with('.')))
    })
}

impl Envelope {
    /// The statement of an envelope about the image `digest`, if `key` signed it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: what is wrong; [`ErrorKind::Unsupported`]: what is signed is no
    /// statement.
    pub fn verify(bytes: &[u8], digest: &Digest, key: &PublicKey) -> Result<Statement> {
        let envelope: Self = serde_json::from_slice(bytes).context(ErrorKind::Corrupt, damaged)?;
        envelope.statement(digest, key)
    }

    fn statement(&self, digest: &Digest, key: &PublicKey) -> Result<Statement> {
        let Self { payload, payload_type, signatures } = self;
        if payload_type != IN_TOTO_TYPE {
            let message = format!("a `{payload_type}` is signed, not an in-toto statement");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let payload = STANDARD.decode(payload).context(ErrorKind::Corrupt, damaged)?;
        let message = pre_authentication_encoding(payload_type, &payload);
        let is_good = |EnvelopeSignature { sig }: &EnvelopeSignature| {
            let signature = STANDARD.decode(sig).context(ErrorKind::Corrupt, damaged)?;
            key.verify(&message, &signature)
        };
        let mut refused = Error::new(ErrorKind::Corrupt, "the statement has no signature");
        for signature in signatures {
            match is_good(signature) {
                Ok(()) => return Statement::read(&payload, digest),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

impl Bundle {
    /// Signs a statement.
    ///
    /// # Errors
    /// Those of [`SigningKey::sign`].
    pub fn sign(statement: &Statement, key: &SigningKey) -> Result<Self> {
        let payload = serde_json::to_vec(statement).context(ErrorKind::Io, || "cannot write the statement".to_owned())?;
        let signature = key.sign(&pre_authentication_encoding(IN_TOTO_TYPE, &payload))?;
        // No entry of a transparency log and no time stamp: there is neither where only a registry
        // is reached.
        let bundle = json!({
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": { "publicKey": { "hint": key.public().hint() } },
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload),
                "payloadType": IN_TOTO_TYPE,
                "signatures": [{ "sig": STANDARD.encode(signature) }],
            },
        });
        let annotation = |name: &str, value: &str| (format!("dev.sigstore.bundle.{name}"), value.to_owned());
        let annotations = [annotation("content", "dsse-envelope"), annotation("predicateType", statement.predicate_type())];
        Ok(Self { bytes: bundle.to_string().into(), annotations: annotations.into() })
    }

    /// The bundle of a file's signature, as `cosign sign-blob` writes it.
    pub fn of_file(content: &[u8], signature: &[u8], key: &PublicKey) -> Vec<u8> {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(content);
        let bundle = json!({
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": { "publicKey": { "hint": key.hint() } },
            "messageSignature": {
                "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(digest) },
                "signature": STANDARD.encode(signature),
            },
        });
        bundle.to_string().into_bytes()
    }

    /// Whether a bundle holds a signature of a file's `content` by `key`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: what is wrong; [`ErrorKind::Unsupported`]: a bundle with a signed
    /// statement.
    pub fn verify_file(bytes: &[u8], content: &[u8], key: &PublicKey) -> Result<()> {
        let bundle = ParsedBundle::read(bytes)?;
        let Some(MessageSignature { message_digest, signature }) = bundle.message_signature else {
            return Err(Error::new(ErrorKind::Unsupported, "the bundle holds no signature of a file"));
        };
        // A hint only, but one that must not be wrong (sigstore_common.proto, `MessageSignature`).
        let digest = STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(content));
        if message_digest.is_some_and(|given| given.digest != digest) {
            return Err(Error::new(ErrorKind::Corrupt, "the bundle is of a file with another digest"));
        }
        let signature = STANDARD.decode(signature).context(ErrorKind::Corrupt, damaged)?;
        key.verify(content, &signature)
    }

    /// The statement of a bundle about the image `digest`, if `key` signed it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: what is wrong; [`ErrorKind::Unsupported`]: a bundle without a signed
    /// statement.
    pub fn verify(bytes: &[u8], digest: &Digest, key: &PublicKey) -> Result<Statement> {
        let bundle = ParsedBundle::read(bytes)?;
        let Some(envelope) = bundle.dsse_envelope else {
            let what = if bundle.message_signature.is_some() { "a bare signature" } else { "nothing" };
            return Err(Error::new(ErrorKind::Unsupported, format!("the bundle holds {what}, not a signed statement")));
        };
        envelope.statement(digest, key)
    }
}

/// What is signed of an envelope (DSSE protocol, "Signature Definition").
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_bundles_that_cosign_takes_are_known() {
        for (media_type, known) in [
            (BUNDLE_TYPE, true),
            ("application/vnd.dev.sigstore.bundle+json;version=0.1", true),
            ("application/vnd.dev.sigstore.bundle+json;version=0.2", true),
            ("application/vnd.dev.sigstore.bundle.v0.3.1+json", true),
            ("application/vnd.dev.sigstore.bundle.v0.9+json", false),
            ("application/vnd.dev.sigstore.bundle.v0.31+json", false),
            ("application/vnd.dev.sigstore.bundle", false),
        ] {
            assert_eq!(is_known_version(media_type), known, "{media_type}");
        }
    }
}
