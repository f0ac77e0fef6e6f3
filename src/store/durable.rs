//! What a power cut may do to the store, and how that is noticed.
//!
//! A power cut can leave a file that was renamed into place short, empty or full of zeros. Waiting
//! for the disk after every write would cost a small build more than all its work, so:
//!
//! - **Names are durable.** [`Store::tag`] waits until the blobs of the image are on disk
//!   ([`Store::sync`]), then until the record is. Whatever has a name after a power cut is whole.
//! - **Everything else is checked before it is believed.** Blobs written since the last boot are
//!   *fresh* and believed: the page cache has them. A blob that has been waited for is *durable*.
//!   When a store is opened for the first time after a boot, its fresh blobs become *unverified*; a
//!   unverified blob is read and compared with its digest when it is next used, and then durable or
//!   gone. Small files carry their own digest, unpacked layers a mark once they are on disk;
//!   without it they go at that first opening.
//!
//! The state of a blob is in its permissions: they change atomically, and a file that came in any
//! other way is unverified.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread::Builder;

use super::Store;
use super::blob_state::BlobState;
use super::boot::BOOT;
use super::layout::{failed, sync_folder};
use crate::error::Result;
use crate::oci::Digest;

/// Threads that wait for the disk at once: the file system puts what they wait for into one
/// transaction.
const WAITERS: usize = 8;

impl Store {
    /// Whether it would be noticed that the machine has been restarted.
    pub(super) fn knows_boots(&self) -> bool {
        self.root().join(BOOT).exists()
    }

    /// Waits until these blobs are on disk. Costs nothing for blobs that are known to be.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): a blob is missing, or was damaged by a
    /// power cut and is gone now.
    pub fn sync(&self, digests: &[Digest]) -> Result<()> {
        let mut waiting: Vec<PathBuf> = Vec::new();
        for digest in digests {
            let (path, metadata) = self.verified(digest)?;
            if BlobState::of(&metadata) != BlobState::Durable && !waiting.contains(&path) {
                waiting.push(path);
            }
        }
        let sync_all = |paths: &[PathBuf]| paths.iter().try_for_each(|path| sync_file(path));
        std::thread::scope(|scope| {
            let parts = waiting.chunks(waiting.len().div_ceil(WAITERS).max(1));
            let start = |part| Builder::new().spawn_scoped(scope, move || sync_all(part)).map_err(|_| part);
            let threads: Vec<_> = parts.map(start).collect();
            threads.into_iter().try_for_each(|started| match started {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // No more threads may be started.
                Err(part) => sync_all(part),
            })
        })?;
        let mut folders: Vec<&Path> = waiting.iter().filter_map(|path| path.parent()).collect();
        folders.sort();
        folders.dedup();
        folders.into_iter().try_for_each(sync_folder)?;
        waiting.iter().try_for_each(|path| BlobState::Durable.set(path).map_err(|error| failed("write to", path, error)))
    }
}

fn sync_file(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_data()).map_err(|error| failed("write", path, error))
}
