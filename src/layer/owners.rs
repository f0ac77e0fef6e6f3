//! Owners, modes and devices that cannot be set on disk, recorded beside the file: for trees whose
//! files all belong to one id.
//!
//! A record is an extended attribute of its file, because those travel with a rename and, unlike
//! anything keyed by path or inode, with overlay's copy-up. Files and folders have it as [`OWNER`].
//! Nothing else may have attributes of `user.`; there it is written into a file capability, which
//! means nothing on what cannot be executed. A file without a record belongs to whom the tree says
//! ([`DEFAULT`]): its root folder has that.
//!
//! Trusts these attributes: unpacking drops those that a layer brings, so none can be forged.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Kind;

/// The names of attributes begin with this.
pub(crate) const PREFIX: &str = "user.mpimg.";
/// `UID:GID`, then `:MODE` (octal) where the mode on disk is another, then `:cMAJOR.MINOR` or
/// `:bMAJOR.MINOR` for a device, which is an empty file on disk.
pub(crate) const OWNER: &str = "user.mpimg.owner";
/// `UID:GID`.
const DEFAULT: &str = "user.mpimg.default";
pub(crate) const CAPABILITY: &str = "security.capability";

/// `VFS_CAP_REVISION_2` of linux/capability.h.
const CAPABILITY_2: u32 = 0x0200_0000;
/// Set in the third word of a capability that is a record; no capability has such a number.
const MARK: u32 = 0x8000_0000;

/// Who a tree is made for: what a step of this user may do must come out of the modes on disk,
/// since all files seem to be its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

/// What is true of a file and cannot be seen on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Permission bits, where those on disk are others.
    pub(crate) mode: Option<u32>,
    pub(crate) device: Option<Device>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) kind: FileType,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Device {
    pub(crate) fn of(kind: &Kind) -> Option<Self> {
        match *kind {
            Kind::CharDevice { major, minor } => Some(Self { kind: FileType::CharacterDevice, major, minor }),
            Kind::BlockDevice { major, minor } => Some(Self { kind: FileType::BlockDevice, major, minor }),
            _ => None,
        }
    }
}

impl Identity {
    /// The permission bits on disk for a file of `uid:gid` with `mode`. A command of this user sees
    /// itself as every file's owner, so the owner's bits are made those that it has in truth. Root
    /// may do everything anyway and sees the true ones.
    pub(crate) fn mode_on_disk(&self, uid: u32, gid: u32, mode: u32) -> u32 {
        if self.uid == 0 || self.uid == uid {
            return mode;
        }
        let member = gid == self.gid || self.groups.contains(&gid);
        let bits = if member { mode >> 3 & 7 } else { mode & 7 };
        mode & 0o1000 | bits << 6 | bits << 3 | bits
    }

    /// What is to be set on disk and what is to be recorded.
    pub(crate) fn on_disk(&self, uid: u32, gid: u32, mode: u32, device: Option<Device>) -> (u32, Option<Record>) {
        let on_disk = self.mode_on_disk(uid, gid, mode);
        let record = Record { uid, gid, mode: (on_disk != mode).then_some(mode), device };
        (on_disk, Some(record).filter(|record| !record.is_default(self.default_owner())))
    }

    /// Whose files without a record are.
    pub(crate) fn default_owner(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// Marks the root folder of a new tree.
    pub(crate) fn mark_tree(&self, root: &Path) -> Result<(), Errno> {
        rustix::fs::setxattr(root, DEFAULT, format!("{}:{}", self.uid, self.gid).as_bytes(), XattrFlags::empty())
    }
}

impl Record {
    pub(crate) fn is_default(&self, owner: (u32, u32)) -> bool {
        (self.uid, self.gid) == owner && self.mode.is_none() && self.device.is_none()
    }

