//! Uploads that survive what networks, registries and the death of the process do to them.
//!
//! `state` decides, `sender` sends, `session` keeps the record on disk. The digest counts, whatever
//! the registry says.

mod chunk;
mod chunk_size;
mod limiter;
mod limits;
#[cfg(test)]
mod model;
mod phase;
mod prefix;
mod range;
mod requests;
mod sender;
mod session;
#[cfg(test)]
mod simulated;
mod state;
mod step;

pub(crate) use limiter::UploadLimiter;
pub(crate) use limits::UploadLimits;
pub(crate) use requests::with_digest;
pub(crate) use sender::{BlobUpload, send};
pub(crate) use session::{SessionLock, Sessions};
