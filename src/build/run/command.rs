//! The command of a RUN: what it is run with, and what its exit status means.

use std::path::Path;

use super::foreign;
use super::last_words::Lack;
use crate::build::session::Session;
use crate::build::stage::StageState;
use crate::dockerfile::{Network, RunStep, Security as WantedSecurity};
use crate::error::{Error, ErrorKind, Result, limit_hint};
use crate::oci::Platform;
use crate::sandbox::{Exit, NetworkAccess, RootSpec, RunSpec, Security, User};

/// The error of a command that failed.
pub(super) fn failure(exit: Exit, platform: &Platform) -> Error {
    let ended = |status: u8, why: &str| {
        Error::new(ErrorKind::RunFailed, format!("the command ended with status {status}{why}")).with_exit_status(status)
    };
    match exit {
        Exit::Code(126) if foreign::is_foreign(platform) => foreign::missing(platform),
        Exit::Code(127) => {
            ended(127, ": not found").with_hint("install the program in an earlier RUN, or check its name and PATH")
        }
        Exit::Code(126) => ended(126, ": it cannot be executed")
            .with_hint("check its mode, its first line, and that it is for the image's platform"),
        Exit::Code(status) => ended(status, ""),
        Exit::Signal(9) => Error::new(ErrorKind::RunFailed, "the command was killed by signal 9")
            .with_hint("if nothing killed it on purpose, the machine ran out of memory"),
        Exit::Signal(signal) => Error::new(ErrorKind::RunFailed, format!("the command was killed by signal {signal}")),
    }
}

/// What the command has run out of, if its end says so.
pub(super) fn lack(exit: Exit) -> Option<Lack> {
    let signal = match exit {
        Exit::Signal(signal) => i32::from(signal),
        // What a shell makes of a command that was killed.
        Exit::Code(status) => i32::from(status) - 128,
    };
    (signal == libc::SIGXFSZ).then_some(Lack::FileSize)
}

/// What to do about it; `store`: the local store.
pub(super) fn remedy(lack: Lack, store: &Path) -> String {
    let limit = |errno: i32| limit_hint(errno).unwrap_or_default().to_owned();
    match lack {
        Lack::Space => format!("the disk is full: `mpimg prune` frees what the local store in `{}` can spare", store.display()),
        Lack::OpenFiles => limit(libc::EMFILE),
        Lack::FileSize => limit(libc::EFBIG),
        Lack::Processes => crate::threads::LIMIT_HINT.into(),
    }
}

/// What the sandbox runs, but for the mounts of `--mount`. Variables that the image never has keep
/// the clock out of the layer: tools that know SOURCE_DATE_EPOCH write that time, and pip and npm
/// do not note when they looked for a newer version of themselves, nor npm when it ran.
pub(super) fn spec(session: &Session<'_>, stage: &mut StageState, step: &RunStep, user: User, root: RootSpec) -> Result<RunSpec> {
    let mut spec = RunSpec::new(step.argv.iter().map(String::as_str), root);
    spec.env = step.env.clone();
    let reproducible = [
        ("SOURCE_DATE_EPOCH", session.times.epoch().to_string()),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1".into()),
        ("NPM_CONFIG_UPDATE_NOTIFIER", "false".into()),
        ("NPM_CONFIG_LOGS_MAX", "0".into()),
    ];
    let reproducible = reproducible.map(|(name, value)| (name.to_owned(), value));
    for (name, value) in step.proxies.iter().cloned().chain(reproducible) {
        if !spec.env.iter().any(|(set, _)| *set == name) {
            spec.env.push((name, value));
        }
    }
    spec.user = user;
    let folder = stage.config.config.working_dir.clone();
    let tree = stage.tree(session)?;
    spec.make_cwd = true;
    spec.cwd = tree.resolve(if folder.is_empty() { "/" } else { &folder }, true)?.path;
    spec.network = match session.request.network_of(step.network) {
        Network::None => NetworkAccess::None,
        Network::Default | Network::Host => NetworkAccess::Host,
    };
    spec.security = match step.security {
        WantedSecurity::Sandbox => Security::Sandbox,
        WantedSecurity::Insecure => Security::Insecure,
    };
    if let Some(device) = step.devices.iter().find(|device| device.required) {
        return Err(Error::new(ErrorKind::Unsupported, format!("device `{}` cannot be given to RUN", device.name))
            .with_hint("leave out `--device`: mpimg has no CDI devices"));
    }
    spec.script = step.script.as_ref().map(|script| (script.name.clone(), script.content.clone()));
    if let Some(hostname) = &step.hostname {
        spec.hostname.clone_from(hostname);
    }
    spec.extra_hosts.clone_from(&session.request.extra_hosts);
    spec.shm_size = session.request.shm_size;
    spec.ulimits.clone_from(&session.request.ulimits);
    Ok(spec)
}
