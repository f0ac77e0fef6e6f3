//! Folders by path, paths by descriptor, pipes: what every part of the helper opens.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

pub(in crate::sandbox) use crate::layer::remove_tree;
use crate::sandbox::setup_error::{SetupError, Step as _};

pub(super) fn open_folder(path: &Path) -> Result<OwnedFd, SetupError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).step(|| format!("open `{}`", path.display()))
}

/// The path of an open descriptor, for calls that only take paths. Needs the /proc that this
/// process was born with.
pub(super) fn fd_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

pub(super) fn pipe() -> Result<(File, File), SetupError> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step(|| "pipe".into())?;
    Ok((reader.into(), writer.into()))
}

pub(super) fn is_folder(path: &OwnedFd) -> Result<bool, Errno> {
    Ok(rustix::fs::fstat(path)?.st_mode & 0o170000 == 0o040000)
}

/// An error where the file system of `tree` has one of these flags.
pub(super) fn is_mounted_without(tree: &Path, flags: &[(StatVfsMountFlags, &str)]) -> Result<(), SetupError> {
    let set = rustix::fs::statvfs(tree).step(|| format!("examine `{}`", tree.display()))?.f_flag;
    match flags.iter().find(|(flag, _)| set.contains(*flag)) {
        Some((_, name)) => {
            let step = format!("use `{}` as a root, because it is mounted {name}", tree.display());
            Err(SetupError::new(step, Some(Errno::ACCESS.raw_os_error())))
        }
        None => Ok(()),
    }
}