    /// Shows a file as it truly is.
    pub(crate) fn apply(&self, stat: &mut Stat) {
        stat.st_uid = self.uid;
        stat.st_gid = self.gid;
        if let Some(mode) = self.mode {
            stat.st_mode = stat.st_mode & !0o7777 | mode;
        }
        if let Some(device) = self.device {
            stat.st_mode = stat.st_mode & 0o7777 | device.kind.as_raw_mode();
            stat.st_rdev = rustix::fs::makedev(device.major, device.minor);
        }
    }

    /// The record of what is at `path`, itself and not what a link leads to. `mode`: its `st_mode`.
    pub(crate) fn read(path: &Path, mode: u32) -> Option<Self> {
        let mut value = [0; 96];
        if has_attributes(mode) {
            let length = rustix::fs::lgetxattr(path, OWNER, &mut value[..]).ok()?;
            return Self::parse(std::str::from_utf8(&value[..length]).ok()?);
        }
        let length = rustix::fs::lgetxattr(path, CAPABILITY, &mut value[..]).ok()?;
        Self::from_capability(&value[..length])
    }

    /// As `read`, by the name of an open descriptor in /proc/self/fd.
    pub(crate) fn read_descriptor(path: &Path, mode: u32) -> Option<Self> {
        let mut value = [0; 96];
        let name = if has_attributes(mode) { OWNER } else { CAPABILITY };
        let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
        match name {
            OWNER => Self::parse(std::str::from_utf8(&value[..length]).ok()?),
            _ => Self::from_capability(&value[..length]),
        }
    }

    /// Records it at `path`, itself and not what a link leads to.
    pub(crate) fn write(&self, path: &Path, mode: u32) -> Result<(), Errno> {
        match has_attributes(mode) {
            true => rustix::fs::lsetxattr(path, OWNER, self.to_text().as_bytes(), XattrFlags::empty()),
            false => rustix::fs::lsetxattr(path, CAPABILITY, &self.to_capability(), XattrFlags::empty()),
        }
    }

    /// As `write`, by the name of an open descriptor in /proc/self/fd; `owner`: whose files without
    /// a record are.
    pub(crate) fn write_descriptor(&self, path: &Path, mode: u32, owner: (u32, u32)) -> Result<(), Errno> {
        let attributes = has_attributes(mode);
        let name = if attributes { OWNER } else { CAPABILITY };
        if self.is_default(owner) {
            return match rustix::fs::removexattr(path, name) {
                Err(Errno::NODATA) => Ok(()),
                removed => removed,
            };
        }
        let value = if attributes { self.to_text().into_bytes() } else { self.to_capability().to_vec() };
        rustix::fs::setxattr(path, name, &value, XattrFlags::empty())
    }

    pub(crate) fn to_text(self) -> String {
        let mut text = format!("{}:{}", self.uid, self.gid);
        if let Some(mode) = self.mode {
            text += &format!(":{mode:o}");
        }
        if let Some(Device { kind, major, minor }) = self.device {
            let kind = if kind == FileType::BlockDevice { 'b' } else { 'c' };
            text += &format!(":{kind}{major}.{minor}");
        }
        text
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let uid = parts.next()?.parse().ok()?;
        let gid = parts.next()?.parse().ok()?;
        let mut record = Self { uid, gid, mode: None, device: None };
        for part in parts {
            let kind = match part.as_bytes().first()? {
                b'b' => FileType::BlockDevice,
                b'c' => FileType::CharacterDevice,
                _ => {
                    record.mode = Some(u32::from_str_radix(part, 8).ok()? & 0o7777);
                    continue;
                }
            };
            let (major, minor) = part[1..].split_once('.')?;
            record.device = Some(Device { kind, major: major.parse().ok()?, minor: minor.parse().ok()? });
        }
        Some(record)
    }

