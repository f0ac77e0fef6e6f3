//! What an index says of its images, as BuildKit puts it there, with the statements themselves.

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::image::{AttestedStatement, DOCUMENT_LIMIT, ManifestTree, attested_digest};
use crate::oci::Digest;
use crate::signature::Statement;

/// Something that an index says of an image in it, as BuildKit puts it there. It has no signature
/// of its own: a signature of the index is one of all that the index holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FoundAttestation {
    /// The manifest that carries it.
    pub manifest: Digest,
    /// The image that it is about.
    pub image: Digest,
    /// What is wrong with it; `None`: it is a statement about that image.
    pub error: Option<String>,
    /// The kind of statement.
    pub predicate_type: String,
    /// What is stated.
    pub predicate: Option<Value>,
}

/// Why something in the registry cannot be read, unless that is the registry's fault.
pub(super) fn unreadable(error: Error) -> Result<String> {
    if matches!(error.kind(), ErrorKind::Auth | ErrorKind::Interrupted | ErrorKind::Network) {
        return Err(error.wrap("cannot read the signatures"));
    }
    Ok(format!("it cannot be read: {}", error.in_one_line()))
}

/// What an index says of its images.
pub(super) async fn attestations(tree: &ManifestTree) -> Result<Vec<FoundAttestation>> {
    let mut found = Vec::new();
    for child in &tree.children {
        let Some(image) = attested_digest(&child.descriptor) else { continue };
        for AttestedStatement { predicate_type, blob } in AttestedStatement::read_all(&child.bytes)? {
            let manifest = child.descriptor.digest;
            let mut attestation = FoundAttestation { manifest, image, error: None, predicate_type, predicate: None };
            match child.blob(&blob.digest, DOCUMENT_LIMIT).await {
                Ok(bytes) => match Statement::read(&bytes, &image) {
                    Ok(statement) => {
                        attestation.predicate_type = statement.predicate_type().to_owned();
                        attestation.predicate = Some(statement.predicate().clone());
                    }
                    Err(error) => attestation.error = Some(error.in_one_line()),
                },
                Err(error) => attestation.error = Some(unreadable(error)?),
            }
            if !tree.children.iter().any(|other| other.descriptor.digest == image) {
                attestation.error = Some("it is about an image that the index does not have".to_owned());
            }
            found.push(attestation);
        }
    }
    Ok(found)
}
