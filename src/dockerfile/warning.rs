//! The checks behind warnings, under the names that BuildKit's `check` directive uses.
//!
//! Refuses names of its own where BuildKit has one.

/// Which check a warning comes from; the name is what `# check=skip=NAME` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Instructions in mixed case.
    ConsistentInstructionCasing,
}
