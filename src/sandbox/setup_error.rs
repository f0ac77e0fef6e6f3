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
    /// Set where what was asked for is wrong, not this machine: then `step` is the whole message,
    /// and this is the remedy.
    pub(super) remedy: Option<String>,
}

impl SetupError {
    pub(super) fn new(step: impl Into<String>, errno: Option<i32>) -> Self {
        Self { step: step.into(), errno, remedy: None }
    }

    /// What was asked for is wrong.
    pub(super) fn refused(error: &crate::Error) -> Self {
        Self { step: error.to_string(), errno: None, remedy: Some(error.hint().unwrap_or_default().to_owned()) }
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

/// What to do about a limit of this process that a call has met.
pub(super) fn limit_hint(errno: Option<Errno>) -> Option<&'static str> {
    match errno? {
        // Of fork; other calls of the helper do not answer so.
        Errno::AGAIN => Some("raise the limit of processes (`ulimit -u`, or `pids` of the container)"),
        errno => crate::error::limit_hint(errno.raw_os_error()),
    }
}
