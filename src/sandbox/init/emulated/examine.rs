//! stat and its kin, access, readlink, statfs: what a file looks like to the command.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::super::notify::{self, Call, bytes_of};
use super::nodes::At;
use super::state::{Caller, DONE, Reply, Result, Supervisor, by_number};
use super::view::{kind, name_of, os};
use super::walk::{Found, Walked};

impl Supervisor {
    /// The file that a descriptor, a path and flags name.
    pub(super) fn at(&self, call: &Call, caller: &Caller, at: At, flags: i32) -> Result<Found> {
        let named = self.named_by(call, at, flags)?;
        self.expect_waiting(call)?;
        match named {
            Named::Path(path) => self.look_up(caller, at.0, &path, flags & libc::AT_SYMLINK_NOFOLLOW == 0),
            Named::Descriptor(number) => self.of_descriptor(caller, number),
        }
    }

    /// Before anything is changed, `expect_waiting` has to say that it is the caller's.
    fn named_by(&self, call: &Call, at: At, flags: i32) -> Result<Named> {
        // A null pointer is as good as an empty path since Linux 6.11.
        let empty_allowed = flags & libc::AT_EMPTY_PATH != 0;
        let path = if at.1 == 0 && empty_allowed { Vec::new() } else { self.path_to_examine(call, at.1)? };
        Ok(match at.0 {
            _ if !path.is_empty() || !empty_allowed => Named::Path(path),
            libc::AT_FDCWD => Named::Path(b".".to_vec()),
            number => Named::Descriptor(number),
        })
    }

    pub(super) fn of_descriptor(&self, caller: &Caller, number: i32) -> Result<Found> {
        let file = self.descriptor(caller, number)?;
        let stat = rustix::fs::fstat(&file)?;
        Ok(Found { file, stat })
    }

    /// fstat, the most frequent of all: without opening anything.
    pub(super) fn fstat(&self, call: &Call, caller: &Caller, number: i32, buffer: u64) -> Result<Reply> {
        let mut stat = by_number(caller, number, |path| rustix::fs::stat(path))?;
        self.show(&mut stat);
        self.write(call, buffer, bytes_of(&stat))?;
        DONE
    }

    pub(super) fn stat(&self, call: &Call, caller: &Caller, at: At, flags: i32, buffer: u64) -> Result<Reply> {
        let mut stat: Stat = match self.named_by(call, at, flags)? {
            Named::Path(path) => self.look_up(caller, at.0, &path, flags & libc::AT_SYMLINK_NOFOLLOW == 0)?.stat,
            // How the C library makes fstat.
            Named::Descriptor(number) => by_number(caller, number, |path| rustix::fs::stat(path))?,
        };
        self.show(&mut stat);
        self.write(call, buffer, bytes_of(&stat))?;
        DONE
    }

    pub(super) fn statx(&self, call: &Call, caller: &Caller, at: At, flags: i32, mask: u64, buffer: u64) -> Result<Reply> {
        let found = self.at(call, caller, at, flags)?;
        let mut statx = notify::statx(&found.file, flags & libc::AT_STATX_SYNC_TYPE, mask as u32)?;
        let shown = self.shown(&found.stat);
        (statx.stx_uid, statx.stx_gid, statx.stx_mode) = (shown.st_uid, shown.st_gid, shown.st_mode as u16);
        statx.stx_rdev_major = rustix::fs::major(shown.st_rdev);
        statx.stx_rdev_minor = rustix::fs::minor(shown.st_rdev);
        self.write(call, buffer, bytes_of(&statx))?;
        DONE
    }

    /// access(2) checks the real user's rights, unless AT_EACCESS says otherwise.
    pub(super) fn access(&self, call: &Call, caller: &Caller, at: At, wanted: u64, flags: i32) -> Result<Reply> {
        if wanted & !7 != 0 {
            return Err(Errno::INVAL);
        }
        let found = self.at(call, caller, at, flags)?;
        if wanted != 0 {
            let rights = if flags & libc::AT_EACCESS != 0 { caller.rights.clone() } else { caller.rights.with_real_ids() };
            self.may(&rights, &found.stat, wanted as u32)?;
            if wanted & 2 != 0 {
                self.view.may_write(&found.file, &found.stat)?;
            }
        }
        DONE
    }

