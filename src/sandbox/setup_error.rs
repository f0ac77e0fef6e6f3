//! A step of the helper that failed, on its way to the caller.

use std::io::Result;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A step of the helper that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SetupError {
    /// What was tried, such as `mount overlay`.
    pub(super) step: String,
    pub(super) errno: Option<i32>,
    pub(super) cause: Cause,
}

/// What has failed, where the remedy depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cause {
    /// The isolation and the error number say all.
    Other,
    /// What was asked for is wrong, not this machine: then the step is the whole message, and this
    /// is the remedy, which may be empty.
    Request(String),
    /// The state folder cannot be written to.
    StateFolder,
    /// An overlay cannot be mounted.
    Overlay,
    /// The owner of a file cannot be recorded in an attribute of it.
    OwnerRecord,
    /// The file system of the state folder is not mounted with one of these options.
    MountOptions(Vec<String>),
    /// A process cannot be traced.
    Trace,
    /// A namespace cannot be made.
    Namespace,
    /// The user has no range of ids, or not one that is large enough.
    IdRange,
    /// newuidmap or newgidmap is missing or fails.
    IdProgram,
    /// The user ids of a user namespace cannot be set.
    UidMap,
}

impl SetupError {
    pub(super) fn new(step: impl Into<String>, errno: Option<i32>) -> Self {
        Self { step: step.into(), errno, cause: Cause::Other }
    }

    pub(super) fn with_cause(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// A process of the sandbox has died.
    pub(super) fn ended_early() -> Self {
        Self::new("the sandbox ended early", None).with_cause(Cause::Request(KILLED_HINT.into()))
    }

    /// What was asked for is wrong.
    pub(super) fn refused(error: &crate::Error) -> Self {
        let remedy = error.hint().unwrap_or_default().to_owned();
        Self { step: error.to_string(), errno: None, cause: Cause::Request(remedy) }
    }
}

/// Names the step that an error comes from.
pub(super) trait Step<T> {
    fn step(self, step: impl FnOnce() -> String) -> std::result::Result<T, SetupError>;
}

impl<T> Step<T> for std::result::Result<T, rustix::io::Errno> {
    fn step(self, step: impl FnOnce() -> String) -> std::result::Result<T, SetupError> {
        self.map_err(|errno| SetupError::new(step(), Some(errno.raw_os_error())))
    }
}

impl<T> Step<T> for Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> std::result::Result<T, SetupError> {
        self.map_err(|error| SetupError::new(step(), error.raw_os_error()))
    }
}

/// Says what has failed, where the remedy depends on it.
pub(super) trait BecauseOf {
    fn because_of(self, cause: Cause) -> Self;
}

impl<T> BecauseOf for std::result::Result<T, SetupError> {
    fn because_of(self, cause: Cause) -> Self {
        self.map_err(|error| error.with_cause(cause))
    }
}

/// What to do about a limit of this process that a call has met.
pub(super) fn limit_hint(errno: Option<Errno>) -> Option<&'static str> {
    match errno? {
        // Of fork; other calls of the helper do not answer so.
        Errno::AGAIN => Some(crate::threads::LIMIT_HINT),
        errno => crate::error::limit_hint(errno.raw_os_error()),
    }
}

/// What to do where a process of the sandbox was killed.
pub(super) const KILLED_HINT: &str = "unless somebody killed it, memory ran out: give this machine or container more";
