//! The folder that a layer is unpacked into, and the only way into it: open folders, found inside it and kept for the next entry.
//!
//! Never left: folders are opened by [`open_inside`] with `RESOLVE_IN_ROOT`, so that an absolute link or `..` in a link of the layer
//! ends at this folder, as it would in the image.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
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

/// Removes `name` with all that is in it; links are removed, never followed. One that is not there is no error.
pub(crate) fn remove(folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    remove_below(folder, name, 0)
}

/// How deep folders are removed one in the other. Deeper ones are first moved up, so that neither stack nor descriptors run out, however
/// deep a command has nested them.
const DEEPEST: usize = 64;

fn remove_below(folder: &OwnedFd, name: &[u8], depth: usize) -> Result<(), Errno> {
    let name = OsStr::from_bytes(name);
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    empty_below(&open_to_empty(folder, name)?, depth + 1)?;
    remove_empty(folder, name)
}

/// Opens a folder that is to be emptied.
fn open_to_empty(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let inner = match rustix::fs::openat(folder, name, FOLDER, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Without privileges a folder that its owner may not enter has to be opened up first.
            rustix::fs::chmodat(folder, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(folder, name, FOLDER, Mode::empty())?
        }
        opened => opened?,
    };
    if rustix::fs::fstat(&inner)?.st_mode & 0o200 == 0 && !rustix::process::geteuid().is_root() {
        rustix::fs::fchmod(&inner, Mode::RWXU)?;
    }
    Ok(inner)
}

fn remove_empty(folder: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

fn names_in(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Removes all that is in `folder`.
fn empty_below(folder: &OwnedFd, depth: usize) -> Result<(), Errno> {
    let names = names_in(folder)?;
    if rustix::fs::fstat(folder)?.st_mode & 0o200 == 0 && !rustix::process::geteuid().is_root() {
        rustix::fs::fchmod(folder, Mode::RWXU)?;
    }
    if depth < DEEPEST {
        return names.iter().try_for_each(|name| remove_below(folder, name, depth));
    }
    flatten(folder, names)
}

/// Empties `folder`, which holds `names`, with two folders open at a time: what is in a folder in it moves up to it.
fn flatten(folder: &OwnedFd, mut names: Vec<Vec<u8>>) -> Result<(), Errno> {
    let mut moved = 0u64;
    while let Some(name) = names.pop() {
        let name = OsStr::from_bytes(&name);
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        let inner = open_to_empty(folder, name)?;
        for child in names_in(&inner)? {
            let free = loop {
                moved += 1;
                let free = format!("moved-{moved}").into_bytes();
                if stat(folder, &free)?.is_none() {
                    break free;
                }
            };
            let place = |child: &[u8]| OsStr::from_bytes(child).to_owned();
            match rustix::fs::renameat(&inner, place(&child), folder, place(&free)) {
                Err(Errno::ACCESS) => {
                    // A folder gets another parent, for which its owner must be allowed to write to it.
                    rustix::fs::chmodat(&inner, place(&child), Mode::RWXU, AtFlags::empty())?;
                    rustix::fs::renameat(&inner, place(&child), folder, place(&free))?;
                }
                renamed => renamed?,
            }
            names.push(free);
        }
        remove_empty(folder, name)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nest_of_thousands_of_folders_is_removed_in_a_small_stack() {
        let parent = tempfile::tempdir().unwrap();
        let folder = rustix::fs::open(parent.path(), FOLDER, Mode::empty()).unwrap();
        let mut inner = rustix::fs::openat(&folder, ".", FOLDER, Mode::empty()).unwrap();
        for depth in 0..3000 {
            rustix::fs::mkdirat(&inner, "nest", Mode::RWXU).unwrap();
            // Names that flattening would take itself, and files beside.
            if depth % 100 == 0 {
                rustix::fs::mkdirat(&inner, "moved-1", Mode::RWXU).unwrap();
                rustix::fs::symlinkat("nowhere", &inner, "moved-2").unwrap();
            }
            inner = rustix::fs::openat(&inner, "nest", FOLDER, Mode::empty()).unwrap();
        }
        let removal = std::thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            remove(&folder, b"nest").unwrap();
            assert_eq!(stat(&folder, b"nest").unwrap().map(|stat| stat.st_ino), None);
        });
        removal.unwrap().join().unwrap();
    }
}
