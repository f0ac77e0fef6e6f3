//! `RUN --mount=type=bind` of the build context: a copy of what the step may see of it.

use std::path::Path;

use crate::build::cache::BoundFiles;
use crate::build::session::Session;
use crate::context::{Patterns, WalkEntry};
use crate::error::{Error, Result};
use crate::image::HashingReader;
use crate::layer::{Kind, LayerPath};
use crate::oci::Digest;
use crate::sandbox::BindSource;

/// Copies what `pattern` names into the folder `root`: what `.dockerignore` leaves out is not there, and nothing leads out of it.
pub(super) fn copy_context(session: &Session<'_>, pattern: &str, root: &Path) -> Result<(BindSource, BoundFiles)> {
    std::fs::create_dir_all(root).map_err(|error| Error::io("create", root, error))?;
    let source = BoundFiles::source(session, pattern)?;
    let mut bound = BoundFiles::new(session, &source);
    // A single file needs a name in the folder; a folder is the folder itself.
    let base = if *source.kind() == Kind::Directory { LayerPath::root() } else { LayerPath::parse("source")? };
    for walked in source.walk(&Patterns::default())? {
        let walked = walked?;
        let content = copy_out(&walked, &root.join(base.join(&walked.entry.path).as_path()))?;
        bound.add(&walked, content);
    }
    Ok((BindSource::Host { root: root.to_owned(), path: base }, bound))
}

/// Copies one entry; of a file it gives the digest of the content.
fn copy_out(walked: &WalkEntry, path: &Path) -> Result<Option<Digest>> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt, symlink};

    let wrong = |error| Error::io("copy", path, error);
    let mut content = None;
    match &walked.entry.kind {
        Kind::Directory => std::fs::create_dir(path).map_err(wrong)?,
        Kind::Symlink { target } => {
            return symlink(std::ffi::OsStr::from_bytes(target), path).map_err(wrong).map(|()| None);
        }
        Kind::File { .. } => {
            let mut copy = std::fs::File::create(path).map_err(wrong)?;
            let mut reader = HashingReader::new(walked.open()?);
            std::io::copy(&mut reader, &mut copy).map_err(wrong)?;
            content = Some(reader.finish().map_err(wrong)?.0);
        }
        _ => return Ok(None),
    }
    std::fs::set_permissions(path, PermissionsExt::from_mode(walked.entry.metadata.mode)).map_err(wrong)?;
    Ok(content)
}
