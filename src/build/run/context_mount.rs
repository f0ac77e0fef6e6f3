//! `RUN --mount=type=bind` of the build context: a copy of what the step may see of it.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::build::cache::BoundFiles;
use crate::build::session::Session;
use crate::context::{Patterns, WalkEntry};
use crate::error::{Error, Result};
use crate::image::HashingReader;
use crate::layer::owner_table::{OwnerTable, Row, inode_of, split_mode};
use crate::layer::owners::Record;
use crate::layer::{Kind, LayerPath};
use crate::oci::Digest;
use crate::sandbox::BindSource;

/// Copies what `pattern` names into the folder `root`: what `.dockerignore` leaves out is not
/// there, and nothing leads out of it.
pub(super) fn copy_context(session: &Session<'_>, pattern: &str, root: &Path) -> Result<(BindSource, BoundFiles)> {
    std::fs::create_dir_all(root).map_err(|error| Error::io("create", root, error))?;
    let source = BoundFiles::source(session, pattern)?;
    let mut bound = BoundFiles::new(session, &source);
    // A single file needs a name in the folder; a folder is the folder itself.
    let base = if *source.kind() == Kind::Directory { LayerPath::root() } else { LayerPath::parse("source")? };
    let mut copy = Copy { table: None, folders: Vec::new() };
    if session.isolation()?.kind().has_owner_table() {
        copy.table = Some(OwnerTable::default());
    }
    for walked in source.walk(&Patterns::default())? {
        let walked = walked?;
        let content = copy.copy_out(&walked, &root.join(base.join(&walked.entry.path).as_path()))?;
        bound.add(&walked, content);
    }
    copy.finish(root)?;
    Ok((BindSource::Host { root: root.to_owned(), path: base }, bound))
}

/// A copy under way.
struct Copy {
    /// The modes that are not on disk, where a step's files must be open to this user
    /// ([`OwnerTable`]).
    table: Option<OwnerTable>,
    /// Folders with the modes that they get when they are full: one may let nobody in.
    folders: Vec<(PathBuf, u32)>,
}

impl Copy {
    /// Copies one entry; of a file it gives the digest of the content.
    fn copy_out(&mut self, walked: &WalkEntry, path: &Path) -> Result<Option<Digest>> {
        let wrong = |error| Error::io("copy", path, error);
        let mode = walked.entry.metadata.mode;
        let mut content = None;
        match &walked.entry.kind {
            Kind::Directory => {
                self.folders.push((path.to_owned(), mode));
                return std::fs::create_dir(path).map_err(wrong).map(|()| None);
            }
            Kind::Symlink { target } => {
                return symlink(OsStr::from_bytes(target), path).map_err(wrong).map(|()| None);
            }
            // A socket is an empty file.
            Kind::File { .. } if walked.stamp().is_none() => drop(File::create(path).map_err(wrong)?),
            Kind::File { .. } => {
                let mut copy = File::create(path).map_err(wrong)?;
                let mut reader = HashingReader::new(walked.open()?);
                std::io::copy(&mut reader, &mut copy).map_err(wrong)?;
                content = Some(reader.finish().map_err(wrong)?.0);
            }
            Kind::Fifo => rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, rustix::fs::Mode::RUSR, 0)
                .map_err(|errno| wrong(errno.into()))?,
            _ => return Ok(None),
        }
        self.set_mode(path, mode)?;
        Ok(content)
    }

    fn set_mode(&mut self, path: &Path, mode: u32) -> Result<()> {
        let wrong = |error| Error::io("copy", path, error);
        let mut on_disk = mode;
        if let Some(table) = &mut self.table {
            let stat = rustix::fs::lstat(path).map_err(|errno| wrong(errno.into()))?;
            let (bits, recorded) = split_mode(FileType::from_raw_mode(stat.st_mode), mode);
            let record = Record { uid: 0, gid: 0, mode: recorded, device: None };
            table.set(inode_of(&stat), Row { record, capability: None });
            on_disk = bits;
        }
        std::fs::set_permissions(path, Permissions::from_mode(on_disk)).map_err(wrong)
    }

    fn finish(mut self, root: &Path) -> Result<()> {
        for (path, mode) in std::mem::take(&mut self.folders).into_iter().rev() {
            self.set_mode(&path, mode)?;
        }
        self.table.map_or(Ok(()), |table| table.write(root))
    }
}
