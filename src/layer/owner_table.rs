//! Owners, modes, devices and file capabilities of a tree whose files all belong to one
//! unprivileged user on disk, by inode.
//!
//! Where extended attributes cannot hold them (`owners`): a process without privileges cannot write
//! an attribute of a link, a fifo or a device (xattr(7)), nor a file capability (capabilities(7),
//! CAP_SETFCAP). The table is a file beside the tree and is written when nothing changes the tree
//! any more.
//!
//! Every file on disk has at least `u+rw`, every folder `u+rwx`, and none has a set-id bit: the
//! program must be able to open it, and no other user of the machine may gain anything by it.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use super::owners::Record;
use crate::error::{Error, ErrorKind, Result};

/// What is true of a file and cannot be seen on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Owner, mode and device.
    pub(crate) record: Record,
    /// The value of `security.capability`.
    pub(crate) capability: Option<Vec<u8>>,
}

/// A file without a row: root's, with the mode that it has on disk.
const DEFAULT: Record = Record { uid: 0, gid: 0, mode: None, device: None };

impl Default for Row {
    fn default() -> Self {
        Self { record: DEFAULT, capability: None }
    }
}

/// An inode: device and number.
pub(crate) type Inode = (u64, u64);

/// The inode of a file that was examined.
#[allow(clippy::unnecessary_cast, reason = "the fields of stat differ between architectures")]
pub(crate) fn inode_of(stat: &Stat) -> Inode {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// The rows of one tree, or of several that a command sees.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnerTable(HashMap<Inode, Row>);

impl OwnerTable {
    /// The file that holds the table of the tree at `tree`.
    pub(crate) fn path_of(tree: &Path) -> PathBuf {
        let mut name = tree.file_name().unwrap_or_default().to_owned();
        name.push(".owners");
        tree.with_file_name(name)
    }

    /// The table of the tree at `tree`; `None` for a tree that has none.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) where it cannot be read, [`Corrupt`](ErrorKind::Corrupt) where it is
    /// damaged.
    pub(crate) fn read(tree: &Path) -> Result<Option<Self>> {
        let path = Self::path_of(tree);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| Error::io("read", &path, error))?,
        };
        let device = std::fs::metadata(tree).map_err(|error| Error::io("examine", tree, error))?.dev();
        let rows = text.lines().map(|line| parse_row(line).map(|(inode, row)| ((device, inode), row)));
        let damaged = || Error::new(ErrorKind::Corrupt, format!("`{}` is damaged", path.display()));
        Ok(Some(Self(rows.collect::<Option<_>>().ok_or_else(damaged)?)))
    }

    /// Writes the rows of the file system that `tree` is on. A tree without rows gets an empty
    /// table.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io).
    pub(crate) fn write(&self, tree: &Path) -> Result<()> {
        self.write_for(tree, std::fs::metadata(tree).map_err(|error| Error::io("examine", tree, error))?.dev())
    }

    /// As [`write`](Self::write), also for a tree that gets its place later, on the file system
    /// `device`. Whoever reads the table meanwhile, or after a kill, finds this or the one before.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io).
    pub(crate) fn write_for(&self, tree: &Path, device: u64) -> Result<()> {
        let mut text = String::new();
        for ((_, inode), row) in self.0.iter().filter(|((on, _), _)| *on == device) {
            let _ = write!(text, "{inode} {}", row.record.to_text());
            if let Some(capability) = &row.capability {
                text.push(' ');
                for byte in capability {
                    let _ = write!(text, "{byte:02x}");
                }
            }
            text.push('\n');
        }
        let path = Self::path_of(tree);
        let new = path.with_extension("new");
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &path));
        written.map_err(|error| Error::io("write", &path, error))
    }

    /// The row of an inode; the default where it has none.
    pub(crate) fn row(&self, inode: Inode) -> Row {
        self.0.get(&inode).cloned().unwrap_or_default()
    }

    /// Shows a file of the tree as it truly is.
    pub(crate) fn apply(&self, stat: &mut Stat) {
        self.0.get(&inode_of(stat)).map_or(DEFAULT, |row| row.record).apply(stat);
    }

    /// The file capability of an inode.
    pub(crate) fn capability(&self, inode: Inode) -> Option<&Vec<u8>> {
        self.0.get(&inode)?.capability.as_ref()
    }

    /// Whether any inode has a file capability.
    pub(crate) fn has_capabilities(&self) -> bool {
        self.0.values().any(|row| row.capability.is_some())
    }

    /// Sets what is true of an inode. Numbers are used again, so it has to be called for every new
    /// file.
    pub(crate) fn set(&mut self, inode: Inode, row: Row) {
        if row == Row::default() {
            self.0.remove(&inode);
        } else {
            self.0.insert(inode, row);
        }
    }

    /// Forgets an inode that has gone.
    pub(crate) fn forget(&mut self, inode: Inode) {
        self.0.remove(&inode);
    }

    /// Forgets the rows of the file system `device` whose inodes are not among `kept`. Whether
    /// there were any.
    pub(crate) fn keep_only(&mut self, device: u64, kept: &HashSet<u64>) -> bool {
        let before = self.0.len();
        self.0.retain(|(on, inode), _| *on != device || kept.contains(inode));
        self.0.len() < before
    }

    /// The inodes that have a row.
    pub(crate) fn inodes(&self) -> impl Iterator<Item = Inode> {
        self.0.keys().copied()
    }

    /// Takes the rows of another tree in.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Takes the rows of `inodes` out.
    pub(crate) fn split_off(&mut self, inodes: impl Iterator<Item = Inode>) -> Self {
        Self(inodes.filter_map(|inode| Some((inode, self.0.remove(&inode)?))).collect())
    }
}

