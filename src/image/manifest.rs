//! Image manifests and indexes, OCI's and docker's (image specification, manifest.md and
//! image-index.md; docker's schema 2).
//!
//! Refuses docker's schema 1, and a document that could be read as both manifest and index
//! (CVE-2021-41190).

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, ResultExt as _, Setting};
use crate::oci::{Compression, Descriptor, MediaType, or_default};

/// The largest manifest or index that is read, in bytes: what registries accept (distribution
/// specification, "Pushing manifests").
pub const MANIFEST_LIMIT: u64 = 4 << 20;

/// The largest configuration that is read, in bytes.
pub const CONFIG_LIMIT: u64 = 16 << 20;

/// Docker's type of an uncompressed layer. Registries know it, docker itself does not push it.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Whose media types a manifest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// OCI's.
    #[default]
    Oci,
    /// Docker's schema 2, for registries that know nothing newer.
    Docker,
}

/// A manifest: the descriptors of one image's config and layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    /// Its own type.
    pub media_type: MediaType,
    /// The config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Free-form pairs. Docker's format has none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An index: the manifests of one image for several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The manifests, in the index's order.
    pub manifests: Vec<Descriptor>,
}

/// What stands under a name: one image, or one for each platform.
#[expect(clippy::large_enum_variant, reason = "one value a document")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestOrIndex {
    /// One image.
    Manifest(Manifest),
    /// One for each platform.
    Index(Index),
}

impl ManifestOrIndex {
    /// Parses a manifest or index. `media_type` is what the registry or descriptor says it is;
    /// without it, the document itself must tell.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`]: docker's schema 1, or a type that is not an image.
    /// [`ErrorKind::Corrupt`]: not what it says it is.
    pub fn parse(bytes: &[u8], media_type: Option<&MediaType>) -> Result<Self> {
        let corrupt = |why: &str| Error::new(ErrorKind::Corrupt, format!("the manifest {why}"));
        let document: Value = serde_json::from_slice(bytes).map_err(|error| corrupt("is not JSON").with_source(error))?;
        refuse_schema_1(&document)?;
        let (has_manifests, has_layers) = (document.get("manifests").is_some(), document.get("layers").is_some());
        if has_manifests && (has_layers || document.get("config").is_some()) {
            return Err(corrupt("is an index and an image manifest at once"));
        }
        let media_type = declared_type(&document, media_type)?.unwrap_or(match has_manifests {
            true => MediaType::Index,
            false => MediaType::Manifest,
        });
        if media_type.is_index() {
            let index = serde_json::from_value(document).map_err(|error| corrupt("is not an index").with_source(error));
            return index.map(|RawIndex { manifests }| Self::Index(Index { manifests }));
        }
        if !media_type.is_manifest() {
            return Err(Error::new(ErrorKind::Unsupported, format!("`{media_type}` is neither an image manifest nor an index")));
        }
        let manifest: RawManifest =
            serde_json::from_value(document).map_err(|error| corrupt("is not an image manifest").with_source(error))?;
        let RawManifest { schema_version, config, layers, annotations } = manifest;
        Ok(Self::Manifest(Manifest { schema_version, media_type, config, layers, annotations: annotations.unwrap_or_default() }))
    }
}

/// Leaves out the type, which older documents do not have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: u32,
    config: Descriptor,
    // Go writes an empty list as null: BuildKit's image without layers has it.
    #[serde(deserialize_with = "or_default")]
    layers: Vec<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawIndex {
    #[serde(deserialize_with = "or_default")]
    manifests: Vec<Descriptor>,
}

