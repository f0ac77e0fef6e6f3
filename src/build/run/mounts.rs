//! `RUN --mount`: what each mount of a step stands for on this machine.
//!
//! A cache that is `locked` is used by one step at a time, among all processes; one that is
//! `private` too, but a second step does not wait: it gets an empty one of its own. Where nothing
//! can be mounted the folder itself is lent to the step, so that there a `shared` cache is used by
//! one step at a time as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::PoisonError;

use super::context_mount::copy_context;
use crate::build::cache::{BoundFiles, CacheFolder, FOLDER};
use crate::build::filesystem::Filesystem;
use crate::build::inputs::StepInputs;
use crate::build::session::Session;
use crate::dockerfile::{Base, MountRequest, Sharing};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::layer::LayerPath;
use crate::sandbox::{BindSource, Mount, RunSpec, User};
use crate::store::MountLock;

/// What a step's mounts hold on to while it runs.
pub(super) struct Mounted {
    /// The caches that are this step's alone.
    pub(super) locks: Vec<MountLock>,
    /// What was taken of the build context, in the order of the mounts.
    pub(super) bound: Vec<BoundFiles>,
}

/// Adds the mounts that a RUN asks for to `spec`, with `scratch` as room for them. The locks are
/// held while the step runs.
pub(super) fn add(inputs: &StepInputs<'_>, spec: &mut RunSpec, wanted: &[MountRequest], scratch: &Path) -> Result<Mounted> {
    let (locks, busy) = lock(inputs, wanted)?;
    let (mut made, mut bound) = (Vec::new(), Vec::new());
    for (number, mount) in wanted.iter().enumerate() {
        let scratch = scratch.join(format!("mount-{number}"));
        std::fs::create_dir(&scratch).map_err(|error| Error::io("create", &scratch, error))?;
        let name = cache_name(inputs, mount)?.filter(|name| !busy.contains(name));
        name.iter().try_for_each(|name| reset(inputs, name, &scratch))?;
        let (mounted, files) = make(inputs, spec, mount, name.as_ref(), &scratch)?;
        made.extend(mounted.map(|mounted| (mount, mounted)));
        bound.extend(files);
    }
    spec.mounts.extend(in_order(made));
    Ok(Mounted { locks, bound })
}

/// In BuildKit's order: that of the line, secrets and agents after all others. Of several at one
/// place only the last is mounted (executor/oci/mounts.go, `dedupMounts`). `sandbox/init/plan.rs`
/// then mounts parents first.
fn in_order(mut made: Vec<(&MountRequest, Mount)>) -> Vec<Mount> {
    made.sort_by_key(|(wanted, _)| matches!(wanted, MountRequest::Secret { .. } | MountRequest::Ssh { .. }));
    let mut mounts: Vec<Mount> = Vec::new();
    for (_, mount) in made {
        match mounts.iter_mut().find(|earlier| earlier.target() == mount.target()) {
            Some(earlier) => *earlier = mount,
            None => mounts.push(mount),
        }
    }
    mounts
}

/// The name of a cache's folder: what it starts from counts, and the owner and mode that it is made
/// with, as in BuildKit; and how owners are kept on disk.
fn cache_name(inputs: &StepInputs<'_>, mount: &MountRequest) -> Result<Option<String>> {
    let MountRequest::Cache { id, from, source, owned, mode, uid, gid, .. } = mount else { return Ok(None) };
    let isolation = inputs.session.isolation()?;
    let kept = match isolation.kind().has_host_owners() {
        true => String::new(),
        false => format!("\n{}", isolation.ownership(&User::default())),
    };
    let Some(from) = from else {
        let made_as = if *owned { format!("\n{mode:o} {uid}:{gid}") } else { String::new() };
        return Ok(Some(format!("{id}{made_as}{kept}")));
    };
    let chain = inputs.sources.find(from)?.lock().chain_id();
    Ok(Some(format!("{id}\n{}\n{source}{kept}", chain.map(|chain| chain.to_string()).unwrap_or_default())))
}

