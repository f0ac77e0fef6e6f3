//! A layer: what it is, where its bytes are, and what the store makes of it (a list of its entries,
//! unpacked folders).
//!
//! The bytes are never trusted: the tar must have the diff ID that the image's config says.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::copying::copying;
use super::hashing::{HashingReader, unreadable};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::layer::{Codec, Entry, FinishedLayer, LayerIndex, decompress_layer, index_layer_with, pack_tar};
use crate::oci::{ChainId, Descriptor, DiffId};
use crate::store::{BlobSource, LayerData, Store};
use crate::threads::spawn_scoped;

/// How many bytes of a layer are read at a time.
const BUFFER: usize = 256 * 1024;

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

impl Layer {
    /// Makes a stored layer of a tar, compressed by `codec` on `threads` threads. The bytes of the
    /// tar stay as they are.
    ///
    /// # Errors
    /// As [`pack_tar`], and those of the store.
    pub fn pack(store: &Store, tar: &mut dyn Read, codec: Codec, threads: usize) -> Result<Self> {
        let packed = pack_tar(tar, codec, threads, Some(store.blocks(codec)), store.blob_writer()?)?;
        let FinishedLayer { descriptor, diff_id, index, blocks, sink, .. } = packed;
        store.write_layer_data(&diff_id, LayerData::Index, index.to_bytes())?;
        store.write_blocks(&descriptor.digest, codec, &blocks)?;
        let path = sink.commit(descriptor.clone(), diff_id)?;
        Ok(Self { diff_id, descriptor, source: BlobSource::File(path) })
    }

    /// Its tar, uncompressed, where its stored bytes are in the file `path`.
    pub(crate) fn open_tar(&self, path: &Path) -> Result<Box<dyn Read + Send>> {
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        self.tar_in(BufReader::with_capacity(BUFFER, file))
    }

    /// Its tar, uncompressed, in its stored bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`]: neither its type nor its bytes are those of a layer.
    pub(crate) fn tar_in<'a>(&self, stored: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
        let Descriptor { digest, media_type, .. } = &self.descriptor;
        decompress_layer(stored, media_type.layer_compression())?.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("layer `{digest}` cannot be read: it is of type `{media_type}`"))
        })
    }

    /// The list of its entries, if the store has it.
    pub(crate) fn stored_index(&self, store: &Store) -> Result<Option<LayerIndex>> {
        Ok(store.read_layer_data(&self.diff_id, LayerData::Index)?.and_then(LayerIndex::from_bytes))
    }

    /// The list of its entries, by reading `tar`, which is the layer's. The store keeps it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: the tar does not have the layer's diff ID.
    pub(crate) fn read_index(&self, store: &Store, tar: impl Read) -> Result<LayerIndex> {
        self.read_index_with(store, tar, |_, _| Ok(()))
    }

    /// As `read_index`, and calls `each` with every entry and a reader of its content.
    ///
    /// # Errors
    /// As [`Layer::read_index`], and those of `each`.
    pub(crate) fn read_index_with(
        &self,
        store: &Store,
        tar: impl Read,
        each: impl FnMut(&Entry, &mut dyn Read) -> Result<()>,
    ) -> Result<LayerIndex> {
        // The diff ID may be of another algorithm than ours.
        let mut tar = HashingReader::with(tar, self.diff_id.0.hasher());
        let (index, _) = index_layer_with(&mut tar, each)?;
        let (actual, _) =
            tar.finish().context(ErrorKind::Corrupt, || format!("layer `{}` cannot be read", self.descriptor.digest))?;
        self.diff_id.0.expect(actual).map_err(|error| error.wrap(format!("layer `{}` is damaged", self.descriptor.digest)))?;
        // Without it the next look takes as long as this one; that is all.
        let _ = store.write_layer_data(&self.diff_id, LayerData::Index, index.to_bytes());
        Ok(index)
    }

    /// Gives `tar`, which is the layer's, to `work`; where the store has no list of its entries,
    /// that is made on the way, on a thread of its own.
    ///
    /// # Errors
    /// Those of `work`; [`ErrorKind::Corrupt`]: the tar does not have the layer's diff ID, and
    /// whatever `work` has made of it is wrong.
    pub(crate) fn index_beside<T>(
        &self,
        store: &Store,
        mut tar: impl Read + Send,
        work: impl FnOnce(&mut (dyn Read + Send)) -> Result<T>,
    ) -> Result<T> {
        if self.stored_index(store)?.is_some() {
            return work(&mut tar);
        }
        std::thread::scope(|scope| {
            let (copying, copy) = copying(tar);
            let indexing = spawn_scoped(scope, move || self.read_index(store, copy).map(drop))?;
            // Dropped at its end, and in a panic: the other thread waits for it.
            let mut copying = copying;
            let done = work(&mut copying)?;
            // What comes after the end of the tar belongs to the layer as well.
            std::io::copy(&mut copying, &mut std::io::sink())
                .map_err(|error| unreadable(format!("layer `{}` cannot be read", self.descriptor.digest), error))?;
            drop(copying);
            let panicked = |_| Err(Error::new(ErrorKind::Io, "a thread that reads a layer panicked"));
            indexing.join().unwrap_or_else(panicked)?;
            Ok(done)
        })
    }
}

/// Folders with the layers unpacked, topmost first. `unpack` fills the folder of a layer that is
/// not unpacked yet, over the folders of those below it (topmost first), and says whether it took
/// anything from them.
///
/// `ownership` names how owners and whiteouts are kept on disk: a layer may be unpacked in several
/// ways.
pub(crate) fn unpacked_layers(
    store: &Store,
    layers: &[Layer],
    ownership: &str,
    mut unpack: impl FnMut(&Layer, &Path, &[PathBuf]) -> Result<bool>,
) -> Result<Vec<PathBuf>> {
    let mut lower: Vec<PathBuf> = Vec::with_capacity(layers.len());
    let mut chain = None;
    for layer in layers {
        let folder = store.unpacked_over(&layer.diff_id, ownership, chain, |folder| {
            let below: Vec<PathBuf> = lower.iter().rev().cloned().collect();
            unpack(layer, folder, &below)
        })?;
        chain = Some(ChainId::over(chain, layer.diff_id));
        // Overlay refuses a folder that comes twice (ELOOP). What the lower one shows or hides, the
        // upper one does as well.
        lower.retain(|other| *other != folder);
        lower.push(folder);
    }
    lower.reverse();
    Ok(lower)
}
