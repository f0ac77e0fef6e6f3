//! Walk.
use std::fs::File;

use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Entry, LayerPath};

/// Entries of a source, a folder before what it holds, siblings in byte order.
#[derive(Debug)]
pub struct Walk {}

impl Walk {
    /// Sockets that were left out so far: they mean nothing in an image.
    pub fn skipped_sockets(&self) -> &[LayerPath] {
        &[]
    }
}

impl Iterator for Walk {
    type Item = Result<WalkEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

/// One entry of a walk.
#[derive(Debug)]
pub struct WalkEntry {
    /// Path relative to the source, kind (never a hard link), mode, owner and time as the file system has them.
    pub entry: Entry,
}

impl WalkEntry {
    /// Opens a regular file for reading. It is the very file that the entry was made from, or an error.
    pub fn open(&self) -> Result<File> {
        Err(Error::new(ErrorKind::Unsupported, "context"))
    }

    /// Checks, after the last byte was read, that size and time are still those of the entry.
    pub fn check_unchanged(&self, _file: &File) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "context"))
    }

    /// Where the entry is in the build context, for messages and the secret guard.
    pub fn context_path(&self) -> &LayerPath {
        unimplemented!()
    }
}