/// Takes the folder of a cache away, into `scratch`, where the build is to use no cache and has not
/// used this one yet (as BuildKit).
fn reset(inputs: &StepInputs<'_>, name: &str, scratch: &Path) -> Result<()> {
    let session = inputs.session;
    let mut reset = session.reset_caches.lock().unwrap_or_else(PoisonError::into_inner);
    if !session.request.no_cache || !reset.insert(name.to_owned()) {
        return Ok(());
    }
    session.store.discard_mount(name, &scratch.join("discarded"))
}

/// Locks the caches that must not be used by two at once; also gives the names of private ones that
/// somebody is using.
fn lock(inputs: &StepInputs<'_>, wanted: &[MountRequest]) -> Result<(Vec<MountLock>, BTreeSet<String>)> {
    let session = inputs.session;
    let lent = session.isolation()?.kind().needs_tree();
    // In one order everywhere: two steps never wait for each other. One name is locked once,
    // whatever a step calls it twice for.
    let mut names = BTreeMap::new();
    for mount in wanted {
        if let (MountRequest::Cache { sharing, .. }, Some(name)) = (mount, cache_name(inputs, mount)?) {
            let wait = match sharing {
                Sharing::Private => false,
                Sharing::Locked => true,
                Sharing::Shared if lent => true,
                Sharing::Shared => continue,
            };
            *names.entry(name).or_insert(wait) |= wait;
        }
    }
    let (mut locks, mut busy) = (Vec::new(), BTreeSet::new());
    for (name, wait) in names {
        if wait {
            locks.push(session.wait_for(session.store.lock_mount(&name))?);
        } else if let Some(lock) = session.store.try_lock_mount(&name)? {
            locks.push(lock);
        } else {
            busy.insert(name);
        }
    }
    Ok((locks, busy))
}

/// `cache`: the name of a cache's folder in the store; `None`: the cache is this step's alone. The
/// mount, and what was taken of the build context for it. `spec` gets variables.
fn make(
    inputs: &StepInputs<'_>,
    spec: &mut RunSpec,
    wanted: &MountRequest,
    cache: Option<&String>,
    scratch: &Path,
) -> Result<(Option<Mount>, Option<BoundFiles>)> {
    let session = inputs.session;
    let mount = match wanted {
        MountRequest::Bind { target, source, from, read_write } => {
            let (source, bound) = match from {
                Some(from) => (stage_source(inputs, &spec.user, source, from, scratch)?, None),
                None => copy_context(session, source, scratch).map(|(source, bound)| (source, Some(bound)))?,
            };
            return Ok((Some(Mount::Bind { source, target: LayerPath::clean(target)?, writable: *read_write }), bound));
        }
        MountRequest::Cache { target, source, from, read_only, mode, uid, gid, .. } => {
            let folder = match cache {
                Some(name) => session.store.mount_folder(name)?,
                None => scratch.join("cache"),
            };
            // Looked at only where there is no cache yet.
            let is_new = !folder.exists();
            let saved = cache.filter(|_| is_new).and_then(|name| saved_source(inputs, &spec.user, name, scratch));
            let begun = saved.as_ref().map(|(_, begun)| *begun);
            let seed = match (saved, from) {
                (Some((saved, _)), _) => Some(saved),
                (None, Some(from)) if is_new => Some(stage_source(inputs, &spec.user, source, from, scratch)?),
                _ => None,
            };
            let room = scratch.join("room");
            if let Some(name) = cache.filter(|_| !read_only) {
                let folder = CacheFolder { name: name.clone(), mode: *mode, uid: *uid, gid: *gid };
                inputs.cache.use_mount(folder, begun);
            }
            let target = LayerPath::clean(target)?;
            Mount::Cache { folder, room, target, mode: *mode, uid: *uid, gid: *gid, readonly: *read_only, seed }
        }
        MountRequest::Tmpfs { target, size } => Mount::Tmpfs { target: LayerPath::clean(target)?, size: *size, mode: None },
        MountRequest::Secret { id, target, env, required, mode, uid, gid } => {
            let Some(bytes) = session.request.secrets.get(id) else {
                if !*required {
                    return Ok((None, None));
                }
                return Err(Error::new(ErrorKind::Usage, format!("secret `{id}` is required")).with_hint(format!(
                    "give it with {} or {}",
                    Setting::Secret.with(format!("id={id},src=FILE")),
                    Setting::Secret.with(format!("id={id},env=NAME"))
                )));
            };
            if let Some(name) = env {
                spec.secret_env.push((name.clone(), bytes.clone()));
            }
            let Some(target) = target else { return Ok((None, None)) };
            Mount::MemoryFile { bytes: bytes.clone(), target: LayerPath::clean(target)?, mode: *mode, uid: *uid, gid: *gid }
        }
        MountRequest::Ssh { id, target, required, mode, uid, gid } => {
            // Also where there is no agent (BuildKit, llb/exec.go).
            if !spec.env.iter().any(|(name, _)| name == "SSH_AUTH_SOCK") {
                spec.env.push(("SSH_AUTH_SOCK".into(), target.clone()));
            }
            let Some(socket) = session.request.ssh.get(id) else {
                if !*required {
                    return Ok((None, None));
                }
                return Err(Error::new(ErrorKind::Usage, format!("the SSH agent `{id}` is required")).with_hint(format!(
                    "give it with {} or {}",
                    Setting::Ssh.with(id),
                    Setting::Ssh.with(format!("{id}=SOCKET"))
                )));
            };
            let target = LayerPath::clean(target)?;
            Mount::Ssh { socket: socket.clone(), target, mode: *mode, uid: *uid, gid: *gid }
        }
    };
    Ok((Some(mount), None))
}

