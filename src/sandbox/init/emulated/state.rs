//! What the supervisor knows, and the thread whose call it answers.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;

use super::super::notify::{self, Call};
use super::credentials::{CAP_DAC_OVERRIDE, Credentials};
use super::memory::{Memory, PATH_MAX};
use super::placement::Placement;
use super::threads::{FileSystem, Threads};
use super::view::{PATH_ONLY, View, kind};
use crate::layer::owner_table::{Inode, OwnerTable, inode_of};
use crate::layer::owners::Record;

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// What a call is answered with, unless it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Value(i64),
    /// The kernel makes the call: what another thread may write to its memory meanwhile is of no
    /// importance.
    Kernel,
    /// It has been answered, or a thread of the supervisor will do so.
    Sent,
}

pub(super) const DONE: Result<Reply> = Ok(Reply::Value(0));

pub(super) struct Supervisor {
    pub(super) listener: OwnedFd,
    pub(super) view: View,
    pub(super) table: OwnerTable,
    pub(super) threads: Threads,
    pub(super) memory: Memory,
    /// The command's first process.
    pub(super) main: i32,
    /// The path of the loader on this machine.
    pub(super) loader: Vec<u8>,
    /// The user that everything belongs to on disk.
    pub(super) uid: u32,
    /// Inodes that have lost their last name, all of them in the order in which that was; some
    /// numbers are in use again.
    pub(super) gone: HashSet<Inode>,
    pub(super) gone_in_order: VecDeque<Inode>,
    /// Inodes of several names that were there before the step (`copy_up`).
    pub(super) linked: HashSet<Inode>,
    /// A fifo has been made: opening one may block.
    pub(super) has_fifos: bool,
    /// The table has a file capability, or has had one.
    pub(super) has_capabilities: bool,
    /// How many system-call filters the command was started with (`number_of_filters`).
    pub(super) filters: Option<String>,
    pub(super) placement: Placement,
}

/// The thread that makes a call.
pub(super) struct Caller {
    pub(super) thread: i32,
    pub(super) process: i32,
    pub(super) files: Rc<FileSystem>,
    pub(super) root: Rc<OwnedFd>,
    pub(super) rights: Credentials,
}

impl Caller {
    /// The mode of a new file.
    pub(super) fn masked(&self, mode: u32) -> u32 {
        mode & 0o7777 & !self.files.umask.get()
    }
}

impl Supervisor {
    pub(super) fn caller(&self, thread: i32) -> Result<Caller> {
        let known = self.threads.thread(thread).ok_or(Errno::SRCH)?;
        Ok(Caller {
            thread,
            process: known.process,
            files: Rc::clone(&known.files),
            root: Rc::clone(&known.files.root.borrow()),
            rights: known.rights.clone(),
        })
    }

    /// Reads a path, and makes sure that it is the caller's: its number may have become another's
    /// meanwhile.
    pub(super) fn path(&self, call: &Call, address: u64) -> Result<Vec<u8>> {
        let path = self.path_to_examine(call, address)?;
        self.expect_waiting(call).map(|()| path)
    }

    /// As `path`, for calls that change nothing: whose it was is asked when the result is written.
    pub(super) fn path_to_examine(&self, call: &Call, address: u64) -> Result<Vec<u8>> {
        self.memory.read_string(call.thread as i32, address, PATH_MAX)
    }

    /// Makes sure that the caller's number is still that of the caller.
    pub(super) fn expect_waiting(&self, call: &Call) -> Result<()> {
        if notify::still_waits(&self.listener, call) { Ok(()) } else { Err(Errno::SRCH) }
    }

    pub(super) fn write(&self, call: &Call, address: u64, bytes: &[u8]) -> Result<()> {
        self.expect_waiting(call)?;
        self.memory.write(call.thread as i32, address, bytes)
    }

    /// What the caller has open under a number.
    pub(super) fn descriptor(&self, caller: &Caller, number: i32) -> Result<OwnedFd> {
        by_number(caller, number, |path| rustix::fs::open(path, PATH_ONLY, rustix::fs::Mode::empty()))
    }

    /// The folder that a relative path starts from.
    pub(super) fn folder(&self, caller: &Caller, number: i32) -> Result<Rc<OwnedFd>> {
        if number == libc::AT_FDCWD {
            return Ok(Rc::clone(&caller.files.folder.borrow()));
        }
        let folder = self.descriptor(caller, number)?;
        if kind(&rustix::fs::fstat(&folder)?) != rustix::fs::FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        // A race of the few calls that the kernel makes by a path (`traced`) can leave the caller
        // with a folder outside.
        if !self.view.holds(&folder) {
            return Err(Errno::BADF);
        }
        Ok(Rc::new(folder))
    }

    /// Owner, mode and device of a file as the command knows them.
    pub(super) fn show(&self, stat: &mut Stat) {
        if stat.st_uid == self.uid {
            self.table.apply(stat);
        }
    }

    pub(super) fn shown(&self, stat: &Stat) -> Stat {
        let mut shown = *stat;
        self.show(&mut shown);
        shown
    }

    /// Records owner, group and mode of a file. What its mode on disk becomes is left to the
    /// caller.
    pub(super) fn record(&mut self, stat: &Stat, change: impl FnOnce(&mut Record)) {
        let mut row = self.table.row(inode_of(stat));
        change(&mut row.record);
        self.table.set(inode_of(stat), row);
    }

    /// Whether the caller may read (4), write (2) or execute (1) a file; `stat`: as on disk.
    pub(super) fn may(&self, rights: &Credentials, stat: &Stat, wanted: u32) -> Result<()> {
        // The kernel looks after its own files: to this process everything that the command has
        // there belongs.
        if self.view.is_proc(stat) {
            return Ok(());
        }
        let shown = self.shown(stat);
        let mode = shown.st_mode;
        if rights.can(CAP_DAC_OVERRIDE) {
            let never = wanted & 1 != 0 && kind(&shown) != rustix::fs::FileType::Directory && mode & 0o111 == 0;
            return if never { Err(Errno::ACCESS) } else { Ok(()) };
        }
        let bits = if shown.st_uid == rights.user.files {
            mode >> 6
        } else if rights.is_member(shown.st_gid) {
            mode >> 3
        } else {
            mode
        };
        if bits & wanted == wanted { Ok(()) } else { Err(Errno::ACCESS) }
    }

    /// Whether the caller may search a folder.
    pub(super) fn may_search(&self, caller: &Caller, folder: &OwnedFd) -> Result<()> {
        if caller.rights.can(CAP_DAC_OVERRIDE) {
            return Ok(());
        }
        self.may(&caller.rights, &rustix::fs::fstat(folder)?, 1)
    }
}

/// Does something with the path that leads to what the caller has open under a number.
pub(super) fn by_number<T>(caller: &Caller, number: i32, act: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    act(&format!("/proc/{}/fd/{number}", caller.thread)).map_err(|errno| match errno {
        Errno::NOENT => Errno::BADF,
        errno => errno,
    })
}

/// Changes the mode of what an O_PATH descriptor names.
pub(super) fn set_mode(file: &OwnedFd, mode: u32) -> Result<()> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), rustix::fs::Mode::from_raw_mode(mode))
}

/// Has the kernel note that an inode has changed (its ctime), for changes that are recorded only.
pub(super) fn touch(file: &OwnedFd, stat: &Stat) {
    // Giving a file to its owner changes nothing else. One that is not this user's is in no layer.
    let owner = Some(rustix::fs::Uid::from_raw(stat.st_uid));
    let _ = rustix::fs::chownat(file, "", owner, None, AtFlags::EMPTY_PATH);
}
