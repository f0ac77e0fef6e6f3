//! Which times go into images: reproducible ones.
//!
//! Refuses the clock: two builds of one project give the same bytes.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, ErrorKind, Result};

/// 1980-01-01: the earliest time that a ZIP archive can hold. Python's `zipfile` refuses older files, so pip could not pack
/// a source tree with times of 1970.
const ZIP_EPOCH: i64 = 315_532_800;

/// The times of one build, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// `created` of the image, and the latest time that RUN leaves in a layer; `SOURCE_DATE_EPOCH` inside RUN.
    pub epoch: i64,
    /// Of files from the build context. Times of a checkout say nothing, so they do not change a digest.
    pub context: i64,
    /// Whether `SOURCE_DATE_EPOCH` was set by the user.
    pub explicit: bool,
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
                Ok(Self { epoch, context: epoch, explicit: true })
            }
            None => Ok(Self { epoch: last_commit(folder).unwrap_or(0), context: ZIP_EPOCH, explicit: false }),
        }
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
        assert_eq!(times, Times { epoch: 1_700_000_000, context: 1_700_000_000, explicit: true });
        assert!(Times::of(Path::new("/"), Some("yesterday")).is_err());
        assert!(Times::of(Path::new("/"), Some("-1")).is_err());
    }

    #[test]
    fn without_epoch_and_repository_it_is_0() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Times::of(folder.path(), None).unwrap().epoch, 0);
        assert_eq!(Times::of(folder.path(), Some("")).unwrap().context, ZIP_EPOCH);
    }
}
