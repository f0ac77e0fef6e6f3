//! What a step changed, as entries of a layer in the layer's order: from an overlay's upper folder,
//! or from a tree that is compared with what it was.
//!
//! Equal to what Docker and BuildKit emit, on applied trees: sockets are left out, `user.*`
//! attributes too, files and folders that were only copied up are not changes, hard links stay
//! links.
//!
//! Never writes tars, and never follows links.

mod links;
mod restore;
mod scan;
mod stamps;
mod upper;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

use super::open_inside;
use super::owner_table::{OwnerTable, inode_of};
use super::owners::{Owners, Record, has_attributes, is_copied_up, path_in};
use super::unpack::relative;
use crate::error::{Error, Result};
use crate::layer::{Entry, Kind, LayerPath, Metadata, SET_GROUP_ID, Xattrs};

pub use restore::{RestorePlan, RestorePoint};
pub use scan::{Baseline, Original, Originals, TreeChanges};
pub use upper::changes;

/// The only attribute that images carry.
const CAPABILITY: &[u8] = b"security.capability";
const CHUNK: usize = 128 * 1024;
/// As glibc's, for the entries of most folders.
const DIRECTORY_BUFFER: usize = 32 * 1024;

/// One entry of the layer that a step makes.
#[derive(Debug, Clone)]
pub struct Change {
    /// The entry.
    pub entry: Entry,
    tree: Arc<Tree>,
}

/// The folder that holds the content of changes.
#[derive(Debug)]
struct Tree {
    path: std::path::PathBuf,
    root: OwnedFd,
    owners: Owners,
    table: Option<OwnerTable>,
}

impl Change {
    /// Opens the content of a regular file; `None` for everything else.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where the file has gone or is not a file any more.
    pub fn open(&self) -> Result<Option<File>> {
        match self.entry.kind {
            Kind::File { .. } => Ok(Some(File::from(self.tree.open(&self.entry.path)?))),
            _ => Ok(None),
        }
    }
}

impl Tree {
    fn new(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::io("open", path, errno.into()))?;
        let owners = Owners::of(&root);
        Ok(Self { path: path.to_owned(), root, owners, table: OwnerTable::read(path)? })
    }

    fn open(&self, path: &LayerPath) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = open_inside(&self.root, relative(path), flags, resolve);
        file.map_err(|errno| self.error("open", path, errno))
    }

    fn link_text(&self, path: &LayerPath) -> Result<Vec<u8>> {
        let text = rustix::fs::readlinkat(&self.root, relative(path), Vec::new());
        text.map(|text| text.into_bytes()).map_err(|errno| self.error("read", path, errno))
    }

    fn stat(&self, path: &LayerPath) -> Result<Stat> {
        self.stat_at(&self.root, relative(path)).map_err(|errno| self.error("examine", path, errno))
    }

    /// What is at `name` in `folder`, as the table says where there is one.
    fn stat_at(&self, folder: &OwnedFd, name: &std::ffi::OsStr) -> std::result::Result<Stat, rustix::io::Errno> {
        let mut stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if let Some(table) = &self.table {
            table.apply(&mut stat);
        }
        Ok(stat)
    }

    /// As `stat_at`, with the true owner and mode. A folder `parent` with the set-group-ID bit
    /// gives new files its group, which has to be caught up with where owners are recorded.
    /// `below`: whether there is something at `path` below.
    fn true_stat(&self, path: &LayerPath, parent: Option<&Stat>, below: bool) -> Result<Stat> {
        let mut stat = self.stat(path)?;
        let on_disk = stat.st_mode;
        if self.owners.apply(&self.root, relative(path), &mut stat) {
            return Ok(stat);
        }
        let place = path_in(&self.root, relative(path));
        let old = if has_attributes(on_disk) { is_copied_up(&place) } else { below };
        if let Some(parent) = parent.filter(|parent| !old && parent.st_mode & SET_GROUP_ID != 0 && parent.st_gid != stat.st_gid) {
            stat.st_gid = parent.st_gid;
            let record = Record { uid: stat.st_uid, gid: stat.st_gid, mode: None, device: None };
            record.write(&place, on_disk).map_err(|errno| self.error("record the group of", path, errno))?;
        }
        Ok(stat)
    }

    fn names(&self, path: &LayerPath) -> Result<Vec<Vec<u8>>> {
        self.names_in(path, &self.open(path)?)
    }

    fn names_in(&self, path: &LayerPath, folder: &OwnedFd) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        // `Dir` would open the folder once more, and fill its buffer with zeros first.
        let mut buffer = Vec::with_capacity(DIRECTORY_BUFFER);
        let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Err(Errno::INTR) => continue,
                // The folder was removed meanwhile.
                Err(Errno::NOENT) => break,
                entry => entry.map_err(|errno| self.error("read", path, errno))?,
            };
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What the folder `path` holds, sorted. Asked of the open folder: the kernel need not find the
    /// way for each.
    fn entries(&self, path: &LayerPath) -> Result<Vec<(LayerPath, Stat)>> {
        let folder = self.open(path)?;
        let examine = |name: Vec<u8>| {
            let child = path.child(&name)?;
            let stat = self.stat_at(&folder, std::ffi::OsStr::from_bytes(&name));
            stat.map_err(|errno| self.error("examine", &child, errno)).map(|stat| (child, stat))
        };
        self.names_in(path, &folder)?.into_iter().map(examine).collect()
    }

    /// The file capability, the only attribute that images carry.
    fn xattrs(&self, path: &LayerPath) -> Result<Xattrs> {
        let capability = match &self.table {
            Some(table) => table.capability(inode_of(&self.stat(path)?)).cloned(),
            None => capability(&self.open(path)?),
        };
        Ok(capability.into_iter().map(|value| (CAPABILITY.to_vec(), value)).collect())
    }

    fn error(&self, verb: &str, path: &LayerPath, errno: rustix::io::Errno) -> Error {
        Error::io(verb, self.path.join(path.as_path()), errno.into())
    }
}

fn capability(file: &OwnedFd) -> Option<Vec<u8>> {
    let mut value = vec![0; 64];
    let length = rustix::fs::fgetxattr(file, "security.capability", &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// Whether both have the same bytes from here to their ends.
fn same_bytes(mut left: impl Read, mut right: impl Read) -> std::io::Result<bool> {
    let (mut one, mut other) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    loop {
        one.clear();
        other.clear();
        left.by_ref().take(CHUNK as u64).read_to_end(&mut one)?;
        right.by_ref().take(CHUNK as u64).read_to_end(&mut other)?;
        if one != other {
            return Ok(false);
        }
        if one.is_empty() {
            return Ok(true);
        }
    }
}

fn metadata_of(stat: &Stat) -> Metadata {
    Metadata::new(stat.st_mode & 0o7777, stat.st_uid, stat.st_gid, stat.st_mtime)
}

/// What a file-system entry is in a layer; `None` for a socket.
fn kind_of(tree: &Tree, path: &LayerPath, stat: &Stat) -> Result<Option<Kind>> {
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File { size: u64::try_from(stat.st_size).unwrap_or_default() },
        FileType::Symlink => Kind::Symlink { target: tree.link_text(path)? },
        FileType::CharacterDevice => Kind::CharDevice { major, minor },
        FileType::BlockDevice => Kind::BlockDevice { major, minor },
        FileType::Fifo => Kind::Fifo,
        _ => return Ok(None),
    }))
}
