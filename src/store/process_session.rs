//! One open store of one process: its temporary files, and what it uses (so that nobody prunes it
//! away).
//!
//! A session is a folder `tmp/ID` with a locked file `tmp/ID.lock` beside it. The kernel gives the
//! lock up when the process dies, however it dies, so that a session whose lock can be had is a
//! dead one: the next process to open the store removes it.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::lock::{FileLock, lock_shared};
use crate::layer::remove_tree;
use crate::oci::Digest;

/// A process's own corner of the store.
#[derive(Debug)]
pub(super) struct ProcessSession {
    folder: PathBuf,
    gate: PathBuf,
    pins: Mutex<Pins>,
    scratch: AtomicU64,
    // Dropped last: the folder is ours until it is gone.
    _lock: FileLock,
}

#[derive(Debug)]
struct Pins {
    file: File,
    known: HashSet<Digest>,
}

const PINS: &str = "pins";

impl ProcessSession {
    /// Begins a session in the folder `tmp`. `gate` is the file that pruning locks.
    pub(super) fn begin(tmp: &Path, gate: &Path) -> io::Result<Self> {
        let (folder, lock) = loop {
            static COUNT: AtomicU64 = AtomicU64::new(0);
            // Processes in other PID namespaces may have our number: the time makes a clash
            // unlikely, the lock finds it.
            let time = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().subsec_nanos();
            let id = format!("{}-{time}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let folder = tmp.join(&id);
            let Some(lock) = FileLock::try_acquire(&lock_path(&folder))? else { continue };
            match std::fs::create_dir(&folder) {
                Ok(()) => break (folder, lock),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let file = OpenOptions::new().create(true).append(true).open(folder.join(PINS))?;
        let pins = Mutex::new(Pins { file, known: HashSet::new() });
        Ok(Self { folder, gate: gate.to_owned(), pins, scratch: AtomicU64::new(0), _lock: lock })
    }

    /// The folder for temporary files.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A path in the session's folder that nothing else uses.
    pub(super) fn fresh_path(&self) -> PathBuf {
        self.folder.join(format!("scratch-{}", self.scratch.fetch_add(1, Ordering::Relaxed)))
    }

    /// Says that this process uses `digest` from now on until it ends. Waits while somebody prunes:
    /// what is there afterwards stays there.
    pub(super) fn pin(&self, digest: &Digest) -> io::Result<()> {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if pins.known.contains(digest) {
            return Ok(());
        }
        let gate = File::open(&self.gate)?;
        lock_shared(&gate)?;
        pins.file.write_all(format!("{digest}\n").as_bytes())?;
        pins.known.insert(*digest);
        Ok(())
    }
}

impl Drop for ProcessSession {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next process.
        let _ = remove_tree(&self.folder);
    }
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

/// Removes what dead processes left in `tmp`, by `remove`. Whatever cannot be removed (a mount,
/// files of another user) is left for later.
pub(super) fn sweep(tmp: &Path, remove: &dyn Fn(&Path) -> bool) {
    for folder in session_folders(tmp).unwrap_or_default() {
        if let Some(_dead) = lock_dead(&folder) {
            remove(&folder);
        }
    }
}

/// The lock of a session whose process is dead. One that cannot be told (another user's) counts as
/// living.
fn lock_dead(folder: &Path) -> Option<FileLock> {
    FileLock::try_acquire(&lock_path(folder)).ok().flatten()
}

/// What living processes use. The caller holds the gate, so nobody adds to it meanwhile.
pub(super) fn pinned(tmp: &Path) -> io::Result<HashSet<Digest>> {
    let mut pinned = HashSet::new();
    for folder in session_folders(tmp)? {
        if lock_dead(&folder).is_some() {
            continue;
        }
        match std::fs::read_to_string(folder.join(PINS)) {
            Ok(text) => pinned.extend(text.lines().filter_map(|line| Digest::parse(line).ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(pinned)
}

/// All sessions, living and dead, also those of which only the lock or only the folder is there.
fn session_folders(tmp: &Path) -> io::Result<std::collections::BTreeSet<PathBuf>> {
    let paths = std::fs::read_dir(tmp)?.map(|entry| Ok(entry?.path().with_extension("")));
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (tmp, gate) = (dir.path().join("tmp"), dir.path().join("gate"));
        std::fs::create_dir(&tmp).unwrap();
        std::fs::write(&gate, "").unwrap();
        (dir, tmp, gate)
    }

    #[test]
    fn a_sweep_takes_dead_sessions_and_leaves_living_ones() {
        let (_dir, tmp, gate) = place();
        let living = ProcessSession::begin(&tmp, &gate).unwrap();
        std::fs::create_dir_all(tmp.join("1-2-3/scratch-0/x")).unwrap();
        std::fs::write(tmp.join("1-2-3.lock"), "").unwrap();
        std::fs::create_dir(tmp.join("4-5-6")).unwrap();
        std::fs::write(tmp.join("7-8-9.lock"), "").unwrap();
        sweep(&tmp, &|path| remove_tree(path).is_ok());
        let left: Vec<_> = session_folders(&tmp).unwrap().into_iter().collect();
        assert_eq!(left, [living.folder().to_owned()]);
        drop(living);
        assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
    }

    #[test]
    fn pins_of_living_sessions_are_seen_and_those_of_dead_ones_are_not() {
        let (_dir, tmp, gate) = place();
        let living = ProcessSession::begin(&tmp, &gate).unwrap();
        living.pin(&Digest::of("a")).unwrap();
        living.pin(&Digest::of("a")).unwrap();
        std::fs::create_dir(tmp.join("1-2-3")).unwrap();
        std::fs::write(tmp.join("1-2-3/pins"), format!("{}\n", Digest::of("b"))).unwrap();
        assert_eq!(pinned(&tmp).unwrap(), HashSet::from([Digest::of("a")]));
    }
}
