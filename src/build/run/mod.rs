//! RUN: its mounts, its root file system, the command, and what the command changed as a layer.

mod command;
mod context_mount;
mod foreign;
mod instruction;
mod mounts;
mod package_cache;
mod settings;
mod trust_store;

pub(super) use instruction::run;
