//! Folders of `RUN --mount=type=cache`: what steps keep for their next run.
//!
//! Refuses names as paths: a name may hold anything, so its digest is the folder's.

use std::path::{Path, PathBuf};

use super::lock::FileLock;
use super::{LOCKS, Store, blobs, create_folder, failed};
use crate::error::Result;
use crate::oci::Digest;

const MOUNTS: &str = "mounts";

/// The right to use the folder alone, among all processes.
#[derive(Debug)]
pub struct MountLock {
    _lock: FileLock,
}

impl Store {
    /// Where the folder `name` is; whoever mounts it creates it.
    pub fn mount_folder(&self, name: &str) -> Result<PathBuf> {
        let all = self.root().join(MOUNTS);
        create_folder(&all)?;
        Ok(all.join(Digest::of(name).hex()))
    }

    /// The right to use the folder alone, if nobody has it.
    pub fn try_lock_mount(&self, name: &str) -> Result<Option<MountLock>> {
        let path = self.root().join(LOCKS).join(format!("mount-{}", Digest::of(name).hex()));
        let lock = FileLock::try_acquire(&path).map_err(|error| failed("lock", &path, error))?;
        Ok(lock.map(|lock| MountLock { _lock: lock }))
    }
}

/// All folders.
pub(super) fn list(root: &Path) -> Result<Vec<PathBuf>> {
    let all = root.join(MOUNTS);
    let names = blobs::file_names(&all).map_err(|error| failed("read", &all, error))?;
    Ok(names.into_iter().map(|name| all.join(name)).collect())
}
