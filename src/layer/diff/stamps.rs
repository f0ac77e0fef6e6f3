//! Every file of a tree with what the kernel says of it, in the order of a layer.
//!
//! Several threads examine a tree. Together with a list in place of a map, and paths that are
//! compared eight bytes at a time, that takes a build whose RUN changes little in 11,000 files 213
//! ms in place of 330.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};

use super::Tree;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::LayerPath;
use crate::threads::spawn_scoped;

/// More of them wait for each other.
const MOST_THREADS: usize = 4;

/// Sorted. A map would have to be made entry by entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stamps(Vec<(LayerPath, InodeState)>);

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

    pub(super) fn is_file(self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::RegularFile
    }

    pub(super) fn is_socket(self) -> bool {
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

impl Stamps {
    /// Of everything below the root of `tree`, found by at most so many threads.
    pub(super) fn of(tree: &Tree, threads: usize) -> Result<Self> {
        let folders = Folders::default();
        let threads = threads.min(MOST_THREADS);
        let mut all = std::thread::scope(|scope| {
            // Where no more can be started, those that there are do the work.
            let others: Vec<_> = (1..threads).map_while(|_| spawn_scoped(scope, || examine(tree, &folders)).ok()).collect();
            let mut all = examine(tree, &folders)?;
            for other in others {
                all.extend(other.join().map_err(|_| Error::new(ErrorKind::Io, "cannot examine a tree"))??);
            }
            Ok::<_, Error>(all)
        })?;
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        // A file system can tell of a name twice, where it is changed meanwhile.
        all.dedup_by(|(one, _), (other, _)| one == other);
        all.shrink_to_fit();
        Ok(Self(all))
    }

    pub(super) fn get(&self, path: &LayerPath) -> Option<InodeState> {
        let found = self.0.binary_search_by(|(known, _)| known.cmp(path)).ok()?;
        Some(self.0[found].1)
    }

    /// Replaces what is known of a path; one that is not known stays unknown.
    pub(super) fn replace(&mut self, path: &LayerPath, state: InodeState) {
        if let Ok(found) = self.0.binary_search_by(|(known, _)| known.cmp(path)) {
            self.0[found].1 = state;
        }
    }

    /// Whether it is what [`of`](Self::of) makes: it may have been stored.
    pub(super) fn is_sorted(&self) -> bool {
        self.0.is_sorted_by(|(one, _), (other, _)| one < other)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&LayerPath, &InodeState)> {
        self.0.iter().map(|(path, state)| (path, state))
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &InodeState> {
        self.0.iter().map(|(_, state)| state)
    }
}

/// Folders that nobody has looked into.
#[derive(Debug)]
struct Folders {
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug)]
struct Known {
    waiting: Vec<LayerPath>,
    /// How many threads look into one, and may find more.
    busy: usize,
    failed: bool,
}

impl Default for Folders {
    fn default() -> Self {
        let known = Known { waiting: vec![LayerPath::root()], busy: 0, failed: false };
        Self { known: Mutex::new(known), changed: Condvar::new() }
    }
}

impl Folders {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next one; `None` when there will be no more.
    fn next(&self) -> Option<LayerPath> {
        let mut known = self.lock();
        while !known.failed {
            if let Some(folder) = known.waiting.pop() {
                known.busy += 1;
                return Some(folder);
            }
            if known.busy == 0 {
                return None;
            }
            known = self.changed.wait(known).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// One that [`next`](Self::next) gave was looked into: what folders are in it, `None` where
    /// that failed.
    fn done(&self, found: Option<Vec<LayerPath>>) {
        let mut known = self.lock();
        known.busy -= 1;
        known.failed |= found.is_none();
        known.waiting.extend(found.into_iter().flatten());
        if known.busy == 0 || known.failed || !known.waiting.is_empty() {
            self.changed.notify_all();
        }
    }
}

fn examine(tree: &Tree, folders: &Folders) -> Result<Vec<(LayerPath, InodeState)>> {
    let mut all = Vec::new();
    while let Some(folder) = folders.next() {
        let looking = Looking { folders, found: None };
        let entries = tree.entries(&folder)?;
        let from = all.len();
        all.extend(entries.into_iter().map(|(path, stat)| (path, InodeState::of(&stat))));
        let below = all[from..].iter().filter(|(_, state)| state.is_folder());
        looking.end(below.map(|(path, _)| path.clone()).collect());
    }
    Ok(all)
}

/// A thread that looks into a folder. Should it fail or panic, the others do not wait for it.
struct Looking<'f> {
    folders: &'f Folders,
    found: Option<Vec<LayerPath>>,
}

impl Looking<'_> {
    fn end(mut self, found: Vec<LayerPath>) {
        self.found = Some(found);
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.folders.done(self.found.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_threads_finds_the_same_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..200 {
            let below = folder.path().join(format!("{}/a{}", number % 7, number % 13));
            std::fs::create_dir_all(&below).unwrap();
            std::fs::write(below.join(number.to_string()), "x").unwrap();
            std::fs::write(folder.path().join(format!("{}-{number}", number % 7)), "").unwrap();
        }
        let tree = Tree::new(folder.path()).unwrap();
        let one = Stamps::of(&tree, 1).unwrap();
        assert_eq!(one.iter().count(), 200 + 200 + 7 + 7 * 13);
        assert!(one.is_sorted());
        assert_eq!(one.get(&LayerPath::parse("3/a3/3").unwrap()).map(|state| state.size), Some(1));
        assert_eq!(one.get(&LayerPath::parse("3/a3/4").unwrap()), None);
        for threads in 2..6 {
            assert_eq!(Stamps::of(&tree, threads).unwrap().0, one.0);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_read_ends_all_threads() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::new(folder.path()).unwrap();
        let folders = Folders::default();
        folders.lock().waiting = vec![LayerPath::parse("missing").unwrap(); 3];
        std::thread::scope(|scope| {
            let ended: Vec<_> = (0..3).map(|_| scope.spawn(|| examine(&tree, &folders).is_err())).collect();
            assert!(ended.into_iter().any(|ended| ended.join().unwrap()));
        });
    }
}
