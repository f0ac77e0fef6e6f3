//! Attestations in an image's index, as BuildKit puts them there (BuildKit,
//! docs/attestations/attestation-storage.md): beside the entry of the image one that runs on no
//! platform, whose manifest holds in-toto statements about the image.

use bytes::Bytes;
use serde_json::json;

use super::{ManifestTree, Names};
use crate::error::Result;
use crate::oci::{Descriptor, Digest, MediaType, Platform};
use crate::store::BlobSource;

/// The media type of a statement, as an artifact, in an index, and as the payload of an envelope
/// (in-toto attestation framework, "Bundle").
pub const IN_TOTO_TYPE: &str = "application/vnd.in-toto+json";
/// The annotation that tells what is stated.
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// What the manifest is as an artifact.
pub(crate) const ATTESTATION_TYPE: &str = "application/vnd.docker.attestation.manifest.v1+json";

const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const ATTESTATION: &str = "attestation-manifest";
/// A config that says nothing (image specification, manifest.md, "Guidance for an Empty
/// Descriptor").
const EMPTY: &str = "{}";

/// A statement that an attestation manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestedStatement {
    /// What is stated, as the manifest says: `https://slsa.dev/provenance/v1`,
    /// `https://spdx.dev/Document`, …
    pub predicate_type: String,
    /// Where the statement is.
    pub blob: Descriptor,
}

impl AttestedStatement {
    /// What a manifest names: its layers that are statements.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt): it is no manifest.
    pub fn read_all(manifest: &[u8]) -> Result<Vec<Self>> {
        let layers = Names::parse(manifest)?.layers.into_iter();
        let statements = layers.filter(|layer| layer.media_type.as_str() == IN_TOTO_TYPE);
        let statement =
            |blob: Descriptor| Self { predicate_type: blob.annotations.get(PREDICATE_TYPE).cloned().unwrap_or_default(), blob };
        Ok(statements.map(statement).collect())
    }
}

/// Of which manifest an entry of an index is the attestation; `None`: it is something else.
pub fn attested_digest(entry: &Descriptor) -> Option<Digest> {
    let kind = entry.annotations.get(REFERENCE_TYPE)?;
    let digest = entry.annotations.get(REFERENCE_DIGEST)?;
    Digest::parse(digest).ok().filter(|_| kind == ATTESTATION)
}

/// The entry and manifest that attest `subject`: statements by what they state.
pub fn attestation(subject: &Descriptor, statements: Vec<(&str, Bytes)>) -> ManifestTree {
    let config = Descriptor::of(MediaType::from("application/vnd.oci.empty.v1+json"), EMPTY.as_bytes());
    let layer = |(predicate_type, bytes): (&str, Bytes)| {
        let mut layer = Descriptor::of(MediaType::from(IN_TOTO_TYPE), &bytes);
        layer.annotations.insert(PREDICATE_TYPE.to_owned(), predicate_type.to_owned());
        (layer, BlobSource::Memory(bytes))
    };
    let mut blobs: Vec<(Descriptor, BlobSource)> = statements.into_iter().map(layer).collect();
    let layers: Vec<&Descriptor> = blobs.iter().map(|(layer, _)| layer).collect();
    let mut config_entry = json!(config);
    // As BuildKit has it: who reads the manifest need not fetch two bytes.
    config_entry["data"] = json!("e30=");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::Manifest.as_str(),
        "artifactType": ATTESTATION_TYPE,
        "config": config_entry,
        "layers": layers,
        "subject": Descriptor::new(subject.media_type.clone(), subject.digest, subject.size),
    });
    let bytes = Bytes::from(manifest.to_string());
    blobs.insert(0, (config, BlobSource::Memory(Bytes::from_static(EMPTY.as_bytes()))));
    let mut descriptor = Descriptor::of(MediaType::Manifest, &bytes);
    // Runtimes look for their own platform and pass this one over.
    descriptor.platform = Some(Platform { os: "unknown".to_owned(), architecture: "unknown".to_owned(), variant: None });
    descriptor.annotations.insert(REFERENCE_TYPE.to_owned(), ATTESTATION.to_owned());
    descriptor.annotations.insert(REFERENCE_DIGEST.to_owned(), subject.digest.to_string());
    ManifestTree { descriptor, bytes, children: Vec::new(), blobs, subject: Some(subject.digest), tag: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attestation_is_told_from_other_entries_and_names_what_it_states() {
        let subject = Descriptor::of(MediaType::Manifest, b"image");
        let statements = vec![("https://spdx.dev/Document", Bytes::from_static(b"1")), ("other", Bytes::from_static(b"2"))];
        let made = attestation(&subject, statements);
        assert_eq!(attested_digest(&made.descriptor), Some(subject.digest));
        assert_eq!(attested_digest(&subject), None);
        let stated = AttestedStatement::read_all(&made.bytes).unwrap();
        let stated: Vec<_> = stated.iter().map(|one| (one.predicate_type.as_str(), one.blob.digest)).collect();
        assert_eq!(stated, [("https://spdx.dev/Document", Digest::of("1")), ("other", Digest::of("2"))]);
        let mut other = made.descriptor;
        other.annotations.insert(REFERENCE_TYPE.to_owned(), "something".to_owned());
        assert_eq!(attested_digest(&other), None);
    }
}
