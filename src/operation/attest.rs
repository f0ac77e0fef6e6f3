//! SBOM and provenance in the image's index, where BuildKit has them, in place of artifacts that
//! refer to the image.
//!
//! The image does not change, but what its tag names is an index then. The same build has the same
//! index.

use bytes::Bytes;

use super::build_index::index_of;
use super::build_outputs::BuildOutputs;
use super::provenance::{SLSA_PROVENANCE, predicate};
use super::recorded::{IndexAttestations, SbomOutputs, not_known};
use super::{Mpimg, PushedImage};
use crate::build::BuildMaterials;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::image::{Format, Image, ManifestTree, attestation};
use crate::oci::{Descriptor, Digest};
use crate::sbom::SbomFormat;
use crate::signature::Statement;

impl Mpimg {
    /// Puts what is `wanted` into an index above an image that was pushed by its digest, and gives
    /// that index the tags.
    pub(super) async fn attest_pushed(&self, pushed: &mut PushedImage, wanted: &IndexAttestations) -> Result<()> {
        let repository = pushed.destination.push.repository().clone();
        let attest = async {
            // As the registry took it.
            let mut subject = pushed.pushed.descriptor();
            subject.platform = Some(pushed.image.config().platform());
            let own = Attested { image: &pushed.image, materials: pushed.materials.as_ref(), subject: &subject };
            let attestation = self.attestation_of(&repository.to_string(), &own, wanted).await?;
            let image = ManifestTree {
                descriptor: subject.clone(),
                bytes: pushed.pushed.manifest.clone(),
                children: Vec::new(),
                blobs: Vec::new(),
                subject: None,
                tag: None,
            };
            let tree = index_of(vec![image, attestation], Format::Oci)?;
            let session = self.client().push(&repository)?;
            session.offer_tree(&tree);
            pushed.digest = session.finish_tree(&tree, &pushed.tags).await?.digest;
            pushed.index = Some(tree);
            Ok(())
        };
        attest.await.map_err(|error: Error| error.wrap("the image is pushed without a tag, but its attestations are not"))
    }

    /// The index of images that were built, with what is to be recorded of each.
    pub(super) async fn attested_index(
        &self,
        images: &[(Image, BuildMaterials)],
        outputs: &BuildOutputs,
    ) -> Result<ManifestTree> {
        let sbom = SbomOutputs { attach: outputs.sbom, file: None };
        let wanted = IndexAttestations { sbom, provenance: outputs.provenance };
        wanted.expect_some()?;
        let mut children: Vec<ManifestTree> = images.iter().map(|(image, _)| ManifestTree::of_image(image)).collect();
        for (image, materials) in images {
            let subject = image.descriptor();
            let called = match outputs.names.first() {
                Some(name) => name.repository().to_string(),
                None => subject.digest.to_string(),
            };
            let own = Attested { image, materials: Some(materials), subject };
            children.push(self.attestation_of(&called, &own, &wanted).await?);
        }
        index_of(children, Format::Oci)
    }

    async fn attestation_of(&self, called: &str, of: &Attested<'_>, wanted: &IndexAttestations) -> Result<ManifestTree> {
        let digest = of.subject.digest;
        let mut statements = Vec::new();
        let SbomOutputs { attach, file } = &wanted.sbom;
        if wanted.sbom.is_wanted() {
            let inventory = self.materials(of.image).await?;
            let document = |format: SbomFormat| format.document(called, digest, of.image, &inventory);
            if let Some(file) = file {
                file.write(&document(file.format()))?;
            }
            if let Some(format) = attach {
                let document =
                    serde_json::from_str(&document(*format)).context(ErrorKind::Corrupt, || "the SBOM is not JSON".to_owned())?;
                statements.push((format.predicate_type(), statement(&digest, format.predicate_type(), document)?));
            }
        }
        if let Some(options) = wanted.provenance {
            let materials = of.materials.ok_or_else(not_known)?;
            statements.push((SLSA_PROVENANCE, statement(&digest, SLSA_PROVENANCE, predicate(materials, options))?));
        }
        Ok(attestation(of.subject, statements))
    }
}

/// An image of which something is recorded.
struct Attested<'a> {
    image: &'a Image,
    materials: Option<&'a BuildMaterials>,
    /// Its manifest, as it is pushed.
    subject: &'a Descriptor,
}

fn statement(digest: &Digest, predicate_type: &str, predicate: serde_json::Value) -> Result<Bytes> {
    let statement = Statement::new(digest, predicate_type, predicate);
    serde_json::to_vec(&statement).map(Bytes::from).context(ErrorKind::Io, || "cannot write the statement".to_owned())
}
