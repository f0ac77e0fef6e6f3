//! Guard.
use super::WalkEntry;
use crate::error::{Error, ErrorKind, Result};

/// What kind of secret a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretKind {
    /// `connections.json` of an SDK project: credentials of test systems.
    Connections,
}

/// What happens when a secret is about to enter a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardPolicy {
    /// The build stops: SDK projects.
    Stop,
    /// The build goes on, and the caller is given a warning to report: any other folder.
    Warn,
}

/// Watches what enters layers.
#[derive(Debug, Clone)]
pub struct SecretGuard {}

impl SecretGuard {
    /// A guard that lets the files of `allowed` (paths in the build context) through.
    pub fn new(_policy: GuardPolicy, _allowed: impl IntoIterator<Item = String>) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "context"))
    }

    /// Looks at an entry about to enter a layer by `instruction` (as written, such as `COPY . .`): an error under
    /// [`GuardPolicy::Stop`], the text of a warning under [`GuardPolicy::Warn`], `None` where nothing is wrong.
    pub fn check(&self, _entry: &WalkEntry, _instruction: &str) -> Result<Option<String>> {
        Err(Error::new(ErrorKind::Unsupported, "context"))
    }
}
