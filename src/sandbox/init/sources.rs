//! What the mounts of a step show: folders and files of this machine, found without following links
//! out of their root.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags};
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

/// The folder of a cache. Where there is none, `make` makes it: it gets a folder and a name in it.
///
/// That is `room`, and the folder gets its own name once it is whole: a step that is killed leaves
/// none that later ones take for finished.
pub(super) fn cache_folder(
    folder: &Path,
    room: &Path,
    make: impl FnOnce(&OwnedFd, &OsStr) -> Result<(), SetupError>,
) -> Result<OwnedFd, SetupError> {
    if !folder.exists() {
        let step = || format!("create the cache folder `{}`", folder.display());
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent).step(step)?;
        }
        let (Some(parent), Some(name)) = (room.parent(), room.file_name()) else { return Err(Errno::INVAL).step(step) };
        make(&open_folder(parent)?, name)?;
        let renamed = match rustix::fs::renameat_with(CWD, room, CWD, folder, RenameFlags::NOREPLACE) {
            // Not every file system knows the flag. Then the folder of a step that was faster must
            // have something in it to stay.
            Err(Errno::INVAL) => rustix::fs::rename(room, folder),
            renamed => renamed,
        };
        match renamed {
            // Another step was faster.
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            renamed => renamed.step(step)?,
        }
    }
    open_folder(folder)
}

/// Makes the folder of a cache, as `name` in `parent`: a copy of `source`, or an empty one with
/// this owner and mode.
pub(super) fn make_cache(
    owners: &Owners,
    source: Option<&OwnedFd>,
    parent: &OwnedFd,
    name: &OsStr,
    (uid, gid, mode): (u32, u32, u32),
) -> Result<(), SetupError> {
    let step = || "fill a cache".to_owned();
    let Some(source) = source else {
        let step = || format!("make the folder of a cache for {uid}:{gid}");
        rustix::fs::mkdirat(parent, name, Mode::RWXU).step(step)?;
        let made = rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        return made.and_then(|made| owners.give(&made, uid, gid, mode)).step(step);
    };
    if kind_of(source)? != Target::Folder {
        return Err(Errno::NOTDIR).step(step);
    }
    copy::copy_with(source, parent.as_fd(), name, &mut |original, folder, name, stat| {
        copy::copy_metadata(original, folder, name, stat)?;
        owners.copy_record(original, folder, name, stat)
    })
    .step(step)
}
