//! open, creat, openat, openat2: the supervisor opens the file and hands the descriptor over.

use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::super::descriptors::write_all;
use super::super::notify::{self, Call, Response};
use super::state::{Caller, DONE, Reply, Result, Supervisor};
use super::view::{PATH_ONLY, kind, name_of, os, stat_at};
use super::walk::{Found, Walked};
use super::{descriptors, permissions};
use crate::layer::owner_table::split_mode;

/// What a file is to be opened for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) from: i32,
    flags: OFlags,
    mode: u32,
    /// Only to name it, which takes no right to it.
    path_only: bool,
}

impl Request {
    pub(super) fn new(from: i32, flags: i32, mode: u32) -> Self {
        let mut flags = OFlags::from_bits_retain(flags as u32);
        let path_only = flags.contains(OFlags::PATH);
        if path_only {
            // An O_PATH descriptor cannot be handed over; a file that is open for reading serves as
            // one.
            flags &= OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        }
        Self { from, flags, mode, path_only }
    }

    fn temporary(self) -> bool {
        self.flags.contains(OFlags::TMPFILE)
    }

    fn creates(self) -> bool {
        self.flags.contains(OFlags::CREATE) && !self.temporary()
    }

    fn must_be_new(self) -> bool {
        self.creates() && self.flags.contains(OFlags::EXCL)
    }

    fn follows(self) -> bool {
        !self.flags.contains(OFlags::NOFOLLOW) && !self.must_be_new()
    }

    /// 4 for reading, 2 for writing.
    fn wanted(self) -> u32 {
        if self.path_only {
            return 0;
        }
        let truncates = if self.flags.contains(OFlags::TRUNC) { 2 } else { 0 };
        truncates
            | match self.flags & OFlags::RWMODE {
                OFlags::WRONLY => 2,
                OFlags::RDWR => 6,
                _ => 4,
            }
    }

    /// With these the supervisor opens: it does not wait, gets no terminal, and keeps the
    /// descriptor to itself.
    fn own(self) -> OFlags {
        (self.flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK) & !(OFlags::CREATE | OFlags::EXCL)
    }
}

impl Supervisor {
    pub(super) fn open(&mut self, call: &Call, caller: &Caller, path: &[u8], request: Request) -> Result<Reply> {
        if request.creates() {
            return self.create(call, caller, path, request);
        }
        // To truncate is to write, which takes the right to. One of several names is copied first.
        let writes = request.flags.contains(OFlags::TRUNC) || request.wanted() & 2 != 0 && !self.linked.is_empty();
        if !request.temporary() && !self.has_fifos && !writes {
            match self.open_at_once(caller, request.from, path, request.own()) {
                Ok(Some(file)) => {
                    let stat = rustix::fs::fstat(&file)?;
                    if !self.view.is_stand_in(&stat) && kind(&stat) != FileType::Fifo && !self.is_virtual_device(&stat) {
                        permissions::may_open(self, caller, &file, &stat, request.wanted() & 2)?;
                        self.opened_for(caller, &stat, request);
                        return self.hand_over(call, file, request);
                    }
                }
                // Also of a fifo that nobody reads from.
                Ok(None) | Err(Errno::NXIO) => {}
                Err(errno) => return Err(errno),
            }
        }
        match self.walk_or_look_up(caller, request, path)? {
            (found, Some(path)) => self.open_found(call, caller, found, &path, request),
            (found, None) => self.open_found(call, caller, found, b"", request),
        }
    }

    /// openat2 with a lookup of its own: only from the folder that it names, and by the kernel
    /// alone.
    pub(super) fn open_scoped(
        &mut self,
        call: &Call,
        caller: &Caller,
        path: &[u8],
        request: Request,
        resolve: u64,
    ) -> Result<Reply> {
        let folder = self.folder(caller, request.from)?;
        if self.view.is_proc(&rustix::fs::fstat(&*folder)?) {
            return Err(Errno::XDEV);
        }
        let resolve = ResolveFlags::from_bits_retain(resolve) | ResolveFlags::NO_MAGICLINKS;
        // Without a bound of its own an absolute link would lead out of the tree.
        let bound = if resolve.intersects(ResolveFlags::IN_ROOT | ResolveFlags::BENEATH) {
            resolve
        } else {
            resolve | ResolveFlags::BENEATH
        };
        if request.creates() {
            let begin = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
            let (above, name) = path.split_at(begin);
            let above = if above.is_empty() { b"." } else { above };
            let parent = rustix::fs::openat2(&*folder, os(above), PATH_ONLY | OFlags::DIRECTORY, Mode::empty(), bound)?;
            match self.make(caller, &Rc::new(parent), name, request) {
                Ok(file) => return self.give(call, &file, request),
                Err(Errno::EXIST) if !request.must_be_new() => {}
                Err(errno) => return Err(errno),
            }
        }
        let file = rustix::fs::openat2(&*folder, os(path), request.own() & !OFlags::TRUNC, Mode::empty(), bound)?;
        let stat = rustix::fs::fstat(&file)?;
        if self.view.is_stand_in(&stat) {
            return Err(Errno::XDEV);
        }
        permissions::may_open(self, caller, &file, &stat, request.wanted())?;
        if request.flags.contains(OFlags::TRUNC) && kind(&stat) == FileType::RegularFile {
            rustix::fs::ftruncate(&file, 0)?;
        }
        self.opened_for(caller, &stat, request);
        self.hand_over(call, file, request)
    }

