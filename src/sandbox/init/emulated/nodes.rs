//! Makes, removes and renames entries of folders.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::super::notify::Call;
use super::credentials::CAP_MKNOD;
use super::permissions::{may_enter, may_link, may_remove};
use super::state::{Caller, DONE, Reply, Result, Supervisor};
use super::view::{kind, name_of, os, stat_at, without_slash};
use crate::layer::owner_table::{Row, inode_of, split_mode};
use crate::layer::owners::{Device, Record};

/// A path of a call: the descriptor that it starts from, and where its text is.
pub(super) type At = (i32, u64);

/// Where there is nothing yet.
struct NewEntry {
    folder: Rc<OwnedFd>,
    /// The folder's, as on disk.
    stat: Stat,
    name: Vec<u8>,
}

impl Supervisor {
    /// The folder of a new entry and its name; where there is something already, that is the first
    /// thing to say.
    fn new_entry(&self, call: &Call, caller: &Caller, at: At) -> Result<NewEntry> {
        let path = self.path(call, at.1)?;
        let (folder, name) = self.parent(caller, at.0, &path)?;
        self.may_search(caller, &folder)?;
        if stat_at(&folder, without_slash(&name)).is_ok() {
            return Err(Errno::EXIST);
        }
        let stat = may_enter(self, caller, &folder)?;
        Ok(NewEntry { folder, stat, name })
    }

    pub(super) fn mkdir(&mut self, call: &Call, caller: &Caller, at: At, mode: u64) -> Result<Reply> {
        let NewEntry { folder, stat: above, name } = self.new_entry(call, caller, at)?;
        let mode = caller.masked(mode as u32) & 0o1777;
        let (on_disk, _) = split_mode(FileType::Directory, mode);
        rustix::fs::mkdirat(&*folder, os(&name), Mode::from_raw_mode(on_disk))?;
        let stat = stat_at(&folder, without_slash(&name))?;
        self.record_new_file(caller, &above, &stat, mode);
        DONE
    }

    pub(super) fn mknod(&mut self, call: &Call, caller: &Caller, at: At, mode: u64, number: u64) -> Result<Reply> {
        let NewEntry { folder, stat: above, name } = self.new_entry(call, caller, at)?;
        let bits = caller.masked(mode as u32);
        let wanted = match mode as u32 & libc::S_IFMT {
            0 => FileType::RegularFile,
            format => FileType::from_raw_mode(format),
        };
        let device = match wanted {
            FileType::CharacterDevice | FileType::BlockDevice if !caller.rights.can(CAP_MKNOD) => return Err(Errno::PERM),
            FileType::CharacterDevice | FileType::BlockDevice => {
                // The number as the kernel's own interface has it, 32 bits (`new_decode_dev`).
                let number = number & 0xffff_ffff;
                if number == 0 && wanted == FileType::CharacterDevice {
                    return Err(Errno::PERM);
                }
                Some(Device { kind: wanted, major: rustix::fs::major(number), minor: rustix::fs::minor(number) })
            }
            FileType::RegularFile | FileType::Fifo | FileType::Socket => None,
            FileType::Directory => return Err(Errno::PERM),
            _ => return Err(Errno::INVAL),
        };
        let real = if device.is_some() { FileType::RegularFile } else { wanted };
        let (on_disk, recorded) = split_mode(real, bits);
        if name.ends_with(b"/") {
            return Err(Errno::NOENT);
        }
        if real == FileType::RegularFile {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(rustix::fs::openat(&*folder, os(&name), flags, Mode::from_raw_mode(on_disk))?);
        } else {
            rustix::fs::mknodat(&*folder, os(&name), real, Mode::from_raw_mode(on_disk), 0)?;
        }
        self.has_fifos |= real == FileType::Fifo;
        let stat = stat_at(&folder, &name)?;
        self.record_new_file(caller, &above, &stat, bits);
        if device.is_some() {
            self.record(&stat, |record| *record = Record { device, mode: recorded, ..*record });
        }
        DONE
    }

    pub(super) fn symlink(&mut self, call: &Call, caller: &Caller, text: u64, at: At) -> Result<Reply> {
        let text = self.path(call, text)?;
        if text.is_empty() {
            return Err(Errno::NOENT);
        }
        let NewEntry { folder, stat: above, name } = self.new_entry(call, caller, at)?;
        rustix::fs::symlinkat(os(&text), &*folder, os(&name))?;
        let stat = stat_at(&folder, &name)?;
        self.record_new_file(caller, &above, &stat, 0o777);
        DONE
    }

    pub(super) fn link(&mut self, call: &Call, caller: &Caller, from: At, to: At, flags: i32) -> Result<Reply> {
        let old = self.path(call, from.1)?;
        let by_path = !(old.is_empty() && flags & libc::AT_EMPTY_PATH != 0);
        let found = match by_path {
            true => Some(self.look_up(caller, from.0, &old, flags & libc::AT_SYMLINK_FOLLOW != 0)?),
            false => None,
        };
        let NewEntry { folder, name, .. } = self.new_entry(call, caller, to)?;
        if name.ends_with(b"/") {
            return Err(Errno::NOENT);
        }
        let source = match found {
            Some(found) => found,
            None => self.of_descriptor(caller, from.0)?,
        };
        // What the command was given from elsewhere, such as a stream, gets no name here.
        if self.view.is_mount(&source.stat) || !self.view.holds(&source.file) {
            return Err(Errno::XDEV);
        }
        self.view.on_one_mount(&source.file, &*folder)?;
        if kind(&source.stat) == FileType::Directory {
            return Err(Errno::PERM);
        }
        may_link(self, caller, &source.stat)?;
        let source = if by_path { self.copy_up(source)? } else { source };
        let file = match by_path {
            true => name_of(&source.file),
            // By the caller's own link: one of a file that was opened with O_TMPFILE must not come
            // from an O_PATH descriptor.
            false => format!("/proc/{}/fd/{}", caller.thread, from.0),
        };
        rustix::fs::linkat(rustix::fs::CWD, file.as_str(), &*folder, os(&name), AtFlags::SYMLINK_FOLLOW)?;
        DONE
    }

