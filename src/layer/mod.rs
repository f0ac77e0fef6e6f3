//! Layers: entries in, a compressed tar with its digests out; and back from a tar to entries and trees.
//!
//! Refuses the network, and decides nothing about Dockerfiles.

#[cfg(target_os = "linux")]
pub mod diff;
mod entry;
mod path;
#[cfg(target_os = "linux")]
pub mod unpack;

pub use entry::{Entry, Kind, Metadata, Xattrs};
pub use path::LayerPath;
