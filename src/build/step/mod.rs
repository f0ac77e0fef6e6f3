//! One step of one stage: expanded, done or taken from the build cache, written into the history.
//!
//! To add an instruction: a function in `copy/`, `run/` or here, and a line in `table.rs`.

mod execute;
mod settings;
mod table;
mod workdir;

pub(super) use execute::{execute, located};