    pub(super) fn readlink(&self, call: &Call, caller: &Caller, at: At, buffer: u64, size: u64) -> Result<Reply> {
        let size = usize::try_from(size as u32 as i32).ok().filter(|size| *size > 0).ok_or(Errno::INVAL)?;
        let path = self.path(call, at.1)?;
        let text = match path.is_empty() {
            true => link_text(&self.descriptor(caller, at.0)?)?,
            false => self.link_text_at(caller, at.0, &path)?,
        };
        let text = &text[..text.len().min(size)];
        self.write(call, buffer, text)?;
        Ok(Reply::Value(text.len() as i64))
    }

    fn link_text_at(&self, caller: &Caller, from: i32, path: &[u8]) -> Result<Vec<u8>> {
        if let Some(file) = self.open_at_once(caller, from, path, super::view::PATH_ONLY | rustix::fs::OFlags::NOFOLLOW)? {
            return link_text(&file);
        }
        let Walked::There(found, path) = self.walk(caller, from, path, false)? else { return Err(Errno::NOENT) };
        if kind(&found.stat) == FileType::Symlink
            && let Some(text) = self.proc_link_text(caller, &path, &found.file, &found.stat)?
        {
            return Ok(text);
        }
        link_text(&found.file)
    }

    pub(super) fn statfs(&self, call: &Call, caller: &Caller) -> Result<Reply> {
        let path = self.path(call, call.arguments[0])?;
        let found = self.look_up(caller, libc::AT_FDCWD, &path, true)?;
        let statfs = rustix::fs::fstatfs(&found.file)?;
        self.write(call, call.arguments[1], bytes_of(&statfs))?;
        DONE
    }

    pub(super) fn getcwd(&self, call: &Call, caller: &Caller) -> Result<Reply> {
        let folder = self.view.inside(&**caller.files.folder.borrow())?;
        let root = self.view.inside(&*caller.root)?;
        if folder.ends_with(b" (deleted)") {
            return Err(Errno::NOENT);
        }
        let mut path = match folder.strip_prefix(&root[..]) {
            _ if root == b"/" => folder,
            Some(b"") => b"/".to_vec(),
            Some(rest) if rest[0] == b'/' => rest.to_vec(),
            _ => [b"(unreachable)", &folder[..]].concat(),
        };
        path.push(0);
        if call.arguments[1] < path.len() as u64 {
            return Err(Errno::RANGE);
        }
        self.write(call, call.arguments[0], &path)?;
        Ok(Reply::Value(path.len() as i64))
    }

    pub(super) fn chdir(&mut self, caller: &Caller, found: Result<Found>) -> Result<Reply> {
        let folder = self.enterable(caller, found)?;
        *caller.files.folder.borrow_mut() = std::rc::Rc::new(folder);
        DONE
    }

    pub(super) fn chroot(&mut self, caller: &Caller, found: Result<Found>) -> Result<Reply> {
        let folder = self.enterable(caller, found)?;
        if !caller.rights.can(super::credentials::CAP_SYS_CHROOT) {
            return Err(Errno::PERM);
        }
        *caller.files.root.borrow_mut() = std::rc::Rc::new(folder);
        DONE
    }

    fn enterable(&self, caller: &Caller, found: Result<Found>) -> Result<OwnedFd> {
        let Found { file, stat } = found?;
        if kind(&stat) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if !self.view.holds(&file) {
            return Err(Errno::ACCESS);
        }
        self.may(&caller.rights, &stat, 1)?;
        Ok(file)
    }
}

/// What a call names a file by.
enum Named {
    Path(Vec<u8>),
    Descriptor(i32),
}

/// The target of an open symbolic link; EINVAL for anything else.
fn link_text(file: &OwnedFd) -> Result<Vec<u8>> {
    match rustix::fs::readlinkat(file, "", Vec::new()) {
        Ok(text) => Ok(text.into_bytes()),
        Err(Errno::NOENT) => Err(Errno::INVAL),
        Err(errno) => Err(errno),
    }
}

/// The path by which attributes of an open file can be read.
pub(super) fn attributes_of(file: &OwnedFd) -> std::path::PathBuf {
    os(name_of(file).as_bytes()).into()
}
