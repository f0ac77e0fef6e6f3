//! The local store: blobs by digest, image names, build cache, locks.
//!
//! Refuses HTTP: a remote blob is only known here by the trait that fetches it.

mod source;

pub use source::{BlobSource, ByteStream, Growing, Growth, GrowthSender, RemoteBlob};
