//! Pushing: blobs in the background while they are made, then the config, the manifest last.
//!
//! Refuses to push a manifest before everything it names is in the registry.

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::image::Layer;
use crate::oci::{Descriptor, Digest, MediaType, Repository, Tag};
use crate::store::{BlobSource, Growing};

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlobOutcome {
    /// It was there.
    Exists,
    /// It was mounted from another repository of the registry.
    Mounted,
    /// It was uploaded; this many bytes by this process.
    Uploaded {
        /// Bytes sent and accepted.
        sent: u64,
    },
}

/// A blob that is in the repository now.
#[derive(Debug, Clone)]
pub struct PushedBlob {
    /// What it is.
    pub descriptor: Descriptor,
    /// How it got there.
    pub outcome: BlobOutcome,
}

/// What a push left in the registry.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The manifest's digest, confirmed by the registry.
    pub digest: Digest,
    /// The manifest's size in bytes.
    pub size: u64,
    /// The type under which the registry took it.
    pub media_type: MediaType,
    /// The blobs in the order they were offered, the config last.
    pub blobs: Vec<PushedBlob>,
}

/// A push under way. Dropped, it stops; sessions on disk stay for the next process.
#[derive(Debug)]
pub struct PushSession {
    repository: Repository,
}

impl PushSession {
    /// Offers a complete layer; its transfer starts now in the background. Call from any thread.
    pub fn offer(&self, layer: &Layer) {
        self.offer_blob(layer.descriptor.clone(), layer.source.clone());
    }

    /// Offers a complete blob.
    pub fn offer_blob(&self, _descriptor: Descriptor, _source: BlobSource) {}

    /// Offers a blob that is still being written; it is sent meanwhile, if it is larger than one chunk.
    ///
    /// `key` names its future content (the layer's cache key): under it an upload that was cut off is taken up again.
    pub fn offer_growing(&self, _growing: Growing, _key: Option<String>) {}

    /// Waits for all blobs, then pushes config and manifest, under each tag, or by digest where there is none.
    pub async fn finish(self, _config: Bytes, _manifest: Bytes, _media_type: MediaType, _tags: &[Tag]) -> Result<Pushed> {
        Err(Error::new(ErrorKind::Unsupported, format!("cannot push `{}`", self.repository)))
    }
}
