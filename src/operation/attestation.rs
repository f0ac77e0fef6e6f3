//! What an index attests of its images, as BuildKit puts it there: read without the statements
//! themselves, whose kinds the manifests tell.

use super::{Mpimg, blocking};
use crate::error::Result;
use crate::image::{AttestedStatement, ManifestTree, Names, Transport, attested_digest};
use crate::oci::{Descriptor, Digest, Reference};

/// Something that an image's index says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageAttestation {
    /// The manifest that carries it.
    pub manifest: Digest,
    /// What is stated: `https://slsa.dev/provenance/v1`, `https://spdx.dev/Document`, …
    pub predicate_type: String,
    /// Of the statement.
    pub statement: Descriptor,
}

impl ImageAttestation {
    pub(super) fn read_all(digest: Digest, manifest: &[u8]) -> Result<Vec<Self>> {
        let one = |AttestedStatement { predicate_type, blob }| Self { manifest: digest, predicate_type, statement: blob };
        Ok(AttestedStatement::read_all(manifest)?.into_iter().map(one).collect())
    }
}

impl Mpimg {
    /// What the index that `name` names attests of the image `digest` in it; nothing where `name`
    /// is no index, or of a place that holds none.
    pub(super) async fn attestations(&self, name: &Transport, digest: &Digest) -> Result<Vec<ImageAttestation>> {
        match name {
            Transport::Registry(name) => self.attestations_in_registry(name, digest).await,
            Transport::OciLayout { .. } | Transport::OciArchive { .. } => {
                let (name, store) = (name.clone(), self.open_store().await?);
                let tree = blocking(move || name.read_manifests(&store)).await?;
                attestations_in(&tree, digest)
            }
            Transport::Store(_) | Transport::DockerArchive { .. } => Ok(Vec::new()),
        }
    }

    /// As `attestations`. Reads the index, and of its manifests only those that attest the image:
    /// each counts where a registry counts pulls. The image's own digest names no index.
    pub(super) async fn attestations_in_registry(&self, name: &Reference, digest: &Digest) -> Result<Vec<ImageAttestation>> {
        if name.digest() == Some(digest) {
            return Ok(Vec::new());
        }
        let root = self.client().pull_manifest(name).await?;
        if !root.media_type.is_index() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in Names::parse(&root.bytes)?.manifests {
            if attested_digest(&entry).as_ref() == Some(digest) {
                let manifest = self.client().pull_manifest(&name.repository().with_digest(entry.digest)).await?;
                found.extend(ImageAttestation::read_all(entry.digest, &manifest.bytes)?);
            }
        }
        Ok(found)
    }
}

/// What `tree` attests of the image `digest`.
fn attestations_in(tree: &ManifestTree, digest: &Digest) -> Result<Vec<ImageAttestation>> {
    let of_image = |child: &&ManifestTree| attested_digest(&child.descriptor).as_ref() == Some(digest);
    let found =
        tree.children.iter().filter(of_image).map(|child| ImageAttestation::read_all(child.descriptor.digest, &child.bytes));
    found.collect::<Result<Vec<_>>>().map(|found| found.into_iter().flatten().collect())
}
