//! Which isolation this machine gives: each is tried for real, in a helper, on the file system that the state is on.
//!
//! Nothing is concluded from settings under /proc/sys or from the kernel's version: only what works counts.

use std::path::Path;

use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

use super::setup_error::{SetupError, limit_hint};
use super::wire::{Reply, Request};
use super::{Attempt, Failure, IsolationKind, IsolationMode, Report, RootSpec, RunSpec, init, kernel, launch};

impl Report {
    /// Tries every kind of isolation, also those after the one that [`Isolation::detect`](super::Isolation::detect) would take. For
    /// `mpimg doctor`.
    pub fn of_all(state: &Path) -> Self {
        try_isolations(state, IsolationMode::Auto, false)
    }
}

/// Tries the isolations that `mode` allows, best first; stops at the first that works, unless all are wanted.
pub(super) fn try_isolations(state: &Path, mode: IsolationMode, stop: bool) -> Report {
    let mut report = Report { selected: None, attempts: Vec::new() };
    for isolation in IsolationKind::ALL {
        if matches!(mode, IsolationMode::Forced(forced) if forced != isolation) {
            continue;
        }
        let failure = attempt(state, isolation).err().map(|error| Failure {
            remedy: remedy(isolation, &error),
            step: error.step,
            errno: error.errno,
        });
        match &failure {
            None => tracing::debug!(isolation = %isolation, "isolation works"),
            Some(failure) => {
                tracing::debug!(isolation = %isolation, step = failure.step, errno = failure.errno, "isolation does not work");
            }
        }
        let works = failure.is_none();
        report.attempts.push(Attempt { isolation, failure });
        if works {
            report.selected = report.selected.or(Some(isolation));
            if stop {
                break;
            }
        }
    }
    report
}

/// The error where no isolation works: every attempt as a cause; as the hint the remedy of the best isolation that this user may hope for.
pub(super) fn no_isolation(report: &Report) -> Error {
    let mut cause: Option<Error> = None;
    for attempt in report.attempts.iter().rev() {
        let Some(failure) = &attempt.failure else { continue };
        let error = Error::new(ErrorKind::Sandbox, format!("{}: {failure}", attempt.isolation));
        cause = Some(match cause {
            Some(cause) => error.with_source(cause),
            None => error,
        });
    }
    let error = Error::new(ErrorKind::Sandbox, "RUN cannot be isolated on this machine");
    let error = match cause {
        Some(cause) => error.with_source(cause),
        None => error,
    };
    let out_of_reach = |attempt: &&Attempt| attempt.isolation == IsolationKind::Root && !rustix::process::geteuid().is_root();
    let best = report.attempts.iter().find(|attempt| !out_of_reach(attempt)).or(report.attempts.first());
    match best.and_then(|attempt| attempt.failure.as_ref()) {
        Some(failure) => error.with_hint(failure.remedy.clone()),
        None => error,
    }
}

fn attempt(state: &Path, isolation: IsolationKind) -> Result<(), SetupError> {
    let plain = |error: Error| SetupError::new(error.to_string(), error.os_error());
    let made = tempfile::Builder::new().prefix("probe-").tempdir_in(state);
    // Removed below by other means: overlay leaves a folder that its owner may not enter.
    let folder =
        made.map_err(|error| SetupError::new(format!("create a folder in `{}`", state.display()), error.raw_os_error()))?.keep();
    let root = match isolation {
        kind if kind.needs_tree() => RootSpec::Tree { path: folder.join("tree") },
        _ => RootSpec::Overlay { lower: Vec::new(), upper: folder.join("upper"), work: folder.join("work") },
    };
    let spec = RunSpec::new(["true"], root).with_absolute_paths().map_err(plain)?;
    let request = Request::Run { isolation, spec: Box::new(spec), probe: true, stdin: false };
    let reply = launch::carry_out(&request, &mut |_| {}, &CancellationToken::default());
    let removed = init::remove_tree(&folder);
    match reply.map_err(plain)? {
        Reply::Failed(error) => Err(error),
        Reply::Ended(exit, _) | Reply::EndedInTree(exit, _) if !exit.success() => Err(SetupError::new("drop privileges", None)),
        _ => removed.map_err(|errno| SetupError::new(format!("remove `{}`", folder.display()), Some(errno.raw_os_error()))),
    }
}

fn remedy(isolation: IsolationKind, error: &SetupError) -> String {
    let step = error.step.as_str();
    let errno = error.errno.map(Errno::from_raw_os_error);
    if step.starts_with("mount overlay") && matches!(errno, Some(Errno::INVAL | Errno::PERM)) {
        // A container's root file system is an overlay itself, and an overlay on an overlay has nowhere to put its marks.
        return "put the state directory (`MPIMG_HOME`) on a volume, a tmpfs or a local disk".into();
    }
    if step.starts_with("record an owner") {
        return "put the state directory (`MPIMG_HOME`) on a file system with extended attributes: ext4, xfs, btrfs, or tmpfs since \
                Linux 6.6"
            .into();
    }
    if step.contains("is mounted no") {
        return "put the state directory (`MPIMG_HOME`) on a file system that is mounted with `exec` and `dev`".into();
    }
    if let Some(hint) = limit_hint(errno) {
        return hint.into();
    }
    if errno == Some(Errno::NOSYS) {
        return format!(
            "Linux {} or a seccomp filter of the surrounding container lacks this call: use a newer runtime (Docker 20.10.10 or later), or \
             run without its filter (`--security-opt seccomp=unconfined`)",
            kernel::release()
        );
    }
    match isolation {
        IsolationKind::Root => "run as root on a virtual machine or in a privileged container (`docker run --privileged`)".into(),
        IsolationKind::UserNamespace if step.contains("newuidmap") || step.contains("newgidmap") => {
            "install the package `uidmap`, and allow its programs to change ids (no `no_new_privs`)".into()
        }
        IsolationKind::UserNamespace if step.contains("subuid") || step.contains("subgid") => {
            "give the user a range of 65536 ids: `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`"
                .into()
        }
        IsolationKind::UserNamespace | IsolationKind::SingleId if step.starts_with("unshare") => {
            "allow user namespaces: seccomp and AppArmor unconfined for this container (`--security-opt seccomp=unconfined \
             --security-opt apparmor=unconfined`), or use sudo"
                .into()
        }
        IsolationKind::UserNamespace | IsolationKind::SingleId => {
            "run as root instead (sudo), or in a container with seccomp and AppArmor unconfined".into()
        }
        IsolationKind::Emulated if step.contains("ptrace") => {
            "allow the process to trace its children: seccomp must let `ptrace` through, and `kernel.yama.ptrace_scope` must be 0 or 1"
                .into()
        }
        IsolationKind::Emulated if !cfg!(target_arch = "x86_64") => "build on an x86-64 machine, or use another isolation".into(),
        IsolationKind::Emulated => {
            "use Linux 5.14 or newer, with a runtime whose seccomp profile lets `seccomp`, `ptrace` and `openat2` through (Docker since \
             20.10.10, containerd, CRI-O)"
                .into()
        }
        IsolationKind::Chroot => "run as root, in a container with docker's default capabilities or more".into(),
    }
}
