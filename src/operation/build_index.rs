//! One image for several platforms: its index, and where that goes.

use bytes::Bytes;

use super::build_outputs::BuildOutputs;
use super::{Mpimg, PushRequest, PushSource};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::{Format, Image, ManifestTree, Transport};
use crate::oci::{Descriptor, Digest, MediaType, Reference};

/// An error if an output holds one platform alone.
pub(super) fn check(outputs: &BuildOutputs) -> Result<()> {
    #[cfg(feature = "sign")]
    if outputs.provenance.is_some() && !outputs.has_attested_index() {
        return Err(Error::new(ErrorKind::Usage, "a provenance describes one platform, and several were given")
            .with_hint("build and push each platform by itself, or leave the provenance out"));
    }
    let what = if outputs.load {
        "an engine loads"
    } else if outputs.sbom_file.is_some() {
        "a file with a bill of materials describes"
    } else if outputs.outputs.iter().any(|output| matches!(output, Transport::DockerArchive { .. })) {
        "a docker archive holds"
    } else if !outputs.names.is_empty() && !outputs.push {
        "the local store holds"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Usage, format!("{what} one platform, and several were given")).with_hint(format!(
        "push the image, or write it to `oci:DIR` or `oci-archive:FILE`; or build one platform: {}",
        Setting::Platform.with("linux/amd64")
    )))
}

/// The index of manifests, in their order.
pub(super) fn index_of(children: Vec<ManifestTree>, format: Format) -> Result<ManifestTree> {
    let media_type = match format {
        Format::Oci => MediaType::Index,
        Format::Docker => MediaType::DockerList,
    };
    let manifests: Vec<&Descriptor> = children.iter().map(|child| &child.descriptor).collect();
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type.as_str(), "manifests": manifests });
    let bytes = Bytes::from(index.to_string());
    ManifestTree::index(Descriptor::of(media_type, &bytes), bytes, children)
}

impl Mpimg {
    /// Pushes an index with its images; its digest there.
    ///
    /// # Errors
    /// Those of the registry.
    pub async fn push_index(&self, name: &Reference, tree: &ManifestTree) -> Result<Digest> {
        self.push_tree(name, tree, &[]).await?;
        Ok(tree.descriptor.digest)
    }

    /// Writes and pushes an index.
    pub(super) async fn deliver_index<'a>(
        &self,
        tree: &ManifestTree,
        images: impl Iterator<Item = &'a Image> + Clone,
        pushes: Vec<PushRequest>,
        outputs: &BuildOutputs,
    ) -> Result<()> {
        for output in &outputs.outputs {
            output.write_tree(&self.open_store().await?, tree, &[]).await?;
        }
        self.push_built_index(tree, images, pushes, outputs).await
    }

    /// Pushes an index that was built, and signs it; bills of materials that it does not hold are
    /// attached to its images.
    pub(super) async fn push_built_index<'a>(
        &self,
        tree: &ManifestTree,
        images: impl Iterator<Item = &'a Image> + Clone,
        pushes: Vec<PushRequest>,
        outputs: &BuildOutputs,
    ) -> Result<()> {
        for request in pushes {
            let PushSource::Image { name: Transport::Store(name), .. } = &request.source else { continue };
            self.push_tree(name, tree, &[]).await?;
            let mut attached = Vec::new();
            if let Some(format) = outputs.sbom.filter(|_| !outputs.has_attested_index()) {
                for image in images.clone() {
                    let subject = image.descriptor().clone();
                    attached.push(self.attach_sbom(name.repository(), image, subject, format).await?);
                }
            }
            #[cfg(feature = "sign")]
            if let Some(key) = &outputs.key {
                self.sign_all(name.repository(), [tree.descriptor.digest].into_iter().chain(attached), key).await?;
            }
        }
        Ok(())
    }
}
