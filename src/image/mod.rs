//! Images: config, history and manifest over layers that may be anywhere.
//!
//! Refuses compression and transport.

#![expect(missing_docs, unused, clippy::unimplemented, reason = "signatures first")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::Result;
use crate::oci::{Descriptor, DiffId, MediaType, Platform, Reference, Repository, Tag};
use crate::store::{BlobSource, ImageRecord, Store};

mod config;

pub use config::{Healthcheck, History, ImageConfig, RootFs, RunConfig, Set};

/// A complete layer: what it is and where its bytes are.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The digest, size and type of its stored bytes.
    pub descriptor: Descriptor,
    /// Its stored bytes.
    pub source: BlobSource,
}

/// Whose media types a manifest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Oci,
    Docker,
}

#[derive(Debug, Clone)]
pub struct Manifest {
    pub media_type: MediaType,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    pub fn from_bytes(bytes: &[u8], media_type: Option<&MediaType>) -> Result<Self> {
        unimplemented!()
    }
}

#[derive(Debug, Clone)]
pub struct Index {
    pub manifests: Vec<Descriptor>,
}

impl Index {
    pub fn from_bytes(bytes: &[u8], media_type: Option<&MediaType>) -> Result<Self> {
        unimplemented!()
    }
    /// The manifest for `platform`; the error lists what is there.
    pub fn select(&self, platform: &Platform) -> Result<&Descriptor> {
        unimplemented!()
    }
}

/// An immutable image.
#[derive(Debug, Clone)]
pub struct Image {
    manifest: Manifest,
}

impl Image {
    /// A new image of `layers`, whose diff IDs are written into `config`.
    pub fn assemble(
        config: ImageConfig,
        layers: Vec<Layer>,
        annotations: BTreeMap<String, String>,
        format: Format,
    ) -> Result<Self> {
        unimplemented!()
    }
    /// An image that exists already; `sources` are in the manifest's order.
    pub fn from_parts(manifest: Bytes, media_type: &MediaType, config: Bytes, sources: Vec<BlobSource>) -> Result<Self> {
        unimplemented!()
    }
    pub fn manifest(&self) -> &Manifest {
        unimplemented!()
    }
    pub fn manifest_bytes(&self) -> &Bytes {
        unimplemented!()
    }
    /// Type, digest and size of the manifest.
    pub fn descriptor(&self) -> &Descriptor {
        unimplemented!()
    }
    pub fn config(&self) -> &ImageConfig {
        unimplemented!()
    }
    pub fn config_bytes(&self) -> &Bytes {
        unimplemented!()
    }
    pub fn layers(&self) -> &[Layer] {
        unimplemented!()
    }
    /// A named image of the store; `remote` gives the source of a layer that is not local.
    pub fn read_from_store(
        store: &Store,
        record: &ImageRecord,
        remote: impl Fn(&Repository, &Descriptor) -> Result<BlobSource>,
    ) -> Result<Self> {
        unimplemented!()
    }
    /// Puts manifest, config and all local layers into the store; remote layers stay remote. Tag the record to keep them.
    pub async fn write_to_store(&self, store: &Store) -> Result<ImageRecord> {
        unimplemented!()
    }
}

/// Reads everything again and recomputes every digest and diff ID.
pub async fn validate(image: &Image) -> Result<()> {
    unimplemented!()
}

/// Where an image is read from or written to: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REF]`, `docker://REF`, or a name of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    Store(Reference),
    Registry(Reference),
    OciLayout { folder: PathBuf, tag: Option<String> },
    OciArchive { file: PathBuf, tag: Option<String> },
    DockerArchive { file: PathBuf, reference: Option<Reference> },
}

impl Transport {
    pub fn parse(text: &str) -> Result<Self> {
        unimplemented!()
    }
    /// Reads the image for `platform`. Archives are imported into the store, a layout is read in place.
    pub async fn read(&self, store: &Store, platform: &Platform, pack: Option<&PackLayer>) -> Result<Image> {
        unimplemented!()
    }
    pub async fn write(&self, store: &Store, image: &Image) -> Result<()> {
        unimplemented!()
    }
}

/// Makes a stored, compressed layer of an uncompressed tar.
pub type PackLayer = dyn Fn(&mut dyn Read) -> Result<Layer> + Send + Sync;

/// A one-layer image of a root file system in a tar file, plain or compressed, as `docker import` makes it.
pub fn import_rootfs(store: &Store, tar: &Path, platform: &Platform, created: i64, pack: &PackLayer) -> Result<Image> {
    unimplemented!()
}
