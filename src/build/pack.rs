//! Tars that exist as layers of the store: what `import` and `load` bring along.
//!
//! Refuses to change a byte of them.

use std::io::Read;

use crate::error::Result;
use crate::image::Layer;
use crate::layer::{Codec, FinishedLayer, pack_tar};
use crate::store::{BlobSource, LayerData, Store};

/// Makes a stored layer of a tar, compressed by `codec` on `threads` threads.
///
/// # Errors
/// As [`pack_tar`], and those of the store.
pub fn pack_layer(store: &Store, tar: &mut dyn Read, codec: Codec, threads: usize) -> Result<Layer> {
    let FinishedLayer { descriptor, diff_id, index, sink, .. } = pack_tar(tar, codec, threads, store.blob_writer()?)?;
    store.write_layer_data(&diff_id, LayerData::Index, index.to_bytes())?;
    let path = sink.commit(descriptor.clone(), diff_id)?;
    Ok(Layer { diff_id, descriptor, source: BlobSource::File(path) })
}
