//! `RUN --mount`: bind, cache, tmpfs, secret, ssh.
//!
//! Refuses sources outside their root: they are opened by openat2 with `RESOLVE_IN_ROOT`, whatever links say.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::overlay::{Upper, mount_stack};
use super::owners::Owners;
use super::rootfs::{Stage, is_folder, layer_path};
use super::stubs::Target;
use super::{SetupError, copy, fd_path, open_folder, ssh};
use crate::error::{Error, ErrorKind};
use crate::layer::LayerPath;
use crate::sandbox::wire::Step as _;
use crate::sandbox::{BindSource, Mount};

pub(super) fn add(stage: &mut Stage, mount: &Mount, index: usize) -> Result<(), SetupError> {
    match mount {
        Mount::Bind { source, target, writable } => {
            let source = open_source(stage, source, index)?;
            let kind = kind_of(&source)?;
            if !writable {
                return stage.bind(&source, target, kind, true);
            }
            let copy = disposable(stage, source, kind, index)?;
            stage.bind(&copy, target, kind, false)
        }
        Mount::Cache { folder, target, mode, uid, gid, readonly, seed } => {
            if let Some((source, room)) = seed.as_ref().filter(|_| !folder.exists()) {
                plant(&open_source(stage, source, index)?, room, folder)?;
            }
            let folder = cache_folder(&stage.owners, folder, *mode, *uid, *gid)?;
            stage.bind(&folder, target, Target::Folder, *readonly)
        }
        Mount::Volume { source, target, readonly } => {
            let source = open_volume(source)?;
            let kind = kind_of(&source)?;
            stage.bind_all(&source, target, kind, *readonly).map_err(|error| match error.errno {
                Some(errno) if errno == Errno::NOTDIR.raw_os_error() => other_kind(target, kind),
                _ => error,
            })
        }
        Mount::Tmpfs { target, size, mode } => {
            let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
            stage.mount_at(target, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, &format!("mode={mode:o}{size}"))
        }
        Mount::Secret { bytes, target, mode, uid, gid } => {
            let file = stage.memory_file(bytes.reveal(), *mode, *uid, *gid)?;
            stage.bind(&file, target, Target::File, true)
        }
        Mount::Ssh { target, .. } => {
            let socket = open_in(&open_folder(&stage.work)?, &layer_path(&ssh::socket_name(index)))?;
            stage.bind(&socket, target, Target::File, true)
        }
    }
}

/// A volume that is a folder where the image has a file, or the other way round.
fn other_kind(target: &LayerPath, kind: Target) -> SetupError {
    let (is, has) = match kind {
        Target::Folder => ("folder", "file"),
        Target::File => ("file", "folder"),
    };
    let message = format!("a {is} cannot be mounted on `{target}`, which is a {has} in the image");
    SetupError::refused(&Error::new(ErrorKind::Usage, message).with_hint(format!("mount a {has} there, or the {is} elsewhere")))
}

fn kind_of(source: &OwnedFd) -> Result<Target, SetupError> {
    let folder = is_folder(source).step(|| "examine the source of a mount".into())?;
    Ok(if folder { Target::Folder } else { Target::File })
}

/// A folder or file of this machine; links lead where they lead.
pub(super) fn open_volume(path: &Path) -> Result<OwnedFd, SetupError> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).step(|| format!("open `{}`", path.display()))
}

fn open_source(stage: &Stage, source: &BindSource, index: usize) -> Result<OwnedFd, SetupError> {
    let (root, path) = match source {
        BindSource::Host { root, path } => (open_folder(root)?, path),
        BindSource::Stack { lower, path } => {
            let at = stage.work.join(format!("stack-{index}"));
            (mount_stack(stage.isolation, lower, None, &at)?, path)
        }
    };
    open_in(&root, path)
}

pub(super) fn open_in(root: &OwnedFd, path: &LayerPath) -> Result<OwnedFd, SetupError> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let relative = crate::layer::unpack::relative(path);
    let opened = rustix::fs::openat2(root, relative, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    opened.step(|| format!("open the mount's source `{path}`"))
}

/// Something that looks like `source` and may be written to.
fn disposable(stage: &Stage, source: OwnedFd, kind: Target, index: usize) -> Result<OwnedFd, SetupError> {
    let at = |what: &str| stage.work.join(format!("bind-{index}-{what}"));
    if kind == Target::Folder {
        let (upper, work) = (at("upper"), at("work"));
        let lower = [PathBuf::from(fd_path(&source))];
        return mount_stack(stage.isolation, &lower, Some(Upper { folder: &upper, work: &work }), &at("root"));
    }
    let copy = at("file");
    let step = || "copy the source of a mount".to_owned();
    std::fs::copy(fd_path(&source), &copy).step(step)?;
    let stat = rustix::fs::fstat(&source).step(step)?;
    let copy = rustix::fs::open(&copy, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).step(step)?;
    stage.owners.give(&copy, stat.st_uid, stat.st_gid, stat.st_mode & 0o7777).step(step)?;
    Ok(copy)
}

/// Makes a copy of the folder `source` the new folder `folder`, unless another step is faster. `room` is where it is made.
pub(super) fn plant(source: &OwnedFd, room: &Path, folder: &Path) -> Result<(), SetupError> {
    if kind_of(source)? != Target::Folder {
        return Err(Errno::NOTDIR).step(|| "fill a cache".into());
    }
    let step = || format!("fill the cache folder `{}`", folder.display());
    let (Some(parent), Some(name)) = (room.parent(), room.file_name()) else { return Err(Errno::INVAL).step(step) };
    copy::copy(source, &open_folder(parent)?, name).step(step)?;
    match rustix::fs::rename(room, folder) {
        Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(()),
        renamed => renamed.step(step),
    }
}

pub(super) fn cache_folder(owners: &Owners, path: &Path, mode: u32, uid: u32, gid: u32) -> Result<OwnedFd, SetupError> {
    let step = || format!("create the cache folder `{}`", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).step(step)?;
    }
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => return open_folder(path),
        made => made.step(step)?,
    }
    let folder = open_folder(path)?;
    owners.give(&folder, uid, gid, mode).step(step)?;
    Ok(folder)
}
