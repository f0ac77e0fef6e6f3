//! RUN in its sandbox: unpacking, each rung of the ladder, what a command sees, and what it leaves behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test may panic and speak")]

pub(crate) mod docker;
mod mounts;
mod one_id;
pub(crate) mod plain_users;
pub(crate) mod rootfs;
mod run;
mod rungs;
