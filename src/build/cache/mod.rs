//! The build cache: what a step depends on, and the results of earlier builds, here and in a
//! registry.

mod context_step;
mod difference;
pub(super) mod keys;
mod listing;
mod mount_folder;
mod records;
mod remote;
mod remote_mounts;
mod run_step;
mod young;

pub(super) use context_step::ContextAttempt;
pub(super) use listing::Listing;
pub(super) use mount_folder::{CacheFolder, FOLDER};
pub(super) use records::BuildCache;
pub(super) use run_step::{BoundFiles, RunAttempt};
