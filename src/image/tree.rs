//! A manifest or an index with everything below it: what is copied whole, byte for byte.
//!
//! Understands no more of a manifest than what it names: a signature or an SBOM is copied as an
//! image is.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use serde::Deserialize;

use super::{CONFIG_LIMIT, Image};
use crate::error::{Error, ErrorKind, Result, ResultExt as _, Setting};
use crate::oci::{Descriptor, Digest, MediaType, Tag, or_default};
use crate::store::BlobSource;

/// What a manifest or an index names.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Names {
    /// A manifest's config.
    pub config: Option<Descriptor>,
    /// A manifest's layers, lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
    /// An index's manifests.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
    /// What it refers to.
    pub subject: Option<Descriptor>,
}

impl Names {
    /// Reads a manifest or an index.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: it is neither.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).context(ErrorKind::Corrupt, || "the manifest cannot be read".into())
    }
}

/// A manifest or an index, and all that it names.
#[derive(Debug, Clone)]
pub struct ManifestTree {
    /// What it is; in an index also for which platform.
    pub descriptor: Descriptor,
    /// Its bytes, as they are stored and pushed.
    pub bytes: Bytes,
    /// An index's manifests, in its order.
    pub children: Vec<ManifestTree>,
    /// A manifest's config and layers, but for those that are to be had elsewhere.
    pub blobs: Vec<(Descriptor, BlobSource)>,
    /// The digest of what it refers to.
    pub subject: Option<Digest>,
    /// The tag that makes it belong to another manifest: cosign's `sha256-….sig`. `None`: it needs
    /// none.
    pub tag: Option<Tag>,
}

impl ManifestTree {
    /// A manifest; `source` tells where its blobs are. Its digest must have been checked.
    pub fn manifest(descriptor: Descriptor, bytes: Bytes, source: impl Fn(&Descriptor) -> Result<BlobSource>) -> Result<Self> {
        let names = Names::parse(&bytes)?;
        let blob = |descriptor: Descriptor| source(&descriptor).map(|source| (descriptor, source));
        let named = names.config.into_iter().chain(names.layers);
        let blobs = named.filter(|descriptor| !descriptor.is_elsewhere()).map(blob).collect::<Result<_>>()?;
        let subject = names.subject.map(|subject| subject.digest);
        Ok(Self { descriptor, bytes, children: Vec::new(), blobs, subject, tag: None })
    }

    /// An index with its manifests.
    pub fn index(descriptor: Descriptor, bytes: Bytes, children: Vec<Self>) -> Result<Self> {
        let subject = Names::parse(&bytes)?.subject.map(|subject| subject.digest);
        Ok(Self { descriptor, bytes, children, blobs: Vec::new(), subject, tag: None })
    }

    /// The tree of one image.
    pub fn of_image(image: &Image) -> Self {
        let mut descriptor = image.descriptor().clone();
        descriptor.platform = Some(image.config().platform());
        let config = (image.manifest().config.clone(), BlobSource::Memory(image.config_bytes().clone()));
        let layers = image.layers().iter().map(|layer| (layer.descriptor.clone(), layer.source.clone()));
        let blobs = std::iter::once(config).chain(layers).collect();
        Self { descriptor, bytes: image.manifest_bytes().clone(), children: Vec::new(), blobs, subject: None, tag: None }
    }

    /// All manifests and indexes, each once, what is named before what names it: the root last.
    pub fn manifests(&self) -> Vec<&Self> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        self.walk(&mut |tree| {
            if seen.insert(tree.descriptor.digest) {
                found.push(tree);
            }
        });
        found
    }

    /// All configs and layers, each once.
    pub fn all_blobs(&self) -> Vec<&(Descriptor, BlobSource)> {
        let mut seen = BTreeSet::new();
        let blobs = self.manifests().into_iter().flat_map(|tree| &tree.blobs);
        blobs.filter(|(descriptor, _)| seen.insert(descriptor.digest)).collect()
    }

    fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        self.children.iter().for_each(|child| child.walk(visit));
        visit(self);
    }

    /// The image, where there is just one.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: an index, or an artifact that is not an image.
    pub async fn image(&self) -> Result<Image> {
        let media_type = &self.descriptor.media_type;
        if media_type.is_index() {
            return Err(Error::new(ErrorKind::Usage, format!("`{}` is an index of several images", self.descriptor.digest))
                .with_hint(format!("choose one with {}", Setting::Platform)));
        }
        if let Some(layer) = Names::parse(&self.bytes)?.layers.iter().find(|layer| layer.is_elsewhere()) {
            let message = format!("the image has a layer that may not be passed on, `{}`", layer.digest);
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("copy it to a registry, `oci:` or `oci-archive:`, where such a layer may be missing"));
        }
        let mut blobs = self.blobs.iter();
        let (config, source) = blobs.next().ok_or_else(|| Error::new(ErrorKind::Corrupt, "the manifest names no config"))?;
        if config.size > CONFIG_LIMIT {
            return Err(Error::new(ErrorKind::Corrupt, format!("the config is larger than {CONFIG_LIMIT} bytes")));
        }
        let config = read_all(source).await?;
        let sources = blobs.map(|(_, source)| source.clone()).collect();
        Image::from_parts(self.bytes.clone(), Some(media_type), config, sources)
    }

    /// The bytes of a config or layer of at most `limit` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: it is not in this tree, larger, or damaged.
    pub async fn blob(&self, digest: &Digest, limit: u64) -> Result<Bytes> {
        let found = self.blobs.iter().find(|(descriptor, _)| descriptor.digest == *digest);
        let (descriptor, source) =
            found.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the blob `{digest}` is missing")))?;
        if descriptor.size > limit {
            let message = format!("`{digest}` has {} bytes, more than {limit}", descriptor.size);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let bytes = read_all(source).await?;
        digest.verify(&bytes)?;
        Ok(bytes)
    }
}