/// What a manifest or index is: by its own words, else by what was announced, else by its shape
/// (image specification, manifest.md).
///
/// # Errors
/// [`ErrorKind::Unsupported`]: docker's schema 1. [`ErrorKind::Corrupt`]: it is not what it says.
pub(crate) fn media_type_of(bytes: &[u8], announced: MediaType) -> Result<MediaType> {
    let document: Shape = serde_json::from_slice(bytes).context(ErrorKind::Corrupt, || "the manifest cannot be read".into())?;
    if document.schema_version == Some(1) {
        return Err(schema_1());
    }
    let known = |media_type: &MediaType| media_type.is_index() || media_type.is_manifest();
    let by_shape = if document.manifests { MediaType::Index } else { MediaType::Manifest };
    let media_type = document.media_type.or(Some(announced).filter(known)).unwrap_or(by_shape);
    // An index that is served as a manifest, or the reverse, would be read differently by different
    // programs.
    if media_type.is_index() != document.manifests {
        return Err(Error::new(ErrorKind::Corrupt, format!("the manifest says it is `{media_type}`, and is not")));
    }
    Ok(media_type)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<MediaType>,
    /// Whether it is there at all: Go writes an empty list as null.
    #[serde(default, deserialize_with = "is_there")]
    manifests: bool,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn schema_1() -> Error {
    Error::new(ErrorKind::Unsupported, "the manifest is of docker's schema 1, which is no longer in use")
        .with_hint("push the image again with a current tool, such as `skopeo copy --format oci`")
}

fn refuse_schema_1(document: &Value) -> Result<()> {
    match document.get("schemaVersion").and_then(Value::as_u64) {
        Some(2) => Ok(()),
        Some(1) => Err(schema_1()),
        _ => Err(Error::new(ErrorKind::Corrupt, "the manifest has no `schemaVersion` of 2")),
    }
}

/// The type by the document and by what named it; they must not contradict each other.
fn declared_type(document: &Value, named: Option<&MediaType>) -> Result<Option<MediaType>> {
    let own = document.get("mediaType").and_then(Value::as_str).map(MediaType::from);
    match (own, named) {
        (Some(own), Some(named)) if own != *named && (named.is_index() || named.is_manifest()) => {
            Err(Error::new(ErrorKind::Corrupt, format!("the manifest says that it is `{own}`, but is named as `{named}`")))
        }
        // Some servers send application/json or text/plain.
        (Some(own), _) => Ok(Some(own)),
        (None, Some(named)) if named.is_index() || named.is_manifest() => Ok(Some(named.clone())),
        (None, _) => Ok(None),
    }
}

impl Manifest {
    /// Parses a manifest; an index is an error. See [`ManifestOrIndex::parse`].
    pub fn parse(bytes: &[u8], media_type: Option<&MediaType>) -> Result<Self> {
        match ManifestOrIndex::parse(bytes, media_type)? {
            ManifestOrIndex::Manifest(manifest) => Ok(manifest),
            ManifestOrIndex::Index(_) => Err(Error::new(ErrorKind::Corrupt, "an index stands where a manifest should")),
        }
    }

    /// A new manifest in `format`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`]: docker's format has no zstd layers and no annotations.
    pub fn new(
        format: Format,
        config: Descriptor,
        layers: Vec<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Result<Self> {
        let media_type = match format {
            Format::Oci => MediaType::Manifest,
            Format::Docker => MediaType::DockerManifest,
        };
        let hint = format!("leave out {}", Setting::Format.with("docker"));
        if format == Format::Docker && !annotations.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, "docker's manifest format has no annotations").with_hint(hint));
        }
        let layers = layers.into_iter().map(|layer| in_format(layer, format)).collect::<Result<_>>()?;
        let config_type = match format {
            Format::Oci => MediaType::Config,
            Format::Docker => MediaType::DockerConfig,
        };
        let config = Descriptor { media_type: config_type, ..config };
        Ok(Self { schema_version: 2, media_type, config, layers, annotations })
    }

    /// The manifest as JSON, the same bytes for equal manifests. An existing manifest keeps its own
    /// bytes; see
    /// [`Image::manifest_bytes`](super::Image::manifest_bytes).
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "the manifest cannot be written").with_source(error))
    }
}

