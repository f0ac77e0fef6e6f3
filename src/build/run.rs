//! RUN: the command in the stage's file system, and what it changed as a layer.
//!
//! Refuses to guess about isolation: the sandbox says what this machine gives.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::cache;
use super::reuse;
use super::session::Session;
use super::stage::Stage;
use super::stages::Stages;
use crate::context::{Patterns, WalkEntry};
use crate::dockerfile::{Base, Mount as Wanted, RunStep, Sharing};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::diff::Original;
use crate::layer::{Entry, Kind, LayerPath};
use crate::oci::Digest;
use crate::progress::Task;
use crate::sandbox::{BindSource, Exit, Mount, Network, RootSpec, RunSpec, Rung, Security};
use crate::store::{CacheRecord, CachedLayer};

/// Does one RUN. Whether the build cache had it.
pub(super) fn run(session: &Session<'_>, stages: &Stages<'_>, stage: &mut Stage, step: &RunStep, task: &Task) -> Result<bool> {
    let key = cache::run_key(session, stage, step)?;
    if let Some(key) = &key
        && reuse::recall(session, stage, key)?
    {
        return Ok(true);
    }
    let isolation = session.isolation()?;
    let scratch = session.store.scratch()?;
    let layer = run_in(session, stages, stage, step, task, scratch.path());
    // Also of a step that failed: its files may belong to users that only the sandbox can act for.
    let removed = isolation.remove_tree(scratch.path());
    let layer = layer?;
    removed?;
    if let Some(key) = key {
        session.store.cache_put(&key, &CacheRecord { layer, created: session.times.epoch() })?;
    }
    Ok(false)
}

