//! Restores a tree that steps of an earlier build have changed, so that a build can begin with it
//! instead of unpacking its layers again.
//!
//! A scan finds what differs from the freshly unpacked tree by any stamp, times of change included,
//! which no program can set. What is new is removed, what has changed or gone is made again from
//! the layers, and folders get their owners, modes and times back. A second scan then has to show
//! the first tree, but for the inodes of what was made again: a tree that cannot be proved to be
//! restored does not count as restored.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, Gid, IFlags, Mode, Timespec, Timestamps, Uid};

use super::Tree;
use super::scan::Baseline;
use super::stamps::InodeState;
use crate::error::{Error, Result};
use crate::layer::LayerPath;
use crate::layer::owner_table::{OwnerTable, Row, inode_of, split_mode};
use crate::layer::owners::Record;
use crate::layer::unpack::{self, UnpackOptions, Whiteouts, unpack};
use crate::oci::{Digest, Hasher};

/// A new number when what a fingerprint is made of changes.
const FINGERPRINT: &str = "mpimg-tree-2";

impl Baseline {
    /// The digest of all stamps of the tree: two scans with one fingerprint saw the same unchanged
    /// tree.
    pub fn fingerprint(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(FINGERPRINT.as_bytes());
        for (path, stamp) in std::iter::once((&LayerPath::root(), &self.root)).chain(self.stamps.iter()) {
            hasher.update_field(path.as_bytes());
            for number in stamp.numbers() {
                hasher.update(&number.to_le_bytes());
            }
        }
        hasher.finish()
    }

    /// As `fingerprint`, with the owner table beside the tree, where it has one: of a file
    /// capability a stamp does not tell.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where the table cannot be read.
    pub fn fingerprint_with_owners(&self, tree: &Path) -> Result<String> {
        let path = OwnerTable::path_of(tree);
        match std::fs::read(&path) {
            Ok(table) => Ok(format!("{} {}", self.fingerprint(), Digest::of(table))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(self.fingerprint().to_string()),
            Err(error) => Err(Error::io("read", path, error)),
        }
    }

    /// Removes rows of the owner table beside `tree`, which was just scanned, whose files have
    /// gone: somebody else's file may get such a number.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where the table cannot be read or written.
    pub fn forget_missing_owners(&self, tree: &Path) -> Result<()> {
        let Some(mut table) = OwnerTable::read(tree)? else { return Ok(()) };
        let device = std::fs::metadata(tree).map_err(|error| Error::io("examine", tree, error))?.dev();
        let there = std::iter::once(&self.root).chain(self.stamps.states()).map(|stamp| stamp.inode).collect();
        if table.keep_only(device, &there) { table.write(tree) } else { Ok(()) }
    }
}

/// The state of a tree that it is restored to: as its layers make it.
#[derive(Debug)]
pub struct RestorePoint {
    baseline: Arc<Baseline>,
    /// Files that this program moved away and back meanwhile, which changed their ctime.
    moved: BTreeMap<LayerPath, InodeState>,
}

/// What has to be done to restore a tree.
#[derive(Debug, Default)]
pub struct RestorePlan {
    /// New, in a folder that stays.
    removed: Vec<LayerPath>,
    /// Changed or gone.
    lost: BTreeSet<LayerPath>,
    /// Folders that stay, whose owner, mode or times may have changed, or will when their entries
    /// are restored.
    folders: BTreeSet<LayerPath>,
}

impl RestorePlan {
    /// What has to come from the layers again, a folder before what it holds.
    pub fn lost(&self) -> &BTreeSet<LayerPath> {
        &self.lost
    }

    /// Whether the tree is as it was.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.lost.is_empty() && self.folders.is_empty()
    }
}

impl RestorePoint {
    /// What a scan of the freshly unpacked tree saw.
    pub fn new(baseline: Arc<Baseline>) -> Self {
        Self { baseline, moved: BTreeMap::new() }
    }

    /// The scan, with the stamps that files have got since although nothing has changed them.
    pub fn baseline(&self) -> Arc<Baseline> {
        let mut baseline = Arc::clone(&self.baseline);
        if !self.moved.is_empty() {
            let stamps = &mut Arc::make_mut(&mut baseline).stamps;
            self.moved.iter().for_each(|(path, stamp)| stamps.replace(path, *stamp));
        }
        baseline
    }

    fn stamp(&self, path: &LayerPath) -> Option<InodeState> {
        self.moved.get(path).copied().or_else(|| self.baseline.stamps.get(path))
    }

    /// After a step whose sandbox has moved the files `touched` away and back: those that were
    /// unchanged `before` it count as unchanged still, although their times of change are new.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where the tree cannot be opened.
    pub fn accept_touched(&mut self, tree: &Path, before: &Baseline, touched: &HashSet<LayerPath>) -> Result<()> {
        let tree = Tree::new(tree)?;
        for path in touched {
            let Some(then) = self.stamp(path).filter(|then| !then.is_folder() && before.stamps.get(path) == Some(*then)) else {
                continue;
            };
            let Ok(now) = tree.stat(path).map(|stat| InodeState::of(&stat)) else { continue };
            if now.without_ctime() == then.without_ctime() {
                self.moved.insert(path.clone(), now);
            }
        }
        Ok(())
    }

