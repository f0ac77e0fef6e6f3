//! Mounts a stack of unpacked layers.
//!
//! Folders are named through `/proc/self/fd`, so that no character of a path and no number of
//! layers can break the option string.
//!
//! Redirections that a hostile layer contains are not followed (`redirect_dir=nofollow`).

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind};

use super::descriptors::{fd_path, open_folder};
use crate::sandbox::IsolationKind;
use crate::sandbox::setup_error::{BecauseOf as _, Cause, SetupError, Step as _};

/// Where the writes of an overlay go.
pub(super) struct Upper<'a> {
    pub(super) folder: &'a Path,
    pub(super) work: &'a Path,
}

/// Mounts `lower` (topmost first) with or without an upper folder on the new folder `at`, and opens
/// the result.
pub(super) fn mount_stack(
    isolation: IsolationKind,
    lower: &[PathBuf],
    upper: Option<Upper<'_>>,
    at: &Path,
) -> Result<OwnedFd, SetupError> {
    make_folder(at)?;
    let target = open_folder(at)?;
    let mut layers = lower.iter().map(|path| open_folder(path)).collect::<Result<Vec<_>, _>>()?;
    if upper.is_none() && layers.len() == 1 {
        mount_bind(fd_path(&layers[0]), fd_path(&target)).step(|| "bind a layer".into())?;
        return open_folder(at);
    }
    // Overlay wants one lower folder (two without an upper one), even for `FROM scratch`.
    while layers.len() < if upper.is_some() { 1 } else { 2 } {
        let empty = at.with_extension(format!("empty-{}", layers.len()));
        make_folder(&empty)?;
        layers.push(open_folder(&empty)?);
    }
    let mut options = format!("lowerdir={}", layers.iter().map(fd_path).collect::<Vec<_>>().join(":"));
    let mut open = Vec::new();
    if let Some(upper) = upper {
        make_folder(upper.folder)?;
        make_folder(upper.work)?;
        let (folder, work) = (open_folder(upper.folder)?, open_folder(upper.work)?);
        options += &format!(",upperdir={},workdir={}", fd_path(&folder), fd_path(&work));
        open.extend([folder, work]);
    }
    options += match isolation.has_user_namespace() {
        true => ",userxattr",
        false => ",index=off,metacopy=off,redirect_dir=nofollow",
    };
    // A step that is cut short is thrown away as a whole, so nothing needs to be synced for its
    // sake.
    let volatile = if open.is_empty() { String::new() } else { format!("{options},volatile") };
    let attempts = [volatile, options].into_iter().filter(|options| !options.is_empty());
    let mut result = Err(Errno::INVAL);
    for options in attempts {
        let options = CString::new(options).map_err(|_| SetupError::new("mount overlay", None).with_cause(Cause::Overlay))?;
        result = mount("overlay", fd_path(&target), "overlay", MountFlags::NODEV, options.as_c_str());
        if result != Err(Errno::INVAL) {
            break;
        }
    }
    result.step(|| "mount overlay".into()).because_of(Cause::Overlay)?;
    open_folder(at)
}

pub(super) fn make_folder(path: &Path) -> Result<(), SetupError> {
    match rustix::fs::mkdir(path, rustix::fs::Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).step(|| format!("create `{}`", path.display())),
    }
}
