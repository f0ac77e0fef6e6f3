//! Files of several names that an earlier layer has: one that a step changes, moves or links by one
//! of them becomes a file of its own there, and the others stay what they were, as where an overlay
//! copies it up (Documentation/filesystems/overlayfs.rst, "Non-standard behavior").
//!
//! Not for a descriptor: it could not be made to be another file's.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::super::notify::Call;
use super::attributes::set_times_of;
use super::examine::attributes_of;
use super::nodes::At;
use super::state::{Caller, Result, Supervisor, set_mode};
use super::view::{PATH_ONLY, kind, name_of, os, stat_at};
use super::walk::Found;
use crate::layer::owner_table::inode_of;

impl Supervisor {
    /// As [`at`](Self::at), for a file that is about to be changed.
    pub(super) fn at_to_change(&mut self, call: &Call, caller: &Caller, at: At, flags: i32) -> Result<Found> {
        let found = self.at(call, caller, at, flags)?;
        if flags & libc::AT_EMPTY_PATH != 0 { Ok(found) } else { self.copy_up(found) }
    }

    /// Whether the step did not make this file, and it has several names.
    pub(super) fn is_linked_below(&self, stat: &Stat) -> bool {
        stat.st_nlink > 1 && self.linked.contains(&inode_of(stat))
    }

    /// The file, or the copy that has taken its name.
    pub(super) fn copy_up(&mut self, found: Found) -> Result<Found> {
        if !self.is_linked_below(&found.stat) {
            return Ok(found);
        }
        let inode = inode_of(&found.stat);
        let path = self.view.inside(&found.file)?;
        let Some(end) = path.iter().rposition(|byte| *byte == b'/') else { return Ok(found) };
        let (above, name) = (if end == 0 { b"/" } else { &path[..end] }, os(&path[end + 1..]));
        let folder = self.view.open(above)?;
        // It may have been moved since.
        if !stat_at(&folder, name.as_bytes()).is_ok_and(|stat| inode_of(&stat) == inode) {
            return Ok(found);
        }
        let before = rustix::fs::fstat(&folder)?;
        let copy = Path::new(os(&self.loader)).with_file_name("copied-up");
        match kind(&found.stat) {
            FileType::RegularFile => copy_file(&found, &copy)?,
            FileType::Symlink => rustix::fs::symlink(rustix::fs::readlinkat(&found.file, "", Vec::new())?, &copy)?,
            FileType::Fifo => {
                rustix::fs::mknodat(CWD, &copy, FileType::Fifo, Mode::from_raw_mode(found.stat.st_mode & 0o777), 0)?
            }
            _ => return Ok(found),
        }
        let file = rustix::fs::open(&copy, PATH_ONLY | OFlags::NOFOLLOW, Mode::empty())?;
        set_times_of(&file, &times_of(&found.stat))?;
        rustix::fs::renameat(CWD, &copy, &folder, name)?;
        set_times_of(&folder, &times_of(&before))?;
        let stat = rustix::fs::fstat(&file)?;
        self.gone.remove(&inode_of(&stat));
        self.table.set(inode_of(&stat), self.table.row(inode));
        Ok(Found { file, stat })
    }

    /// As `copy_up`, for the entry of a folder.
    pub(super) fn copy_up_entry(&mut self, folder: &std::os::fd::OwnedFd, name: &[u8]) -> Result<()> {
        if self.is_linked_below(&stat_at(folder, name)?) {
            let file = rustix::fs::openat(folder, os(name), PATH_ONLY | OFlags::NOFOLLOW, Mode::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            self.copy_up(Found { file, stat })?;
        }
        Ok(())
    }
}

fn copy_file(found: &Found, copy: &Path) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let to = rustix::fs::open(copy, flags, Mode::RUSR | Mode::WUSR)?;
    let mut from = File::open(name_of(&found.file)).map_err(errno)?;
    std::io::copy(&mut from, &mut File::from(to.try_clone().map_err(errno)?)).map_err(errno)?;
    let mut names = vec![0; 65536];
    let length = rustix::fs::listxattr(attributes_of(&found.file), &mut names[..]).unwrap_or(0);
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        let length = rustix::fs::getxattr(attributes_of(&found.file), os(name), &mut value[..])?;
        rustix::fs::fsetxattr(&to, os(name), &value[..length], XattrFlags::empty())?;
    }
    set_mode(&to, found.stat.st_mode & 0o7777)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[allow(clippy::unnecessary_cast, reason = "the fields of stat differ between architectures")]
fn times_of(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as i64, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime as i64, tv_nsec: stat.st_mtime_nsec as _ },
    }
}
