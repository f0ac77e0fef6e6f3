//! What an index attests of its images, as BuildKit puts it there: read without the statements
//! themselves, whose kinds the manifests tell.

use super::{Mpimg, blocking};
use crate::error::Result;
use crate::image::{AttestedStatement, ManifestTree, Names, Transport, attested_digest};
use crate::oci::{Descriptor, Digest, Repository};
use crate::registry::PulledManifest;

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
    /// What the index that `place` names attests of the image `digest` in it; nothing where `place`
    /// is no index, or holds none.
    pub(super) async fn attestations_in_layout(&self, place: &Transport, digest: &Digest) -> Result<Vec<ImageAttestation>> {
        match place {
            Transport::OciLayout { .. } | Transport::OciArchive { .. } => {
                let (place, store) = (place.clone(), self.open_store().await?);
                let tree = blocking(move || place.read_manifests(&store)).await?;
                attestations_in(&tree, digest)
            }
            Transport::Store(_) | Transport::DockerArchive { .. } | Transport::Registry(_) => Ok(Vec::new()),
        }
    }

    /// What an index of `repository` attests of the image `digest` in it. Reads only the manifests
    /// that attest it: each counts where a registry counts pulls.
    pub(super) async fn attestations_in_registry(
        &self,
        repository: &Repository,
        index: &PulledManifest,
        digest: &Digest,
    ) -> Result<Vec<ImageAttestation>> {
        let mut found = Vec::new();
        for entry in Names::parse(&index.bytes)?.manifests {
            if attested_digest(&entry).as_ref() == Some(digest) {
                let manifest = self.client().pull_manifest(&repository.with_digest(entry.digest)).await?;
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
