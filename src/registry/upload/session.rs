//! Upload sessions on disk: where an upload is and how far, for the next process.
//!
//! Refuses to be a source of errors: a record that cannot be read or written costs a resumption, never a push. Records may
//! hold a registry's signed address: mode 0600.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// distribution purges sessions after 168 hours; what is older is not worth asking for.
const LIFETIME: Duration = Duration::from_secs(168 * 3600);

/// The folder of records.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    folder: PathBuf,
}

/// One record, and the right to use it: no other process has it while this value lives.
#[derive(Debug)]
pub(crate) struct SessionLock {
    record: PathBuf,
    lock: PathBuf,
    _file: File,
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The session's address.
    pub(crate) location: String,
    /// Bytes that the registry has confirmed.
    pub(crate) offset: u64,
    /// The digest of these bytes, where the blob's own is not known yet: the next process must make the same ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<Digest>,
}

impl Sessions {
    /// Records below `state_dir`. Drops those that no registry can know any more.
    pub(crate) fn open(state_dir: &Path) -> Option<Self> {
        let folder = state_dir.join("uploads");
        std::fs::create_dir_all(&folder).ok()?;
        let sessions = Self { folder };
        sessions.sweep();
        Some(sessions)
    }

    fn sweep(&self) {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.metadata().is_ok_and(|metadata| is_old(&metadata))) {
            let _ = std::fs::remove_file(entry.path());
        }
    }

    /// Removes what a process that was killed left behind: the registry has the blob.
    pub(crate) fn forget(&self, repository: &str, what: &str) {
        let (record, lock) = self.paths(repository, what);
        if record.exists() || lock.exists() {
            self.lock(repository, what).iter().for_each(SessionLock::clear);
        }
    }

    fn paths(&self, repository: &str, what: &str) -> (PathBuf, PathBuf) {
        let name = Digest::of(format!("{repository}\n{what}")).hex();
        (self.folder.join(format!("{name}.json")), self.folder.join(format!("{name}.lock")))
    }

    /// The record of `what` (a digest or a layer's key) for a repository; `None` if another process works on it.
    pub(crate) fn lock(&self, repository: &str, what: &str) -> Option<SessionLock> {
        let (record, lock) = self.paths(repository, what);
        for _ in 0..16 {
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock).ok()?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return None,
                Err(TryLockError::Error(_)) => return None,
            }
            // Its former owner may have removed the file between our opening and our locking.
            let same = std::fs::metadata(&lock).ok().zip(file.metadata().ok());
            if same.is_some_and(|(path, file)| (path.ino(), path.dev()) == (file.ino(), file.dev())) {
                return Some(SessionLock { record, lock, _file: file });
            }
        }
        None
    }
}

impl SessionLock {
    /// What the record says.
    pub(crate) fn read(&self) -> Option<Record> {
        if std::fs::metadata(&self.record).ok().is_none_or(|metadata| is_old(&metadata)) {
            return None;
        }
        serde_json::from_slice(&std::fs::read(&self.record).ok()?).ok()
    }

    /// Replaces the record, whole or not at all.
    pub(crate) fn write(&self, record: &Record) {
        let write = || -> std::io::Result<()> {
            let folder = self.record.parent().unwrap_or(Path::new("."));
            // tempfile makes files of mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.persist(&self.record)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "cannot record the upload session");
        }
    }

    /// Forgets the record.
    pub(crate) fn clear(&self) {
        let _ = std::fs::remove_file(&self.record);
    }
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        // Removed while it is still locked: whoever opened it meanwhile sees that it is gone.
        let _ = std::fs::remove_file(&self.lock);
    }
}

fn is_old(metadata: &std::fs::Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age > LIFETIME)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn record() -> Record {
        Record { location: "https://r/v2/a/blobs/uploads/1?_state=x".into(), offset: 5, prefix: Some(Digest::of("hello")) }
    }

    #[test]
    fn a_record_is_read_by_the_next_process_and_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path()).unwrap();
        let lock = sessions.lock("r/a", "sha256:1").unwrap();
        assert_eq!(lock.read(), None);
        lock.write(&record());
        assert!(sessions.lock("r/a", "sha256:1").is_none(), "two owners");
        assert!(sessions.lock("r/b", "sha256:1").is_some_and(|other| other.read().is_none()));
        let mode = std::fs::metadata(&lock.record).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(lock);
        let next = sessions.lock("r/a", "sha256:1").unwrap();
        assert_eq!(next.read(), Some(record()));
        next.clear();
        assert_eq!(next.read(), None);
        drop(next);
        assert_eq!(std::fs::read_dir(folder.path().join("uploads")).unwrap().count(), 0, "litter");
    }

    #[test]
    fn a_damaged_or_old_record_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path()).unwrap();
        let lock = sessions.lock("r/a", "sha256:1").unwrap();
        std::fs::write(&lock.record, "{").unwrap();
        assert_eq!(lock.read(), None);
        lock.write(&record());
        let file = File::options().write(true).open(&lock.record).unwrap();
        file.set_modified(SystemTime::now() - LIFETIME - Duration::from_secs(60)).unwrap();
        assert_eq!(lock.read(), None);
        Sessions::open(folder.path());
        assert!(!lock.record.exists());
    }
}