/// Runs the command, with `scratch` as room for it, and takes its changes as a layer; `None` where there are none.
fn run_in(
    session: &Session<'_>,
    stages: &Stages<'_>,
    stage: &mut Stage,
    step: &RunStep,
    task: &Task,
    scratch: &Path,
) -> Result<Option<CachedLayer>> {
    let isolation = session.isolation()?;
    let root = match isolation.rung() {
        Rung::Chroot => RootSpec::Tree { path: stage.whole_tree(session)? },
        _ => RootSpec::Overlay {
            lower: stage.filesystem.unpacked(session)?,
            upper: new_folder(scratch, "upper")?,
            work: new_folder(scratch, "work")?,
        },
    };
    let spec = spec(session, stages, stage, step, root, scratch)?;
    let before = isolation.snapshot(&spec.root)?;
    let outcome = isolation.run(&spec, &mut |bytes| task.output(bytes), &session.request.cancel)?;
    if !outcome.exit.success() {
        return Err(failure(outcome.exit));
    }
    let mut writer = session.layer_writer(stage.target)?;
    let epoch = session.times.epoch();
    let emit = &mut |entry: &Entry, content: Option<&mut dyn Read>| {
        let mut entry = entry.clone();
        entry.metadata.mtime = entry.metadata.mtime.min(epoch);
        match content {
            Some(mut content) => writer.append_file(&entry, &mut content),
            None => writer.append(&entry),
        }
    };
    isolation.changes(&spec.root, &before, &mut |paths| originals(session, stage, paths, scratch), emit)?;
    if writer.entries() == 0 {
        return Ok(None);
    }
    let pushed = stage.filesystem.push_finished(session, writer.finish()?)?;
    match &spec.root {
        // The upper folder is what unpacking the layer would give: a later RUN stands on it at once.
        RootSpec::Overlay { upper, .. } => drop(session.store.unpacked_dir(&pushed.diff_id, |folder| {
            std::fs::remove_dir(folder)
                .and_then(|()| std::fs::rename(upper, folder))
                .map_err(|error| Error::io("move", upper, error))
        })?),
        RootSpec::Tree { .. } => stage.whole_tree_has_all(),
    }
    Ok(Some(CachedLayer { diff_id: pushed.diff_id, descriptor: pushed.descriptor }))
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

fn spec(
    session: &Session<'_>,
    stages: &Stages<'_>,
    stage: &mut Stage,
    step: &RunStep,
    root: RootSpec,
    scratch: &Path,
) -> Result<RunSpec> {
    let mut spec = RunSpec::new(step.argv.iter().map(String::as_str), root);
    spec.env = step.env.clone();
    let epoch = ("SOURCE_DATE_EPOCH".to_owned(), session.times.epoch().to_string());
    for (name, value) in step.proxies.iter().cloned().chain([epoch]) {
        if !spec.env.iter().any(|(set, _)| *set == name) {
            spec.env.push((name, value));
        }
    }
    spec.user = stage.user(session)?;
    let folder = stage.config.config.working_dir.clone();
    let tree = stage.filesystem.tree(session)?;
    spec.cwd = tree.resolve(if folder.is_empty() { "/" } else { &folder }, true)?.path;
    spec.network = match step.network {
        crate::dockerfile::Network::None => Network::None,
        crate::dockerfile::Network::Default | crate::dockerfile::Network::Host => Network::Host,
    };
    spec.security = match step.security {
        crate::dockerfile::Security::Sandbox => Security::Sandbox,
        crate::dockerfile::Security::Insecure => Security::Insecure,
    };
    if let Some(device) = step.devices.iter().find(|device| device.required) {
        return Err(Error::new(ErrorKind::Unsupported, format!("device `{}` cannot be given to RUN", device.name))
            .with_hint("leave out --device: mpimg has no CDI devices"));
    }
    spec.script = step.script.as_ref().map(|script| (script.name.clone(), script.content.clone().into_bytes()));
    spec.extra_hosts = Vec::<(String, IpAddr)>::new();
    for (number, wanted) in step.mounts.iter().enumerate() {
        mount(session, stages, &mut spec, wanted, &scratch.join(format!("mount-{number}")))?;
    }
    Ok(spec)
}

fn mount(session: &Session<'_>, stages: &Stages<'_>, spec: &mut RunSpec, wanted: &Wanted, scratch: &Path) -> Result<()> {
    match wanted {
        Wanted::Bind { target, source, from, read_write } => {
            let source = bind_source(session, stages, source, from.as_ref(), scratch)?;
            spec.mounts.push(Mount::Bind { source, target: LayerPath::clean(target)?, writable: *read_write });
        }
        Wanted::Cache { target, id, from, read_only, sharing, mode, uid, gid, .. } => {
            if from.is_some() {
                return Err(Error::new(ErrorKind::Unsupported, "`from` of a cache mount cannot be used yet")
                    .with_hint("leave out `from`: the cache starts empty, and its content must not matter"));
            }
            let folder = match sharing {
                Sharing::Private => scratch.to_owned(),
                Sharing::Shared | Sharing::Locked => cache_folder(session, id)?,
            };
            let target = LayerPath::clean(target)?;
            spec.mounts.push(Mount::Cache { folder, target, mode: *mode, uid: *uid, gid: *gid, readonly: *read_only });
        }
        Wanted::Tmpfs { target, size } => {
            spec.mounts.push(Mount::Tmpfs { target: LayerPath::clean(target)?, size: *size, mode: 0o755 });
        }
        Wanted::Secret { id, target, env, required, mode, uid, gid } => {
            let Some(bytes) = session.request.secrets.get(id) else {
                if !*required {
                    return Ok(());
                }
                return Err(Error::new(ErrorKind::Usage, format!("secret `{id}` is required"))
                    .with_hint(format!("give it with `--secret id={id},src=FILE` or `--secret id={id},env=NAME`")));
            };
            if let Some(target) = target {
                let target = LayerPath::clean(target)?;
                spec.mounts.push(Mount::Secret { bytes: bytes.clone(), target, mode: *mode, uid: *uid, gid: *gid });
            }
            if let Some(name) = env {
                spec.secret_env.push((name.clone(), bytes.clone()));
            }
        }
        Wanted::Ssh { id, target, required, mode, uid, gid } => {
            let Some(socket) = session.request.ssh.get(id) else {
                if !*required {
                    return Ok(());
                }
                return Err(Error::new(ErrorKind::Usage, format!("the SSH agent `{id}` is required"))
                    .with_hint(format!("give it with `--ssh {id}` or `--ssh {id}=SOCKET`")));
            };
            if !spec.env.iter().any(|(name, _)| name == "SSH_AUTH_SOCK") {
                spec.env.push(("SSH_AUTH_SOCK".into(), target.clone()));
            }
            let target = LayerPath::clean(target)?;
            spec.mounts.push(Mount::Ssh { socket: socket.clone(), target, mode: *mode, uid: *uid, gid: *gid });
        }
    }
    Ok(())
}

/// The folder of a cache mount: by the digest of its name, since a name may hold anything.
fn cache_folder(session: &Session<'_>, id: &str) -> Result<PathBuf> {
    let all = session.store.root().join("mounts");
    std::fs::create_dir_all(&all).map_err(|error| Error::io("create", &all, error))?;
    Ok(all.join(Digest::of(id).hex()))
}

fn bind_source(
    session: &Session<'_>,
    stages: &Stages<'_>,
    source: &str,
    from: Option<&Base>,
    scratch: &Path,
) -> Result<BindSource> {
    let Some(from) = from else { return context_copy(session, source, scratch) };
    let filesystem = stages.source(session, from)?;
    let mut filesystem = filesystem.lock();
    let path = filesystem.tree(session)?.resolve(source, true)?.path;
    Ok(BindSource::Stack { lower: filesystem.unpacked(session)?, path })
}

/// The build context as RUN may see it: what `.dockerignore` leaves out is not there, and nothing leads out of it.
fn context_copy(session: &Session<'_>, pattern: &str, root: &Path) -> Result<BindSource> {
    std::fs::create_dir_all(root).map_err(|error| Error::io("create", root, error))?;
    let sources = session.context.sources(pattern)?;
    let [source] = &sources[..] else { return Err(session.context.no_match(pattern)) };
    // A single file needs a name in the folder; a folder is the folder itself.
    let base = if *source.kind() == Kind::Directory { LayerPath::root() } else { LayerPath::parse("source")? };
    for walked in source.walk(&Patterns::default())? {
        let walked = walked?;
        copy_out(&walked, &root.join(base.join(&walked.entry.path).as_path()))?;
    }
    Ok(BindSource::Host { root: root.to_owned(), path: base })
}

fn copy_out(walked: &WalkEntry, path: &Path) -> Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt, symlink};

    let wrong = |error| Error::io("copy", path, error);
    match &walked.entry.kind {
        Kind::Directory => std::fs::create_dir(path).map_err(wrong)?,
        Kind::Symlink { target } => return symlink(std::ffi::OsStr::from_bytes(target), path).map_err(wrong),
        Kind::File { .. } => {
            let mut copy = std::fs::File::create(path).map_err(wrong)?;
            std::io::copy(&mut walked.open()?, &mut copy).map_err(wrong)?;
        }
        _ => return Ok(()),
    }
    std::fs::set_permissions(path, PermissionsExt::from_mode(walked.entry.metadata.mode)).map_err(wrong)
}
