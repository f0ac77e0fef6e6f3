//! How a step ended.

/// How a step ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepOutcome {
    /// It was done now, or only changed the config.
    Done,
    /// Its result came from a build cache.
    Cached,
}
