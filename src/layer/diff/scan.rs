//! A whole tree compared with what it was before a step: for isolations without overlay
//! (chroot, emulated).
//!
//! What a file system stamps on every change of an inode and nobody can set back, its ctime, tells
//! what may have changed. Of that, files that look as before (a `chown` to the same owner does
//! that, or a hard link that has gone) are compared with what they were; the others are not read. A
//! clock tick separates the baseline from the step, so that a change right after it is seen.
//!
//! Does not guess: a file whose former content nobody has counts as changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::links::{Candidate, changed_inodes, settle};
use super::{CAPABILITY, Change, Tree, kind_of, metadata_of, same_bytes};
use crate::error::{Error, Result};
use crate::layer::unpack::is_folder;
use crate::layer::{Entry, Kind, LayerPath, Metadata, Xattrs};

/// What a file was before the step.
#[derive(Debug)]
pub struct Original {
    /// Its attributes, as the layer says them.
    pub xattrs: Xattrs,
    /// Its content.
    pub content: File,
}

/// Finds what files were before the step; asked once, for those only that look unchanged. It may
/// leave some out.
pub type Originals<'a> = dyn FnMut(&[LayerPath]) -> Result<HashMap<LayerPath, Original>> + 'a;

/// A tree before a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Baseline {
    /// The tree's own folder.
    pub(super) root: InodeState,
    pub(super) stamps: BTreeMap<LayerPath, InodeState>,
}

/// What a step has changed in a tree.
#[derive(Debug)]
pub struct TreeChanges {
    /// In the order of a layer.
    pub changes: Vec<Change>,
    /// The tree as it is now.
    pub after: Baseline,
    /// A name of a changed file that had several names before the step, and has: overlayfs would
    /// have parted them.
    pub of_several_names: Option<LayerPath>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct InodeState {
    pub(super) inode: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u64),
    // These three change in a folder with every entry in it, and that is not a change of the
    // folder.
    pub(super) size: i64,
    pub(super) links: u64,
    pub(super) ctime: (i64, u64),
}

impl InodeState {
    #[allow(clippy::unnecessary_cast, reason = "the fields of stat differ between architectures")]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            size: stat.st_size,
            links: stat.st_nlink as u64,
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }

    /// All of it.
    pub(super) fn numbers(self) -> [u64; 10] {
        let Self { inode, mode, uid, gid, mtime, size, links, ctime } = self;
        let (seconds, changed) = (mtime.0 as u64, ctime.0 as u64);
        [inode, mode.into(), uid.into(), gid.into(), seconds, mtime.1, size as u64, links, changed, ctime.1]
    }

    pub(super) fn is_folder(self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    fn is_socket(self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Socket
    }

    pub(super) fn without_ctime(self) -> Self {
        Self { ctime: (0, 0), ..self }
    }

    /// What of it everybody can see in a layer.
    pub(super) fn looks(self) -> Self {
        let size = if self.is_folder() { 0 } else { self.size };
        Self { inode: 0, links: 0, size, ..self.without_ctime() }
    }

    /// Whether this is the very same file, so that what cannot be changed in place (a link's text,
    /// a device's number) is the same.
    pub(super) fn is(self, other: Self) -> bool {
        self.inode == other.inode && self.looks() == other.looks()
    }
}

impl Baseline {
    /// Stamps everything in `tree`. Returns once the clock of the file system has moved on, a few
    /// milliseconds at most.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where a folder cannot be read.
    pub fn scan(tree: &Path) -> Result<Self> {
        let tree = Tree::new(tree)?;
        let mut baseline = Self { root: InodeState::of(&tree.stat(&LayerPath::root())?), stamps: BTreeMap::new() };
        walk(&tree, &LayerPath::root(), &mut |path, stat| {
            baseline.stamps.insert(path.clone(), InodeState::of(stat));
            Ok(())
        })?;
        baseline.let_time_pass();
        Ok(baseline)
    }

    /// The bytes of its files, holes included.
    pub fn size(&self) -> u64 {
        let files = self.stamps.values().filter(|stamp| !stamp.is_folder());
        files.map(|stamp| stamp.size as u64 / stamp.links.max(1)).fold(0, u64::saturating_add)
    }

