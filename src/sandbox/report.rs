//! What was tried to choose an isolation, and why it did not work.

use std::fmt;

use super::IsolationKind;

/// One kind of isolation that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which.
    pub isolation: IsolationKind,
    /// `None`: it works.
    pub failure: Option<Failure>,
}

/// Why an isolation does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed, such as `unshare(CLONE_NEWUSER)`.
    pub step: String,
    /// The error number that it gave.
    pub errno: Option<i32>,
    /// What would make it work.
    pub remedy: String,
}

impl fmt::Display for Failure {
    /// `unshare(CLONE_NEWUSER) failed: Operation not permitted (os error 1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.step)?;
        match self.errno {
            Some(errno) => write!(f, ": {}", std::io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }
}

/// What `mpimg doctor` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The best one that works; `None` where none does.
    pub selected: Option<IsolationKind>,
    /// What was tried, best first, up to the one in use (all of them from [`Report::of_all`]).
    pub attempts: Vec<Attempt>,
}
