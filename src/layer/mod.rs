//! Layers: entries in, a compressed tar with its digests out; and back from a tar to entries and trees.
//!
//! Refuses the network, and decides nothing about Dockerfiles.

mod decompress;
mod entry;
mod path;

pub(crate) use decompress::GzipReader;
pub use decompress::{Wrapping, decompress, unwrap_tar};
pub use entry::{Entry, Kind, Metadata, Xattrs};
pub use path::LayerPath;