    /// The inodes that have several names.
    pub fn linked(&self) -> Vec<u64> {
        let several = self.stamps.values().filter(|stamp| stamp.links > 1 && !stamp.is_folder());
        several.map(|stamp| stamp.inode).collect::<HashSet<_>>().into_iter().collect()
    }

    /// Until the next change will have another ctime than any that was seen.
    fn let_time_pass(&self) {
        let newest = self.stamps.values().map(|stamp| stamp.ctime).fold(self.root.ctime, Ord::max);
        loop {
            // File systems stamp with the clock of the last tick.
            let now = clock_gettime(ClockId::RealtimeCoarse);
            #[allow(clippy::unnecessary_cast, reason = "the fields of a time differ between architectures")]
            if (now.tv_sec as i64, now.tv_nsec as u64) > newest {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// What has changed in `tree` since. `touched` are paths that this program itself has moved
    /// away and back: their ctime says nothing. `originals` finds what files were, in the image
    /// that `tree` was made of.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where a folder cannot be read.
    pub fn changes(&self, tree: &Path, touched: &HashSet<LayerPath>, originals: &mut Originals<'_>) -> Result<TreeChanges> {
        let tree = Arc::new(Tree::new(tree)?);
        let mut after = Self { root: InodeState::of(&tree.stat(&LayerPath::root())?), stamps: BTreeMap::new() };
        let mut candidates = Vec::new();
        let mut folders = HashSet::from([LayerPath::root()]);
        let mut present = HashSet::new();
        let mut suspects = Vec::new();
        walk(&tree, &LayerPath::root(), &mut |path, stat| {
            let now = InodeState::of(stat);
            after.stamps.insert(path.clone(), now);
            let Some(kind) = kind_of(&tree, path, stat)? else { return Ok(()) };
            let then = self.stamps.get(path).copied();
            let same = then.is_some_and(|then| match &kind {
                Kind::File { .. } if touched.contains(path) => then.without_ctime() == now.without_ctime(),
                Kind::File { .. } => then == now,
                _ => then.is(now),
            });
            let mut metadata = metadata_of(stat);
            if !same && matches!(kind, Kind::File { .. }) {
                metadata.xattrs = tree.xattrs(path)?;
                if then.is_some_and(|then| then.looks() == now.looks()) {
                    suspects.push(path.clone());
                }
            }
            if kind == Kind::Directory {
                folders.insert(path.clone());
            }
            present.insert(path.clone());
            // One tree is one file system.
            let inode = (0, stat.st_ino);
            let several = stat.st_nlink > 1 && kind != Kind::Directory;
            let entry = Entry { path: path.clone(), kind, metadata };
            candidates.push(Candidate {
                entry,
                inode: several.then_some(inode),
                copy_of: then.filter(|_| same).map(|then| (0, then.inode)),
            });
            Ok(())
        })?;
        self.acquit(&mut candidates, &suspects, &tree, originals)?;
        // A socket was in no layer, so there is none to take it out of.
        let gone = self.stamps.iter().filter(|(path, then)| !then.is_socket() && !present.contains(*path));
        for (path, _) in gone {
            // What was in a folder that has gone as well goes with it.
            if path.parent().is_some_and(|parent| folders.contains(&parent)) {
                let entry = Entry { path: path.clone(), kind: Kind::Whiteout, metadata: Metadata::default() };
                candidates.push(Candidate { entry, inode: None, copy_of: None });
            }
        }
        candidates.sort_by(|left, right| left.entry.path.cmp(&right.entry.path));
        self.fill_attributes(&mut candidates, &tree)?;
        after.let_time_pass();
        let changed = changed_inodes(&candidates);
        let had_several = |candidate: &&Candidate| {
            let then = self.stamps.get(&candidate.entry.path);
            candidate
                .inode
                .is_some_and(|now| changed.contains(&now) && then.is_some_and(|then| then.links > 1 && (0, then.inode) == now))
        };
        let of_several_names = candidates.iter().find(had_several).map(|candidate| candidate.entry.path.clone());
        Ok(TreeChanges { changes: settle(candidates, &changed, &tree), after, of_several_names })
    }

    /// Takes those suspects for unchanged that are what they were.
    fn acquit(
        &self,
        candidates: &mut [Candidate],
        suspects: &[LayerPath],
        tree: &Tree,
        originals: &mut Originals<'_>,
    ) -> Result<()> {
        if suspects.is_empty() {
            return Ok(());
        }
        let originals = originals(suspects)?;
        for candidate in candidates {
            let Entry { path, metadata, .. } = &candidate.entry;
            let (Some(original), Some(then)) = (originals.get(path), self.stamps.get(path)) else { continue };
            let capability = |xattrs: &Xattrs| xattrs.get(CAPABILITY).cloned();
            if capability(&original.xattrs) != capability(&metadata.xattrs) {
                continue;
            }
            let same = same_bytes(File::from(tree.open(path)?), &original.content);
            if same.map_err(|error| Error::io("read", tree.path.join(path.as_path()), error))? {
                candidate.copy_of = Some((0, then.inode));
            }
        }
        Ok(())
    }

    /// An unchanged name of a changed file is written too, so it needs its capability like the
    /// others.
    fn fill_attributes(&self, candidates: &mut [Candidate], tree: &Tree) -> Result<()> {
        for candidate in candidates {
            let linked_file = candidate.inode.is_some() && matches!(candidate.entry.kind, Kind::File { .. });
            if linked_file && candidate.copy_of.is_some() {
                candidate.entry.metadata.xattrs = tree.xattrs(&candidate.entry.path)?;
            }
        }
        Ok(())
    }
}

/// Visits everything, a folder before what is in it. A command decides how deep folders are nested,
/// so nothing here is recursive.
fn walk(tree: &Tree, folder: &LayerPath, visit: &mut dyn FnMut(&LayerPath, &Stat) -> Result<()>) -> Result<()> {
    let mut open = vec![tree.entries(folder)?.into_iter()];
    while let Some(entries) = open.last_mut() {
        let Some((path, stat)) = entries.next() else {
            open.pop();
            continue;
        };
        visit(&path, &stat)?;
        if is_folder(&stat) {
            open.push(tree.entries(&path)?.into_iter());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn changed(before: &Baseline, tree: &Path) -> Vec<(String, bool)> {
        let TreeChanges { changes, .. } = before.changes(tree, &HashSet::new(), &mut |_| Ok(HashMap::new())).unwrap();
        changes.iter().map(|change| (change.entry.path.to_string(), change.entry.kind == Kind::Whiteout)).collect()
    }

    #[test]
    fn a_nest_of_1500_folders_is_compared_in_a_small_stack_with_and_without_overlay() {
        use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
        let folder = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = open(folder.path(), flags, Mode::empty()).unwrap();
        let mut inner = openat(&top, ".", flags, Mode::empty()).unwrap();
        for _ in 0..1500 {
            mkdirat(&inner, "n", Mode::RWXU).unwrap();
            inner = openat(&inner, "n", flags, Mode::empty()).unwrap();
        }
        let path = folder.path().to_owned();
        let compare = std::thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            assert_eq!(Baseline::scan(&path).unwrap().stamps.len(), 1500);
            assert_eq!(super::super::changes(&path, &[]).unwrap().len(), 1500);
        });
        compare.unwrap().join().unwrap();
        crate::layer::unpack::remove(&top, b"n").unwrap();
    }

    #[test]
    fn a_socket_is_no_change_whether_it_comes_stays_or_goes_but_what_it_replaces_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "x").unwrap();
        let empty = Baseline::scan(folder.path()).unwrap();
        drop(UnixListener::bind(at("comes")).unwrap());
        assert_eq!(changed(&empty, folder.path()), []);
        let with_socket = Baseline::scan(folder.path()).unwrap();
        assert_eq!(changed(&with_socket, folder.path()), []);
        std::fs::remove_file(at("comes")).unwrap();
        assert_eq!(changed(&with_socket, folder.path()), []);
        std::fs::remove_file(at("file")).unwrap();
        drop(UnixListener::bind(at("file")).unwrap());
        assert_eq!(changed(&empty, folder.path()), [("/file".to_owned(), true)]);
    }
}
