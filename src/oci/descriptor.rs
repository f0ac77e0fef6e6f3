//! Descriptors and media types (image specification, descriptor.md and media-types.md), with
//! docker's media types beside OCI's.
//!
//! Unknown media types and fields are kept as they came.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Digest, Platform};

/// What kind of bytes a descriptor names. `Other` keeps the text of any further type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum MediaType {
    /// `application/vnd.oci.image.manifest.v1+json`
    Manifest,
    /// `application/vnd.oci.image.index.v1+json`
    Index,
    /// `application/vnd.oci.image.config.v1+json`
    Config,
    /// `application/vnd.oci.image.layer.v1.tar`
    Layer,
    /// `application/vnd.oci.image.layer.v1.tar+gzip`
    LayerGzip,
    /// `application/vnd.oci.image.layer.v1.tar+zstd`
    LayerZstd,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerList,
    /// `application/vnd.docker.container.image.v1+json`
    DockerConfig,
    /// `application/vnd.docker.image.rootfs.diff.tar.gzip`
    DockerLayerGzip,
    /// Anything else.
    Other(String),
}

const NAMES: [(&str, MediaType); 10] = [
    ("application/vnd.oci.image.manifest.v1+json", MediaType::Manifest),
    ("application/vnd.oci.image.index.v1+json", MediaType::Index),
    ("application/vnd.oci.image.config.v1+json", MediaType::Config),
    ("application/vnd.oci.image.layer.v1.tar", MediaType::Layer),
    ("application/vnd.oci.image.layer.v1.tar+gzip", MediaType::LayerGzip),
    ("application/vnd.oci.image.layer.v1.tar+zstd", MediaType::LayerZstd),
    ("application/vnd.docker.distribution.manifest.v2+json", MediaType::DockerManifest),
    ("application/vnd.docker.distribution.manifest.list.v2+json", MediaType::DockerList),
    ("application/vnd.docker.container.image.v1+json", MediaType::DockerConfig),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", MediaType::DockerLayerGzip),
];

impl MediaType {
    /// The text that stands in JSON and in `Content-Type`.
    pub fn as_str(&self) -> &str {
        if let Self::Other(text) = self {
            return text;
        }
        NAMES.iter().find(|(_, media_type)| media_type == self).map_or("", |(text, _)| text)
    }

    /// Whether this names an index (or docker's manifest list).
    pub fn is_index(&self) -> bool {
        matches!(self, Self::Index | Self::DockerList)
    }

    /// Whether this names an image manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::Manifest | Self::DockerManifest)
    }

    /// Whether no type is given.
    pub fn is_unspecified(&self) -> bool {
        self.as_str().is_empty()
    }

    /// Whether this may name an image's config: some tools and registries have a general type for
    /// it, or none.
    pub fn may_be_config(&self) -> bool {
        match self {
            Self::Config | Self::DockerConfig => true,
            Self::Other(text) => {
                matches!(text.as_str(), "" | "application/octet-stream" | "application/json" | "text/html" | "text/plain")
            }
            _ => false,
        }
    }

    /// Whether this names a layer whose maker does not allow others to distribute it.
    pub fn is_nondistributable(&self) -> bool {
        let text = self.as_str();
        text.contains(".foreign.") || text.contains(".nondistributable.")
    }

    /// How a layer of this type is compressed; `None` for anything that is not a layer mpimg can
    /// read. Foreign and non-distributable layers count by their suffix.
    pub fn layer_compression(&self) -> Option<Compression> {
        match self {
            Self::Layer => Some(Compression::None),
            Self::LayerGzip | Self::DockerLayerGzip => Some(Compression::Gzip),
            Self::LayerZstd => Some(Compression::Zstd),
            Self::Other(text) if text.contains("layer") || text.contains("rootfs") => match text.rsplit(['+', '.']).next() {
                Some("gzip") => Some(Compression::Gzip),
                Some("zstd") => Some(Compression::Zstd),
                Some("tar") => Some(Compression::None),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        NAMES.iter().find(|(name, _)| *name == text).map_or(Self::Other(text), |(_, media_type)| media_type.clone())
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.as_str().to_owned()
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a layer's tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip (RFC 1952), possibly of several members.
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Compression {
    /// The OCI media type of a layer compressed so.
    pub fn layer_media_type(self) -> MediaType {
        match self {
            Self::None => MediaType::Layer,
            Self::Gzip => MediaType::LayerGzip,
            Self::Zstd => MediaType::LayerZstd,
        }
    }
}

/// Media type, digest and size of some content (image specification, descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type; empty where an index leaves it out.
    #[serde(default = "unspecified", deserialize_with = "type_or_unspecified")]
    pub media_type: MediaType,
    /// Their digest.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Where else the bytes can be had.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free-form pairs.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the image runs on.
    #[serde(default, deserialize_with = "platform_or_none", skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// Go writes empty lists and maps as `null`.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn unspecified() -> MediaType {
    MediaType::Other(String::new())
}

fn type_or_unspecified<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MediaType, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(unspecified))
}

/// `{}`, and one without system and architecture, says nothing.
fn platform_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Platform>, D::Error> {
    let platform: Option<Platform> = Option::deserialize(deserializer)?;
    Ok(platform.filter(|platform| !platform.is_unspecified()))
}

impl Descriptor {
    /// A descriptor without annotations or platform.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, urls: Vec::new(), annotations: BTreeMap::new(), platform: None }
    }

    /// Whether a registry need not have the bytes: a layer that may not be passed on, and that is
    /// to be had elsewhere (image specification, layer.md, "Non-Distributable Layers").
    pub fn is_elsewhere(&self) -> bool {
        !self.urls.is_empty() && self.media_type.is_nondistributable()
    }

    /// The descriptor of `bytes`.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_survives_a_round_trip() {
        for (name, media_type) in NAMES {
            assert_eq!(MediaType::from(name), media_type);
            assert_eq!(media_type.as_str(), name);
        }
        assert_eq!(MediaType::from("text/plain").as_str(), "text/plain");
    }

    #[test]
    fn what_is_null_or_missing_says_nothing() {
        let digest = Digest::of("x");
        let text = format!(r#"{{"digest":"{digest}","size":1,"urls":null,"annotations":null,"platform":{{}}}}"#);
        let descriptor: Descriptor = serde_json::from_str(&text).unwrap();
        assert_eq!(descriptor, Descriptor::new(unspecified(), digest, 1));
        let text = text.replace("{}", r#"{"os":"linux"}"#);
        let platform = serde_json::from_str::<Descriptor>(&text).unwrap().platform.unwrap();
        assert!(platform.fits(&Platform::default()) && platform.fits(&Platform::parse("arm64").unwrap()));
    }

    #[test]
    fn foreign_layers_are_read_by_their_suffix() {
        let foreign = MediaType::from("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        assert_eq!(foreign.layer_compression(), Some(Compression::Gzip));
        let foreign = MediaType::from("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd");
        assert_eq!(foreign.layer_compression(), Some(Compression::Zstd));
        assert_eq!(MediaType::Config.layer_compression(), None);
    }
}
