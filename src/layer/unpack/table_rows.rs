//! Owners, modes, devices and capabilities of unpacked files that the file system itself cannot
//! keep: their rows in the owner table.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;

use crate::layer::owner_table::{OwnerTable, Row, inode_of, split_mode};
use crate::layer::owners::{Device, Record};
use crate::layer::{Metadata, Xattrs};

/// Enters what a layer says of a file. Returns its permission bits on disk.
pub(super) fn enter(table: &mut OwnerTable, stat: &rustix::fs::Stat, metadata: &Metadata, device: Option<Device>) -> u32 {
    let (on_disk, recorded) = split_mode(FileType::from_raw_mode(stat.st_mode), metadata.mode);
    let record = Record { uid: metadata.uid, gid: metadata.gid, mode: recorded, device };
    let capability = metadata.xattrs.get(&b"security.capability"[..]).cloned();
    table.set(inode_of(stat), Row { record, capability });
    on_disk
}

/// What a file or folder of another layer looks like.
pub(super) fn copied_metadata(stat: &rustix::fs::Stat, fd: &OwnedFd) -> Metadata {
    let mut metadata = Metadata::new(stat.st_mode & 0o7777, stat.st_uid, stat.st_gid, stat.st_mtime);
    let mut value = vec![0; 64];
    if let Ok(length) = rustix::fs::fgetxattr(fd, "security.capability", &mut value[..]) {
        value.truncate(length);
        metadata.xattrs = Xattrs::from([(b"security.capability".to_vec(), value)]);
    }
    metadata
}
