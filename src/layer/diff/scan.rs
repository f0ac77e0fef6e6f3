//! A whole tree compared with what it was before a step: for isolations without overlay
//! (chroot, emulated).
//!
//! What a file system stamps on every change of an inode and nobody can set back, its ctime, tells
//! what may have changed. Of that, files that look as before (a `chown` to the same owner does
//! that, or a hard link that has gone) are compared with what they were; the others are not read. A
//! clock tick separates the baseline from the step, so that a change right after it is seen.
//!
//! Does not guess: a file whose former content nobody has counts as changed.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::links::{Candidate, changed_inodes, settle};
use super::stamps::{InodeState, Stamps};
use super::{CAPABILITY, Change, Tree, kind_of, same_bytes};
use crate::error::{Error, Result};
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
    pub(super) stamps: Stamps,
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

impl Baseline {
    /// Stamps everything in `tree`. Returns once the clock of the file system has moved on, a few
    /// milliseconds at most. With one of `threads`, none is started: a process that is to make
    /// namespaces must have one alone (unshare(2)), and one that was joined may still be ending.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where a folder cannot be read.
    pub fn scan(tree: &Path, threads: usize) -> Result<Self> {
        let baseline = Self::scan_now(&Tree::new(tree)?, threads)?;
        baseline.let_time_pass();
        Ok(baseline)
    }

    fn scan_now(tree: &Tree, threads: usize) -> Result<Self> {
        let root = InodeState::of(&tree.stat(&LayerPath::root())?);
        Ok(Self { root, stamps: Stamps::of(tree, threads)? })
    }

    /// Each path that this or another scan of the tree has seen, in order, with what each has seen.
    pub(super) fn beside<'a>(
        &'a self,
        now: &'a Self,
    ) -> impl Iterator<Item = (&'a LayerPath, Option<InodeState>, Option<InodeState>)> {
        let (mut before, mut after) = (self.stamps.iter().peekable(), now.stamps.iter().peekable());
        std::iter::from_fn(move || {
            let order = match (before.peek(), after.peek()) {
                (Some((then, _)), Some((now, _))) => then.cmp(now),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            let then = before.next_if(|_| order.is_le());
            let now = after.next_if(|_| order.is_ge());
            let (path, _) = then.or(now)?;
            Some((path, then.map(|(_, state)| *state), now.map(|(_, state)| *state)))
        })
    }

    /// Whether this is a scan, and not something else that was stored.
    pub fn is_sound(&self) -> bool {
        self.stamps.is_sorted()
    }

    /// The bytes of its files, holes included.
    pub fn size(&self) -> u64 {
        let files = self.stamps.states().filter(|stamp| !stamp.is_folder());
        files.map(|stamp| stamp.size as u64 / stamp.links.max(1)).fold(0, u64::saturating_add)
    }

    /// The inodes that have several names.
    pub fn linked(&self) -> Vec<u64> {
        let several = self.stamps.states().filter(|stamp| stamp.links > 1 && !stamp.is_folder());
        several.map(|stamp| stamp.inode).collect::<HashSet<_>>().into_iter().collect()
    }

    /// Until the next change will have another ctime than any that was seen.
    fn let_time_pass(&self) {
        let newest = self.stamps.states().map(|stamp| stamp.ctime).fold(self.root.ctime, Ord::max);
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
    pub fn changes(
        &self,
        tree: &Path,
        threads: usize,
        touched: &HashSet<LayerPath>,
        originals: &mut Originals<'_>,
    ) -> Result<TreeChanges> {
        let tree = Arc::new(Tree::new(tree)?);
        let after = Self::scan_now(&tree, threads)?;
        let mut candidates = Vec::new();
        let mut suspects = Vec::new();
        for (path, then, now) in self.beside(&after) {
            // A socket is in no layer.
            let (then, now) = (then.filter(|then| !then.is_socket()), now.filter(|now| !now.is_socket()));
            let Some(now) = now else {
                // What was in a folder that has gone as well goes with it.
                let stays = |parent: &LayerPath| parent.is_root() || after.stamps.get(parent).is_some_and(InodeState::is_folder);
                if then.is_some() && path.parent().is_some_and(|parent| stays(&parent)) {
                    let entry = Entry { path: path.clone(), kind: Kind::Whiteout, metadata: Metadata::default() };
                    candidates.push(Candidate { entry, inode: None, copy_of: None });
                }
                continue;
            };
            let same = then.is_some_and(|then| match now.is_file() {
                true if touched.contains(path) => then.without_ctime() == now.without_ctime(),
                true => then == now,
                false => then.is(now),
            });
            let several = now.links > 1 && !now.is_folder();
            // Most files: unchanged, and of one name.
            if same && !several && !now.is_folder() {
                continue;
            }
            let kind = match FileType::from_raw_mode(now.mode) {
                FileType::Directory => Kind::Directory,
                FileType::RegularFile => Kind::File { size: u64::try_from(now.size).unwrap_or_default() },
                _ => match kind_of(&tree, path, &tree.stat(path)?)? {
                    Some(kind) => kind,
                    None => continue,
                },
            };
            let mut metadata = Metadata::new(now.mode & 0o7777, now.uid, now.gid, now.mtime.0);
            if !same && now.is_file() {
                metadata.xattrs = tree.xattrs(path)?;
                if then.is_some_and(|then| then.looks() == now.looks()) {
                    suspects.push(path.clone());
                }
            }
            candidates.push(Candidate {
                entry: Entry { path: path.clone(), kind, metadata },
                // One tree is one file system.
                inode: several.then_some((0, now.inode)),
                copy_of: then.filter(|_| same).map(|then| (0, then.inode)),
            });
        }
        self.acquit(&mut candidates, &suspects, &tree, originals)?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn changed(before: &Baseline, tree: &Path) -> Vec<(String, bool)> {
        let TreeChanges { changes, .. } = before.changes(tree, 1, &HashSet::new(), &mut |_| Ok(HashMap::new())).unwrap();
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
            assert_eq!(Baseline::scan(&path, 2).unwrap().stamps.iter().count(), 1500);
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
        let empty = Baseline::scan(folder.path(), 1).unwrap();
        drop(UnixListener::bind(at("comes")).unwrap());
        assert_eq!(changed(&empty, folder.path()), []);
        let with_socket = Baseline::scan(folder.path(), 1).unwrap();
        assert_eq!(changed(&with_socket, folder.path()), []);
        std::fs::remove_file(at("comes")).unwrap();
        assert_eq!(changed(&with_socket, folder.path()), []);
        std::fs::remove_file(at("file")).unwrap();
        drop(UnixListener::bind(at("file")).unwrap());
        assert_eq!(changed(&empty, folder.path()), [("/file".to_owned(), true)]);
    }
}
