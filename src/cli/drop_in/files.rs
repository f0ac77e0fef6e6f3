//! Files that the programs write where nothing was before.

use std::path::Path;

use crate::error::{Error, Result};

/// Makes the folder of a file, and those above it.
///
/// # Errors
/// [`ErrorKind::Io`](crate::error::ErrorKind::Io): it cannot be made.
pub(in crate::cli) fn make_parent(file: &Path) -> Result<()> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error)),
        None => Ok(()),
    }
}