/// A folder or file of a stage or an image, as a step of `user` sees it.
fn stage_source(inputs: &StepInputs<'_>, user: &User, path: &str, from: &Base, scratch: &Path) -> Result<BindSource> {
    let source = inputs.sources.find(from)?;
    let mut filesystem = source.lock();
    let resolved = filesystem.tree(inputs.session)?.resolve(path, true)?;
    if resolved.node.is_none() {
        return Err(source.not_found(path));
    }
    let path = resolved.path;
    source_in(inputs.session, &mut filesystem, user, path, scratch)
}

/// What another machine has saved of a cache that this one does not have, and when that was begun.
/// One that is damaged is none.
fn saved_source(inputs: &StepInputs<'_>, user: &User, name: &str, scratch: &Path) -> Option<(BindSource, i64)> {
    let saved = inputs.cache.saved_mount(name)?;
    let mut filesystem = Filesystem::of_stage(vec![saved.layer], true);
    let path = LayerPath::parse(FOLDER).ok()?;
    match source_in(inputs.session, &mut filesystem, user, path, &scratch.join("saved")) {
        Ok(source) => Some((source, saved.begun)),
        Err(error) => {
            tracing::warn!(error = error.in_one_line(), "a saved cache mount is not used");
            None
        }
    }
}

/// A path of a file system, as a step of `user` sees it.
fn source_in(
    session: &Session<'_>,
    filesystem: &mut Filesystem,
    user: &User,
    path: LayerPath,
    scratch: &Path,
) -> Result<BindSource> {
    if !session.isolation()?.kind().needs_tree() {
        return Ok(BindSource::Stack { lower: filesystem.unpacked(session, user)?, path });
    }
    // Nothing can be mounted there: the layers go into one folder.
    let root = scratch.join("tree");
    std::fs::create_dir_all(&root).map_err(|error| Error::io("create", &root, error))?;
    filesystem.unpack_over(session, 0, &root)?;
    Ok(BindSource::Host { root, path })
}
