//! Builds: equal to other builders' images, cached, shared, stopped at any moment, and of real SDK
//! projects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test may panic and speak")]

mod bad_input;
mod cache;
mod cache_mounts;
mod chroot_root_pool;
mod deep;
mod docker_flags;
mod hostile;
mod layers_below;
mod parity;
mod pretended;
mod remote_cache;
mod reproducible;
pub(crate) mod run_faults;
mod run_options;
mod run_settings;
mod saved_mounts;
pub(crate) mod sdk;
mod sdk_base;
mod sdk_java;
mod triggers;
