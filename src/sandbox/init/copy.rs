//! Copies a folder or file with owners, modes and times: a bind mount where nothing can be mounted.
//!
//! Devices and sockets are left out, and links are copied as links. An image decides how deep
//! folders are nested: neither the stack nor the number of open files grows with it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::layer::unpack::relative;
use crate::layer::{LayerPath, open_inside};

/// Copies what `source` is open on to `name` in `folder`.
pub(super) fn copy(source: &OwnedFd, folder: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    copy_with(source, folder.as_fd(), name, &mut copy_metadata)
}

/// Gives a copy (a name in a folder) what its original (open, and its status) has.
pub(super) type CopyMetadata<'a> = dyn FnMut(&OwnedFd, BorrowedFd<'_>, &OsStr, &Stat) -> Result<(), Errno> + 'a;

/// As `copy`, with another way of giving a copy (a name in a folder) what its original (open, and
/// its status) has.
pub(super) fn copy_with(
    source: &OwnedFd,
    folder: BorrowedFd<'_>,
    name: &OsStr,
    apply: &mut CopyMetadata<'_>,
) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(source)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return if copy_node(source, &stat, folder, name)? { apply(source, folder, name, &stat) } else { Ok(()) };
    }
    rustix::fs::mkdirat(folder, name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copied = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let mut below: Vec<(LayerPath, Stat)> = Vec::new();
    let mut next = 0;
    let mut path = LayerPath::root();
    loop {
        let (from, to) = (open_folder(source, &path)?, open_folder(&copied, &path)?);
        for entry in Dir::read_from(&from)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let inner = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = rustix::fs::openat(&from, name, inner, Mode::empty())?;
            let stat = rustix::fs::fstat(&node)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                rustix::fs::mkdirat(&to, name, Mode::RWXU)?;
                below.push((path.child(name.as_bytes()).map_err(|_| Errno::NAMETOOLONG)?, stat));
            } else if copy_node(&node, &stat, to.as_fd(), name)? {
                apply(&node, to.as_fd(), name, &stat)?;
            }
        }
        let Some((folder, _)) = below.get(next) else { break };
        path = folder.clone();
        next += 1;
    }
    // What is in a folder before the folder: its mode may let nobody in, and its time changes with
    // what comes into it.
    for (path, stat) in below.iter().rev() {
        let parent = open_folder(&copied, &path.parent().unwrap_or_default())?;
        apply(&open_folder(source, path)?, parent.as_fd(), OsStr::from_bytes(path.name().unwrap_or_default()), stat)?;
    }
    apply(source, folder, name, &stat)
}

fn open_folder(root: &OwnedFd, path: &LayerPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_inside(root, relative(path), flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// Whether there is a copy.
fn copy_node(source: &OwnedFd, stat: &Stat, folder: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Errno> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => copy_file(source, folder, name)?,
        FileType::Symlink => {
            let text = rustix::fs::readlinkat(source, "", Vec::new())?;
            rustix::fs::symlinkat(text, folder, name)?;
        }
        FileType::Fifo => rustix::fs::mknodat(folder, name, FileType::Fifo, Mode::RUSR, 0)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn copy_file(source: &OwnedFd, folder: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    let failed = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut to = File::from(rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    let mut from = File::open(super::descriptors::fd_path(source)).map_err(failed)?;
    std::io::copy(&mut from, &mut to).map_err(failed).map(drop)
}

/// Owner, mode and times.
pub(super) fn copy_metadata(_source: &OwnedFd, folder: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::chmodat(folder, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    rustix::fs::utimensat(folder, name, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;
    use crate::sandbox::init::descriptors;

    #[test]
    fn a_nest_of_1500_folders_is_copied_in_a_small_stack_with_modes_and_times() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        let nest = source.join(["d"; 1500].join("/"));
        std::fs::create_dir_all(&nest).unwrap();
        std::fs::write(nest.join("file"), "deep").unwrap();
        std::os::unix::fs::symlink("nowhere", source.join("link")).unwrap();
        std::fs::set_permissions(source.join("d"), std::fs::Permissions::from_mode(0o1711)).unwrap();
        let flags = rustix::fs::CWD;
        rustix::fs::mknodat(flags, source.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let time = Timespec { tv_sec: 5, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(flags, source.join("d"), &times, AtFlags::empty()).unwrap();
        let opened = descriptors::open_folder(&source).map_err(|error| error.step).unwrap();
        let parent = descriptors::open_folder(dir.path()).map_err(|error| error.step).unwrap();
        let thread = std::thread::Builder::new().stack_size(128 * 1024);
        thread.spawn(move || copy(&opened, &parent, OsStr::new("copy")).unwrap()).unwrap().join().unwrap();
        let copied = dir.path().join("copy");
        assert_eq!(std::fs::read(copied.join(["d"; 1500].join("/")).join("file")).unwrap(), b"deep");
        let metadata = copied.join("d").metadata().unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o1711, 5));
        assert_eq!(std::fs::read_link(copied.join("link")).unwrap(), std::path::Path::new("nowhere"));
        assert_eq!(copied.join("fifo").symlink_metadata().unwrap().mode() & 0o170000, 0o010000);
    }
}
