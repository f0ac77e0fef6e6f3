//! Folders by handle: listing, looking, reading links and opening, each relative to an open folder
//! and never through a symbolic link. Everything of this room that depends on the platform is here.
//!
//! Never a path, one name at a time: a component that is swapped for a link in the middle of a walk
//! leads nowhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat, statat};

use crate::layer::{Kind, LayerPath};

/// Which file it is: shows whether a name still refers to the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// What a name is according to the folder's listing, without looking at the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryType {
    Folder,
    /// Not in the listing of every file system.
    Unknown,
    Other,
}

/// A name in a folder.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) bytes: Box<[u8]>,
    pub(super) entry_type: EntryType,
}

/// The type and metadata of a file.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) identity: Identity,
    pub(super) form: Form,
    /// Permission, set-id and sticky bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// How many names it has.
    pub(super) links: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Seconds since 1970, and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// When content, mode, owner or names changed last: no program can set it.
    pub(super) ctime: (i64, u32),
}

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Folder,
    File,
    Symlink,
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
    Socket,
}

impl Status {
    /// What a layer calls it; `None` of a symbolic link, whose text is not known here. A socket
    /// becomes an empty file, as in BuildKit: no layer can have it.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.form {
            Form::Folder => Some(Kind::Directory),
            Form::File => Some(Kind::File { size: self.size }),
            Form::CharDevice { major, minor } => Some(Kind::CharDevice { major, minor }),
            Form::BlockDevice { major, minor } => Some(Kind::BlockDevice { major, minor }),
            Form::Fifo => Some(Kind::Fifo),
            Form::Socket => Some(Kind::File { size: 0 }),
            Form::Symlink => None,
        }
    }

    /// Whether it is the same file with the same content, judged by size and time.
    pub(super) fn same_content(&self, other: &Self) -> bool {
        self.identity == other.identity && self.form == other.form && self.size == other.size && self.mtime == other.mtime
    }
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the folder at `path`, which may be a link: it is the user who names it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, FOLDER, Mode::empty())?))
    }

    /// Opens the folder `name` in this one; a link is an error.
    pub(super) fn open_child(&self, name: &[u8]) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// Opens the folder at `path` below this one, component by component; a link is an error.
    pub(super) fn open_below(&self, path: &LayerPath) -> io::Result<Self> {
        path.components().try_fold(self.open_child(b".")?, |folder, name| folder.open_child(name))
    }

    /// Opens the folder that holds this one now. The caller checks which it is.
    pub(super) fn open_parent(&self) -> io::Result<Self> {
        Ok(Self(openat(&self.0, c"..", FOLDER | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// The names in it, in byte order.
    pub(super) fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let entry_type = match entry.file_type() {
                FileType::Directory => EntryType::Folder,
                FileType::Unknown => EntryType::Unknown,
                _ => EntryType::Other,
            };
            names.push(Name { bytes: bytes.into(), entry_type });
        }
        names.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes));
        Ok(names)
    }

    /// What `name` is; of a link, the link.
    pub(super) fn status(&self, name: &[u8]) -> io::Result<Status> {
        Ok(status(&statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// The folder's own status.
    pub(super) fn own_status(&self) -> io::Result<Status> {
        Ok(status(&fstat(&self.0)?))
    }

    /// The device it is on, if files there change their ctime with every change of content: file
    /// systems that only this machine's kernel writes. In tmpfs, writes through a mapping do
    /// not update ctime, and network file systems cache attributes. Of an overlay it is not known
    /// what it stands on: one on tmpfs is taken for reliable, and so is a disk image with fixed
    /// times that was exchanged for another.
    pub(super) fn device_with_reliable_times(&self) -> io::Result<Option<u64>> {
        // linux/magic.h: ext2 to ext4, XFS, Btrfs, overlay, F2FS; ZFS and bcachefs by their own
        // headers.
        const RELIABLE: [u32; 7] = [0xef53, 0x5846_5342, 0x9123_683e, 0x794c_7630, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e];
        let kind = rustix::fs::fstatfs(&self.0)?.f_type as u32;
        Ok(RELIABLE.contains(&kind).then_some(self.own_status()?.identity.device))
    }

    /// The text of the link `name`.
    pub(super) fn link_text(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.0, name, Vec::new())?.into_bytes())
    }

    /// Whether something is at `path`. Nothing is opened, so a link on the way cannot leak
    /// contents.
    pub(super) fn holds(&self, path: &str) -> bool {
        statat(&self.0, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }
}

/// Opens the file `name` for reading; a link is an error, and a pipe does not block.
pub(super) fn open_file(folder: &Folder, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(openat(&folder.0, name, flags, Mode::empty())?))
}

/// What an open file is now.
pub(super) fn status_of(file: &File) -> io::Result<Status> {
    Ok(status(&fstat(file.as_fd())?))
}

/// An extended attribute of an open file; `None` where it has none of that name.
pub(super) fn xattr(file: &File, name: &str) -> io::Result<Option<Vec<u8>>> {
    use rustix::io::Errno;
    // `security.capability` has 20 or 24 bytes.
    let mut value = vec![0; 256];
    match rustix::fs::fgetxattr(file, name, &mut value) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

// The fields' types differ between platforms.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn status(stat: &Stat) -> Status {
    let (major, minor) = (rustix::fs::major(stat.st_rdev as _), rustix::fs::minor(stat.st_rdev as _));
    Status {
        identity: Identity { device: stat.st_dev as u64, inode: stat.st_ino as u64 },
        form: match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Form::Folder,
            FileType::Symlink => Form::Symlink,
            FileType::CharacterDevice => Form::CharDevice { major, minor },
            FileType::BlockDevice => Form::BlockDevice { major, minor },
            FileType::Fifo => Form::Fifo,
            FileType::Socket => Form::Socket,
            FileType::RegularFile | FileType::Unknown => Form::File,
        },
        mode: u32::from(stat.st_mode) & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        links: stat.st_nlink as u64,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
    }
}