/// The permission bits that a file of this type gets on disk, and what has to be recorded of its
/// mode.
pub(crate) fn split_mode(kind: FileType, mode: u32) -> (u32, Option<u32>) {
    let needed = if kind == FileType::Directory { 0o700 } else { 0o600 };
    let on_disk = mode & 0o777 | needed;
    (on_disk, (kind != FileType::Symlink && on_disk != mode & 0o7777).then_some(mode & 0o7777))
}

/// `INODE`, the record, and the file capability in hexadecimal digits if there is one.
fn parse_row(line: &str) -> Option<(u64, Row)> {
    let mut parts = line.split(' ');
    let inode = parts.next()?.parse().ok()?;
    let record = Record::parse(parts.next()?)?;
    let capability = match parts.next() {
        Some(digits) => Some(
            digits
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect::<Option<_>>()?,
        ),
        None => None,
    };
    Some((inode, Row { record, capability }))
}

#[cfg(test)]
mod tests {
    use super::super::owners::Device;
    use super::*;

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree.d");
        std::fs::create_dir(&tree).unwrap();
        assert!(OwnerTable::read(&tree).unwrap().is_none());
        let device = std::fs::metadata(&tree).unwrap().dev();
        let special = Some(Device { kind: FileType::CharacterDevice, major: 1, minor: 3 });
        let rows = [
            (
                7,
                Row { record: Record { uid: 1000, gid: 4, mode: Some(0o4755), device: None }, capability: Some(vec![1, 0, 255]) },
            ),
            (9, Row { record: Record { uid: 0, gid: 0, mode: Some(0o666), device: special }, capability: None }),
        ];
        let mut table = OwnerTable::default();
        for (inode, row) in &rows {
            table.set((device, *inode), row.clone());
        }
        table.set((device + 1, 7), rows[1].1.clone());
        table.write(&tree).unwrap();
        let read = OwnerTable::read(&tree).unwrap().unwrap();
        assert_eq!(read.0, HashMap::from(rows.clone().map(|(inode, row)| ((device, inode), row))));
        let mut of_two = table.clone();
        assert!(of_two.keep_only(device, &HashSet::from([9])) && !of_two.keep_only(device, &HashSet::from([9])));
        let mut left: Vec<_> = of_two.inodes().collect();
        left.sort_unstable();
        assert_eq!(left, [(device, 9), (device + 1, 7)]);
        std::fs::write(OwnerTable::path_of(&tree), "7 0:0 zz\n").unwrap();
        assert_eq!(OwnerTable::read(&tree).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn modes_on_disk_leave_the_owner_its_rights_and_nobody_a_set_id_bit() {
        let (file, folder) = (FileType::RegularFile, FileType::Directory);
        assert_eq!(split_mode(file, 0o644), (0o644, None));
        assert_eq!(split_mode(file, 0o4755), (0o755, Some(0o4755)));
        assert_eq!(split_mode(file, 0o444), (0o644, Some(0o444)));
        assert_eq!(split_mode(folder, 0o1777), (0o777, Some(0o1777)));
        assert_eq!(split_mode(folder, 0), (0o700, Some(0)));
        assert_eq!(split_mode(FileType::Symlink, 0o777), (0o777, None));
    }
}
