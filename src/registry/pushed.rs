//! Where this store has pushed a blob to: from there the same registry can mount it into another
//! repository.
//!
//! A record that is wrong, or cannot be read or written, costs a blob's upload, never a push.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, Repository};

/// How many repositories are remembered for a blob.
const MOST: usize = 8;

/// Registries collect garbage; a repository that was not pushed to for so long may be gone.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// One record in this many looks for old ones.
const SWEEP: u32 = 64;

/// The folder of records, one file a blob.
#[derive(Debug, Clone)]
pub(super) struct PushedBlobs {
    folder: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    /// The latest first, with the host that is spoken to.
    repositories: Vec<(String, String)>,
}

impl PushedBlobs {
    pub(super) fn open(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("pushed") }
    }

    /// A repository at `host` that has the blob, another than `own`: the one that was pushed to
    /// last.
    pub(super) fn find(&self, host: &str, own: &str, digest: &Digest) -> Option<String> {
        let found = self.read(digest).repositories.into_iter().find(|(at, path)| at == host && path != own);
        found.map(|(_, path)| path).filter(|path| Repository::parse(&format!("registry.example.com/{path}")).is_ok())
    }

    /// Notes that the blob is in the repository `path` at `host`.
    pub(super) fn note(&self, host: &str, path: &str, digest: &Digest) {
        let mut record = self.read(digest);
        record.repositories.retain(|(at, other)| (at.as_str(), other.as_str()) != (host, path));
        record.repositories.insert(0, (host.to_owned(), path.to_owned()));
        record.repositories.truncate(MOST);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            serde_json::to_writer(&mut file, &record)?;
            file.persist(self.path(digest))?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "cannot record where a blob was pushed to");
        }
        if fastrand::u32(..SWEEP) == 0 {
            self.sweep();
        }
    }

    fn read(&self, digest: &Digest) -> Record {
        std::fs::read(self.path(digest)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", digest.hex()))
    }

    fn sweep(&self) {
        let is_old = |entry: &std::fs::DirEntry| {
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            modified.and_then(|time| SystemTime::now().duration_since(time).ok()).is_some_and(|age| age > LIFETIME)
        };
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter(is_old).for_each(|entry| drop(std::fs::remove_file(entry.path())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_other_repository_of_the_same_registry_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (pushed, digest) = (PushedBlobs::open(folder.path()), Digest::of("blob"));
        assert_eq!(pushed.find("r", "a", &digest), None);
        for (host, path) in [("r", "a"), ("r", "b"), ("other", "c"), ("r", "a")] {
            pushed.note(host, path, &digest);
        }
        assert_eq!(pushed.find("r", "x", &digest).as_deref(), Some("a"));
        assert_eq!(pushed.find("r", "a", &digest).as_deref(), Some("b"));
        assert_eq!(pushed.find("other", "c", &digest), None);
        std::fs::write(pushed.path(&digest), r#"{"repositories":[["r","../a?x"]]}"#).unwrap();
        assert_eq!(pushed.find("r", "x", &digest), None);
    }
}
