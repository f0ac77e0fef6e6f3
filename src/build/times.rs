//! Which times go into images: reproducible ones.
//!
//! Refuses the clock: two builds of one project give the same bytes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use crate::error::{Error, ErrorKind, Result};

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
    pub(super) fn of(folder: &Path, source_date_epoch: Option<&str>) -> Result<Self> {
        match source_date_epoch.filter(|text| !text.is_empty()) {
            Some(text) => {
                let epoch = text.trim().parse().ok().filter(|epoch| *epoch >= 0).ok_or_else(|| {
                    Error::new(ErrorKind::Usage, format!("SOURCE_DATE_EPOCH is `{text}`, which is not a number of seconds"))
                        .with_hint("set it to whole seconds since 1970, or unset it")
                })?;
                Ok(Self { epoch: OnceLock::from(epoch), search: Mutex::default(), context: epoch, explicit: true })
            }
            None => {
                let folder = folder.to_owned();
                let search = std::thread::spawn(move || last_commit(&folder));
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

/// No git, no repository, no commit: none of them is an error.
fn last_commit(folder: &Path) -> Option<i64> {
    // Most folders outside a repository are told without starting git.
    let folder = std::path::absolute(folder).ok()?;
    folder.ancestors().find(|folder| folder.join(".git").exists())?;
    let output = Command::new("git")
        .arg("-C")
        .arg(&folder)
        .args(["log", "-1", "--format=%ct"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    std::str::from_utf8(&output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_epoch_holds_for_everything() {
        let times = Times::of(Path::new("/"), Some("1700000000")).unwrap();
        assert_eq!((times.epoch(), times.context, times.explicit), (1_700_000_000, 1_700_000_000, true));
        assert!(Times::of(Path::new("/"), Some("yesterday")).is_err());
        assert!(Times::of(Path::new("/"), Some("-1")).is_err());
    }

    #[test]
    fn without_epoch_and_repository_it_is_0() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Times::of(folder.path(), None).unwrap().epoch(), 0);
        assert_eq!(Times::of(folder.path(), Some("")).unwrap().context, ZIP_EPOCH);
    }
}
