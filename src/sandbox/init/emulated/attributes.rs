//! Owners, modes, times and extended attributes of files.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, FileType, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::super::notify::Call;
use super::credentials::{CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_SETFCAP};
use super::examine::attributes_of;
use super::permissions::{may_set_group_id, owns, without_set_id};
use super::state::{Caller, DONE, Reply, Result, Supervisor, set_mode, touch};
use super::view::kind;
use super::walk::Found;
use crate::layer::SET_GROUP_ID;
use crate::layer::owner_table::{inode_of, split_mode};

const CAPABILITY: &[u8] = b"security.capability";
/// `XATTR_SIZE_MAX` and `XATTR_NAME_MAX` of linux/limits.h.
const MAX_VALUE: usize = 65536;
const MAX_NAME: usize = 255;

impl Supervisor {
    pub(super) fn chmod(&mut self, caller: &Caller, found: Result<Found>, mode: u64) -> Result<Reply> {
        let Found { file, stat } = found?;
        if kind(&stat) == FileType::Symlink {
            return Err(Errno::OPNOTSUPP);
        }
        self.view.may_write(&file, &stat)?;
        let shown = self.shown(&stat);
        if !owns(self, caller, &stat) {
            return Err(Errno::PERM);
        }
        let mut mode = mode as u32 & 0o7777;
        if mode & SET_GROUP_ID != 0 && !may_set_group_id(caller, shown.st_gid) {
            mode &= !SET_GROUP_ID;
        }
        // This machine's files, such as devices and pipes, are in no layer.
        if !self.is_ours(&file, &stat) {
            return DONE;
        }
        let (on_disk, _) = split_mode(kind(&stat), mode);
        set_mode(&file, on_disk)?;
        let recorded = match self.table.row(inode_of(&stat)).record.device {
            Some(_) => Some(mode),
            None => split_mode(kind(&stat), mode).1,
        };
        self.record(&stat, |record| record.mode = recorded);
        DONE
    }

    pub(super) fn chown(&mut self, caller: &Caller, found: Result<Found>, uid: u64, gid: u64) -> Result<Reply> {
        let Found { file, stat } = found?;
        self.view.may_write(&file, &stat)?;
        let shown = self.shown(&stat);
        let wanted = |id: u64| Some(id as u32).filter(|id| *id != u32::MAX);
        let (uid, gid) = (wanted(uid), wanted(gid));
        if !caller.rights.can(CAP_CHOWN) {
            let own = shown.st_uid == caller.rights.user.files;
            let keeps = uid.is_none_or(|uid| own && uid == shown.st_uid);
            let member = gid.is_none_or(|gid| own && (gid == shown.st_gid || caller.rights.is_member(gid)));
            if !keeps || !member {
                return Err(Errno::PERM);
            }
        }
        if !self.is_ours(&file, &stat) {
            return DONE;
        }
        touch(&file, &stat);
        let mut row = self.table.row(inode_of(&stat));
        row.record.uid = uid.unwrap_or(row.record.uid);
        row.record.gid = gid.unwrap_or(row.record.gid);
        // chown(2): set-id bits and capabilities of a file go, even where the owner stays.
        if kind(&stat) == FileType::RegularFile && (uid.is_some() || gid.is_some()) {
            row.capability = None;
            row.record.mode = row.record.mode.and_then(|mode| match row.record.device {
                Some(_) => Some(without_set_id(mode)),
                None => split_mode(kind(&stat), without_set_id(mode)).1,
            });
        }
        self.table.set(inode_of(&stat), row);
        DONE
    }