    /// unlink and rmdir.
    pub(super) fn unlink(&mut self, call: &Call, caller: &Caller, at: At, folder_too: bool) -> Result<Reply> {
        let path = self.path(call, at.1)?;
        let (folder, name) = self.parent(caller, at.0, &path)?;
        self.may_search(caller, &folder)?;
        let flags = if folder_too { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        if is_dots(&name) {
            // Never succeeds, and the kernel knows why.
            return rustix::fs::unlinkat(&*folder, os(&name), flags).and(Err(Errno::BUSY));
        }
        self.view.may_write(&*folder, &rustix::fs::fstat(&*folder)?)?;
        let stat = stat_at(&folder, without_slash(&name))?;
        may_remove(self, caller, &folder, &name)?;
        rustix::fs::unlinkat(&*folder, os(&name), flags)?;
        self.unlinked(&stat);
        DONE
    }

    pub(super) fn rename(&mut self, call: &Call, caller: &Caller, from: At, to: At, flags: u64) -> Result<Reply> {
        let (old, new) = (self.path(call, from.1)?, self.path(call, to.1)?);
        let (old_folder, old_name) = self.parent(caller, from.0, &old)?;
        let (new_folder, new_name) = self.parent(caller, to.0, &new)?;
        self.may_search(caller, &old_folder)?;
        self.may_search(caller, &new_folder)?;
        self.view.on_one_mount(&*old_folder, &*new_folder)?;
        let flags = RenameFlags::from_bits_retain(flags as u32);
        if is_dots(&old_name) {
            return Err(Errno::BUSY);
        }
        if is_dots(&new_name) {
            return Err(if flags.contains(RenameFlags::NOREPLACE) { Errno::EXIST } else { Errno::BUSY });
        }
        let moved = stat_at(&old_folder, without_slash(&old_name))?;
        let replaced = stat_at(&new_folder, without_slash(&new_name)).ok();
        let same = replaced.is_some_and(|replaced| inode_of(&replaced) == inode_of(&moved));
        if same && kind(&moved) != FileType::Directory && (old_name.ends_with(b"/") || new_name.ends_with(b"/")) {
            return Err(Errno::NOTDIR);
        }
        if same && !flags.intersects(RenameFlags::NOREPLACE | RenameFlags::WHITEOUT) && !self.is_linked_below(&moved) {
            // Two names of one file: nothing is done, and no right is needed.
            return DONE;
        }
        may_remove(self, caller, &old_folder, &old_name)?;
        match replaced {
            Some(_) => may_remove(self, caller, &new_folder, &new_name)?,
            None => drop(may_enter(self, caller, &new_folder)?),
        }
        if flags.contains(RenameFlags::WHITEOUT) {
            return Err(Errno::PERM);
        }
        if kind(&moved) == FileType::Directory {
            self.view.may_move_folder(&*old_folder, without_slash(&old_name))?;
        }
        // Of two that are exchanged, the other one moves as well.
        if flags.contains(RenameFlags::EXCHANGE) && replaced.is_some_and(|stat| kind(&stat) == FileType::Directory) {
            self.view.may_move_folder(&*new_folder, without_slash(&new_name))?;
        }
        // A folder that changes its parent has its `..` rewritten, for which it must be writable.
        let parents = [rustix::fs::fstat(&*old_folder)?, rustix::fs::fstat(&*new_folder)?].map(|stat| inode_of(&stat));
        if parents[0] != parents[1] {
            let exchanged = replaced.filter(|_| flags.contains(RenameFlags::EXCHANGE));
            for stat in [Some(moved), exchanged].into_iter().flatten().filter(|stat| kind(stat) == FileType::Directory) {
                self.may(&caller.rights, &stat, 2)?;
            }
        }
        self.copy_up_entry(&old_folder, without_slash(&old_name))?;
        let mut replaced = replaced;
        if replaced.is_some() {
            if flags.contains(RenameFlags::EXCHANGE) {
                self.copy_up_entry(&new_folder, without_slash(&new_name))?;
            }
            // The other name of what was moved may be its last one now.
            replaced = stat_at(&new_folder, without_slash(&new_name)).ok();
        }
        let moved = stat_at(&old_folder, without_slash(&old_name))?;
        let same = replaced.is_some_and(|replaced| inode_of(&replaced) == inode_of(&moved));
        rustix::fs::renameat_with(&*old_folder, os(&old_name), &*new_folder, os(&new_name), flags)?;
        if let Some(replaced) = replaced.filter(|_| !flags.contains(RenameFlags::EXCHANGE) && !same) {
            self.unlinked(&replaced);
        }
        DONE
    }

    /// A socket that bind has made at this path in the caller itself.
    pub(super) fn bound(&mut self, caller: &Caller, folder: &OwnedFd, name: &[u8]) -> Result<()> {
        let stat = stat_at(folder, name)?;
        self.table.set(inode_of(&stat), Row::default());
        self.record_new_file(caller, &rustix::fs::fstat(folder)?, &stat, caller.masked(0o777));
        Ok(())
    }
}

/// Whether the last component of a path, perhaps with a slash, names a folder from within.
fn is_dots(name: &[u8]) -> bool {
    matches!(without_slash(name), b"." | b"..")
}