    fn walk_or_look_up(&self, caller: &Caller, request: Request, path: &[u8]) -> Result<(Found, Option<Vec<u8>>)> {
        match self.walk(caller, request.from, path, request.follows())? {
            Walked::There(found, path) => Ok((found, Some(path))),
            Walked::Missing(..) => Err(Errno::NOENT),
        }
    }

    /// Creates first and asks afterwards: only so it is known whether the file is new, and whose it
    /// therefore is.
    fn create(&mut self, call: &Call, caller: &Caller, path: &[u8], request: Request) -> Result<Reply> {
        if path.ends_with(b"/") {
            return Err(self.parent(caller, request.from, path).map_or_else(|errno| errno, |_| Errno::ISDIR));
        }
        for _ in 0..8 {
            let (folder, name) = self.parent(caller, request.from, path)?;
            match self.make(caller, &folder, &name, request) {
                Ok(file) => return self.give(call, &file, request),
                Err(Errno::EXIST) if !request.must_be_new() => {}
                Err(errno) => return Err(errno),
            }
            match self.walk(caller, request.from, path, request.follows()) {
                Ok(Walked::There(found, path)) => return self.open_found(call, caller, found, &path, request),
                // A link that leads to nothing: what it names is created.
                Ok(Walked::Missing(folder, name)) => match self.make(caller, &Rc::new(folder), &name, request) {
                    Ok(file) => return self.give(call, &file, request),
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                },
                Err(errno) => return Err(errno),
            }
        }
        // Somebody else creates and removes it all the time.
        Err(Errno::AGAIN)
    }

