//! Upload sessions on disk: where an upload is and how far, for the next process.
//!
//! A record that cannot be read or written costs a resumption, never a push. Records may hold a
//! registry's signed address: mode 0600.

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
    /// The record of the blob's digest, where this one is of its key.
    alias: Option<Box<SessionLock>>,
}

/// In the record of a digest: the upload began before the digest was known, and is recorded under
/// this name.
#[derive(Serialize, Deserialize)]
struct Alias {
    alias: String,
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    /// The session's address.
    pub(crate) location: String,
    /// Bytes that the registry has confirmed.
    pub(crate) offset: u64,
    /// The digest of these bytes, where the blob's own is not known yet: the next process must make
    /// the same ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<Digest>,
    /// The shortest chunk that the registry takes: it says so only when a session begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) least: Option<u64>,
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
            // An alias whose target is in use is removed alone: its user removes the rest.
            let lock = self.lock(repository, what).or_else(|| self.lock_paths((record, lock)));
            lock.iter().for_each(SessionLock::clear);
        }
    }

    fn paths(&self, repository: &str, what: &str) -> (PathBuf, PathBuf) {
        let name = Digest::of(format!("{repository}\n{what}")).hex();
        (self.folder.join(format!("{name}.json")), self.folder.join(format!("{name}.lock")))
    }

    /// The record of `what` (a digest or a layer's key) for a repository; `None` if another process
    /// works on it.
    pub(crate) fn lock(&self, repository: &str, what: &str) -> Option<SessionLock> {
        let own = self.lock_paths(self.paths(repository, what))?;
        let Some(Alias { alias }) = own.read_as() else { return Some(own) };
        // The alias comes from our own folder, and still must not lead out of it.
        let name = Path::new(&alias).file_name()?;
        let (record, lock) = (self.folder.join(name).with_extension("json"), self.folder.join(name).with_extension("lock"));
        let mut keyed = self.lock_paths((record, lock))?;
        keyed.alias = Some(Box::new(own));
        Some(keyed)
    }

    /// Whether another process has the record of `what`.
    pub(crate) fn is_locked(&self, repository: &str, what: &str) -> bool {
        let (_, lock) = self.paths(repository, what);
        let file = File::open(lock);
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Has the record `keyed` found under the blob's digest, too, which has become known.
    pub(crate) fn link(&self, repository: &str, digest: &str, keyed: &SessionLock) {
        let alias = keyed.record.file_stem().map(|name| Alias { alias: name.to_string_lossy().into_owned() });
        if let (Some(alias), Some(lock)) = (alias, self.lock_paths(self.paths(repository, digest))) {
            lock.write_as(&alias);
        }
    }

    fn lock_paths(&self, (record, lock): (PathBuf, PathBuf)) -> Option<SessionLock> {
        for _ in 0..16 {
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock).ok()?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
            }
            // Its former owner may have removed the file between our opening and our locking.
            let same = std::fs::metadata(&lock).ok().zip(file.metadata().ok());
            if same.is_some_and(|(path, file)| (path.ino(), path.dev()) == (file.ino(), file.dev())) {
                return Some(SessionLock { record, lock, _file: file, alias: None });
            }
        }
        None
    }
}

impl SessionLock {
    /// What the record says.
    pub(crate) fn read(&self) -> Option<SessionRecord> {
        self.read_as()
    }

    fn read_as<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        if std::fs::metadata(&self.record).ok().is_none_or(|metadata| is_old(&metadata)) {
            return None;
        }
        serde_json::from_slice(&std::fs::read(&self.record).ok()?).ok()
    }

    /// Replaces the record, whole or not at all.
    pub(crate) fn write(&self, record: &SessionRecord) {
        self.write_as(record);
    }

    fn write_as<T: Serialize>(&self, record: &T) {
        // Always under this name, which the lock makes ours alone: what a kill leaves here, the
        // next owner of the record replaces or removes.
        let new = self.new_record();
        let write = || -> std::io::Result<()> {
            let _ = std::fs::remove_file(&new);
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            std::fs::rename(&new, &self.record)
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "cannot record the upload session");
        }
    }

    fn new_record(&self) -> PathBuf {
        self.record.with_extension("new")
    }

    /// Removes the record of a session that is gone. The alias stays: the next session is recorded
    /// under the same name.
    pub(crate) fn drop_session(&self) {
        let _ = std::fs::remove_file(&self.record);
    }

    /// Removes everything that is recorded of the upload, which has ended.
    pub(crate) fn clear(&self) {
        let _ = std::fs::remove_file(&self.record);
        let _ = std::fs::remove_file(self.new_record());
        self.alias.iter().for_each(|alias| alias.clear());
    }
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        // Removed while it is still locked: a process that opened it meanwhile sees that it is
        // gone.
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

    fn record() -> SessionRecord {
        let location = "https://r/v2/a/blobs/uploads/1?_state=x".into();
        SessionRecord { location, offset: 5, prefix: Some(Digest::of("hello")), least: Some(7) }
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
        // A kill in the middle of the next write.
        std::fs::write(lock.new_record(), "{").unwrap();
        drop(lock);
        let next = sessions.lock("r/a", "sha256:1").unwrap();
        assert_eq!(next.read(), Some(record()));
        next.clear();
        assert_eq!(next.read(), None);
        drop(next);
        assert_eq!(std::fs::read_dir(folder.path().join("uploads")).unwrap().count(), 0, "litter");
    }

    #[test]
    fn a_record_of_a_key_is_found_under_the_digest_and_cleared_under_both() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(folder.path()).unwrap();
        let keyed = sessions.lock("r/a", "key").unwrap();
        keyed.write(&record());
        sessions.link("r/a", "sha256:1", &keyed);
        assert!(sessions.lock("r/a", "sha256:1").is_none(), "two owners");
        drop(keyed);
        let by_digest = sessions.lock("r/a", "sha256:1").unwrap();
        assert_eq!(by_digest.read(), Some(record()));
        // The registry has lost the session, and the next one is interrupted, too.
        by_digest.drop_session();
        assert_eq!(by_digest.read(), None);
        by_digest.write(&record());
        drop(by_digest);
        let by_digest = sessions.lock("r/a", "sha256:1").unwrap();
        assert_eq!(by_digest.read(), Some(record()), "the second interruption begins at 0");
        assert!(sessions.lock("r/a", "key").is_none(), "two owners");
        by_digest.clear();
        drop(by_digest);
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
