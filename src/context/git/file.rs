//! Reading of a repository's files: regular ones, with a limit on what is read.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::context::regular::open_regular;

/// The largest commit that is read, in bytes: far more than a message is long.
pub(super) const MAX_COMMIT_SIZE: u64 = 16 << 20;

/// What is in the repository is not what its format says.
pub(super) fn corrupt(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

/// Opens a regular file; a pipe in its place does not block.
pub(super) fn open(path: &Path) -> io::Result<File> {
    open_regular(path)?.ok_or_else(|| corrupt(format!("`{}` is not a file", path.display())))
}

/// The text of a small file; `None` where it does not exist.
pub(super) fn read_text(path: &Path) -> io::Result<Option<String>> {
    const MAX_SIZE: u64 = 64 << 10;
    let file = match open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(MAX_SIZE).read_to_string(&mut text)?;
    Ok(Some(text))
}
