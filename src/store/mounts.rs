//! Folders of `RUN --mount=type=cache`: what steps keep for their next run.
//!
//! Names are not paths: a name may hold anything, so the folder is called by its digest.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Store;
use super::layout::{LOCKS, MOUNTS, create_folder, failed, file_names};
use super::lock::FileLock;
use crate::error::Result;
use crate::oci::Digest;

/// The right to use the folder alone, among all processes.
#[derive(Debug)]
pub struct MountLock {
    _lock: FileLock,
}

impl Store {
    /// Where the folder `name` is; the caller creates it. It is not pruned while this process
    /// lives.
    pub fn mount_folder(&self, name: &str) -> Result<PathBuf> {
        let all = self.root().join(MOUNTS);
        create_folder(&all)?;
        let digest = Digest::of(name);
        self.pin(&digest)?;
        let folder = all.join(digest.hex());
        // For pruning, which begins with what was not used for longest. One that is not there yet
        // is new.
        let _ = File::open(&folder).and_then(|folder| folder.set_modified(SystemTime::now()));
        Ok(folder)
    }

    /// Moves the folder `name` to `to`, with what is beside it; the next that mounts it makes a new
    /// one. One that is not there is not an error.
    pub fn discard_mount(&self, name: &str, to: &Path) -> Result<()> {
        let folder = self.mount_folder(name)?;
        match std::fs::rename(&folder, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("move", &folder, error)),
            _ => Ok(()),
        }
    }

    /// The right to use the folder alone, if nobody has it.
    pub fn try_lock_mount(&self, name: &str) -> Result<Option<MountLock>> {
        let path = self.mount_lock(name);
        let lock = FileLock::try_acquire(&path).map_err(|error| failed("lock", &path, error))?;
        Ok(lock.map(|lock| MountLock { _lock: lock }))
    }

    /// As `try_lock_mount`, once nobody else has it. A task that waits may be dropped.
    pub async fn lock_mount(&self, name: &str) -> Result<MountLock> {
        let path = self.mount_lock(name);
        let lock = FileLock::acquire_async(&path).await.map_err(|error| failed("lock", &path, error))?;
        Ok(MountLock { _lock: lock })
    }

    fn mount_lock(&self, name: &str) -> PathBuf {
        self.root().join(LOCKS).join(format!("mount-{}", Digest::of(name).hex()))
    }
}

/// All folders, by the digests of their names.
pub(super) fn list(root: &Path) -> Result<Vec<(Digest, PathBuf)>> {
    let all = root.join(MOUNTS);
    let names = file_names(&all).map_err(|error| failed("read", &all, error))?;
    let digest = |name: &str| Digest::parse(&format!("sha256:{name}")).ok();
    Ok(names.into_iter().filter_map(|name| Some((digest(&name)?, all.join(name)))).collect())
}
