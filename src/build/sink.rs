//! Where a layer's compressed bytes go: a blob of the store, announced as soon as it has bytes.
//!
//! Refuses to announce a layer that never gets any: a step that changes nothing makes no layer.

use std::io::{self, Write};
use std::path::PathBuf;

use super::session::OnLayer;
use crate::error::Result;
use crate::oci::{Descriptor, DiffId};
use crate::store::{BlobWriter, Store};

/// A blob in the making.
pub(super) struct LayerSink {
    blob: BlobWriter,
    announce: Option<OnLayer>,
}

impl LayerSink {
    pub(super) fn new(store: &Store, announce: Option<OnLayer>) -> Result<Self> {
        Ok(Self { blob: store.blob_writer()?, announce })
    }

    /// Puts the blob into the store.
    pub(super) fn commit(self, descriptor: Descriptor, diff_id: DiffId) -> Result<PathBuf> {
        self.blob.commit(descriptor, diff_id)
    }
}

impl Write for LayerSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(announce) = self.announce.take() {
            announce(self.blob.growing().map_err(io::Error::other)?);
        }
        self.blob.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}