    fn to_capability(self) -> [u8; 20] {
        let words = [CAPABILITY_2, self.uid, self.gid, MARK, self.mode.map_or(0, |mode| MARK | mode)];
        let mut bytes = [0; 20];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Outside the user namespace that it was written in, a root id follows the five words.
    fn from_capability(bytes: &[u8]) -> Option<Self> {
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let [_, uid, gid, MARK, mode, ..] = words[..] else { return None };
        let mode = (mode & MARK != 0).then_some(mode & 0o7777);
        Some(Self { uid, gid, mode, device: None })
    }
}

/// Attributes of `user.` are for files and folders.
pub(crate) fn has_attributes(mode: u32) -> bool {
    matches!(FileType::from_raw_mode(mode), FileType::RegularFile | FileType::Directory)
}

/// Whether a file or folder of an upper folder is a copy of one below.
pub(crate) fn is_copied_up(path: &Path) -> bool {
    rustix::fs::lgetxattr(path, "user.overlay.origin", &mut [0u8; 256][..]) != Err(Errno::NODATA)
}

/// The path of `name` in an open folder, for calls that only take paths.
pub(crate) fn path_in(folder: impl AsFd, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_fd().as_raw_fd().to_string()).join(name)
}

/// How the files of a tree are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// As they are on disk.
    OnDisk,
    /// By their records; files without one are these user's and group's.
    Recorded(u32, u32),
}

impl Owners {
    /// Those of the tree whose root folder is open.
    pub(crate) fn of(root: impl AsFd) -> Self {
        let mut value = [0; 32];
        let found = rustix::fs::getxattr(path_in(root, OsStr::new(".")), DEFAULT, &mut value[..]);
        let text = found.ok().and_then(|length| std::str::from_utf8(&value[..length]).ok());
        match text.and_then(Record::parse) {
            Some(record) => Self::Recorded(record.uid, record.gid),
            None => Self::OnDisk,
        }
    }

    /// Shows what is at `name` in `folder` as it truly is. Whether that was recorded on itself.
    pub(crate) fn apply(self, folder: impl AsFd, name: &OsStr, stat: &mut Stat) -> bool {
        let Self::Recorded(uid, gid) = self else { return true };
        let record = Record::read(&path_in(folder, name), stat.st_mode);
        record.unwrap_or(Record { uid, gid, mode: None, device: None }).apply(stat);
        record.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let device = Device { kind: FileType::BlockDevice, major: 8, minor: 17 };
        for (record, text) in [
            (Record { uid: 0, gid: 42, mode: None, device: None }, "0:42"),
            (Record { uid: 1000, gid: 0, mode: Some(0o4755), device: None }, "1000:0:4755"),
            (Record { uid: 1, gid: 2, mode: Some(0o600), device: Some(device) }, "1:2:600:b8.17"),
        ] {
            assert_eq!(record.to_text(), text);
            assert_eq!(Record::parse(text), Some(record));
            let without_device = Record { device: None, ..record };
            assert_eq!(Record::from_capability(&record.to_capability()), Some(without_device));
        }
        for text in ["", "1", "1:x", "1:2:9", "1:2:c1", "1:2:"] {
            assert_eq!(Record::parse(text), None, "{text}");
        }
        let cap_net_raw = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Record::from_capability(&cap_net_raw), None);
    }

    #[test]
    fn modes_on_disk_let_a_user_do_what_it_may() {
        let aria = Identity { uid: 1000, gid: 1000, groups: vec![29] };
        for (uid, gid, mode, expected) in [
            (1000, 1000, 0o640, 0o640),
            (1000, 0, 0o4750, 0o4750),
            (0, 0, 0o755, 0o555),
            (0, 0, 0o644, 0o444),
            (0, 42, 0o640, 0),
            (0, 29, 0o660, 0o666),
            (0, 1000, 0o750, 0o555),
            (0, 0, 0o1777, 0o1777),
            (0, 0, 0o4755, 0o555),
        ] {
            assert_eq!(aria.mode_on_disk(uid, gid, mode), expected, "{uid}:{gid} {mode:o}");
            assert_eq!(Identity::default().mode_on_disk(uid, gid, mode), mode);
        }
        assert_eq!(aria.on_disk(1000, 1000, 0o644, None), (0o644, None));
        let record = Record { uid: 0, gid: 0, mode: Some(0o644), device: None };
        assert_eq!(aria.on_disk(0, 0, 0o644, None), (0o444, Some(record)));
    }
}
