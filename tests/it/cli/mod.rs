//! The command as a user or a script meets it: what it prints and where, exit codes, prompts, signals.

mod answers;
mod copy;
pub(crate) mod fixture;
mod log;
mod messages;
mod prompts;
mod push;
pub(crate) mod signals;
mod stored;
