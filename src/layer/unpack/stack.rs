//! A stack of unpacked layers seen as the one tree that overlay would show, for looking up single
//! paths.
//!
//! Follows no symbolic links on the way: a path is looked up as the layers name it, never resolved.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::layer::LayerPath;
use crate::layer::owners::Owners;

/// Folders of unpacked layers, topmost first.
#[derive(Debug)]
pub(crate) struct Stack {
    roots: Vec<(PathBuf, OwnedFd, Owners)>,
    // For the folder looked up last and those above it: the layers that take part in it, topmost
    // first.
    chain: Vec<(LayerPath, Vec<usize>)>,
}

/// Where a path of the stack really is.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// The root of its layer.
    pub(crate) root: BorrowedFd<'a>,
    /// What is there, with its true owner and mode.
    pub(crate) stat: Stat,
}

impl Stack {
    pub(crate) fn open(roots: &[PathBuf]) -> Result<Self> {
        let open = |path: &PathBuf| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::io("open", path, errno.into()))?;
            let owners = Owners::of(&fd);
            Ok((path.clone(), fd, owners))
        };
        let roots = roots.iter().map(open).collect::<Result<Vec<_>>>()?;
        let all = (0..roots.len()).collect();
        Ok(Self { roots, chain: vec![(LayerPath::root(), all)] })
    }

    /// What the stack shows at `path`, if anything.
    pub(crate) fn find(&mut self, path: &LayerPath) -> Result<Option<Found<'_>>> {
        let folder = path.parent().unwrap_or_default();
        let layers = self.folder(&folder)?.to_vec();
        for layer in layers {
            if let Some(stat) = self.stat(layer, path)? {
                return Ok((!is_whiteout(&stat)).then(|| Found { root: self.roots[layer].1.as_fd(), stat }));
            }
        }
        Ok(None)
    }

    /// The names that the stack shows in the folder `path`, in byte order; none where it is no
    /// folder.
    pub(crate) fn names(&mut self, path: &LayerPath) -> Result<Vec<Vec<u8>>> {
        let layers = self.folder(path)?.to_vec();
        let mut shown = BTreeMap::new();
        for layer in layers {
            let (root, fd, _) = &self.roots[layer];
            let failed = |errno: Errno| Error::io("read", root.join(path.as_path()), errno.into());
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = rustix::fs::openat(fd, relative(path), flags, Mode::empty()).map_err(failed)?;
            for entry in Dir::read_from(&folder).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
                if name == b"." || name == b".." || shown.contains_key(&name) {
                    continue;
                }
                let stat = rustix::fs::statat(&folder, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                shown.insert(name, !is_whiteout(&stat));
            }
        }
        Ok(shown.into_iter().filter_map(|(name, there)| there.then_some(name)).collect())
    }

    fn folder(&mut self, path: &LayerPath) -> Result<&[usize]> {
        while self.chain.last().is_some_and(|(known, _)| !path.starts_with(known)) {
            self.chain.pop();
        }
        let known = self.chain.last().map_or(0, |(known, _)| known.components().count());
        for name in path.components().skip(known) {
            let Some((parent, layers)) = self.chain.last() else { break };
            let path = parent.child(name)?;
            let layers = self.merge(&path, &layers.clone())?;
            self.chain.push((path, layers));
        }
        Ok(self.chain.last().map_or(&[], |(_, layers)| layers))
    }

    fn merge(&self, path: &LayerPath, parents: &[usize]) -> Result<Vec<usize>> {
        let mut layers = Vec::new();
        for &layer in parents {
            match self.stat(layer, path)? {
                None => {}
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    layers.push(layer);
                    if self.is_opaque(layer, path)? {
                        break;
                    }
                }
                Some(_) => break,
            }
        }
        Ok(layers)
    }

    // Only called with a path whose parents are known to be folders of this layer, so nothing is
    // followed.
    fn stat(&self, layer: usize, path: &LayerPath) -> Result<Option<Stat>> {
        let (root, fd, owners) = &self.roots[layer];
        match rustix::fs::statat(fd, relative(path), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(mut stat) => {
                owners.apply(fd, relative(path), &mut stat);
                Ok(Some(stat))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(Error::io("examine", root.join(path.as_path()), errno.into())),
        }
    }

    fn is_opaque(&self, layer: usize, path: &LayerPath) -> Result<bool> {
        let (root, fd, _) = &self.roots[layer];
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(fd, relative(path), flags, Mode::empty());
        let folder = folder.map_err(|errno| Error::io("open", root.join(path.as_path()), errno.into()))?;
        Ok(is_opaque(&folder))
    }
}

/// A path for the system calls that take one relative to a folder.
pub(crate) fn relative(path: &LayerPath) -> &OsStr {
    OsStr::from_bytes(if path.is_root() { b"." } else { path.as_bytes() })
}

/// Whether overlay takes this for "removed".
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether overlay hides what lower layers have in this folder.
pub(crate) fn is_opaque(folder: impl AsFd) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = [0; 4];
        rustix::fs::fgetxattr(&folder, *name, &mut value[..]).is_ok_and(|read| value[..read] == *b"y")
    })
}
