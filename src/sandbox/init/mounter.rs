//! Mounts on places inside a root file system: places are found as the image's links lead to them
//! and made where they are missing.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive, mount_remount};

use super::descriptors::{fd_path, is_folder};
use super::owners::Owners;
use super::process;
use super::stubs::{Stubs, Target};
use crate::layer::{LayerPath, open_inside};
use crate::sandbox::IsolationKind;
use crate::sandbox::setup_error::{SetupError, Step as _};

pub(super) const HARDENED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// A root file system under construction, and the room that its mounts need.
pub(super) struct Mounter {
    pub(super) isolation: IsolationKind,
    pub(super) owners: Owners,
    pub(super) root: OwnedFd,
    pub(super) stubs: Stubs,
    /// Room on disk for writes that are thrown away.
    pub(super) work: PathBuf,
    /// Room in memory, for secrets.
    pub(super) memory: PathBuf,
    /// How many files are in `memory`.
    pub(super) files: usize,
}

impl Mounter {
    /// A file in memory that is gone with this mount namespace.
    pub(super) fn memory_file(&mut self, content: &[u8], mode: u32, uid: u32, gid: u32) -> Result<OwnedFd, SetupError> {
        let path = self.memory.join(self.files.to_string());
        self.files += 1;
        let step = || "write a file in memory".to_owned();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).step(step)?;
        let mut file = std::fs::File::from(file);
        file.write_all(content).step(step)?;
        let file = OwnedFd::from(file);
        self.owners.give(&file, uid, gid, mode).step(step)?;
        Ok(file)
    }

    /// Binds what `source` is open on to `target`.
    pub(super) fn bind(&mut self, source: &OwnedFd, target: &LayerPath, kind: Target, readonly: bool) -> Result<(), SetupError> {
        let step = || format!("bind `{target}`");
        let place = self.stubs.target(&self.root, target, kind)?;
        mount_bind(fd_path(source), fd_path(&place)).step(step)?;
        if readonly {
            // Reopened: `place` is what the mount covers.
            read_only(&self.reopen(target)?).step(step)?;
        }
        Ok(())
    }

    /// As [`bind`](Self::bind), with everything that is mounted below `source`.
    pub(super) fn bind_all(
        &mut self,
        source: &OwnedFd,
        target: &LayerPath,
        kind: Target,
        readonly: bool,
    ) -> Result<(), SetupError> {
        let step = || format!("bind `{target}`");
        let place = self.stubs.target(&self.root, target, kind)?;
        mount_bind_recursive(fd_path(source), fd_path(&place)).step(step)?;
        if readonly {
            read_only_recursively(&self.reopen(target)?).step(step)?;
        }
        Ok(())
    }

    /// What is at `target` now, mounts included.
    pub(super) fn reopen(&self, target: &LayerPath) -> Result<OwnedFd, SetupError> {
        let opened = open_inside(&self.root, target.as_path(), OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::IN_ROOT);
        opened.step(|| format!("open `{target}`"))
    }

    /// Mounts a new file system.
    pub(super) fn mount_at(
        &mut self,
        target: &LayerPath,
        kind: &str,
        flags: MountFlags,
        options: &str,
    ) -> Result<(), SetupError> {
        let place = self.stubs.target(&self.root, target, Target::Folder)?;
        let step = || format!("mount {kind} on `{target}`");
        let options = std::ffi::CString::new(options).map_err(|_| SetupError::new(step(), None))?;
        mount(kind, fd_path(&place), kind, flags, options.as_c_str()).step(step)
    }

    /// Binds a folder of this machine with everything that is mounted below it.
    pub(super) fn bind_host_tree(&mut self, source: &str, target: &LayerPath) -> Result<(), SetupError> {
        let place = self.stubs.target(&self.root, target, Target::Folder)?;
        mount_bind_recursive(source, fd_path(&place)).step(|| format!("bind `{source}`"))
    }

    /// Hides what is at `target`, if anything is.
    pub(super) fn hide(&self, target: &LayerPath) -> Result<(), SetupError> {
        let Ok(place) = self.reopen(target) else { return Ok(()) };
        let step = || format!("mask `{target}`");
        if is_folder(&place).unwrap_or(false) {
            let flags = HARDENED | MountFlags::RDONLY;
            mount("tmpfs", fd_path(&place), "tmpfs", flags, c"mode=0755,size=0k").step(step)
        } else {
            mount_bind("/dev/null", fd_path(&place)).step(step)
        }
    }

    /// Makes what is at `target` read-only, if anything is.
    pub(super) fn protect(&self, target: &LayerPath) -> Result<(), SetupError> {
        let Ok(place) = self.reopen(target) else { return Ok(()) };
        let step = || format!("make `{target}` read-only");
        mount_bind_recursive(fd_path(&place), fd_path(&place)).step(step)?;
        read_only(&self.reopen(target)?).step(step)
    }
}

/// Makes the mount at `place` read-only. Flags that a user namespace may not take away are kept.
fn read_only(place: &OwnedFd) -> Result<(), Errno> {
    use rustix::fs::StatVfsMountFlags as Now;
    let now = rustix::fs::fstatvfs(place)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (is, keep) in [
        (Now::NOSUID, MountFlags::NOSUID),
        (Now::NODEV, MountFlags::NODEV),
        (Now::NOEXEC, MountFlags::NOEXEC),
        (Now::NOATIME, MountFlags::NOATIME),
        (Now::NODIRATIME, MountFlags::NODIRATIME),
        (Now::RELATIME, MountFlags::RELATIME),
    ] {
        if now.contains(is) {
            flags |= keep;
        }
    }
    mount_remount(fd_path(place), flags, c"")
}

/// Makes the mount at `place` and all mounts below it read-only.
pub(super) fn read_only_recursively(place: &OwnedFd) -> Result<(), Errno> {
    match process::mount_setattr_read_only(place) {
        // Older than Linux 5.12, or a filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => read_only_one_by_one(place),
        done => done,
    }
}

fn read_only_one_by_one(place: &OwnedFd) -> Result<(), Errno> {
    read_only(place)?;
    let top = rustix::fs::readlink(fd_path(place), Vec::new())?.into_bytes();
    let mounts = std::fs::read("/proc/self/mountinfo").map_err(|_| Errno::NOSYS)?;
    for path in mount_points_below(&mounts, &top) {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(OsStr::from_bytes(&path), flags, Mode::empty()) {
            // Another mount covers it, so nobody can write there.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            mount => read_only(&mount?)?,
        }
    }
    Ok(())
}

/// The mount points below `top` of a `mountinfo` (proc_pid_mountinfo(5)): the fifth field, in which
/// blanks are octal.
fn mount_points_below(mounts: &[u8], top: &[u8]) -> Vec<Vec<u8>> {
    let fields = mounts.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let is_below =
        |path: &Vec<u8>| path.strip_prefix(top).is_some_and(|rest| top == b"/" && !rest.is_empty() || rest.starts_with(b"/"));
    fields.map(unescape).filter(is_below).collect()
}

/// `\040` is a blank, and so on.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                plain.push(byte);
                rest = &after[3..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_place_are_found_by_whole_names_and_with_their_blanks() {
        let mounts =
            b"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:5 / /in rw - tmpfs t rw\n3 2 0:6 / /in/a\\040b\\134c rw - tmpfs t rw\n\
            4 1 0:7 / /inner rw - tmpfs t rw\n";
        assert_eq!(mount_points_below(mounts, b"/in"), [b"/in/a b\\c".to_vec()]);
        assert_eq!(mount_points_below(mounts, b"/").len(), 3);
    }
}
