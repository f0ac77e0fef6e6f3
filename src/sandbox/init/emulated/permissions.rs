//! What the kernel checks before it changes a folder or opens a file, and what becomes of a new
//! file: inode(7), path_resolution(7).

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::credentials::{CAP_FOWNER, CAP_FSETID};
use super::state::{Caller, Result, Supervisor};
use super::view::{kind, stat_at, without_slash};
use crate::layer::SET_GROUP_ID;
use crate::layer::owner_table::{Row, inode_of, split_mode};
use crate::layer::owners::Record;

/// How many inodes without a name have a row.
const MANY: usize = 4096;

/// Whether the caller may make and remove entries of a folder. Returns what that looks like on
/// disk.
pub(super) fn may_enter(supervisor: &Supervisor, caller: &Caller, folder: &OwnedFd) -> Result<Stat> {
    let stat = rustix::fs::fstat(folder)?;
    supervisor.view.may_write(folder, &stat)?;
    supervisor.may(&caller.rights, &stat, 3).map(|()| stat)
}

/// Whether it may remove or rename `name` in it.
pub(super) fn may_remove(supervisor: &Supervisor, caller: &Caller, folder: &OwnedFd, name: &[u8]) -> Result<()> {
    let folder_stat = rustix::fs::fstat(folder)?;
    supervisor.view.may_write(folder, &folder_stat)?;
    supervisor.may(&caller.rights, &folder_stat, 3)?;
    let stat = stat_at(folder, without_slash(name));
    // A device is in /dev as any file of it; other places are mounts elsewhere.
    let is_mount = |stat: &Stat| match kind(stat) {
        FileType::Directory => supervisor.view.is_stand_in(stat) || supervisor.view.is_mount(stat),
        _ => supervisor.view.is_mount(stat),
    };
    if stat.as_ref().is_ok_and(is_mount) {
        return Err(Errno::BUSY);
    }
    let folder = supervisor.shown(&folder_stat);
    if folder.st_mode & 0o1000 != 0 && folder.st_uid != caller.rights.user.files {
        let owned = stat.is_ok_and(|stat| owns(supervisor, caller, &stat));
        return if owned { Ok(()) } else { Err(Errno::PERM) };
    }
    Ok(())
}

/// Whether it may give a file another name, where the kernel asks (`fs.protected_hardlinks`,
/// proc_sys_fs(5)).
pub(super) fn may_link(supervisor: &Supervisor, caller: &Caller, stat: &Stat) -> Result<()> {
    if owns(supervisor, caller, stat)
        || std::fs::read("/proc/sys/fs/protected_hardlinks").is_ok_and(|value| value.starts_with(b"0"))
    {
        return Ok(());
    }
    let mode = supervisor.shown(stat).st_mode;
    let is_safe = kind(stat) == FileType::RegularFile && without_set_id(mode) == mode;
    if is_safe && supervisor.may(&caller.rights, stat, 6).is_ok() { Ok(()) } else { Err(Errno::PERM) }
}

/// Whether the caller may read (4) or write (2) what the O_PATH descriptor `file` names.
pub(super) fn may_open(supervisor: &Supervisor, caller: &Caller, file: &OwnedFd, stat: &Stat, wanted: u32) -> Result<()> {
    supervisor.may(&caller.rights, stat, wanted)?;
    if wanted & 2 != 0 { supervisor.view.may_write(file, stat) } else { Ok(()) }
}

/// A file was written to: a writer without CAP_FSETID takes its set-id bits, and every writer its
/// file capability.
pub(super) fn written(supervisor: &mut Supervisor, caller: &Caller, stat: &Stat) {
    let mut row = supervisor.table.row(inode_of(stat));
    let set_id = row.record.mode.filter(|mode| mode & 0o6000 != 0 && !caller.rights.can(CAP_FSETID));
    if row.capability.is_none() && set_id.is_none() {
        return;
    }
    row.capability = None;
    if let Some(mode) = set_id {
        row.record.mode = split_mode(kind(stat), without_set_id(mode)).1;
    }
    supervisor.table.set(inode_of(stat), row);
}

/// A mode without set-id bits; a set-group-ID bit without the group's right to execute means
/// something else (mandatory locks).
pub(super) fn without_set_id(mode: u32) -> u32 {
    mode & !(0o4000 | if mode & 0o10 != 0 { SET_GROUP_ID } else { 0 })
}

/// Whether these rights are those of somebody who may do with a foreign file what its owner may.
pub(super) fn owns(supervisor: &Supervisor, caller: &Caller, stat: &Stat) -> bool {
    caller.rights.can(CAP_FOWNER) || supervisor.shown(stat).st_uid == caller.rights.user.files
}

/// Whether a mode keeps a set-group-ID bit that its group gives no right to.
pub(super) fn may_set_group_id(caller: &Caller, gid: u32) -> bool {
    caller.rights.can(CAP_FSETID) || caller.rights.is_member(gid)
}

impl Supervisor {
    /// Records whose a new file in `folder` is. `folder`, `stat`: as on disk; `mode`: what it is to
    /// have, the umask taken off.
    pub(super) fn record_new_file(&mut self, caller: &Caller, folder: &Stat, stat: &Stat, mode: u32) {
        let above = self.shown(folder);
        let inherits = above.st_mode & SET_GROUP_ID != 0;
        let gid = if inherits { above.st_gid } else { caller.rights.group.files };
        let mut mode = mode;
        if kind(stat) == FileType::Directory {
            mode = mode & 0o1777 | if inherits { SET_GROUP_ID } else { 0 };
        } else if mode & 0o2010 == 0o2010 && !may_set_group_id(caller, gid) {
            mode &= !SET_GROUP_ID;
        }
        let recorded = split_mode(kind(stat), mode).1;
        self.gone.remove(&inode_of(stat));
        self.linked.remove(&inode_of(stat));
        let record = Record { uid: caller.rights.user.files, gid, mode: recorded, device: None };
        self.table.set(inode_of(stat), Row { record, capability: None });
    }

    /// A name of this inode has gone; with its last one the inode goes, and its number may be used
    /// again. Its owner stays known for a while: somebody may have it open.
    pub(super) fn unlinked(&mut self, stat: &Stat) {
        let inode = inode_of(stat);
        if kind(stat) != FileType::Directory && stat.st_nlink > 1 || self.gone.contains(&inode) {
            return;
        }
        // The number may be used again, for what is no device.
        self.view.forget_stand_in(inode);
        self.gone.insert(inode);
        self.gone_in_order.push_back(inode);
        if self.gone_in_order.len() > MANY {
            self.forget_gone(MANY / 2);
        }
    }

    /// Forgets those that have gone first, until `kept` are left.
    pub(super) fn forget_gone(&mut self, kept: usize) {
        while self.gone_in_order.len() > kept {
            // One whose number was used again is no longer among them.
            if let Some(inode) = self.gone_in_order.pop_front().filter(|inode| self.gone.remove(inode)) {
                self.table.forget(inode);
            }
        }
    }
}
