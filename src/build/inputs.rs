//! What a step gets besides the stage that it changes.

use super::cache::BuildCache;
use super::session::Session;
use super::sources::Sources;
use crate::progress::Task;

/// The inputs of one step.
pub(super) struct StepInputs<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) cache: &'a BuildCache<'a>,
    /// What earlier stages made.
    pub(super) sources: &'a Sources,
    /// The instruction as written, for messages.
    pub(super) text: &'a str,
    /// Shows the step's progress.
    pub(super) task: &'a Task,
}
