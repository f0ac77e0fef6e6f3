//! The build cache: what a step depends on, and the results of earlier builds, here and in a
//! registry.

mod context_step;
mod difference;
pub(super) mod keys;
mod listing;
mod records;
mod remote;
mod run_step;

pub(super) use context_step::ContextAttempt;
pub(super) use listing::Listing;
pub(super) use records::BuildCache;
pub(super) use run_step::{BoundFiles, RunAttempt};
