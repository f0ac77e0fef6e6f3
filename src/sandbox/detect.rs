//! Which rung this machine gives: each is tried for real, in a helper, on the file system that the state is on.
//!
//! Refuses to conclude anything from settings under /proc/sys: only what works counts.

use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};

use super::wire::{Fault, Reply, Request};
use super::{Attempt, Cancel, Failure, IsolationMode, Report, RootSpec, RunSpec, Rung, init, launch};

/// Tries the rungs that `mode` allows, best first; stops at the first that works, unless all are wanted.
pub(super) fn try_rungs(state: &Path, mode: IsolationMode, stop: bool) -> Report {
    let mut report = Report { rung: None, attempts: Vec::new() };
    for rung in Rung::ALL {
        if matches!(mode, IsolationMode::Forced(forced) if forced != rung) {
            continue;
        }
        let failure = attempt(state, rung).err().map(|fault| Failure {
            remedy: remedy(rung, &fault),
            step: fault.step,
            errno: fault.errno,
        });
        let works = failure.is_none();
        report.attempts.push(Attempt { rung, failure });
        if works {
            report.rung = report.rung.or(Some(rung));
            if stop {
                break;
            }
        }
    }
    report
}

/// The error where no rung works: every attempt as a cause; as the hint the remedy of the best rung that this user may hope for.
pub(super) fn no_rung(report: &Report) -> Error {
    let mut cause: Option<Error> = None;
    for attempt in report.attempts.iter().rev() {
        let Some(failure) = &attempt.failure else { continue };
        let error = Error::new(ErrorKind::Sandbox, format!("{}: {failure}", attempt.rung));
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
    let out_of_reach = |attempt: &&Attempt| attempt.rung == Rung::Root && !rustix::process::geteuid().is_root();
    let best = report.attempts.iter().find(|attempt| !out_of_reach(attempt)).or(report.attempts.first());
    match best.and_then(|attempt| attempt.failure.as_ref()) {
        Some(failure) => error.with_hint(failure.remedy.clone()),
        None => error,
    }
}

fn attempt(state: &Path, rung: Rung) -> Result<(), Fault> {
    let plain = |error: Error| Fault::new(error.to_string(), None);
    let made = tempfile::Builder::new().prefix("probe-").tempdir_in(state);
    // Removed below by other means: overlay leaves a folder that its owner may not enter.
    let folder =
        made.map_err(|error| Fault::new(format!("create a folder in `{}`", state.display()), error.raw_os_error()))?.keep();
    let root = match rung {
        Rung::Chroot => RootSpec::Tree { path: folder.join("tree") },
        _ => RootSpec::Overlay { lower: Vec::new(), upper: folder.join("upper"), work: folder.join("work") },
    };
    let spec = RunSpec::new(["true"], root).with_absolute_paths().map_err(plain)?;
    let request = Request::Run { rung, spec: Box::new(spec), probe: true, stdin: false };
    let reply = launch::carry_out(&request, &mut |_| {}, &Cancel::default());
    let removed = init::remove_tree(&folder);
    match reply.map_err(plain)? {
        Reply::Failed(fault) => Err(fault),
        Reply::Ended(exit) | Reply::EndedInTree(exit, _) if !exit.success() => Err(Fault::new("drop privileges", None)),
        _ => removed.map_err(|errno| Fault::new(format!("remove `{}`", folder.display()), Some(errno.raw_os_error()))),
    }
}

fn remedy(rung: Rung, fault: &Fault) -> String {
    let step = fault.step.as_str();
    let errno = fault.errno.map(Errno::from_raw_os_error);
    if step.starts_with("mount overlay") && matches!(errno, Some(Errno::INVAL | Errno::PERM)) {
        // A container's root file system is an overlay itself, and an overlay on an overlay has nowhere to put its marks.
        return "put the state directory (`MPIMG_HOME`) on a volume, a tmpfs or a local disk".into();
    }
    match rung {
        Rung::Root => "run as root on a virtual machine or in a privileged container (`docker run --privileged`)".into(),
        Rung::UserNamespace if step.contains("newuidmap") || step.contains("newgidmap") => {
            "install the package `uidmap`, and allow its programs to change ids (no `no_new_privs`)".into()
        }
        Rung::UserNamespace if step.contains("subuid") || step.contains("subgid") => {
            "give the user a range of 65536 ids: `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`"
                .into()
        }
        Rung::SingleId => {
            "give the user a range of 65536 ids in /etc/subuid and /etc/subgid and install the package `uidmap`, or run as root"
                .into()
        }
        Rung::UserNamespace if step.starts_with("unshare") => {
            "allow user namespaces: seccomp and AppArmor unconfined for this container (`--security-opt seccomp=unconfined \
             --security-opt apparmor=unconfined`), or use sudo"
                .into()
        }
        Rung::UserNamespace => "run as root instead (sudo), or in a container with seccomp and AppArmor unconfined".into(),
        Rung::Chroot => "run as root, in a container with docker's default capabilities or more".into(),
    }
}
