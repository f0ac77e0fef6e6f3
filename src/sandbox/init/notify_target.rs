//! A thread whose system call waits: its arguments, and the files that they name as it sees them.
//!
//! The links of /proc are not followed: they would lead to this process's own files.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::notify::{Call, read_memory, still_waits};
use crate::layer::{has_openat2, open_inside};

/// `PATH_MAX`.
const PATH_MAX: usize = 4096;

const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A call with the means to look into its process.
pub(super) struct NotifyTarget<'a> {
    pub(super) call: &'a Call,
    pub(super) listener: &'a OwnedFd,
    /// The /proc in whose PID namespace the kernel's thread ID is valid.
    pub(super) proc: &'a OwnedFd,
}

impl NotifyTarget<'_> {
    pub(super) fn argument(&self, index: usize) -> u64 {
        self.call.arguments[index]
    }

    /// An argument that is a C `int`.
    pub(super) fn int(&self, index: usize) -> i32 {
        self.argument(index) as u32 as i32
    }

    /// An argument that is an id; `None` for "leave it".
    pub(super) fn id(&self, index: usize) -> Option<u32> {
        Some(self.argument(index) as u32).filter(|id| *id != u32::MAX)
    }

    pub(super) fn path(&self, index: usize) -> Result<OsString, Errno> {
        let mut bytes = vec![0; PATH_MAX];
        let read = read_memory(self.call.thread, self.argument(index), &mut bytes)?;
        // Between the kernel's message and now the thread may have died and its number been given
        // to another.
        if !still_waits(self.listener, self.call) {
            return Err(Errno::SRCH);
        }
        let end = bytes[..read].iter().position(|byte| *byte == 0);
        bytes.truncate(end.ok_or(if read == PATH_MAX { Errno::NAMETOOLONG } else { Errno::FAULT })?);
        Ok(OsString::from_vec(bytes))
    }

    /// The descriptor of this number.
    pub(super) fn descriptor(&self, number: i32) -> Result<OwnedFd, Errno> {
        if number < 0 {
            return Err(Errno::BADF);
        }
        let opened = self.of_proc(&format!("fd/{number}"));
        opened.map_err(|errno| if errno == Errno::NOENT { Errno::BADF } else { errno })
    }

    /// What is at a path, as the thread would find it: from the descriptor `from` or its working
    /// directory.
    pub(super) fn open(&self, from: i32, path: &OsStr, follow: bool) -> Result<OwnedFd, Errno> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let flags = if follow { PLACE } else { PLACE | OFlags::NOFOLLOW };
        // Its root may differ from that of its mount namespace.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        if path.as_bytes()[0] == b'/' {
            return open_inside(self.of_proc("root")?, path, flags, resolve);
        }
        let from = self.folder(from)?;
        if has_openat2() {
            return rustix::fs::openat2(&from, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
        }
        // Without openat2 the walk has to begin at the root: only the root stops `..`.
        let folder = rustix::fs::readlinkat(rustix::fs::CWD, name_of(&from), Vec::new())?;
        let path = Path::new(OsStr::from_bytes(folder.as_bytes())).join(path);
        open_inside(self.of_proc("root")?, path, flags, resolve)
    }

    /// The parent folder for a new file at `path`, and its name.
    pub(super) fn open_parent(&self, from: i32, path: &OsStr) -> Result<(OwnedFd, OsString), Errno> {
        let bytes = path.as_bytes();
        let (parent, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
            Some(0) => (&b"/"[..], &bytes[1..]),
            Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
            None => (&b"."[..], bytes),
        };
        match name {
            b"" => Err(Errno::NOENT),
            b"." | b".." => Err(Errno::EXIST),
            name => Ok((self.open(from, OsStr::from_bytes(parent), true)?, OsStr::from_bytes(name).to_owned())),
        }
    }

    fn folder(&self, from: i32) -> Result<OwnedFd, Errno> {
        match from {
            libc::AT_FDCWD => self.of_proc("cwd"),
            number => self.descriptor(number),
        }
    }

    /// The program that it runs; empty where that cannot be told.
    pub(super) fn program(&self) -> PathBuf {
        let path = rustix::fs::readlinkat(self.proc, format!("{}/exe", self.call.thread), Vec::new());
        path.map(|path| OsString::from_vec(path.into_bytes()).into()).unwrap_or_default()
    }

    pub(super) fn umask(&self) -> u32 {
        let path = format!("{}/status", self.call.thread);
        let status = rustix::fs::openat(self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let text = status.ok().and_then(|file| std::io::read_to_string(std::fs::File::from(file)).ok()).unwrap_or_default();
        let umask = text.lines().find_map(|line| line.strip_prefix("Umask:"));
        umask.and_then(|umask| u32::from_str_radix(umask.trim(), 8).ok()).unwrap_or(0o022)
    }

    fn of_proc(&self, name: &str) -> Result<OwnedFd, Errno> {
        let path = format!("{}/{name}", self.call.thread);
        rustix::fs::openat(self.proc, path, PLACE, Mode::empty())
    }
}

/// The number of a descriptor, as a path relative to /proc/self/fd. Valid only after `serve` has
/// made that this process's working directory.
pub(super) fn name_of(file: &OwnedFd) -> String {
    file.as_raw_fd().to_string()
}
