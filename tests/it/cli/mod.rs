//! The command as a user or a script meets it: what it prints and where, exit codes, prompts, signals.

mod answers;
mod build;
mod copy;
pub(crate) mod fixture;
mod log;
mod messages;
mod prompts;
mod push;
mod remote;
pub(crate) mod signals;
mod stored;
