//! Owners and modes of what this program itself puts into a sandbox.
//!
//! A file system that cannot record an owner is not an error, because these files never get into a
//! layer.

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, Stat, Uid};
use rustix::io::Errno;

use super::descriptors::{fd_path, open_folder};
use super::stubs;
use crate::layer::owners::{Record, path_in};
use crate::layer::unpack::Identity;
use crate::sandbox::setup_error::{BecauseOf as _, Cause, SetupError, Step as _};
use crate::sandbox::{IsolationKind, RunSpec, User};

/// How files get their owner.
#[derive(Debug, Clone)]
pub(super) enum Owners {
    /// By chown.
    OnDisk,
    /// By a record for a step of this user.
    Recorded(Identity),
}

impl Owners {
    pub(super) fn new(isolation: IsolationKind, user: &User) -> Self {
        match isolation.records_owners_in_xattrs() {
            true => Self::Recorded(user.into()),
            false => Self::OnDisk,
        }
    }

    /// Gives what `file` is open on its owner and mode.
    pub(super) fn give(&self, file: &OwnedFd, uid: u32, gid: u32, mode: u32) -> Result<(), Errno> {
        let mode = match self {
            Self::OnDisk => {
                let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                rustix::fs::chownat(file, "", uid, gid, AtFlags::EMPTY_PATH)?;
                mode
            }
            Self::Recorded(identity) => {
                let now = rustix::fs::fstat(file)?;
                let (on_disk, record) = identity.on_disk(uid, gid, mode, None);
                if let Some(record) = record {
                    let _ = record.write_descriptor(Path::new(&fd_path(file)), now.st_mode, identity.default_owner());
                }
                on_disk
            }
        };
        // By path: a descriptor that is only a place cannot be changed.
        rustix::fs::chmod(fd_path(file), Mode::from_raw_mode(mode))
    }

    /// Makes the folder `copy` what the folder `source` is: owner, mode, and what is recorded of
    /// it.
    pub(super) fn copy_folder(&self, source: &OwnedFd, copy: &OwnedFd) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(source)?;
        match self {
            Self::OnDisk => self.give(copy, stat.st_uid, stat.st_gid, stat.st_mode & 0o7777),
            Self::Recorded(identity) => {
                if let Some(record) = Record::read_descriptor(Path::new(&fd_path(source)), stat.st_mode) {
                    let _ = record.write_descriptor(Path::new(&fd_path(copy)), stat.st_mode, identity.default_owner());
                }
                rustix::fs::chmod(fd_path(copy), Mode::from_raw_mode(stat.st_mode & 0o7777))
            }
        }
    }

    /// Records of a copy (`name` in `folder`) what is recorded of its original, whose status is
    /// `stat`.
    pub(super) fn copy_record(&self, original: &OwnedFd, folder: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
        if matches!(self, Self::OnDisk) {
            return Ok(());
        }
        match Record::read_descriptor(Path::new(&fd_path(original)), stat.st_mode) {
            Some(record) => record.write(&path_in(folder, name), stat.st_mode),
            None => Ok(()),
        }
    }

    /// Makes the folders that a step leaves behind.
    pub(super) fn make_lasting_folders(&self, root: &OwnedFd, spec: &RunSpec) -> Result<(), SetupError> {
        stubs::make_lasting_folders(root, spec, &mut |folder, user, mode| self.give(folder, user.uid, user.gid, mode))
    }

    /// Gives `name` in `folder`, which is neither a file nor a folder, its owner and mode.
    pub(super) fn give_node(&self, folder: &OwnedFd, name: &str, uid: u32, gid: u32, mode: u32) -> Result<(), Errno> {
        let mode = match self {
            Self::OnDisk => {
                let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
                mode
            }
            Self::Recorded(identity) => identity.mode_on_disk(uid, gid, mode),
        };
        rustix::fs::chmodat(folder, name, Mode::from_raw_mode(mode), AtFlags::empty())
    }

    /// Makes the empty folder `path` an upper folder: it shows as root's `/`, and says whose the
    /// files without a record in it are.
    pub(super) fn begin(&self, path: &Path) -> Result<(), SetupError> {
        let Self::Recorded(identity) = self else { return Ok(()) };
        let folder = open_folder(path)?;
        identity
            .mark_tree(&path_in(&folder, OsStr::new(".")))
            .step(|| "record an owner (setxattr)".into())
            .because_of(Cause::OwnerRecord)?;
        self.give(&folder, 0, 0, 0o755).step(|| "set the mode of the root folder".into())
    }

    /// Lets the upper folder be moved, for which its owner must be allowed to write to it.
    pub(super) fn end(&self, path: &Path) -> Result<(), SetupError> {
        let Self::Recorded(_) = self else { return Ok(()) };
        rustix::fs::chmod(path, Mode::from_raw_mode(0o755)).step(|| "set the mode of the root folder".into())
    }
}
