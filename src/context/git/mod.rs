//! Git repositories: fetching a commit of one (`fetch`), and the time of the last commit, read from
//! its files alone.
//!
//! For the time no git is run: its settings, among them those in the folder's own `.git/config`,
//! can start programs, and the answer must not depend on whether git is installed or who owns the
//! checkout.
//!
//! Format: gitrepository-layout(5), gitformat-pack(5).

mod fetch;
mod file;
mod object;
mod pack;
mod refs;
mod state;

use std::io;
use std::path::Path;

pub use self::fetch::{GitCommit, fetch_git};
use self::file::corrupt;
use super::BuildContext;
use crate::error::{Error, ErrorKind, Result};

/// When the commit that is checked out in `folder` was made, in seconds since 1970.
///
/// `None` where `folder` is in no repository, or nothing has been committed yet.
///
/// # Errors
/// [`ErrorKind::Context`] where there is a repository whose last commit cannot be read.
pub fn last_commit_time(folder: &Path) -> Result<Option<i64>> {
    let Some(repository) = refs::Repository::find(folder) else { return Ok(None) };
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Context, format!("cannot read the last commit of `{}`", repository.worktree.display()))
            .with_source(error)
            .with_hint("set SOURCE_DATE_EPOCH to the time that the image should have")
    };
    let Some(commit) = repository.head().map_err(failed)? else { return Ok(None) };
    let text = object::read_commit(&repository.objects(), &commit).map_err(failed)?;
    committer_time(&text).map(Some).ok_or_else(|| failed(corrupt("the commit has no committer")))
}

/// The commit that is checked out in `folder`, in hexadecimal digits.
///
/// `None` where `folder` is in no repository, or nothing has been committed yet.
///
/// # Errors
/// [`ErrorKind::Context`] where there is a repository whose HEAD cannot be read.
pub fn last_commit(folder: &Path) -> Result<Option<String>> {
    let Some(repository) = refs::Repository::find(folder) else { return Ok(None) };
    repository.head().map_err(|error| {
        Error::new(ErrorKind::Context, format!("cannot read HEAD of `{}`", repository.worktree.display())).with_source(error)
    })
}

/// Whether a file that was committed is changed or missing in the work tree that `folder` is in.
/// Files that git does not know are not looked at.
///
/// `None` where that cannot be told: in no repository, and in one whose index has a form that is
/// not read, or whose files git converts.
pub fn is_modified(folder: &Path) -> Option<bool> {
    state::is_modified(folder).unwrap_or_else(|error| {
        tracing::info!(%error, folder = %folder.display(), "whether the work tree is as it was committed cannot be told");
        None
    })
}

/// Whether the build context, without what `.dockerignore` leaves out, has a file that git does not
/// know: the commit does not say what it is.
///
/// `None` where that cannot be told, as for [`is_modified`].
pub fn has_untracked(context: &BuildContext) -> Option<bool> {
    state::has_untracked(context).unwrap_or_else(|error| {
        let folder = context.path();
        tracing::info!(%error, folder = %folder.display(), "whether files are unknown to git cannot be told");
        None
    })
}

/// The time in the line `committer NAME <MAIL> SECONDS ZONE` of a commit's header.
fn committer_time(commit: &[u8]) -> Option<i64> {
    let header = commit.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let committer = header.into_iter().find_map(|line| line.strip_prefix(b"committer "))?;
    // A name may hold anything but `<`, `>` and line ends: the last two words are time and zone.
    let mut words = committer.rsplit(|byte| *byte == b' ');
    let time = words.nth(1)?;
    std::str::from_utf8(time).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
