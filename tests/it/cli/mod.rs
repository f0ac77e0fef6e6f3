//! The command as a user or a script meets it: what it prints and where, exit codes, prompts,
//! signals.

mod answers;
mod build;
mod buildah;
mod copy;
mod diff;
mod docker;
pub(crate) mod drop_in;
pub(crate) mod fixture;
mod kaniko;
mod log;
mod messages;
mod pages;
mod pak;
mod policy;
mod prompts;
mod push;
mod remote;
mod remote_context;
pub(crate) mod signals;
mod stored;
