//! Reading docker archives: what `docker save` has written since docker 1.10, and other tools in
//! its manner.
//!
//! The configuration stays byte for byte (it is docker's image ID). Refuses a layer that does not
//! have the diff ID that the configuration tells, and archives of the time before `manifest.json`.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;

use super::super::import::read_layer;
use super::super::{CONFIG_LIMIT, Format, Image, ImageConfig, Layer, MANIFEST_LIMIT, Manifest, PackLayer};
use super::archive;
use super::layout::{self, Document, INDEX_FILE, LayoutFiles};
use super::tar_index::TarIndex;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Compression, Descriptor, DiffId, Digest, MediaType, Platform, Reference};
use crate::store::Store;

pub(super) const MANIFEST_FILE: &str = "manifest.json";

/// One image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestJsonEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

pub(super) fn read(
    store: &Store,
    file: &Path,
    reference: Option<&Reference>,
    platform: &Platform,
    pack: Option<&PackLayer<'_>>,
) -> Result<Image> {
    let archive = TarIndex::open(store, file)?;
    let entry = select(read_entries(&archive)?, reference)?;
    let config_bytes = archive.read_small(&entry.config, CONFIG_LIMIT)?;
    if let Some(document) = find_manifest(&archive, &config_bytes, platform, pack.is_some())? {
        return archive::import(store, &archive, document);
    }
    let layers = read_layers(store, &archive, &entry, &config_bytes, pack)?;
    let config = Descriptor::of(MediaType::Config, &config_bytes);
    let descriptors = layers.iter().map(|layer| layer.descriptor.clone()).collect();
    let manifest = Manifest::new(Format::Oci, config, descriptors, Default::default())?;
    let sources = layers.into_iter().map(|layer| layer.source).collect();
    Image::from_parts(manifest.to_bytes()?.into(), Some(&manifest.media_type), config_bytes, sources)
}

/// The names of each image.
pub(super) fn names(archive: &TarIndex) -> Result<Vec<Vec<Reference>>> {
    let parse = |entry: ManifestJsonEntry| entry.repo_tags.iter().flatten().map(|tag| Reference::parse(tag)).collect();
    read_entries(archive)?.into_iter().map(parse).collect()
}

fn read_entries(archive: &TarIndex) -> Result<Vec<ManifestJsonEntry>> {
    if !archive.has(MANIFEST_FILE) {
        let error = Error::new(ErrorKind::Unsupported, format!("it has no `{MANIFEST_FILE}`"));
        return Err(match archive.has(INDEX_FILE) {
            true => error.with_hint("it looks like an OCI archive: write oci-archive:FILE"),
            false => error.with_hint("save the image again with docker 1.10 or newer"),
        });
    }
    serde_json::from_slice(&archive.read_small(MANIFEST_FILE, MANIFEST_LIMIT)?)
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("`{MANIFEST_FILE}` cannot be read")).with_source(error))
}

fn select(entries: Vec<ManifestJsonEntry>, reference: Option<&Reference>) -> Result<ManifestJsonEntry> {
    let tags: Vec<String> = entries.iter().filter_map(|entry| entry.repo_tags.clone()).flatten().collect();
    let count = entries.len();
    let hint = |error: Error| match tags.is_empty() {
        true => error,
        false => error.with_hint(format!("add one of these names: {}", tags.join(", "))),
    };
    // Tools write the same name in long and short forms.
    let is_named = |entry: &ManifestJsonEntry, name: &Reference| {
        entry.repo_tags.iter().flatten().any(|tag| Reference::parse(tag).is_ok_and(|tag| tag == *name))
    };
    let mut meant = entries.into_iter().filter(|entry| reference.is_none_or(|name| is_named(entry, name)));
    match (meant.next(), meant.next(), reference) {
        (Some(entry), None, _) | (Some(entry), Some(_), Some(_)) => Ok(entry),
        (None, _, Some(name)) => Err(hint(Error::new(ErrorKind::NotFound, format!("no image is named `{}`", name.familiar())))),
        (None, _, None) => Err(Error::new(ErrorKind::NotFound, "there is no image in it")),
        (Some(_), Some(_), None) => Err(hint(Error::new(ErrorKind::NotFound, format!("there are {count} images in it")))),
    }
}

/// The image's manifest, if the archive is an OCI layout as well (docker 25 and newer): then the
/// image keeps its digest. Not if a layer is uncompressed and `compress` asks for better.
fn find_manifest(archive: &TarIndex, config: &Bytes, platform: &Platform, compress: bool) -> Result<Option<Document>> {
    if !archive.has(INDEX_FILE) {
        return Ok(None);
    }
    let digest = Digest::of(config);
    for descriptor in &layout::read_index(archive)?.manifests {
        // Docker names manifests that it has not put in: those of other platforms, attestations.
        let document = match layout::read_manifest(archive, descriptor, platform) {
            Ok(document) => document,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => continue,
            Err(error) => return Err(error),
        };
        let plain = |layer: &Descriptor| layer.media_type.layer_compression() == Some(Compression::None);
        if document.manifest.config.digest == digest && !(compress && document.manifest.layers.iter().any(plain)) {
            return Ok(Some(document));
        }
    }
    Ok(None)
}

fn read_layers(
    store: &Store,
    archive: &TarIndex,
    entry: &ManifestJsonEntry,
    config_bytes: &Bytes,
    pack: Option<&PackLayer<'_>>,
) -> Result<Vec<Layer>> {
    let config = ImageConfig::from_bytes(config_bytes)?;
    let (names, diff_ids) = (entry.layers.as_deref().unwrap_or_default(), &config.rootfs.diff_ids);
    if names.len() != diff_ids.len() {
        let message = format!("`{MANIFEST_FILE}` has {} layers, the configuration {}", names.len(), diff_ids.len());
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    // An empty layer comes several times in many an image.
    let mut known: HashMap<DiffId, Layer> = HashMap::new();
    for (name, diff_id) in names.iter().zip(diff_ids) {
        if known.contains_key(diff_id) {
            continue;
        }
        let layer = read_layer(store, &|| archive.open(name), pack)?;
        diff_id.0.expect(layer.diff_id.0).map_err(|error| error.wrap(format!("layer `{name}` is damaged")))?;
        known.insert(*diff_id, layer);
    }
    Ok(diff_ids.iter().filter_map(|diff_id| known.get(diff_id).cloned()).collect())
}
