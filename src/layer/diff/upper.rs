//! An overlay's upper folder as changes: its whiteouts become those of the layer format, and a
//! folder that hides those below becomes a whiteout for each name that is gone, as in BuildKit: so
//! a step makes the same layer with and without overlay.
//!
//! Does not believe a copy-up: what is equal to the layers below is not a change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::links::{Candidate, changed_inodes, settle};
use super::{Change, Tree, capability, kind_of, metadata_of, same_bytes};
use crate::error::{Error, Result};
use crate::layer::unpack::{Stack, is_folder, is_opaque, is_whiteout, relative};
use crate::layer::{Entry, Kind, LayerPath, Metadata};

/// What the upper folder `upper` of an overlay changes over the unpacked layers `lower`, topmost
/// first, in the order of a layer.
///
/// Owners are as this process sees them: call it inside the user namespace that the step ran in.
///
/// # Errors
/// [`Io`](crate::ErrorKind::Io) where a folder cannot be read.
pub fn changes(upper: &Path, lower: &[PathBuf]) -> Result<Vec<Change>> {
    let tree = Arc::new(Tree::new(upper)?);
    let mut walk = Walk { tree: &tree, lower: Stack::open(lower)?, found: Vec::new() };
    walk.all()?;
    let changed = changed_inodes(&walk.found);
    Ok(settle(walk.found, &changed, &tree))
}

struct Walk<'a> {
    tree: &'a Tree,
    lower: Stack,
    found: Vec<Candidate>,
}

/// A folder whose names are gone through: a stack of these, because a command decides how deep
/// folders are nested.
struct Folder {
    path: LayerPath,
    stat: Option<Stat>,
    /// It hides what the layers below have in it.
    replaced: bool,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<()> {
        let root = Folder { path: LayerPath::root(), stat: None, replaced: false };
        let mut open = vec![(self.names(&root)?, root)];
        while let Some((names, folder)) = open.last_mut() {
            let Some((name, is_above)) = names.next() else {
                open.pop();
                continue;
            };
            let child = folder.path.child(&name)?;
            if !is_above {
                self.push(child, Kind::Whiteout, Metadata::default(), None, None);
                continue;
            }
            if let Some(inner) = self.path(child, folder.stat.as_ref(), folder.replaced)? {
                open.push((self.names(&inner)?, inner));
            }
        }
        Ok(())
    }

    /// What the folder holds, in order, and whether that is in the upper folder or only hidden by
    /// it.
    fn names(&mut self, folder: &Folder) -> Result<impl Iterator<Item = (Vec<u8>, bool)> + use<>> {
        let above: BTreeSet<_> = self.tree.names(&folder.path)?.into_iter().collect();
        let below: BTreeSet<_> =
            if folder.replaced { self.lower.names(&folder.path)?.into_iter().collect() } else { BTreeSet::new() };
        let all: Vec<_> = above.union(&below).map(|name| (name.clone(), above.contains(name))).collect();
        Ok(all.into_iter())
    }

    /// Adds what is at `path` in the folder whose `stat` is `parent`. Returns it where it is a
    /// folder itself.
    fn path(&mut self, path: LayerPath, parent: Option<&Stat>, replaced: bool) -> Result<Option<Folder>> {
        let below = self.lower.find(&path)?.map(|found| found.stat);
        let stat = self.tree.true_stat(&path, parent, below.is_some() && !replaced)?;
        if is_whiteout(&stat) {
            if below.is_some() {
                self.push(path, Kind::Whiteout, Metadata::default(), None, None);
            }
            return Ok(None);
        }
        let Some(kind) = kind_of(self.tree, &path, &stat)? else {
            // A socket is in no layer, but what it replaced is gone.
            if below.is_some() {
                self.push(path, Kind::Whiteout, Metadata::default(), None, None);
            }
            return Ok(None);
        };
        let mut metadata = metadata_of(&stat);
        if matches!(kind, Kind::File { .. }) {
            metadata.xattrs = self.tree.xattrs(&path)?;
        }
        let copy_of = match &below {
            Some(below) if self.is_copy(&path, &stat, below)? => Some((below.st_dev, below.st_ino)),
            _ => None,
        };
        let inode = (stat.st_nlink > 1 && kind != Kind::Directory).then_some((stat.st_dev, stat.st_ino));
        if kind != Kind::Directory {
            self.push(path, kind, metadata, inode, copy_of);
            return Ok(None);
        }
        let replaced = replaced || is_opaque(self.tree.open(&path)?);
        self.push(path.clone(), kind, metadata, None, copy_of.filter(|_| !replaced));
        let replaced = replaced && below.as_ref().is_some_and(is_folder);
        Ok(Some(Folder { path, stat: Some(stat), replaced }))
    }

    fn push(
        &mut self,
        path: LayerPath,
        kind: Kind,
        metadata: Metadata,
        inode: Option<super::links::Inode>,
        copy_of: Option<super::links::Inode>,
    ) {
        self.found.push(Candidate { entry: Entry { path, kind, metadata }, inode, copy_of });
    }

    fn is_copy(&mut self, path: &LayerPath, stat: &Stat, below: &Stat) -> Result<bool> {
        let same = |key: fn(&Stat) -> (u32, u32, u32, i64, u64)| key(stat) == key(below);
        if !same(|stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec)) {
            return Ok(false);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory | FileType::Fifo => Ok(true),
            FileType::RegularFile => Ok(stat.st_size == below.st_size && self.same_content(path)?),
            FileType::Symlink => {
                let Some(found) = self.lower.find(path)? else { return Ok(false) };
                let text = rustix::fs::readlinkat(found.root, relative(path), Vec::new());
                let text = text.map_err(|errno| self.tree.error("read below", path, errno))?;
                Ok(text.as_bytes() == self.tree.link_text(path)?)
            }
            _ => Ok(stat.st_rdev == below.st_rdev),
        }
    }

    fn same_content(&mut self, path: &LayerPath) -> Result<bool> {
        let Some(found) = self.lower.find(path)? else { return Ok(false) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let below = rustix::fs::openat(found.root, relative(path), flags, Mode::empty());
        let below = below.map_err(|errno| self.tree.error("open below", path, errno))?;
        let above = self.tree.open(path)?;
        if capability(&above) != capability(&below) {
            return Ok(false);
        }
        same_bytes(std::fs::File::from(above), std::fs::File::from(below))
            .map_err(|error| Error::io("read", path.as_path(), error))
    }
}
