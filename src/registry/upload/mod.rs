//! Uploads that survive what networks, registries and the death of the process do to them.
//!
//! `state` decides, `sender` sends, `session` remembers on disk. Refuses to trust a registry's word over the digest.

mod chunk;
mod chunk_size;
mod limiter;
mod limits;
#[cfg(test)]
mod model;
mod range;
mod sender;
mod session;
mod state;

pub(crate) use limiter::UploadLimiter;
pub(crate) use limits::UploadLimits;
pub(crate) use sender::{BlobUpload, send};
pub(crate) use session::{SessionLock, Sessions};
