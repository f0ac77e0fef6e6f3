//! Names in the store's folder, and the error for a path in it that cannot be used.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::oci::Digest;

pub(super) const TMP: &str = "tmp";
pub(super) const GATE: &str = "gate";
pub(super) const LOCKS: &str = "locks";
/// Cache mounts, a folder each.
pub(super) const MOUNTS: &str = "mounts";
/// Belongs to the container room.
pub(super) const CONTAINERS: &str = "containers";
pub(super) const BLOBS: &str = "blobs";
/// Unpacked layers, a folder each.
pub(super) const UNPACKED: &str = "unpacked";
/// In an unpacked layer's folder, once its tree is known to be on disk.
pub(super) const MARK: &str = "durable";

pub(super) fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| failed("make", path, error))
}

/// "cannot {verb} `{path}`", with the remedy for the usual causes.
pub(super) fn failed(verb: &str, path: &Path, source: io::Error) -> Error {
    let error = Error::new(ErrorKind::Store, format!("cannot {verb} `{}`", path.display()));
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            error.with_hint("run `mpimg prune`, or free some space on that disk, then try again")
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            error.with_hint("set MPIMG_HOME to a folder that you can write to")
        }
        _ => error,
    }
    .with_source(source)
}

/// The names in a folder in byte order; none if it is missing. Names that are not UTF-8 are not
/// ours.
pub(super) fn file_names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Waits until the entries of a folder are on disk: new names are in no file's own fsync.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| failed("write to", path, error))
}

/// The diff ID that a name in `layers` or `unpacked` begins with.
pub(super) fn diff_id(name: &str) -> Option<Digest> {
    let hex = name.split('.').next().unwrap_or(name);
    ["sha256", "sha512"].iter().find_map(|algorithm| Digest::parse(&format!("{algorithm}:{hex}")).ok())
}
