//! A pool of root file systems: trees of several layers that one build at a time checks out,
//! changes, restores and checks in.
//!
//! A tree that is checked out is in its process's own folder, which goes when the process dies,
//! however it dies. So what is in the pool was put there complete. A power cut is another matter:
//! none of these trees is known to be on disk, so all go at the first opening after a boot
//! (`durable.rs`), and none is kept where the kernel does not tell of boots.
//!
//! Whether a tree is unchanged is for the caller to prove, by the fingerprint that it checked the
//! tree in with.

use std::io;
use std::path::PathBuf;

use super::Store;
use super::layout::{UNPACKED, create_folder, failed};
use super::scratch::ScratchDir;
use crate::error::Result;
use crate::oci::DiffId;

/// How many trees of one name there may be, for builds that run at the same time.
const SLOTS: usize = 4;
/// In the tree's folder: the fingerprint that it was checked in with.
const FINGERPRINT: &str = "fingerprint";

impl Store {
    /// Takes a tree out of the pool, with its fingerprint: one that was checked in under `name` for
    /// layers whose topmost is `top`.
    pub fn checkout_root(&self, top: &DiffId, name: &str) -> Result<Option<(ScratchDir, String)>> {
        self.pin(&top.0)?;
        for home in self.root_homes(top, name) {
            let path = self.session()?.fresh_path();
            match std::fs::rename(&home, &path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("take", &home, error)),
            }
            let scratch = ScratchDir::new(path, self);
            let fingerprint = scratch.path().join(FINGERPRINT);
            if let Ok(text) = std::fs::read_to_string(&fingerprint) {
                std::fs::remove_file(&fingerprint).map_err(|error| failed("remove", &fingerprint, error))?;
                return Ok(Some((scratch, text)));
            }
        }
        Ok(None)
    }

    /// Puts a tree into the pool, unless there are enough of its name. If that fails, later builds
    /// take longer; that is all.
    pub fn checkin_root(&self, top: &DiffId, name: &str, scratch: ScratchDir, fingerprint: &str) -> Result<()> {
        if !self.knows_boots() {
            return Ok(());
        }
        let path = scratch.path().join(FINGERPRINT);
        std::fs::write(&path, fingerprint).map_err(|error| failed("write", &path, error))?;
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
