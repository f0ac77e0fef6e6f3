//! What the mounts of a step show: folders and files of this machine, found without following links
//! out of their root.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::copy;
use super::descriptors::{is_folder, open_folder};
use super::owners::Owners;
use super::stubs::Target;
use crate::layer::{LayerPath, open_inside};
use crate::sandbox::setup_error::{SetupError, Step as _};

pub(super) fn kind_of(source: &OwnedFd) -> Result<Target, SetupError> {
    let folder = is_folder(source).step(|| "examine the source of a mount".into())?;
    Ok(if folder { Target::Folder } else { Target::File })
}

/// A folder or file of this machine; links lead where they lead.
pub(super) fn open_volume(path: &Path) -> Result<OwnedFd, SetupError> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).step(|| format!("open `{}`", path.display()))
}

pub(super) fn open_in(root: &OwnedFd, path: &LayerPath) -> Result<OwnedFd, SetupError> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let relative = crate::layer::unpack::relative(path);
    let opened = open_inside(root, relative, OFlags::PATH | OFlags::CLOEXEC, resolve);
    opened.step(|| format!("open the mount's source `{path}`"))
}

/// Makes a copy of the folder `source` the new folder `folder`, unless another step is faster.
/// `room` is where it is made.
pub(super) fn seed_cache(owners: &Owners, source: &OwnedFd, room: &Path, folder: &Path) -> Result<(), SetupError> {
    if kind_of(source)? != Target::Folder {
        return Err(Errno::NOTDIR).step(|| "fill a cache".into());
    }
    let step = || format!("fill the cache folder `{}`", folder.display());
    let (Some(parent), Some(name)) = (room.parent(), room.file_name()) else { return Err(Errno::INVAL).step(step) };
    copy::copy_with(source, open_folder(parent)?.as_fd(), name, &mut |original, folder, name, stat| {
        copy::copy_metadata(original, folder, name, stat)?;
        owners.copy_record(original, folder, name, stat)
    })
    .step(step)?;
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
