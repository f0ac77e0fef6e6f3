//! RUN: its mounts, its root file system, the command, and what the command changed as a layer.

mod command;
mod context_mount;
mod failed_step;
mod foreign;
mod instruction;
mod last_words;
mod mounts;
mod package_cache;
mod settings;
mod trust_store;

pub(super) use instruction::run;
