//! The helper: a process with one thread that sets a sandbox up, runs the command in it and takes
//! it down again.
//!
//! ```text
//! mpimg ──socket──► helper (this machine's namespaces; cleans up stubs)
//!                     └─ init (process 1 of its own namespaces; mounts, reaps)
//!                          └─ the command (few capabilities, filtered system calls)
//! ```
//! Each dies with the one above it, and with process 1 die all processes of its namespace and its
//! mounts.
//!
//! The helper never writes to standard error, which belongs to the command.

mod attended;
mod child;
mod chroot;
mod command;
mod copied_root;
mod copy;
mod descriptors;
#[cfg(target_arch = "x86_64")]
mod emulated;
#[cfg(not(target_arch = "x86_64"))]
mod emulated {
    //! The isolation without privileges is not there on this processor: its loader is made of
    //! instructions of x86-64.
    use std::os::unix::net::UnixStream;

    use crate::layer::LayerPath;
    use crate::sandbox::setup_error::SetupError;
    use crate::sandbox::{Exit, RunSpec};

    pub(super) fn run(_: &RunSpec, _: bool, _: &UnixStream) -> Result<(Exit, Vec<LayerPath>), SetupError> {
        Err(SetupError::new(format!("start the loader of isolation `emulated` on {}", std::env::consts::ARCH), None))
    }
}
mod fakeroot;
mod files;
mod join;
mod main;
mod mounted_root;
mod mounter;
mod namespaces;
mod notify;
mod notify_target;
pub(super) mod orphans;
mod overlay;
mod owners;
mod plan;
mod privileges;
pub(super) mod process;
mod reap;
mod seccomp;
mod seccomp_profile;
mod sources;
mod ssh;
mod stubs;
mod substitute_mounts;
mod userns;
mod volumes;

pub(super) use descriptors::remove_tree;
pub(super) use main::main;
pub(super) use process::{heed_children, outlive_file_limit};
pub(super) use userns::name_of_map;
