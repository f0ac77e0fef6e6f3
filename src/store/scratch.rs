//! Folders for work in progress, on the store's own file system.
//!
//! Such a folder goes when its value is dropped, or at the next opening of the store if the process
//! died.

use std::path::{Path, PathBuf};

use super::Store;
use super::layout::failed;
use crate::error::Result;
use crate::layer::remove_tree;

/// An empty folder of the caller's own, removed with everything in it when this value is dropped.
///
/// Removing never enters a mount: unmount what you mounted below it first.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    // The session's folder, in which this one is, must outlive it.
    _store: Store,
}

impl ScratchDir {
    /// A folder in the session's that is there already.
    pub(super) fn new(path: PathBuf, store: &Store) -> Self {
        Self { path, _store: store.clone() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next opening of the store.
        let _ = remove_tree(&self.path);
    }
}

impl Store {
    /// A new scratch folder, mode 0700.
    pub fn scratch(&self) -> Result<ScratchDir> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = self.session()?.fresh_path();
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed("make", &path, error))?;
        Ok(ScratchDir::new(path, self))
    }

    /// Removes a whole tree that only this process uses: any depth, any permissions, never what is
    /// mounted in it.
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        remove_tree(path).map_err(|error| failed("remove", path, error.into()))
    }
}
