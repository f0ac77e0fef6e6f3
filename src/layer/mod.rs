//! Layers: entries in, a compressed tar with its digests out; and back from a tar to entries and
//! trees.
//!
//! Knows nothing of the network, and decides nothing about Dockerfiles.

mod block;
mod blocks;
mod codec;
mod cut;
mod decompress;
pub mod diff;
mod entry;
mod entry_header;
#[cfg(test)]
mod fixture;
mod header_field;
mod index;
mod inside;
mod output;
pub(crate) mod owner_table;
pub(crate) mod owners;
mod pack;
mod path;
pub(crate) mod path_bytes;
mod pipeline;
mod prefix;
mod read;
mod remove;
mod reuse;
mod segments;
mod sparse;
mod stamp;
mod tar;
mod tar_hash;
mod tree;
pub mod unpack;
mod workers;
mod writer;

pub use block::{BlockKey, BlockRecord};
pub use blocks::{BlockIndex, BlockSource};
pub use codec::Codec;
pub(crate) use decompress::GzipReader;
pub use decompress::{ArchiveCompression, decompress, decompress_layer, decompress_tar};
pub(crate) use entry::SET_GROUP_ID;
pub use entry::{Entry, Kind, Metadata, Xattrs};
pub use index::LayerIndex;
pub(crate) use inside::{has_openat2, open_inside};
pub use pack::pack_tar;
pub use path::LayerPath;
pub use prefix::PrefixRecord;
pub use read::{index_layer, index_layer_with, read_archive, read_entries};
pub(crate) use remove::remove_tree;
pub use reuse::LateContent;
pub use segments::{Segment, SegmentRecord};
pub(crate) use stamp::is_settled;
pub use stamp::{Stamp, StampRule};
pub use tar::{Piece, TarReader};
pub use tree::{Node, Origin, Resolved, Tree};
pub use writer::{FinishedLayer, LayerObserver, LayerWriter};
