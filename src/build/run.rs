//! RUN: the command in the stage's file system, and what it changed as a layer.
//!
//! Refuses to guess about isolation: the sandbox says what this machine gives.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::binds::{Bound, RunAttempt};
use super::cache;
use super::leftovers::Leftovers;
use super::mounts;
use super::session::Session;
use super::stage::Stage;
use super::stages::Stages;
use crate::dockerfile::{RunStep, Security as Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::diff::Original;
use crate::layer::{Entry, LayerPath};
use crate::progress::Task;
use crate::sandbox::{Exit, IsolationKind, Network, RootSpec, RunSpec, Security, User};
use crate::store::CachedLayer;

/// Does one RUN. Whether the build cache had it.
pub(super) fn run(session: &Session<'_>, stages: &Stages<'_>, stage: &mut Stage, step: &RunStep, task: &Task) -> Result<bool> {
    if step.security == Wanted::Insecure && !session.request.allow_insecure {
        return Err(Error::new(ErrorKind::Usage, "`--security=insecure` is not allowed")
            .with_hint("allow it with `--allow security.insecure`, if you trust the Dockerfile as you trust mpimg"));
    }
    let (key, sources) = cache::run_key(session, stages, stage, step)?;
    let attempt = RunAttempt::new(key, sources);
    if attempt.recall(session, stage)? {
        return Ok(true);
    }
    let isolation = session.isolation()?;
    let scratch = session.store.scratch()?;
    let layer = run_in(session, stages, stage, step, task, scratch.path());
    // Also of a step that failed: its files may belong to users that only the sandbox can act for.
    let removed = isolation.remove_tree(scratch.path());
    let (layer, bound) = layer?;
    removed?;
    attempt.remember(session, stage, bound, layer)?;
    Ok(false)
}

/// Runs the command, with `scratch` as room for it, and takes its changes as a layer; `None` where there are none. Also tells
/// what of the build context it was given.
fn run_in(
    session: &Session<'_>,
    stages: &Stages<'_>,
    stage: &mut Stage,
    step: &RunStep,
    task: &Task,
    scratch: &Path,
) -> Result<(Option<CachedLayer>, Vec<Bound>)> {
    let isolation = session.isolation()?;
    if step.network == crate::dockerfile::Network::None && isolation.kind() == IsolationKind::Chroot {
        return Err(Error::new(ErrorKind::Unsupported, "`--network=none` needs namespaces, which there are none of by `chroot`")
            .with_hint("see `mpimg doctor` for what a better isolation takes, or leave out --network=none"));
    }
    let user = stage.user(session)?;
    let root = match isolation.kind() {
        IsolationKind::Chroot => RootSpec::Tree { path: stage.whole_tree(session)? },
        _ => RootSpec::Overlay {
            lower: stage.filesystem.unpacked(session, &user)?,
            upper: new_folder(scratch, "upper")?,
            work: new_folder(scratch, "work")?,
        },
    };
    let mut spec = spec(session, stage, step, user, root)?;
    let mounted = mounts::add(session, stages, &mut spec, &step.mounts, scratch)?;
    let before = match stage.tree_mut() {
        Some(tree) => tree.snapshot()?,
        None => isolation.snapshot(&spec.root)?,
    };
    let outcome = isolation.run(&spec, &mut |bytes| task.output(bytes), &session.request.cancel);
    if let Some(tree) = stage.tree_mut() {
        tree.step_ended(isolation, &before)?;
    }
    let outcome = outcome?;
    drop(mounted.locks);
    if !outcome.exit.success() {
        return Err(failure(outcome.exit));
    }
    let mut writer = session.layer_writer(stage.target)?;
    let epoch = session.times.epoch();
    let mut leftovers = Leftovers::default();
    let emit = &mut |entry: &Entry, content: Option<&mut dyn Read>| {
        leftovers.see(entry);
        let mut entry = entry.clone();
        entry.metadata.mtime = entry.metadata.mtime.min(epoch);
        match content {
            Some(mut content) => writer.append_file(&entry, &mut content),
            None => writer.append(&entry),
        }
    };
    let after = isolation.changes(&spec.root, &before, &mut |paths| originals(session, stage, paths, scratch), emit)?;
    if let Some(tree) = stage.tree_mut() {
        tree.is_now(after);
    }
    if stage.target {
        leftovers.tell(session.progress);
    }
    if writer.entries() == 0 {
        return Ok((None, mounted.bound));
    }
    let pushed = stage.filesystem.push_finished(session, writer.finish()?)?;
    match &spec.root {
        // The upper folder is what unpacking the layer would give: a later RUN stands on it at once.
        RootSpec::Overlay { upper, .. } => {
            drop(session.store.unpacked_dir(&pushed.diff_id, &isolation.ownership(&spec.user), |folder| {
                std::fs::remove_dir(folder)
                    .and_then(|()| std::fs::rename(upper, folder))
                    .map_err(|error| Error::io("move", upper, error))
            })?)
        }
        RootSpec::Tree { .. } => stage.whole_tree_has_all(),
    }
    Ok((Some(CachedLayer { diff_id: pushed.diff_id, descriptor: pushed.descriptor }), mounted.bound))
}

/// What files of the stage were before the step, out of its layers: where nothing can be mounted, the step ran on the only copy.
fn originals(
    session: &Session<'_>,
    stage: &mut Stage,
    paths: &[LayerPath],
    scratch: &Path,
) -> Result<HashMap<LayerPath, Original>> {
    let tree = stage.filesystem.tree(session)?.clone();
    let nodes = paths.iter().filter_map(|path| Some((path, tree.lookup(path)?)));
    let wanted: Vec<_> = nodes.filter_map(|(path, node)| Some((path, node, node.origin.as_ref()?))).collect();
    let folder = new_folder(scratch, "originals")?;
    let filled = wanted.iter().filter(|(_, node, _)| node.kind.size() > 0);
    let files = stage.filesystem.files(session, filled.map(|(_, _, origin)| *origin), &folder)?;
    let mut originals = HashMap::new();
    for (path, node, origin) in wanted {
        // An empty file is in no layer's content.
        let file = files.get(&origin.file).map_or(Path::new("/dev/null"), PathBuf::as_path);
        let content = File::open(file).map_err(|error| Error::io("open", file, error))?;
        originals.insert(path.clone(), Original { xattrs: node.metadata.xattrs.clone(), content });
    }
    Ok(originals)
}

fn new_folder(parent: &Path, name: &str) -> Result<PathBuf> {
    let path = parent.join(name);
    std::fs::create_dir(&path).map_err(|error| Error::io("create", &path, error)).map(|()| path)
}

fn failure(exit: Exit) -> Error {
    match exit {
        Exit::Code(127) => Error::new(ErrorKind::RunFailed, "the command ended with status 127: not found")
            .with_hint("install the program in an earlier RUN, or check its name and PATH"),
        Exit::Code(126) => Error::new(ErrorKind::RunFailed, "the command ended with status 126: it cannot be executed")
            .with_hint("check its mode, its first line, and that it is for the image's platform"),
        Exit::Code(code) => Error::new(ErrorKind::RunFailed, format!("the command ended with status {code}")),
        Exit::Signal(9) => Error::new(ErrorKind::RunFailed, "the command was killed by signal 9")
            .with_hint("if nothing killed it on purpose, the machine ran out of memory"),
        Exit::Signal(signal) => Error::new(ErrorKind::RunFailed, format!("the command was killed by signal {signal}")),
    }
}

fn spec(session: &Session<'_>, stage: &mut Stage, step: &RunStep, user: User, root: RootSpec) -> Result<RunSpec> {
    let mut spec = RunSpec::new(step.argv.iter().map(String::as_str), root);
    spec.env = step.env.clone();
    let epoch = ("SOURCE_DATE_EPOCH".to_owned(), session.times.epoch().to_string());
    for (name, value) in step.proxies.iter().cloned().chain([epoch]) {
        if !spec.env.iter().any(|(set, _)| *set == name) {
            spec.env.push((name, value));
        }
    }
    spec.user = user;
    let folder = stage.config.config.working_dir.clone();
    let tree = stage.filesystem.tree(session)?;
    spec.cwd = tree.resolve(if folder.is_empty() { "/" } else { &folder }, true)?.path;
    spec.network = match step.network {
        crate::dockerfile::Network::None => Network::None,
        crate::dockerfile::Network::Default | crate::dockerfile::Network::Host => Network::Host,
    };
    spec.security = match step.security {
        Wanted::Sandbox => Security::Sandbox,
        Wanted::Insecure => Security::Insecure,
    };
    if let Some(device) = step.devices.iter().find(|device| device.required) {
        return Err(Error::new(ErrorKind::Unsupported, format!("device `{}` cannot be given to RUN", device.name))
            .with_hint("leave out --device: mpimg has no CDI devices"));
    }
    spec.script = step.script.as_ref().map(|script| (script.name.clone(), script.content.clone().into_bytes()));
    spec.extra_hosts = Vec::<(String, IpAddr)>::new();
    Ok(spec)
}
