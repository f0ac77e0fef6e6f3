//! Reading OCI archives: tars of OCI layouts.
//!
//! Refuses a layer whose bytes are not what its descriptor says; the rest is as with layouts.

use std::path::Path;

use super::super::{Image, Manifest};
use super::layout::{self, Document, LayoutFiles, blob_name};
use super::tar_index::TarIndex;
use crate::error::Result;
use crate::oci::{Descriptor, Platform};
use crate::store::{BlobSource, Store};

/// An image of an OCI archive, its layers imported into the store.
pub(super) fn read(store: &Store, file: &Path, tag: Option<&str>, platform: &Platform) -> Result<Image> {
    let archive = TarIndex::open(store, file)?;
    let document = layout::read_document(&archive, tag, platform)?;
    import(store, &archive, document)
}

/// Imports the layers of an image whose manifest and config are read already.
pub(super) fn import(store: &Store, archive: &TarIndex, document: Document) -> Result<Image> {
    let Document { manifest, manifest_bytes, media_type, config_bytes } = document;
    let sources = import_layers(store, archive, &manifest)?;
    Image::from_parts(manifest_bytes, Some(&media_type), config_bytes, sources)
}

fn import_layers(store: &Store, archive: &TarIndex, manifest: &Manifest) -> Result<Vec<BlobSource>> {
    let import = |layer: &Descriptor| {
        let mut reader = archive.open(&blob_name(&layer.digest))?;
        store.import(&mut reader, layer).map(BlobSource::File)
    };
    manifest.layers.iter().map(import).collect()
}
