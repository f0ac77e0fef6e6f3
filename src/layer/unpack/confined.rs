//! The folder that a layer is unpacked into, and the only way into it: open folders, found inside
//! it and kept for the next entry.
//!
//! Never left: folders are opened by [`open_inside`] with `RESOLVE_IN_ROOT`, so that an absolute
//! link or `..` in a link of the layer ends at this folder, as it would in the image.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::layer::{LayerPath, open_inside};

/// Folders kept open; a tar in order needs few at a time.
const OPEN_FOLDERS: usize = 128;

pub(super) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[derive(Debug)]
pub(super) struct Confined {
    pub(super) path: PathBuf,
    root: Arc<OwnedFd>,
    open: HashMap<LayerPath, Arc<OwnedFd>>,
}

impl Confined {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let root = rustix::fs::open(path, FOLDER, Mode::empty()).map_err(|errno| Error::io("open", path, errno.into()))?;
        Ok(Self { path: path.to_owned(), root: Arc::new(root), open: HashMap::new() })
    }

    /// The folder at `path` as the links of this layer lead to it; `None` where there is none.
    pub(super) fn folder(&mut self, path: &LayerPath) -> Result<Option<Arc<OwnedFd>>> {
        if path.is_root() {
            return Ok(Some(Arc::clone(&self.root)));
        }
        if let Some(folder) = self.open.get(path) {
            return Ok(Some(Arc::clone(folder)));
        }
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match open_inside(&*self.root, path.as_path(), flags, resolve) {
            Ok(folder) => {
                if self.open.len() == OPEN_FOLDERS {
                    self.open.clear();
                }
                let folder = Arc::new(folder);
                self.open.insert(path.clone(), Arc::clone(&folder));
                Ok(Some(folder))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(self.error("open", path, errno)),
        }
    }

    /// Must be called when a folder or link goes: what is kept open may have been found through it.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    pub(super) fn error(&self, verb: &str, path: &LayerPath, errno: Errno) -> Error {
        Error::io(verb, self.path.join(path.as_path()), errno.into())
    }
}

pub(super) fn stat(folder: &OwnedFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(folder, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(crate) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(super) fn write_at(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
