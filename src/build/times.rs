//! Which times go into images: reproducible ones.
//!
//! Refuses the clock: two builds of one project give the same bytes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::oci::Digest;
use crate::store::{CacheKey, CacheRecord, Store};

/// 1980-01-01: the earliest time that a ZIP archive can hold. Python's `zipfile` refuses older files, so pip could not pack
/// a source tree with times of 1970.
const ZIP_EPOCH: i64 = 315_532_800;

/// The times of one build, in seconds since 1970.
pub(super) struct Times {
    epoch: OnceLock<i64>,
    /// Finds the last commit's time while the build goes on: git takes longer than a small build.
    search: Mutex<Option<JoinHandle<Option<i64>>>>,
    /// Of files from the build context. Times of a checkout say nothing, so they do not change a digest.
    pub(super) context: i64,
    /// Whether `SOURCE_DATE_EPOCH` was set by the user.
    pub(super) explicit: bool,
}

impl Times {
    /// `SOURCE_DATE_EPOCH` where it is given, else the time of the last git commit of `folder`, else 0
    /// (<https://reproducible-builds.org/specs/source-date-epoch/>).
    pub(super) fn of(folder: &Path, source_date_epoch: Option<&str>, store: &Store) -> Result<Self> {
        match source_date_epoch.filter(|text| !text.is_empty()) {
            Some(text) => {
                let epoch = text.trim().parse().ok().filter(|epoch| *epoch >= 0).ok_or_else(|| {
                    Error::new(ErrorKind::Usage, format!("SOURCE_DATE_EPOCH is `{text}`, which is not a number of seconds"))
                        .with_hint("set it to whole seconds since 1970, or unset it")
                })?;
                Ok(Self { epoch: OnceLock::from(epoch), search: Mutex::default(), context: epoch, explicit: true })
            }
            None => {
                let (folder, store) = (folder.to_owned(), store.clone());
                let search = std::thread::spawn(move || last_commit(&folder, &store));
                Ok(Self { epoch: OnceLock::new(), search: Mutex::new(Some(search)), context: ZIP_EPOCH, explicit: false })
            }
        }
    }

    /// `created` of the image, and the latest time that RUN leaves in a layer; `SOURCE_DATE_EPOCH` inside RUN.
    pub(super) fn epoch(&self) -> i64 {
        *self.epoch.get_or_init(|| {
            let search = self.search.lock().unwrap_or_else(PoisonError::into_inner).take();
            search.and_then(|search| search.join().ok().flatten()).unwrap_or(0)
        })
    }
}

/// The time of the last commit. No git, no repository, no commit: none of them is an error.
///
/// git is asked once a commit: its time never changes, and the store remembers it.
fn last_commit(folder: &Path, store: &Store) -> Option<i64> {
    // Most folders outside a repository are told without starting git.
    let folder = std::path::absolute(folder).ok()?;
    let repository = folder.ancestors().map(|folder| folder.join(".git")).find(|path| path.exists())?;
    let key = || head(&repository).map(|commit| CacheKey(Digest::of(format!("mpimg-commit-1 {commit}"))));
    let before = key();
    if let Some(record) = before.as_ref().and_then(|key| store.cache_lookup(key)) {
        return Some(record.created);
    }
    let output = Command::new("git")
        .arg("-C")
        .arg(&folder)
        .args(["log", "-1", "--format=%ct"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let created = std::str::from_utf8(&output.stdout).ok()?.trim().parse().ok()?;
    // A commit that came meanwhile must not give its time to the one before.
    if let Some(key) = before.filter(|_| before == key()) {
        // Without the record git is asked again.
        let _ = store.cache_put(&key, &CacheRecord { layer: None, created, made: 0 });
    }
    Some(created)
}

/// The commit that a repository's HEAD names, from its files alone; `None` where only git can tell (gitrepository-layout(5)).
fn head(repository: &Path) -> Option<String> {
    // Whoever sets these means another repository, or another view of this one.
    if ["GIT_DIR", "GIT_COMMON_DIR", "GIT_NAMESPACE"].iter().any(|name| std::env::var_os(name).is_some()) {
        return None;
    }
    let read = |path: PathBuf| std::fs::read_to_string(path).ok();
    // In a worktree `.git` is a file that names the folder.
    let folder = match read(repository.to_owned()) {
        Some(text) => repository.parent()?.join(text.strip_prefix("gitdir: ")?.trim_end()),
        None => repository.to_owned(),
    };
    let head = read(folder.join("HEAD"))?;
    let Some(name) = head.strip_prefix("ref: ") else { return commit(&head) };
    let name = name.trim_end();
    let common = read(folder.join("commondir")).map_or_else(|| folder.clone(), |text| folder.join(text.trim_end()));
    if let Some(text) = read(common.join(name)) {
        return commit(&text);
    }
    let packed = read(common.join("packed-refs"))?;
    packed.lines().find_map(|line| commit(line.strip_suffix(name)?.strip_suffix(' ')?))
}

/// The name of a commit: SHA-1 or SHA-256 in hexadecimal.
fn commit(text: &str) -> Option<String> {
    let text = text.trim_end();
    (matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        (folder, store)
    }

    #[test]
    fn an_explicit_epoch_holds_for_everything() {
        let (_folder, store) = store();
        let times = Times::of(Path::new("/"), Some("1700000000"), &store).unwrap();
        assert_eq!((times.epoch(), times.context, times.explicit), (1_700_000_000, 1_700_000_000, true));
        assert!(Times::of(Path::new("/"), Some("yesterday"), &store).is_err());
        assert!(Times::of(Path::new("/"), Some("-1"), &store).is_err());
    }

    #[test]
    fn without_epoch_and_repository_it_is_0() {
        let (folder, store) = store();
        assert_eq!(Times::of(folder.path(), None, &store).unwrap().epoch(), 0);
        assert_eq!(Times::of(folder.path(), Some(""), &store).unwrap().context, ZIP_EPOCH);
    }

    #[test]
    fn git_is_asked_once_a_commit() {
        let (folder, store) = store();
        let git = |arguments: &[&str], time: &str| {
            let mut git = Command::new("git");
            git.arg("-C").arg(folder.path()).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(arguments);
            git.env("GIT_COMMITTER_DATE", format!("@{time} +0000")).env("GIT_CONFIG_GLOBAL", "/dev/null");
            assert!(git.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        };
        let epoch = || Times::of(folder.path(), None, &store).unwrap().epoch();
        git(&["init", "-q"], "0");
        assert_eq!(epoch(), 0, "no commit yet");
        git(&["commit", "-q", "--allow-empty", "-m", "one"], "1600000000");
        assert_eq!(epoch(), 1_600_000_000);
        git(&["commit", "-q", "--allow-empty", "-m", "two"], "1700000000");
        assert_eq!(epoch(), 1_700_000_000);
        let two = head(&folder.path().join(".git")).unwrap();
        git(&["pack-refs", "--all"], "0");
        assert_eq!(head(&folder.path().join(".git")), Some(two));
        git(&["worktree", "add", "-q", "tree", "HEAD~1"], "0");
        assert_eq!(Times::of(&folder.path().join("tree"), None, &store).unwrap().epoch(), 1_600_000_000);
        // The times are known now: the objects are not looked at any more.
        std::fs::remove_dir_all(folder.path().join(".git/objects")).unwrap();
        assert_eq!(epoch(), 1_700_000_000);
        assert_eq!(Times::of(&folder.path().join("tree"), None, &store).unwrap().epoch(), 1_600_000_000);
    }
}
