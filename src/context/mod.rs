//! The build context: a folder, seen through `.dockerignore` and the SDK's exclusions, and never
//! beyond its root.
//!
//! It gives paths, metadata and open files in a fixed order; packing and hashing happen elsewhere.

mod address;
mod dockerfile;
mod filter;
mod git;
mod glob;
mod guard;
mod ignore;
mod missing;
mod pattern;
mod regexp;
mod regular;
mod resolve;
mod source;
mod tree;
mod walk;
mod walk_ahead;

pub use address::{ContextAddress, GitAddress};
pub use dockerfile::existing_dockerfile;
pub(crate) use filter::{Filter, FolderMatches};
pub use git::{GitCommit, fetch_git, has_untracked, is_modified, last_commit, last_commit_time};
pub(crate) use glob::has_wildcards;
pub use guard::{GuardPolicy, SecretGuard, SecretKind};
pub use ignore::{Ignore, IgnoreFile};
pub use pattern::Patterns;
pub(crate) use regular::read_regular;
pub use source::{BuildContext, ContextOptions, Source};
pub use walk::{Walk, WalkEntry};
pub use walk_ahead::WalkAhead;

use crate::error::{Error, ErrorKind, Result};

/// Whether `name`, one component of a path, matches `pattern` by the rules of COPY's sources (Go's
/// `filepath.Match`).
///
/// # Errors
/// [`ErrorKind::Context`] for a pattern that Go calls malformed.
pub fn matches_name(pattern: &str, name: &[u8]) -> Result<bool> {
    let glob = glob::Glob::parse(pattern.as_bytes()).map_err(|_| {
        Error::new(ErrorKind::Context, format!("`{pattern}` is not a pattern"))
            .with_hint("close its `[`, and end it with no single `\\`")
    })?;
    Ok(glob.matches(name))
}

/// A path as messages show it: what would move the cursor of a terminal is escaped.
fn shown(path: &[u8]) -> String {
    let mut text = String::new();
    for letter in String::from_utf8_lossy(path).chars() {
        if letter.is_control() { text.extend(letter.escape_default()) } else { text.push(letter) }
    }
    text
}

/// The path changed between two looks at it.
fn changed(path: &[u8]) -> Error {
    Error::new(ErrorKind::Context, format!("`{}` changed while it was read", shown(path)))
        .with_hint("wait until nothing writes to the build context, then run the same command again")
}

/// The path cannot be read.
fn unreadable(path: &[u8], error: std::io::Error) -> Error {
    let path = if path.is_empty() { ".".to_owned() } else { shown(path) };
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Error::new(ErrorKind::Context, format!("`{path}` cannot be read")).with_hint(
            format!("make it readable with `chmod u+rX {path}`, or leave it out with a line `{path}` in .dockerignore"),
        ),
        _ => Error::new(ErrorKind::Context, format!("cannot read `{path}`")),
    }
    .with_source(error)
}