/// The layer under the media type that `format` has for it. A type that is not a known layer stays.
fn in_format(layer: Descriptor, format: Format) -> Result<Descriptor> {
    let media_type =
        match (format, layer.media_type.layer_compression()) {
            (Format::Oci, Some(compression)) => compression.layer_media_type(),
            (Format::Docker, Some(Compression::Gzip)) => MediaType::DockerLayerGzip,
            (Format::Docker, Some(Compression::None)) => DOCKER_LAYER.into(),
            (Format::Docker, Some(Compression::Zstd)) => {
                return Err(Error::new(ErrorKind::Unsupported, "docker's manifest format has no zstd layers")
                    .with_hint(format!("use {} with {}", Setting::Compression.with("gzip"), Setting::Format.with("docker"))));
            }
            (_, None) => return Ok(layer),
        };
    Ok(Descriptor { media_type, ..layer })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: MediaType) -> Descriptor {
        Descriptor::of(media_type, b"")
    }

    fn layers() -> Vec<Descriptor> {
        vec![descriptor(MediaType::LayerGzip)]
    }

    #[test]
    fn a_manifest_survives_a_round_trip_in_both_formats() {
        for (format, media_type, layer) in [
            (Format::Oci, MediaType::Manifest, MediaType::LayerGzip),
            (Format::Docker, MediaType::DockerManifest, MediaType::DockerLayerGzip),
        ] {
            let manifest = Manifest::new(format, descriptor(MediaType::Config), layers(), BTreeMap::new()).unwrap();
            assert_eq!((&manifest.media_type, &manifest.layers[0].media_type), (&media_type, &layer));
            let bytes = manifest.to_bytes().unwrap();
            let parsed = ManifestOrIndex::parse(&bytes, Some(&media_type)).unwrap();
            assert_eq!(parsed, ManifestOrIndex::Manifest(manifest));
            let error = ManifestOrIndex::parse(&bytes, Some(&MediaType::Index)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn docker_has_neither_zstd_nor_annotations() {
        let config = || descriptor(MediaType::Config);
        let zstd = vec![descriptor(MediaType::LayerZstd)];
        let error = Manifest::new(Format::Docker, config(), zstd, BTreeMap::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        assert!(Manifest::new(Format::Docker, config(), layers(), annotations.clone()).is_err());
        assert!(Manifest::new(Format::Oci, config(), layers(), annotations).is_ok());
    }

    #[test]
    fn schema_1_and_documents_of_two_meanings_are_refused() {
        let schema_1 = br#"{"schemaVersion":1,"name":"a","fsLayers":[]}"#;
        assert_eq!(ManifestOrIndex::parse(schema_1, None).unwrap_err().kind(), ErrorKind::Unsupported);
        let both = br#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#;
        assert_eq!(ManifestOrIndex::parse(both, None).unwrap_err().kind(), ErrorKind::Corrupt);
        for text in ["", "{}", r#"{"schemaVersion":2}"#, r#"{"schemaVersion":2,"manifests":{}}"#] {
            assert_eq!(ManifestOrIndex::parse(text.as_bytes(), None).unwrap_err().kind(), ErrorKind::Corrupt, "{text}");
        }
    }

    #[test]
    fn an_empty_list_may_be_null_and_must_be_there() {
        let config = serde_json::to_string(&descriptor(MediaType::Config)).unwrap();
        let manifest = |more: &str| format!(r#"{{"schemaVersion":2,"config":{config}{more}}}"#);
        let parsed = Manifest::parse(manifest(r#","layers":null"#).as_bytes(), None).unwrap();
        assert_eq!(parsed.layers, []);
        assert!(Manifest::parse(manifest("").as_bytes(), None).is_err());
    }

    #[test]
    fn the_type_may_be_in_the_document_or_beside_it() {
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        for media_type in [None, Some(MediaType::Index), Some(MediaType::DockerList), Some("text/plain".into())] {
            let parsed = ManifestOrIndex::parse(index, media_type.as_ref()).unwrap();
            assert_eq!(parsed, ManifestOrIndex::Index(Index { manifests: vec![] }));
        }
        let other = br#"{"schemaVersion":2,"mediaType":"application/vnd.cncf.helm+json"}"#;
        assert_eq!(ManifestOrIndex::parse(other, None).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_manifest_is_what_it_says_if_it_looks_so() {
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(media_type_of(index, "application/json".into()).unwrap(), MediaType::Index);
        let docker = MediaType::DockerManifest;
        assert_eq!(media_type_of(br#"{"schemaVersion":2}"#, docker.clone()).unwrap(), docker);
        let confused = format!(r#"{{"schemaVersion":2,"mediaType":"{docker}","manifests":[]}}"#);
        assert_eq!(media_type_of(confused.as_bytes(), "".into()).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(media_type_of(br#"{"schemaVersion":1}"#, "".into()).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
