//! What stands beside the manifests of an image: what refers to them, and cosign's tags. Of a
//! registry it is asked for when it is needed; of a layout and an archive it was read with the
//! image.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Mpimg, blocking};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{AttachedTrees, ManifestTree, Names, Transport, cosign_tag};
use crate::oci::{Descriptor, Digest, MediaType, Repository, Tag};
use crate::registry::Client;

/// What stands beside the manifests of an image.
pub(super) enum Attached<'m> {
    Registry { client: &'m Client, repository: Repository },
    Read(AttachedTrees),
}

impl Mpimg {
    /// An image, and what stands beside it. The layers of an archive are left out.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: it is in a place that holds only images.
    pub(super) async fn with_attached(&self, image: &Transport) -> Result<(ManifestTree, Attached<'_>)> {
        match image {
            Transport::Registry(name) => {
                let tree = self.client().pull_tree(name, None).await?;
                Ok((tree, Attached::Registry { client: self.client(), repository: name.repository().clone() }))
            }
            Transport::OciLayout { .. } | Transport::OciArchive { .. } => {
                let (place, store) = (image.clone(), self.open_store().await?);
                let (tree, attached) = blocking(move || place.read_attached(&store)).await?;
                Ok((tree, Attached::Read(attached)))
            }
            Transport::Store(_) | Transport::DockerArchive { .. } => {
                let message = format!("`{image}` cannot hold signatures: they are beside an image in its registry");
                Err(Error::new(ErrorKind::Usage, message)
                    .with_hint("name the image in its registry, or an OCI layout or archive"))
            }
        }
    }
}

impl Attached<'_> {
    /// What stands under cosign's tag of a manifest: `sha256-HEX.SUFFIX`.
    pub(super) async fn tagged(&self, digest: &Digest, suffix: &str) -> Result<Option<ManifestTree>> {
        let tag = Tag::parse(&cosign_tag(digest, suffix))?;
        match self {
            // Asked with HEAD first: that there is none is not a failure to show.
            Self::Registry { client, repository } => match client.has_manifest(&repository.with_tag(tag.clone())).await? {
                true => client.pull_tree(&repository.with_tag(tag), None).await.map(Some),
                false => Ok(None),
            },
            Self::Read(read) => Ok(read.trees.iter().find(|tree| tree.tag.as_ref() == Some(&tag)).cloned()),
        }
    }

    /// What is listed as referring to a manifest. A descriptor's media type is the artifact's type,
    /// if it has one. Anybody who may push can have written a registry's list: only the manifests
    /// themselves tell what they are and what they refer to ([`described`]).
    pub(super) async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        match self {
            Self::Registry { client, repository } => client.referrers(repository, digest).await,
            Self::Read(read) => {
                let referring = read.trees.iter().filter(|tree| tree.subject.as_ref() == Some(digest));
                referring.map(described).collect()
            }
        }
    }

    /// The manifests of a layout or archive that cannot be read, and why: what they belong to is
    /// not known.
    pub(super) fn unreadable(&self) -> &[(Digest, String)] {
        match self {
            Self::Registry { .. } => &[],
            Self::Read(read) => &read.unreadable,
        }
    }

    /// A manifest that was listed, with what it names.
    pub(super) async fn tree(&self, digest: &Digest) -> Result<ManifestTree> {
        match self {
            Self::Registry { client, repository } => client.pull_tree(&repository.with_digest(*digest), None).await,
            Self::Read(read) => {
                let found = read.trees.iter().find(|tree| tree.descriptor.digest == *digest);
                found.cloned().ok_or_else(|| Error::new(ErrorKind::NotFound, format!("the manifest `{digest}` is missing")))
            }
        }
    }
}

/// A manifest as a registry should list it among those that refer to another (distribution
/// specification, "Listing Referrers").
pub(super) fn described(tree: &ManifestTree) -> Result<Descriptor> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Artifact {
        artifact_type: Option<String>,
        annotations: Option<BTreeMap<String, String>>,
    }
    let Artifact { artifact_type, annotations } = serde_json::from_slice(&tree.bytes).unwrap_or_default();
    let config = Names::parse(&tree.bytes)?.config.map(|config| config.media_type.to_string());
    let mut descriptor = tree.descriptor.clone();
    if let Some(kind) = artifact_type.filter(|kind| !kind.is_empty()).or(config) {
        descriptor.media_type = MediaType::from(kind);
    }
    descriptor.annotations = annotations.unwrap_or_default();
    Ok(descriptor)
}

/// What an image's signatures are of: the manifest or index itself, then, if asked, each manifest
/// of the index.
pub(super) fn subjects(tree: &ManifestTree, recursive: bool) -> Vec<Descriptor> {
    let manifests = tree.manifests();
    let count = if recursive { manifests.len() } else { 1 };
    // A tree gives its root last.
    manifests.into_iter().rev().take(count).map(|manifest| manifest.descriptor.clone()).collect()
}
