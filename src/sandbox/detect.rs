//! Which isolation this machine gives: each is tried for real, in a helper, on the file system that
//! the state is on.
//!
//! Nothing is concluded from settings under /proc/sys or from the kernel's version: only what works
//! counts.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

use super::remedy::remedy;
use super::setup_error::{Cause, SetupError};
use super::wire::{Reply, Request};
use super::{Attempt, Failure, IsolationKind, IsolationMode, Report, RootSpec, RunSpec, init, launch};

impl Report {
    /// Tries every kind of isolation, also those after the one that
    /// [`Isolation::detect`](super::Isolation::detect) would take. For `mpimg doctor`.
    pub fn of_all(state: &Path) -> Self {
        try_isolations(state, IsolationMode::Auto, false)
    }
}

/// Tries the isolations that `mode` allows, best first; stops at the first that works, unless all
/// are wanted.
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

/// The error where no isolation works: every attempt as a cause; as the hint the remedy of the best
/// isolation that this user may hope for.
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
    let out_of_reach = |attempt: &&Attempt| attempt.isolation.needs_root() && !rustix::process::geteuid().is_root();
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
    let folder = made
        .map_err(|error| {
            // The number is in the error that this one wraps.
            let errno =
                error.raw_os_error().or_else(|| error.get_ref()?.source()?.downcast_ref::<std::io::Error>()?.raw_os_error());
            SetupError::new(format!("create a folder in `{}`", state.display()), errno).with_cause(Cause::StateFolder)
        })?
        .keep();
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
