//! A pool of root file systems: trees of several layers that one build at a time checks out,
//! changes and checks in.
//!
//! A tree that is checked out is in its process's own folder, which goes when the process dies,
//! however it dies. So what is in the pool was put there complete. A power cut is another matter:
//! none of these trees is known to be on disk, so all go at the first opening after a boot
//! (`durable.rs`), and none is kept where the kernel does not tell of boots.
//!
//! What state a tree is in is for the caller to know, by what it checked the tree in with.

use std::io;
use std::path::PathBuf;

use super::Store;
use super::layout::{UNPACKED, create_folder, failed};
use super::scratch::ScratchDir;
use crate::error::Result;
use crate::oci::DiffId;

/// How many trees of one name there may be, for builds that run at the same time.
const SLOTS: usize = 4;
/// In the tree's folder: the state that it was checked in with. A new name when what it holds
/// changes.
const STATE: &str = "state-1";

impl Store {
    /// Takes a tree out of the pool, with its state: one that was checked in under `name` for
    /// layers whose topmost is `top`.
    pub fn checkout_root(&self, top: &DiffId, name: &str) -> Result<Option<(ScratchDir, Vec<u8>)>> {
        self.pin(&top.0)?;
        for home in self.root_homes(top, name) {
            let path = self.session()?.fresh_path();
            match std::fs::rename(&home, &path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("take", &home, error)),
            }
            let scratch = ScratchDir::new(path, self);
            let file = scratch.path().join(STATE);
            if let Ok(state) = std::fs::read(&file) {
                std::fs::remove_file(&file).map_err(|error| failed("remove", &file, error))?;
                return Ok(Some((scratch, state)));
            }
        }
        Ok(None)
    }

    /// Puts a tree into the pool, unless there are enough of its name. If that fails, later builds
    /// take longer; that is all.
    pub fn checkin_root(&self, top: &DiffId, name: &str, scratch: ScratchDir, state: &[u8]) -> Result<()> {
        if !self.knows_boots() {
            return Ok(());
        }
        let path = scratch.path().join(STATE);
        std::fs::write(&path, state).map_err(|error| failed("write", &path, error))?;
        create_folder(&self.root().join(UNPACKED))?;
        for home in self.root_homes(top, name) {
            match std::fs::rename(scratch.path(), &home) {
                Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {}
                renamed => return renamed.map_err(|error| failed("keep", &home, error)),
            }
        }
        Ok(())
    }

    fn root_homes(&self, top: &DiffId, name: &str) -> impl Iterator<Item = PathBuf> {
        (0..SLOTS).map(move |slot| self.unpacked_home(top, &format!("{name}.{slot}")))
    }
}
