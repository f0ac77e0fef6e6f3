//! Which times go into images: reproducible ones.
//!
//! The clock has no part in it: two builds of one project give the same bytes.

use std::path::Path;

use crate::context::last_commit_time;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;

/// 1980-01-01: the earliest time that a ZIP archive can hold. Python's `zipfile` refuses older
/// files, so pip could not pack a source tree with times of 1970.
const ZIP_EPOCH: i64 = 315_532_800;

/// The times of one build, in seconds since 1970.
pub(super) struct Times {
    epoch: i64,
    /// Of files from the build context. Times of a checkout say nothing, so they do not change a
    /// digest.
    pub(super) context: i64,
    /// Whether `SOURCE_DATE_EPOCH` was set by the user.
    pub(super) explicit: bool,
    /// Whether the epoch is more than the default.
    known: bool,
}

impl Times {
    /// `SOURCE_DATE_EPOCH` where it is given, otherwise the time of the last git commit of
    /// `folder`, otherwise 0 (<https://reproducible-builds.org/specs/source-date-epoch/>).
    ///
    /// A commit that cannot be read is a warning: the image is whole, but its digest is not the one
    /// that another machine gets.
    pub(super) fn of(folder: &Path, source_date_epoch: Option<&str>, progress: &Progress) -> Result<Self> {
        match source_date_epoch.filter(|text| !text.is_empty()) {
            Some(text) => {
                let epoch = text.trim().parse().ok().filter(|epoch| *epoch >= 0).ok_or_else(|| {
                    Error::new(ErrorKind::Usage, format!("SOURCE_DATE_EPOCH is `{text}`, which is not a number of seconds"))
                        .with_hint("set it to whole seconds since 1970, or unset it")
                })?;
                Ok(Self { epoch, context: epoch, explicit: true, known: true })
            }
            None => {
                let commit = last_commit_time(folder).unwrap_or_else(|error| {
                    progress.warn(&format!("{}; the image's time is 1970-01-01", error.in_one_line()), error.hint());
                    None
                });
                Ok(Self { epoch: commit.unwrap_or(0), known: commit.is_some(), ..Self::of_no_commit() })
            }
        }
    }

    /// Those of a folder that no commit says a time of.
    pub(super) fn of_no_commit() -> Self {
        Self { epoch: 0, context: ZIP_EPOCH, explicit: false, known: false }
    }

    /// `created` of the image, and the latest time that RUN leaves in a layer; `SOURCE_DATE_EPOCH`
    /// inside RUN.
    pub(super) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// As `epoch`, where it was given or there is a commit.
    pub(super) fn known_epoch(&self) -> Option<i64> {
        self.known.then_some(self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_epoch_holds_for_everything() {
        let of = |epoch| Times::of(Path::new("/"), Some(epoch), &Progress::default());
        let times = of("1700000000").unwrap();
        assert_eq!((times.epoch, times.context, times.explicit), (1_700_000_000, 1_700_000_000, true));
        assert!(of("yesterday").is_err());
        assert!(of("-1").is_err());
    }

    #[test]
    fn without_epoch_and_repository_it_is_0() {
        let folder = tempfile::tempdir().unwrap();
        let of = |epoch| Times::of(folder.path(), epoch, &Progress::default()).unwrap();
        assert_eq!(of(None).epoch(), 0);
        assert_eq!(of(Some("")).context, ZIP_EPOCH);
    }
}
