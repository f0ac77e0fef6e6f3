//! Sources.
use std::path::Path;

use super::{IgnoreFile, Patterns, Walk};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Kind, LayerPath, Metadata};

/// How a folder is seen as a build context.
#[derive(Debug, Clone, Default)]
pub struct ContextOptions {
    /// The ignore file, where there is one: see [`IgnoreFile::read`].
    pub ignore: Option<IgnoreFile>,
    /// Whether the SDK's own exclusions apply on top.
    pub sdk: bool,
}

/// A folder that COPY and ADD take from.
#[derive(Debug, Clone)]
pub struct BuildContext {}

impl BuildContext {
    /// Opens the folder at `root`.
    pub fn open(_root: &Path, _options: ContextOptions) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "context"))
    }

    /// What one source of COPY or ADD names, in sorted order. Empty only where the pattern has wildcards and nothing
    /// matches, which BuildKit lets pass (`AllowEmptyWildcard`); [`no_match`](Self::no_match) makes an error of it.
    pub fn sources(&self, _pattern: &str) -> Result<Vec<Source>> {
        Err(Error::new(ErrorKind::Unsupported, "context"))
    }

    /// What one source of COPY or ADD with `--parents` names: folders, of which the walk gives what the pattern includes,
    /// with the folders above it, relative to the pivot (`/./`).
    pub fn sources_with_parents(&self, _pattern: &str) -> Result<Vec<Source>> {
        Err(Error::new(ErrorKind::Unsupported, "context"))
    }

    /// The error that says why `pattern` matches nothing: missing, or left out and by which rule; with names that are close.
    pub fn no_match(&self, _pattern: &str) -> Error {
        Error::new(ErrorKind::Unsupported, "context")
    }
}

/// One thing that a source pattern names: a folder, or a file, link or device. Symbolic links on the way to it, and it itself,
/// have been resolved inside the root.
#[derive(Debug, Clone)]
pub struct Source {}

impl Source {
    /// Where it is in the build context, as matched: its last component is the name it has in a destination folder.
    pub fn path(&self) -> &LayerPath {
        unimplemented!()
    }

    /// What it is.
    pub fn kind(&self) -> &Kind {
        unimplemented!()
    }

    /// Its mode, owner and time.
    pub fn metadata(&self) -> &Metadata {
        unimplemented!()
    }

    /// Of a folder, all that it holds but not the folder itself; of anything else, one entry with the empty path.
    /// What `exclude` matches is left out (`--exclude`).
    pub fn walk(&self, _exclude: &Patterns) -> Result<Walk> {
        Err(Error::new(ErrorKind::Unsupported, "context"))
    }
}
