//! What a power cut may do to the store, and how that is noticed.
//!
//! A power cut can leave a file that was renamed into place short, empty or full of zeros. Waiting for the disk after every
//! write would cost a small build more than all its work, so:
//!
//! - **Names are durable.** [`Store::tag`] waits until the blobs of the image are on disk ([`Store::sync`]), then until the
//!   record is. Whatever has a name after a power cut is whole.
//! - **Everything else is checked before it is believed.** Blobs written since the last boot are *fresh* and believed: the page
//!   cache has them. A blob that has been waited for is *durable*. When a store is opened for the first time after a boot, its
//!   fresh blobs become *doubtful*; a doubtful blob is read and compared with its digest when it is next used, and then durable
//!   or gone. Small files carry their own digest, unpacked layers a mark once they are on disk; without it they go at that
//!   first opening.
//!
//! The state of a blob is in its permissions: they change atomically, and a file that came in any other way is doubtful.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::lock::lock_exclusive;
use super::{GATE, Store, blobs, failed, layers};
use crate::error::Result;
use crate::oci::Digest;

/// The file that says of which boot `Fresh` speaks.
const BOOT: &str = "boot";

/// How far a blob's file can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// On disk as its digest says.
    Durable,
    /// Written since the last boot.
    Fresh,
    /// Perhaps damaged.
    Doubtful,
}

impl State {
    const fn mode(self) -> u32 {
        match self {
            Self::Durable => 0o400,
            Self::Fresh => 0o600,
            Self::Doubtful => 0o700,
        }
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
        let mode = metadata.permissions().mode() & 0o7777;
        [Self::Durable, Self::Fresh].into_iter().find(|state| state.mode() == mode).unwrap_or(Self::Doubtful)
    }

    pub(super) fn set(self, path: &Path) -> io::Result<()> {
        std::fs::set_permissions(path, Permissions::from_mode(self.mode()))
    }

    pub(super) fn set_open(self, file: &File) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(self.mode()))
    }
}

/// At the first opening since the machine's boot: fresh blobs become doubtful, unmarked unpacked layers go.
/// `tmp` is this process's folder. Tells whether fresh blobs must be doubted because nothing could be written down.
pub(super) fn after_boot(root: &Path, tmp: Option<&Path>) -> bool {
    let path = root.join(BOOT);
    // Where the kernel does not tell, the sizes of blobs are all that is checked.
    let Ok(current) = std::fs::read("/proc/sys/kernel/random/boot_id") else { return false };
    let same = |path: &Path| std::fs::read(path).is_ok_and(|last| last == current);
    if same(&path) {
        return false;
    }
    let note = || -> io::Result<()> {
        let gate = File::open(root.join(GATE))?;
        lock_exclusive(&gate)?;
        if same(&path) {
            return Ok(());
        }
        blobs::doubt_fresh(root)?;
        layers::remove_unmarked(root, tmp)?;
        let file = tempfile::NamedTempFile::new_in(tmp.ok_or(io::ErrorKind::ReadOnlyFilesystem)?)?;
        std::fs::write(&file, &current)?;
        file.persist(&path).map(drop).map_err(|error| error.error)
    };
    note().is_err()
}

/// Waits until the entries of a folder are on disk: new names are in no file's own fsync.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| failed("write to", path, error))
}

/// Threads that wait for the disk at once: the file system puts what they wait for into one transaction.
const WAITERS: usize = 8;

impl Store {
    /// Whether it would be noticed that the machine has been started anew.
    pub(super) fn knows_boots(&self) -> bool {
        self.root().join(BOOT).exists()
    }

    /// Waits until these blobs are on disk. Costs nothing for blobs that are known to be.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): a blob is missing, or was damaged by a power cut and is gone now.
    pub fn sync(&self, digests: &[Digest]) -> Result<()> {
        let mut waiting: Vec<PathBuf> = Vec::new();
        for digest in digests {
            let (path, metadata) = self.settled(digest)?;
            if State::of(&metadata) != State::Durable && !waiting.contains(&path) {
                waiting.push(path);
            }
        }
        let sync_all = |paths: &[PathBuf]| paths.iter().try_for_each(|path| sync_file(path));
        std::thread::scope(|scope| {
            let parts = waiting.chunks(waiting.len().div_ceil(WAITERS).max(1));
            let threads: Vec<_> = parts.map(|part| scope.spawn(move || sync_all(part))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        let mut folders: Vec<&Path> = waiting.iter().filter_map(|path| path.parent()).collect();
        folders.sort();
        folders.dedup();
        folders.into_iter().try_for_each(sync_folder)?;
        waiting.iter().try_for_each(|path| State::Durable.set(path).map_err(|error| failed("write to", path, error)))
    }
}

fn sync_file(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_data()).map_err(|error| failed("write", path, error))
}