    fn make(&mut self, caller: &Caller, folder: &Rc<OwnedFd>, name: &[u8], request: Request) -> Result<OwnedFd> {
        // What is there already may be opened in a folder that nobody may write to.
        let refused = |errno| if stat_at(folder, name).is_ok() { Errno::EXIST } else { errno };
        let above = permissions::may_enter(self, caller, folder).map_err(refused)?;
        let mode = caller.masked(request.mode);
        let (on_disk, _) = split_mode(FileType::RegularFile, mode);
        let flags = request.flags | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&**folder, os(name), flags, Mode::from_raw_mode(on_disk))?;
        let stat = rustix::fs::fstat(&file)?;
        self.record_new_file(caller, &above, &stat, mode);
        Ok(file)
    }

    fn open_found(&mut self, call: &Call, caller: &Caller, found: Found, path: &[u8], request: Request) -> Result<Reply> {
        if request.must_be_new() {
            return Err(Errno::EXIST);
        }
        let Found { mut file, mut stat } = found;
        match kind(&stat) {
            FileType::Symlink if request.flags.contains(OFlags::DIRECTORY) => return Err(Errno::NOTDIR),
            FileType::Symlink => return Err(Errno::LOOP),
            FileType::Socket => return Err(Errno::NXIO),
            FileType::Directory if request.temporary() => return self.open_temporary(call, caller, &file, request),
            FileType::Directory if request.wanted() & 2 != 0 || request.creates() => return Err(Errno::ISDIR),
            FileType::Directory => {}
            _ if request.flags.contains(OFlags::DIRECTORY) => return Err(Errno::NOTDIR),
            _ => {}
        }
        permissions::may_open(self, caller, &file, &stat, request.wanted())?;
        if self.is_virtual_device(&stat) {
            // As on a file system that is mounted nodev.
            return Err(Errno::ACCESS);
        }
        if self.view.is_proc(&stat)
            && let Some(text) = self.proc_text(path)
        {
            return self.give(call, &file_of(&text)?, request);
        }
        if request.wanted() & 2 != 0 && kind(&stat) == FileType::RegularFile {
            Found { file, stat } = self.copy_up(Found { file, stat })?;
        }
        let flags = request.own() & !OFlags::NOFOLLOW;
        if kind(&stat) == FileType::Fifo && !request.flags.contains(OFlags::NONBLOCK) {
            return self.open_later(call, file, flags & !OFlags::NONBLOCK, request);
        }
        let opened = rustix::fs::open(name_of(&file), flags, Mode::empty())?;
        self.opened_for(caller, &stat, request);
        self.hand_over(call, opened, request)
    }

    fn open_temporary(&mut self, call: &Call, caller: &Caller, folder: &OwnedFd, request: Request) -> Result<Reply> {
        let above = permissions::may_enter(self, caller, folder)?;
        let mode = caller.masked(request.mode);
        let (on_disk, _) = split_mode(FileType::RegularFile, mode);
        let flags = request.own() | request.flags & OFlags::EXCL;
        let file = rustix::fs::open(name_of(folder), flags, Mode::from_raw_mode(on_disk))?;
        let stat = rustix::fs::fstat(&file)?;
        self.record_new_file(caller, &above, &stat, mode);
        self.hand_over(call, file, request)
    }

    /// Opening a fifo waits for the other side, which only a thread may do.
    fn open_later(&self, call: &Call, file: OwnedFd, flags: OFlags, request: Request) -> Result<Reply> {
        let listener = self.listener.try_clone().map_err(|_| Errno::MFILE)?;
        let call = *call;
        let started = std::thread::Builder::new().spawn(move || {
            let opened = rustix::fs::open(name_of(&file), flags, Mode::empty());
            let close = request.flags.contains(OFlags::CLOEXEC);
            let given = opened.and_then(|file| descriptors::give_and_return(&listener, &call, file.as_fd(), close));
            if let Err(errno) = given {
                notify::answer(&listener, &call, Response::Error(errno));
            }
        });
        started.map(|_| Reply::Sent).map_err(|_| Errno::AGAIN)
    }

    /// Hands over what was opened with [`Request::own`].
    fn hand_over(&self, call: &Call, file: OwnedFd, request: Request) -> Result<Reply> {
        if !request.flags.contains(OFlags::NONBLOCK) {
            // All flags that this call can set (F_SETFL of fcntl(2)).
            let kept = OFlags::APPEND | OFlags::DIRECT | OFlags::NOATIME;
            rustix::fs::fcntl_setfl(&file, request.flags & kept)?;
        }
        self.give(call, &file, request)
    }

    fn give(&self, call: &Call, file: &OwnedFd, request: Request) -> Result<Reply> {
        let close = request.flags.contains(OFlags::CLOEXEC);
        match descriptors::give_and_return(&self.listener, call, file.as_fd(), close) {
            // The call has been given up: nobody is there to be told.
            Ok(()) | Err(Errno::NOENT) => Ok(Reply::Sent),
            Err(errno) => Err(errno),
        }
    }

    /// A file that only stands for a device.
    fn is_virtual_device(&self, stat: &Stat) -> bool {
        stat.st_uid == self.uid && self.table.row(crate::layer::owner_table::inode_of(stat)).record.device.is_some()
    }

    /// The kernel takes the set-id bits and capabilities from a file that is written to; here that
    /// is done when it is opened.
    fn opened_for(&mut self, caller: &Caller, stat: &Stat, request: Request) {
        if request.wanted() & 2 != 0 && kind(stat) == FileType::RegularFile && stat.st_uid == self.uid {
            permissions::written(self, caller, stat);
        }
    }

    /// umask, which needs no file.
    pub(super) fn umask(&self, caller: &Caller, mask: u64) -> Result<Reply> {
        Ok(Reply::Value(i64::from(caller.files.umask.replace(mask as u32 & 0o777))))
    }

    /// truncate by path.
    pub(super) fn truncate(&mut self, call: &Call, caller: &Caller) -> Result<Reply> {
        let path = self.path(call, call.arguments[0])?;
        let found = self.look_up(caller, libc::AT_FDCWD, &path, true)?;
        match kind(&found.stat) {
            FileType::Directory => return Err(Errno::ISDIR),
            FileType::RegularFile => {}
            _ => return Err(Errno::INVAL),
        }
        permissions::may_open(self, caller, &found.file, &found.stat, 2)?;
        let found = self.copy_up(found)?;
        let file = rustix::fs::open(name_of(&found.file), OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::ftruncate(&file, call.arguments[1])?;
        permissions::written(self, caller, &found.stat);
        DONE
    }
}

/// A file in memory with this text.
fn file_of(text: &[u8]) -> Result<OwnedFd> {
    let file = rustix::fs::memfd_create("proc", MemfdFlags::CLOEXEC)?;
    write_all(&file, text)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(file)
}
