//! Joining images of registries in one index, such as those of several platforms.

use bytes::Bytes;
use serde::Serialize;

use super::Mpimg;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, ManifestTree};
use crate::oci::{Descriptor, MediaType, Platform, Reference};

/// An image that becomes part of an index.
#[derive(Debug, Clone)]
pub struct IndexPart {
    /// Where it is: an image, or an index whose images are taken.
    pub name: Reference,
    /// What it runs on, where that is not what it says itself.
    pub platform: Option<Platform>,
}

/// The document, its members in the order in which docker writes them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexDocument<'i> {
    schema_version: u32,
    media_type: &'i str,
    manifests: Vec<&'i Descriptor>,
}

impl From<Reference> for IndexPart {
    fn from(name: Reference) -> Self {
        Self { name, platform: None }
    }
}

impl Mpimg {
    /// An index of images in registries, each image once, in this order. Nothing is sent.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: there are none; and what the registries give.
    pub async fn join_index(&self, parts: &[IndexPart], format: Format) -> Result<ManifestTree> {
        let mut children: Vec<ManifestTree> = Vec::new();
        for IndexPart { name, platform } in parts {
            let mut tree = self.client().pull_tree(name, None).await?;
            let manifests = match tree.descriptor.media_type.is_index() {
                true => tree.children,
                false => {
                    // An artifact that is not an image runs on nothing.
                    tree.descriptor.platform = tree.image().await.ok().map(|image| image.config().platform());
                    vec![tree]
                }
            };
            for mut manifest in manifests {
                if let Some(platform) = platform {
                    manifest.descriptor.platform = Some(platform.clone());
                }
                if children.iter().all(|known| known.descriptor.digest != manifest.descriptor.digest) {
                    children.push(manifest);
                }
            }
        }
        if children.is_empty() {
            return Err(
                Error::new(ErrorKind::Usage, "an index needs at least one image").with_hint("name images that a registry has")
            );
        }
        let media_type = match format {
            Format::Oci => MediaType::Index,
            Format::Docker => MediaType::DockerList,
        };
        let index = IndexDocument {
            schema_version: 2,
            media_type: media_type.as_str(),
            manifests: children.iter().map(|child| &child.descriptor).collect(),
        };
        let unwritable =
            |error: serde_json::Error| Error::new(ErrorKind::Corrupt, "the index cannot be written").with_source(error);
        let bytes = Bytes::from(serde_json::to_vec(&index).map_err(unwritable)?);
        let descriptor = Descriptor::of(media_type, &bytes);
        ManifestTree::index(descriptor, bytes, children)
    }
}
