//! Where the bytes of an archive come from: a path, or something that is read once, such as
//! standard input.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{ScratchDir, Store};

/// Where an archive comes from.
#[non_exhaustive]
pub enum ArchiveSource {
    /// A file, or the folder of an OCI layout.
    Path(PathBuf),
    /// A stream. It is copied into the local store's scratch folder first: archives are read more
    /// than once.
    Reader(Box<dyn Read + Send>),
}

impl fmt::Debug for ArchiveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArchiveSource({self})")
    }
}

impl fmt::Display for ArchiveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Reader(_) => f.write_str("-"),
        }
    }
}

impl From<PathBuf> for ArchiveSource {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

/// A path at which the archive can be read until this is dropped.
pub(super) struct ReadableArchive {
    pub(super) path: PathBuf,
    /// Holds the copy of a stream.
    _scratch: Option<ScratchDir>,
}

impl ArchiveSource {
    /// The path itself, or a copy of the stream.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such file. [`ErrorKind::Io`]: the stream cannot be
    /// read, or the copy cannot be written.
    pub(super) fn open(self, store: &Store) -> Result<ReadableArchive> {
        let mut reader = match self {
            Self::Path(path) if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) => {
                return Err(Error::new(ErrorKind::NotFound, format!("there is no file `{}`", path.display()))
                    .with_hint("check its path, which is seen from the current folder"));
            }
            Self::Path(path) => return Ok(ReadableArchive { path, _scratch: None }),
            Self::Reader(reader) => reader,
        };
        let scratch = store.scratch()?;
        let path = scratch.path().join("stdin");
        let mut file = File::create(&path).map_err(|error| Error::io("create", &path, error))?;
        io::copy(&mut reader, &mut file).map_err(|error| Error::io("read standard input into", &path, error))?;
        Ok(ReadableArchive { path, _scratch: Some(scratch) })
    }
}
