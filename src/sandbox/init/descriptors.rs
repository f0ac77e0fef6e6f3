//! Folders by path, paths by descriptor, pipes: what every part of the helper opens.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

pub(in crate::sandbox) use crate::layer::remove_tree;
use crate::sandbox::setup_error::{Cause, SetupError, Step as _};

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

/// Waits until a child has become its program, has ended or has something to say: `child` is the
/// reading end of a pipe whose writing end only the child has, and exec closes that. Or until
/// something comes from `orders`: a command that cannot be executed for now (its program is on a
/// disk that does not answer) is still to be killed.
pub(super) fn wait_for_exec(child: &File, orders: &UnixStream) -> Result<(), SetupError> {
    let mut fds = [PollFd::new(child, PollFlags::IN), PollFd::new(orders, PollFlags::IN)];
    loop {
        match poll(&mut fds, None) {
            Err(Errno::INTR) => {}
            polled => return polled.step(|| "wait for exec".into()).map(drop),
        }
    }
}

pub(super) fn write_all(file: &OwnedFd, mut rest: &[u8]) -> Result<(), Errno> {
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(file, rest)?..];
    }
    Ok(())
}

pub(super) fn is_folder(path: &OwnedFd) -> Result<bool, Errno> {
    Ok(rustix::fs::fstat(path)?.st_mode & 0o170000 == 0o040000)
}

/// Makes a character device that everybody may use.
pub(super) fn make_device(folder: &OwnedFd, name: impl rustix::path::Arg + Copy, major: u32, minor: u32) -> Result<(), Errno> {
    let (mode, device) = (Mode::from_raw_mode(0o666), rustix::fs::makedev(major, minor));
    rustix::fs::mknodat(folder, name, FileType::CharacterDevice, mode, device)?;
    rustix::fs::chmodat(folder, name, mode, AtFlags::empty())
}

/// An error where the file system of `tree` is not mounted with these options; beside each the flag
/// of its opposite.
pub(super) fn expect_mounted_with(tree: &Path, options: &[(&str, StatVfsMountFlags)]) -> Result<(), SetupError> {
    let set = rustix::fs::statvfs(tree).step(|| format!("examine `{}`", tree.display()))?.f_flag;
    match options.iter().find(|(_, opposite)| set.contains(*opposite)) {
        Some((missing, _)) => {
            let step = format!("use `{}` as a root, because it is mounted no{missing}", tree.display());
            let needed = options.iter().map(|(option, _)| (*option).to_owned()).collect();
            Err(SetupError::new(step, Some(Errno::ACCESS.raw_os_error())).with_cause(Cause::MountOptions(needed)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_wait_for_exec_ends_with_the_childs_writing_end_or_with_an_order() {
        let (mut caller, orders) = UnixStream::pair().unwrap();
        let (child, of_the_child) = pipe().unwrap();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            drop(of_the_child);
        });
        wait_for_exec(&child, &orders).unwrap();
        ends.join().unwrap();
        // A child that never gets there.
        let (child, _of_the_child) = pipe().unwrap();
        caller.write_all(&[0]).unwrap();
        wait_for_exec(&child, &orders).unwrap();
    }
}