async fn read_all(source: &BlobSource) -> Result<Bytes> {
    let pieces: Vec<Bytes> = source.read(0).try_collect().await?;
    Ok(pieces.concat().into())
}

/// An artifact that refers to another manifest: one blob of type `media_type`, no config (image
/// specification, manifest.md, "Guidelines for Artifact Usage").
pub fn artifact(artifact_type: &str, media_type: &str, blob: Bytes, subject: &Descriptor) -> ManifestTree {
    annotated_artifact(artifact_type, media_type, blob, subject, &BTreeMap::new())
}

/// As `artifact`, with annotations of its manifest.
pub fn annotated_artifact(
    artifact_type: &str,
    media_type: &str,
    blob: Bytes,
    subject: &Descriptor,
    annotations: &BTreeMap<String, String>,
) -> ManifestTree {
    const EMPTY: &str = "{}";
    let config = Descriptor::of(MediaType::from("application/vnd.oci.empty.v1+json"), EMPTY.as_bytes());
    let layer = Descriptor::of(MediaType::from(media_type), &blob);
    let subject = Descriptor::new(subject.media_type.clone(), subject.digest, subject.size);
    let mut manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::Manifest.as_str(),
        "artifactType": artifact_type,
        "config": config,
        "layers": [layer],
        "subject": subject,
    });
    if !annotations.is_empty() {
        manifest["annotations"] = serde_json::json!(annotations);
    }
    let bytes = Bytes::from(manifest.to_string());
    ManifestTree {
        descriptor: Descriptor::of(MediaType::Manifest, &bytes),
        bytes,
        children: Vec::new(),
        blobs: vec![(config, BlobSource::Memory(Bytes::from_static(EMPTY.as_bytes()))), (layer, BlobSource::Memory(blob))],
        subject: Some(subject.digest),
        tag: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_twice_is_there_once_and_before_what_names_it() {
        let of = |bytes: &str, children| {
            let bytes = Bytes::from(bytes.to_owned());
            ManifestTree::index(Descriptor::of(MediaType::Index, &bytes), bytes, children).unwrap()
        };
        let leaf = || {
            let bytes = Bytes::from_static(br#"{"config":{"mediaType":"a","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}}"#);
            let descriptor = Descriptor::of(MediaType::Manifest, &bytes);
            ManifestTree::manifest(descriptor, bytes, |_| Ok(BlobSource::Memory(Bytes::from_static(b"{}")))).unwrap()
        };
        let tree = of(r#"{"a":1}"#, vec![leaf(), of(r#"{"b":1}"#, vec![leaf()])]);
        let sizes: Vec<_> = tree.manifests().iter().map(|tree| (tree.children.len(), tree.blobs.len())).collect();
        assert_eq!(sizes, [(0, 1), (1, 0), (2, 0)]);
        assert_eq!(tree.all_blobs().len(), 1);
    }

    #[test]
    fn an_artifact_is_written_as_the_specification_says() {
        let subject = Descriptor::of(MediaType::Manifest, b"subject");
        let tree = artifact("application/spdx+json", "application/spdx+json", Bytes::from_static(b"sbom"), &subject);
        let manifest: serde_json::Value = serde_json::from_slice(&tree.bytes).unwrap();
        assert_eq!(manifest["artifactType"], "application/spdx+json");
        assert_eq!(manifest["subject"]["digest"], subject.digest.to_string());
        assert_eq!(manifest["config"]["digest"], "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert_eq!(tree.subject, Some(subject.digest));
    }
}
