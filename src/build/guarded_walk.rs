//! How a step looks at files of the build context: through its `--exclude` patterns and the guard
//! against secrets.

use super::session::Session;
use crate::context::{Patterns, WalkEntry};
use crate::error::Result;

/// One step's view of the build context.
pub(super) struct GuardedWalk<'a> {
    pub(super) session: &'a Session<'a>,
    /// The instruction as written, for messages.
    pub(super) instruction: &'a str,
    pub(super) exclude: &'a Patterns,
}

impl GuardedWalk<'_> {
    /// Warns of a file that looks like a secret.
    ///
    /// # Errors
    /// [`ErrorKind::Context`](crate::ErrorKind::Context) where such a file must not enter the
    /// image.
    pub(super) fn check(&self, walked: &WalkEntry) -> Result<()> {
        if let Some(warning) = self.session.guard.check(walked, self.instruction)? {
            self.session.warn_once(&warning);
        }
        Ok(())
    }
}
