//! Where a layer's compressed bytes go: a blob of the store, announced as soon as it has bytes.
//!
//! A layer that never gets any is not announced: a step that changes nothing makes no layer.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::oci::{Descriptor, DiffId};
use crate::store::{BlobWriter, Growing, Store};

/// Called with each layer of the target image that begins to be written, so that its upload can
/// begin, too.
pub type OnLayer = Arc<dyn Fn(Growing) + Send + Sync>;

/// A blob in the making; none where only the layer's diff ID is wanted.
pub(super) struct LayerSink {
    blob: Option<BlobWriter>,
    announce: Option<OnLayer>,
}

impl LayerSink {
    pub(super) fn new(store: &Store, announce: Option<OnLayer>) -> Result<Self> {
        Ok(Self { blob: Some(store.blob_writer()?), announce })
    }

    /// A sink that takes nothing.
    pub(super) fn closed() -> Self {
        Self { blob: None, announce: None }
    }

    /// Puts the blob into the store.
    pub(super) fn commit(self, descriptor: Descriptor, diff_id: DiffId) -> Result<PathBuf> {
        let blob = self.blob.ok_or_else(|| Error::io("write", "layer", io::ErrorKind::BrokenPipe.into()))?;
        blob.commit(descriptor, diff_id)
    }
}

impl Write for LayerSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(blob) = &mut self.blob else { return Err(io::ErrorKind::BrokenPipe.into()) };
        if let Some(announce) = self.announce.take() {
            announce(blob.growing().map_err(io::Error::other)?);
        }
        blob.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.as_mut().map_or(Ok(()), Write::flush)
    }
}
