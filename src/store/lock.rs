//! Lock files: one holder per name across threads and processes, given up by the kernel when the
//! holder dies.
//!
//! Never leaves the file behind: the holder of the lock removes the name, and waiters notice.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A held lock.
#[derive(Debug)]
pub(super) struct FileLock {
    path: PathBuf,
    // Held for its flock alone.
    _file: File,
}

impl FileLock {
    /// Waits for the lock, blocking this thread.
    pub(super) fn acquire(path: &Path) -> io::Result<Self> {
        loop {
            let file = open(path)?;
            lock_exclusive(&file)?;
            if let Some(lock) = Self::if_current(path, file)? {
                return Ok(lock);
            }
        }
    }

    /// The lock, if nobody holds it.
    pub(super) fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if let Some(lock) = Self::if_current(path, file)? {
                return Ok(Some(lock));
            }
        }
    }

    /// Waits for the lock. A task that waits may be dropped: the thread that waits for it in the
    /// kernel then gives the lock back. That is not one of the runtime's, whose end would wait for
    /// it.
    pub(super) async fn acquire_async(path: &Path) -> io::Result<Self> {
        if let Some(lock) = Self::try_acquire(path)? {
            return Ok(lock);
        }
        tracing::debug!(path = %path.display(), "waiting for a lock");
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let path = path.to_owned();
        // Sent to nobody, the lock is dropped.
        let wait = move || drop(sender.send(Self::acquire(&path)));
        std::thread::Builder::new().name("lock".into()).spawn(wait)?;
        receiver.await.map_err(|_| io::Error::other("the thread that waits for the lock has died"))?
    }

    /// The last holder may have removed the file between our open and our lock: then the lock is on
    /// nothing.
    fn if_current(path: &Path, file: File) -> io::Result<Option<Self>> {
        let ours = file.metadata()?;
        match std::fs::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => {
                Ok(Some(Self { path: path.to_owned(), _file: file }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Still locked here, so nobody else's file is removed. A file that stays is only untidy.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

/// `flock(LOCK_EX)`, again after a signal.
pub(super) fn lock_exclusive(file: &File) -> io::Result<()> {
    uninterrupted(|| file.lock())
}

/// `flock(LOCK_SH)`, again after a signal.
pub(super) fn lock_shared(file: &File) -> io::Result<()> {
    uninterrupted(|| file.lock_shared())
}

fn uninterrupted(mut lock: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_refused_and_a_dropped_one_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let held = FileLock::try_acquire(&path).unwrap().unwrap();
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(held);
        assert!(!path.exists());
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
    }

    #[tokio::test]
    async fn a_task_gets_the_lock_when_its_holder_drops_it_and_one_that_is_dropped_leaves_it_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let held = FileLock::try_acquire(&path).unwrap().unwrap();
        let waiting = |path: std::path::PathBuf| tokio::spawn(async move { FileLock::acquire_async(&path).await });
        let (dropped, kept) = (waiting(path.clone()), waiting(path.clone()));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!dropped.is_finished() && !kept.is_finished());
        dropped.abort();
        drop(held);
        let lock = kept.await.unwrap().unwrap();
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(lock);
        // The thread of the task that was dropped may hold it for a moment.
        drop(FileLock::acquire(&path).unwrap());
    }

    #[test]
    fn only_one_of_many_threads_is_inside_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _lock = FileLock::acquire(&path).unwrap();
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