    /// What has to be done where a scan saw `now`; `None` where the layers cannot tell how.
    pub fn plan(&self, now: &Baseline) -> Option<RestorePlan> {
        let mut todo = RestorePlan::default();
        let is_kept_folder = |path: &LayerPath| path.is_root() || self.stamp(path).is_some_and(InodeState::is_folder);
        if now.root != self.baseline.root {
            todo.folders.insert(LayerPath::root());
        }
        for (path, then, now) in self.baseline.beside(now) {
            let Some(then) = then.map(|then| self.moved.get(path).copied().unwrap_or(then)) else {
                // What is below a new folder goes with it; what is below one that was a file, when
                // the file returns.
                if path.parent().is_some_and(|parent| is_kept_folder(&parent)) {
                    todo.removed.push(path.clone());
                }
                continue;
            };
            match now {
                Some(now) if now == then => {}
                Some(now) if then.is_folder() && now.is_folder() => drop(todo.folders.insert(path.clone())),
                _ if then.links > 1
                    && !matches!(FileType::from_raw_mode(then.mode), FileType::RegularFile | FileType::Directory) =>
                {
                    return None;
                }
                _ => drop(todo.lost.insert(path.clone())),
            }
        }
        let changed = todo.removed.iter().chain(&todo.lost);
        let parents: Vec<LayerPath> = changed.filter_map(LayerPath::parent).filter(is_kept_folder).collect();
        todo.folders.extend(parents);
        Some(todo)
    }

    /// Restores the tree at `path`. `lost` is a tar of what [`RestorePlan::lost`] names, in the
    /// same order.
    ///
    /// # Errors
    /// What [`unpack`] says, and [`Io`](crate::ErrorKind::Io): the tree must not be used then.
    pub fn restore(&self, path: &Path, todo: &RestorePlan, lost: Option<impl Read + Send>) -> Result<()> {
        let tree = Tree::new(path)?;
        for removed in &todo.removed {
            let parent = tree.open(&removed.parent().unwrap_or_default())?;
            let gone = unpack::remove(&parent, removed.name().unwrap_or_default());
            gone.map_err(|errno| tree.error("remove", removed, errno))?;
        }
        if let Some(tar) = lost {
            let owner_table = tree.table.is_some();
            let options = UnpackOptions { whiteouts: Whiteouts::Apply, owner_table, ..UnpackOptions::default() };
            unpack(tar, path, &options)?;
        }
        let mut table = OwnerTable::read(path)?;
        for folder in &todo.folders {
            let stamp = if folder.is_root() { Some(self.baseline.root) } else { self.stamp(folder) };
            if let Some(stamp) = stamp {
                restore_metadata(&tree.open(folder)?, stamp, table.as_mut())
                    .map_err(|errno| tree.error("restore the times of", folder, errno))?;
            }
        }
        table.map_or(Ok(()), |table| table.write(path))
    }

    /// Whether the tree at `path` is restored; `after` is a scan since `todo` was done.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where a folder cannot be read.
    pub fn is_restored(&self, path: &Path, todo: &RestorePlan, after: &Baseline) -> Result<bool> {
        let same = |path: &LayerPath, then: InodeState, now: InodeState| match then.is_folder() {
            true => now.looks() == then.looks() && now.links == then.links,
            false if todo.lost.contains(path) => now.looks() == then.looks() && now.links == then.links,
            false => now == then,
        };
        let root = LayerPath::root();
        let all = same(&root, self.baseline.root, after.root)
            && self.baseline.beside(after).all(|(path, then, now)| {
                let then = self.moved.get(path).copied().or(then);
                then.zip(now).is_some_and(|(then, now)| same(path, then, now))
            });
        if !all {
            return Ok(false);
        }
        // Of a folder a stamp does not tell whether a change of its ctime was more than a change of
        // its entries.
        let tree = Tree::new(path)?;
        let made = todo.lost.iter().filter(|path| self.stamp(path).is_some_and(InodeState::is_folder));
        for folder in todo.folders.iter().chain(made) {
            if !is_plain(&tree.open(folder)?).map_err(|errno| tree.error("read the attributes of", folder, errno))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn restore_metadata(folder: &OwnedFd, stamp: InodeState, table: Option<&mut OwnerTable>) -> Result<(), rustix::io::Errno> {
    let mut mode = stamp.mode & 0o7777;
    match table {
        Some(table) => {
            let recorded;
            (mode, recorded) = split_mode(FileType::Directory, mode);
            let record = Record { uid: stamp.uid, gid: stamp.gid, mode: recorded, device: None };
            table.set(inode_of(&rustix::fs::fstat(folder)?), Row { record, capability: None });
        }
        None => rustix::fs::fchown(folder, Some(Uid::from_raw(stamp.uid)), Some(Gid::from_raw(stamp.gid)))?,
    }
    rustix::fs::fchmod(folder, Mode::from_raw_mode(mode))?;
    let (seconds, nanoseconds) = stamp.mtime;
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let mtime = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    rustix::fs::futimens(folder, &Timestamps { last_access: omit, last_modification: mtime })
}

/// Whether a folder has neither extended attributes nor flags such as `chattr` sets. Those of the
/// image are not known here, so a folder that came with some does not count as restored.
fn is_plain(folder: &OwnedFd) -> Result<bool, rustix::io::Errno> {
    let mut names = vec![0; 4096];
    let length = match rustix::fs::flistxattr(folder, &mut names[..]) {
        Err(rustix::io::Errno::NOTSUP) => 0,
        length => length?,
    };
    // The machine itself gives every file this one.
    let ours = names[..length].split(|byte| *byte == 0).all(|name| name.is_empty() || name == b"security.selinux");
    let set =
        IFlags::IMMUTABLE | IFlags::APPEND | IFlags::NOATIME | IFlags::SYNC | IFlags::DIRSYNC | IFlags::NODUMP | IFlags::TOPDIR;
    let flags = rustix::fs::ioctl_getflags(folder).unwrap_or(IFlags::empty());
    Ok(ours && !flags.intersects(set))
}