    /// utimensat and its elders. `times`: access and modification, in seconds and nanoseconds;
    /// `None`: now.
    pub(super) fn set_times(&mut self, caller: &Caller, found: Result<Found>, times: Option<[(i64, i64); 2]>) -> Result<Reply> {
        let Found { file, stat } = found?;
        self.view.may_write(&file, &stat)?;
        let now = |(_, nanoseconds): (i64, i64)| nanoseconds == rustix::fs::UTIME_NOW;
        let plain = times.is_none_or(|times| times.into_iter().all(now));
        if !owns(self, caller, &stat) {
            match plain {
                true => self.may(&caller.rights, &stat, 2)?,
                false => return Err(Errno::PERM),
            }
        }
        let time = |index: usize| {
            times.map_or(Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW }, |times| Timespec {
                tv_sec: times[index].0,
                tv_nsec: times[index].1,
            })
        };
        if !self.is_ours(&file, &stat) {
            return DONE;
        }
        let times = Timestamps { last_access: time(0), last_modification: time(1) };
        set_times_of(&file, &times)?;
        DONE
    }

    /// Reads two times of a call: pairs of 64-bit numbers, the second of each times `unit`
    /// nanoseconds.
    pub(super) fn times(&self, call: &Call, address: u64, unit: i64) -> Result<Option<[(i64, i64); 2]>> {
        if address == 0 {
            return Ok(None);
        }
        let words = self.memory.read_words(call.thread as i32, address, 4)?;
        let pair = |at: usize| -> Result<(i64, i64)> {
            let (seconds, part) = (words[at] as i64, words[at + 1] as i64);
            let special = unit == 1 && matches!(part, rustix::fs::UTIME_NOW | rustix::fs::UTIME_OMIT);
            match part {
                part if special => Ok((0, part)),
                part if (0..1_000_000_000 / unit).contains(&part) => Ok((seconds, part * unit)),
                _ => Err(Errno::INVAL),
            }
        };
        Ok(Some([pair(0)?, pair(2)?]))
    }

    pub(super) fn set_attribute(&mut self, call: &Call, caller: &Caller, found: Result<Found>) -> Result<Reply> {
        let name = self.attribute_name(call)?;
        let size = usize::try_from(call.arguments[3]).ok().filter(|size| *size <= MAX_VALUE).ok_or(Errno::TOOBIG)?;
        let mut value = vec![0; size];
        self.memory.read(call.thread as i32, call.arguments[2], &mut value)?;
        let found = found?;
        let Found { file, stat } = &found;
        self.view.may_write(file, stat)?;
        let flags = XattrFlags::from_bits_retain(call.arguments[4] as u32);
        if name == CAPABILITY {
            return self.set_file_capability(caller, &found, Some(value), flags);
        }
        self.may_change_attribute(caller, &found, &name)?;
        let mode_before = stat.st_mode;
        rustix::fs::setxattr(attributes_of(file), super::view::os(&name), &value, flags)?;
        let now = rustix::fs::fstat(file)?;
        if now.st_mode != mode_before && stat.st_uid == self.uid {
            // An access list sets the mode as well.
            let special = self.shown(stat).st_mode & 0o7000;
            let (on_disk, recorded) = split_mode(kind(&now), now.st_mode & 0o777 | special);
            if on_disk != now.st_mode & 0o7777 {
                set_mode(file, on_disk)?;
            }
            self.record(stat, |record| record.mode = recorded);
        }
        DONE
    }

    pub(super) fn remove_attribute(&mut self, call: &Call, caller: &Caller, found: Result<Found>) -> Result<Reply> {
        let name = self.attribute_name(call)?;
        let found = found?;
        self.view.may_write(&found.file, &found.stat)?;
        if name == CAPABILITY {
            if self.table.capability(inode_of(&found.stat)).is_none() {
                return Err(Errno::NODATA);
            }
            return self.set_file_capability(caller, &found, None, XattrFlags::empty());
        }
        self.may_change_attribute(caller, &found, &name)?;
        rustix::fs::removexattr(attributes_of(&found.file), super::view::os(&name))?;
        DONE
    }

    fn set_file_capability(
        &mut self,
        caller: &Caller,
        found: &Found,
        value: Option<Vec<u8>>,
        flags: XattrFlags,
    ) -> Result<Reply> {
        let Found { file, stat } = found;
        if !caller.rights.can(CAP_SETFCAP) || stat.st_uid != self.uid {
            return Err(Errno::PERM);
        }
        if kind(stat) != FileType::RegularFile {
            return Err(Errno::OPNOTSUPP);
        }
        // VFS_CAP_REVISION_1 to 3 of linux/capability.h, with their lengths.
        let known = |value: &Vec<u8>| matches!((value.len(), value.get(3)), (12, Some(1)) | (20, Some(2)) | (24, Some(3)));
        let valid = value.as_ref().is_none_or(known);
        let mut row = self.table.row(inode_of(stat));
        match () {
            () if !valid => return Err(Errno::INVAL),
            () if flags.contains(XattrFlags::CREATE) && row.capability.is_some() => return Err(Errno::EXIST),
            () if flags.contains(XattrFlags::REPLACE) && row.capability.is_none() => return Err(Errno::NODATA),
            () => {}
        }
        if value.is_some() {
            self.expect_capabilities(caller.thread)?;
        }
        row.capability = value;
        self.table.set(inode_of(stat), row);
        touch(file, stat);
        DONE
    }

    /// Whether what is done to a file is done on disk: not to this machine's files, such as
    /// devices, pipes, or what the command was given as a stream.
    fn is_ours(&self, file: &OwnedFd, stat: &rustix::fs::Stat) -> bool {
        stat.st_uid == self.uid && !self.view.is_stand_in(stat) && !self.view.is_proc(stat) && self.view.holds(file)
    }

    fn may_change_attribute(&self, caller: &Caller, Found { file, stat }: &Found, name: &[u8]) -> Result<()> {
        if !self.is_ours(file, stat) {
            return Err(Errno::PERM);
        }
        if name.starts_with(b"user.") {
            return self.may(&caller.rights, stat, 2);
        }
        // Root of a container has neither CAP_SYS_ADMIN for `trusted.` nor for `security.`.
        if !name.starts_with(b"system.") || !owns(self, caller, stat) {
            return Err(Errno::PERM);
        }
        Ok(())
    }

    fn attribute_name(&self, call: &Call) -> Result<Vec<u8>> {
        let name = self.memory.read_string(call.thread as i32, call.arguments[1], MAX_NAME + 1);
        name.map_err(|errno| if errno == Errno::NAMETOOLONG { Errno::RANGE } else { errno })
            .and_then(|name| if name.is_empty() { Err(Errno::RANGE) } else { Ok(name) })
    }

    /// Whether an attribute of a descriptor is one that the kernel does not have, or that the
    /// caller may not read. Where the kernel answers, that takes 4 µs in place of 12 to 15.
    pub(super) fn may_be_capability(&self, call: &Call, caller: &Caller) -> Result<bool> {
        if !caller.rights.can(CAP_DAC_OVERRIDE) {
            return Ok(true);
        }
        Ok(self.has_capabilities && self.attribute_name(call)? == CAPABILITY)
    }

    pub(super) fn attribute(&self, call: &Call, caller: &Caller, found: Result<Found>) -> Result<Reply> {
        let name = self.attribute_name(call)?;
        let Found { file, stat } = found?;
        let value = if name == CAPABILITY {
            self.table.capability(inode_of(&stat)).cloned().ok_or(Errno::NODATA)?
        } else {
            if name.starts_with(b"user.") {
                self.may(&caller.rights, &stat, 4)?;
            }
            // Not made of zeros: to write them would take most of the time.
            let mut value = Vec::with_capacity(MAX_VALUE);
            rustix::fs::getxattr(attributes_of(&file), super::view::os(&name), spare_capacity(&mut value))?;
            value
        };
        self.hand_out(call, call.arguments[2], call.arguments[3], &value)
    }

    pub(super) fn attribute_names(&self, call: &Call, found: Result<Found>) -> Result<Reply> {
        let Found { file, stat } = found?;
        let mut names = Vec::with_capacity(MAX_VALUE);
        rustix::fs::listxattr(attributes_of(&file), spare_capacity(&mut names))?;
        if self.table.capability(inode_of(&stat)).is_some() {
            names.extend(CAPABILITY);
            names.push(0);
        }
        self.hand_out(call, call.arguments[1], call.arguments[2], &names)
    }

    /// A value of which the caller may only want to know the length.
    fn hand_out(&self, call: &Call, buffer: u64, room: u64, value: &[u8]) -> Result<Reply> {
        if room != 0 {
            if room < value.len() as u64 {
                return Err(Errno::RANGE);
            }
            self.write(call, buffer, value)?;
        }
        Ok(Reply::Value(value.len() as i64))
    }
}

pub(super) fn set_times_of(file: &OwnedFd, times: &Timestamps) -> Result<()> {
    match rustix::fs::utimensat(file, "", times, AtFlags::EMPTY_PATH) {
        // A kernel that takes no empty path here.
        Err(Errno::NOENT | Errno::INVAL) => rustix::fs::utimensat(rustix::fs::CWD, attributes_of(file), times, AtFlags::empty()),
        set => set,
    }
}

/// The permitted capabilities of `security.capability`, and whether they are effective at once
/// (linux/capability.h, `vfs_cap_data`).
pub(super) fn parse_file_capability(value: &[u8]) -> Option<(u64, bool)> {
    let words: Vec<u32> = value.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let (head, low) = (words.first()?, words.get(1)?);
    let high = words.get(3).copied().unwrap_or(0);
    Some((u64::from(high) << 32 | u64::from(*low), head & 1 != 0))
}
