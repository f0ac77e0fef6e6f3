//! Trees of several layers that one build at a time may change: taken out of the store, and put back as they were.
//!
//! A tree that is taken is in its process's own folder, which goes when the process dies, however it dies. So what is in the
//! store was put there whole. A power cut is another matter: none of these trees is known to be on disk, so all go at the first
//! opening after a boot (`durable.rs`), and none is kept where the kernel does not tell of boots.
//!
//! Refuses to judge a tree: its proof is the caller's to make and to check.

use std::io;
use std::path::PathBuf;

use super::Store;
use super::layout::{UNPACKED, create_folder, failed};
use super::scratch::ScratchDir;
use crate::error::Result;
use crate::oci::DiffId;

/// Trees of one name, for builds that run at the same time.
const SLOTS: usize = 4;
/// In the tree's folder: what its maker says of it.
const PROOF: &str = "proof";

impl Store {
    /// Takes a tree that is kept under `name` for a stack of layers whose topmost is `top`, with its proof. In the folder is what was in
    /// the one that was kept.
    pub fn take_tree(&self, top: &DiffId, name: &str) -> Result<Option<(ScratchDir, String)>> {
        self.pin(&top.0)?;
        for home in self.tree_homes(top, name) {
            let path = self.session()?.fresh_path();
            match std::fs::rename(&home, &path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("take", &home, error)),
            }
            let scratch = ScratchDir::new(path, self);
            let proof = scratch.path().join(PROOF);
            if let Ok(text) = std::fs::read_to_string(&proof) {
                std::fs::remove_file(&proof).map_err(|error| failed("remove", &proof, error))?;
                return Ok(Some((scratch, text)));
            }
        }
        Ok(None)
    }

    /// Keeps a tree for later builds, unless there are enough of it. Costs nothing but time if it fails.
    pub fn keep_tree(&self, top: &DiffId, name: &str, scratch: ScratchDir, proof: &str) -> Result<()> {
        if !self.knows_boots() {
            return Ok(());
        }
        let path = scratch.path().join(PROOF);
        std::fs::write(&path, proof).map_err(|error| failed("write", &path, error))?;
        create_folder(&self.root().join(UNPACKED))?;
        for home in self.tree_homes(top, name) {
            match std::fs::rename(scratch.path(), &home) {
                Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {}
                renamed => return renamed.map_err(|error| failed("keep", &home, error)),
            }
        }
        Ok(())
    }

    fn tree_homes(&self, top: &DiffId, name: &str) -> impl Iterator<Item = PathBuf> {
        (0..SLOTS).map(move |slot| self.unpacked_home(top, &format!("{name}.{slot}")))
    }
}
