//! RUN without a daemon: which isolation this machine gives, and one command run in it.
//!
//! [`Isolation::detect`] tries each kind for real, best first, in a child process:
//!
//! | isolation | root file system | a boundary? |
//! | --- | --- | --- |
//! | [`IsolationKind::Root`] | overlay in own mount, PID, IPC and UTS namespaces | yes |
//! | [`IsolationKind::UserNamespace`] | the same inside a user namespace with a range of ids | yes |
//! | [`IsolationKind::SingleId`] | the same with one id; other owners are recorded beside the files | yes |
//! | [`IsolationKind::Chroot`] | a private tree, no namespaces | **no** |
//! | [`IsolationKind::Emulated`] | the same, its system calls answered by a supervisor | **no** |
//!
//! [`Isolation::run`] starts a helper: this very program again, single-threaded, under the name
//! [`HELPER_NAME`]. Namespaces of users can only be entered by a process with one thread, and after
//! a plain `fork` of a threaded program hardly anything may be called; a fresh program may call
//! everything, and its death alone unmounts and kills all that it started. Therefore `main` must
//! call [`init_main`] first. A program that cannot (a Python interpreter) names one that does with
//! [`set_helper`].
//!
//! Nothing here knows images or Dockerfiles.

pub(crate) mod channel;
mod chroot_hint;
#[cfg(feature = "run")]
mod detached;
mod detect;
mod helper;
mod init;
mod isolation;
pub(crate) mod kernel;
mod kind;
mod launch;
mod remedy;
mod report;
mod running;
mod setup_error;
mod spec;
mod tasks;
mod ulimit;
mod users;
pub(crate) mod wake;
pub(crate) mod wire;

#[cfg(feature = "run")]
pub(crate) use detached::{detach, kill_orphans, spawn_detached};
pub use helper::{HELPER_NAME, init_main, set_helper};
pub use isolation::{Changed, Isolation, Snapshot};
pub use kind::{IsolationKind, IsolationMode};
pub use report::{Attempt, Failure, Report};
pub use running::{Event, Remote, Running, Streams};
pub use spec::{
    BindSource, Exit, Mount, NetworkAccess, RootSpec, RunOutcome, RunSpec, SecretBytes, Security, UPLINK_ADDRESS, UPLINK_MTU,
};
pub use tasks::Emit;
pub use ulimit::Ulimit;
pub use users::{User, lookup_owner, lookup_user};
