//! The local store: blobs by digest, image names, build cache, locks.
//!
//! Refuses HTTP: a remote blob is only known here by the trait that fetches it.

#![expect(missing_docs, unused, clippy::unimplemented, reason = "signatures first")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::oci::{Descriptor, DiffId, Digest, MediaType, Platform, Reference, Repository};

mod source;

pub use source::{BlobSource, ByteStream, Growing, Growth, GrowthSender, RemoteBlob};

#[derive(Debug, Clone)]
pub struct Store;

#[derive(Debug)]
pub struct BlobWriter;

#[derive(Debug)]
pub struct ScratchDir;

impl ScratchDir {
    pub fn path(&self) -> &Path {
        unimplemented!()
    }
}

/// Names the inputs of a build step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey(pub Digest);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedLayer {
    pub diff_id: DiffId,
    pub descriptor: Descriptor,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// None: the step changed no file.
    pub layer: Option<CachedLayer>,
    /// Seconds since 1970.
    pub created: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Local,
    Remote(Repository),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    pub diff_id: DiffId,
    pub descriptor: Descriptor,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    pub manifest: Descriptor,
    pub config: Descriptor,
    pub platform: Platform,
    pub layers: Vec<LayerRecord>,
}

/// Which side data of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerData {
    Index,
}

#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    pub keep_storage: Option<u64>,
    pub all: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    pub blobs: u64,
    pub cache_records: u64,
    pub unpacked: u64,
    pub freed: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage {
    pub blobs: u64,
    pub cache: u64,
    pub unpacked: u64,
    pub scratch: u64,
}

impl Store {
    pub fn open(root: &Path) -> Result<Self> {
        unimplemented!()
    }
    pub fn default_root() -> Result<PathBuf> {
        unimplemented!()
    }
    pub fn root(&self) -> &Path {
        unimplemented!()
    }
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        unimplemented!()
    }
    pub fn has(&self, digest: &Digest, size: u64) -> Result<bool> {
        unimplemented!()
    }
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        unimplemented!()
    }
    pub fn read_small(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        unimplemented!()
    }
    pub fn put(&self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor> {
        unimplemented!()
    }
    pub fn import(&self, reader: &mut dyn Read, expected: &Descriptor) -> Result<PathBuf> {
        unimplemented!()
    }
    pub async fn fetch(&self, source: &BlobSource, expected: &Descriptor) -> Result<PathBuf> {
        unimplemented!()
    }
    pub fn blob_writer(&self) -> Result<BlobWriter> {
        unimplemented!()
    }
    pub fn sync(&self, digests: &[Digest]) -> Result<()> {
        unimplemented!()
    }
    pub fn tag(&self, name: &Reference, record: &ImageRecord) -> Result<()> {
        unimplemented!()
    }
    pub fn resolve(&self, name: &Reference) -> Result<Option<ImageRecord>> {
        unimplemented!()
    }
    pub fn untag(&self, name: &Reference) -> Result<bool> {
        unimplemented!()
    }
    pub fn list(&self) -> Result<Vec<(Reference, ImageRecord)>> {
        unimplemented!()
    }
    pub fn read_layer_data(&self, diff_id: &DiffId, kind: LayerData) -> Result<Option<Vec<u8>>> {
        unimplemented!()
    }
    pub fn write_layer_data(&self, diff_id: &DiffId, kind: LayerData, bytes: &[u8]) -> Result<()> {
        unimplemented!()
    }
    pub fn unpacked_path(&self, diff_id: &DiffId) -> PathBuf {
        unimplemented!()
    }
    pub fn unpacked_dir(&self, diff_id: &DiffId, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        unimplemented!()
    }
    pub fn cache_lookup(&self, key: &CacheKey) -> Option<CacheRecord> {
        unimplemented!()
    }
    pub fn cache_put(&self, key: &CacheKey, record: &CacheRecord) -> Result<()> {
        unimplemented!()
    }
    pub fn scratch(&self) -> Result<ScratchDir> {
        unimplemented!()
    }
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport> {
        unimplemented!()
    }
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        unimplemented!()
    }
}

impl BlobWriter {
    pub fn growing(&mut self) -> Result<Growing> {
        unimplemented!()
    }
    pub fn commit(self, descriptor: Descriptor, diff_id: DiffId) -> Result<PathBuf> {
        unimplemented!()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        unimplemented!()
    }
    fn flush(&mut self) -> std::io::Result<()> {
        unimplemented!()
    }
}
