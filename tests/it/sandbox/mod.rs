//! RUN in its sandbox: unpacking, each kind of isolation, what a command sees, and what it leaves
//! behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test may panic and speak")]

pub(crate) mod docker;
mod file_capability;
mod isolations;
mod killed;
mod mounts;
mod old_kernels;
mod one_id;
mod own_program;
mod paths;
pub(crate) mod plain_users;
mod processors;
pub(crate) mod rootfs;
mod run;
mod surroundings;
