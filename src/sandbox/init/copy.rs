//! Copies a folder or file with owners, modes and times: a bind mount where nothing can be mounted.
//!
//! Devices and sockets are left out, and links are copied as links.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

/// Copies what `source` is open on to `name` in `folder`.
pub(super) fn copy(source: &OwnedFd, folder: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(source)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => copy_folder(source, &stat, folder, name),
        FileType::RegularFile => copy_file(source, &stat, folder, name),
        FileType::Symlink => {
            let text = rustix::fs::readlinkat(source, "", Vec::new())?;
            rustix::fs::symlinkat(text, folder.as_fd(), name)?;
            dress(folder, name, &stat)
        }
        _ => Ok(()),
    }
}

fn copy_folder(source: &OwnedFd, stat: &Stat, folder: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::mkdirat(folder.as_fd(), name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copied = rustix::fs::openat(folder.as_fd(), name, flags, Mode::empty())?;
    let readable = rustix::fs::openat(source, ".", flags, Mode::empty())?;
    for entry in Dir::read_from(&readable)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let inner = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        copy(&rustix::fs::openat(source, OsStr::from_bytes(name), inner, Mode::empty())?, &copied, OsStr::from_bytes(name))?;
    }
    dress(folder, name, stat)
}

fn copy_file(source: &OwnedFd, stat: &Stat, folder: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    let failed = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut to = File::from(rustix::fs::openat(folder.as_fd(), name, flags, Mode::RUSR | Mode::WUSR)?);
    let mut from = File::open(super::descriptors::fd_path(source)).map_err(failed)?;
    std::io::copy(&mut from, &mut to).map_err(failed)?;
    dress(folder, name, stat)
}

fn dress(folder: impl AsFd, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
    let folder = folder.as_fd();
    let (uid, gid) = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::chmodat(folder, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    rustix::fs::utimensat(folder, name, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW)
}
