//! The local store: blobs by digest, image names, build cache, locks.
//!
//! ```text
//! version            the layout's number           gate       held while pruning
//! boot               of which boot `fresh` speaks  locks/     one file a blob being fetched
//! blobs/sha256/HEX   stored bytes                  tmp/       a folder and a lock a process
//! names/HEX.json     image records                 uploads/   belongs to the registry room
//! cache/HE/HEX       build cache records
//! layers/HEX.index   side data of a layer          unpacked/HEX.OWNERSHIP/tree, and trees of several layers
//! mounts/HEX         folders of cache mounts
//! ```
//!
//! Every file comes into being by a rename, complete; a kill at any moment leaves at most a folder
//! in `tmp`, which the next process removes. What a power cut may do is told in `durable.rs`.
//! Several processes may use one store at once; each pins what it uses (`process_session.rs`), and
//! pruning keeps pinned and named things.
//!
//! Knows nothing of HTTP: a remote blob is only known here by the trait that fetches it. Refuses a
//! store of a newer version, and a folder that holds something else.

mod answers;
mod blob_state;
mod blobs;
mod blocking;
mod blocks;
mod boot;
mod cache;
mod durable;
mod fetch;
mod handle;
mod layers;
mod layout;
mod limit;
mod lock;
mod mounts;
mod names;
mod process_session;
pub(crate) mod process_stat;
mod prune;
mod root;
mod root_pool;
mod scratch;
mod source;
mod transient;
mod writer;

use std::time::SystemTime;

pub(crate) use blocking::blocking;
pub(crate) use cache::MissReason;
pub use cache::{CacheKey, CacheRecord, CachedLayer};
pub(crate) use fetch::write_stream;
pub use handle::Store;
pub use layers::LayerData;
pub use limit::{CacheLimit, Disk};
pub use mounts::MountLock;
pub use names::{ImageRecord, LayerLocation, LayerRecord};
pub use prune::{DiskUsage, PruneOptions, PruneReport};
pub use scratch::ScratchDir;
pub use source::{BlobSource, ByteStream, Growing, Growth, GrowthSender, RemoteBlob};
pub(crate) use transient::FAILED_STEP;
pub use writer::BlobWriter;

/// Seconds since 1970 by this machine's clock: when something was, in records.
pub(crate) fn now() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
