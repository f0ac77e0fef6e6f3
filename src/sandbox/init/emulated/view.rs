//! The file system as a command sees it: the tree of the step, and this machine's files that stand
//! for what cannot be mounted.
//!
//! The stand-in of such a file is a node of the tree with mode 000. The kernel refuses to walk
//! through it (EACCES), which tells that a walk in user space is needed (`walk`); all other paths
//! are resolved by the kernel alone, by openat2(2).

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::layer::owner_table::{Inode, inode_of};

pub(super) const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// Confined to the folder that a lookup begins at.
pub(super) const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_SYMLINKS);

/// A file or folder of this machine at a path of the tree.
#[derive(Debug)]
pub(super) struct Substitute {
    /// Its absolute path inside.
    inside: Vec<u8>,
    /// Its path on this machine.
    outside: Vec<u8>,
    file: OwnedFd,
    /// The node of the tree that stands in for it.
    stand_in: Inode,
}

#[derive(Debug)]
pub(super) struct View {
    root: OwnedFd,
    /// The root's path on this machine.
    outside: Vec<u8>,
    substitutes: Vec<Substitute>,
    proc_device: u64,
    /// What would be a mount elsewhere: it can be neither removed nor replaced.
    /// Each with its path.
    points: HashMap<Inode, Vec<u8>>,
    /// Files of these that may not be written to.
    readonly_files: HashSet<Inode>,
    /// Folders of these by their paths inside, and whether they may be written to.
    folders: Vec<(Vec<u8>, bool)>,
}

impl View {
    pub(super) fn new(tree: &OwnedFd) -> Result<Self, Errno> {
        let root = reopen(tree, PATH_ONLY | OFlags::DIRECTORY)?;
        let outside = path_of(&root)?;
        let proc_device = rustix::fs::stat("/proc")?.st_dev;
        Ok(Self {
            root,
            outside,
            substitutes: Vec::new(),
            proc_device,
            points: HashMap::new(),
            readonly_files: HashSet::new(),
            folders: Vec::new(),
        })
    }

    /// Notes that the file or folder `stat` at `inside` would be a mount elsewhere.
    pub(super) fn mount(&mut self, inside: &[u8], stat: &Stat, readonly: bool) {
        self.points.insert(inode_of(stat), inside.to_vec());
        match kind(stat) {
            FileType::Directory => self.folders.push((inside.to_vec(), !readonly)),
            _ if readonly => drop(self.readonly_files.insert(inode_of(stat))),
            _ => {}
        }
    }

    /// `EROFS` for a file or folder that may not be written to. A device or a fifo may be.
    pub(super) fn may_write(&self, file: impl AsDescriptor, stat: &Stat) -> Result<(), Errno> {
        let is_readonly = match kind(stat) {
            FileType::Directory | FileType::RegularFile | FileType::Symlink => {
                self.readonly_files.contains(&inode_of(stat)) || self.is_in_readonly_folder(file)?
            }
            _ => false,
        };
        if is_readonly { Err(Errno::ROFS) } else { Ok(()) }
    }

    /// `EXDEV` for two places that would be on different mounts elsewhere.
    pub(super) fn on_one_mount(&self, one: impl AsDescriptor, other: impl AsDescriptor) -> Result<(), Errno> {
        let mount = |file: &[u8]| {
            let covering = self.folders.iter().map(|(folder, _)| folder).filter(|folder| is_below(file, folder));
            covering.max_by_key(|folder| folder.len())
        };
        if mount(&self.inside(one)?) == mount(&self.inside(other)?) { Ok(()) } else { Err(Errno::XDEV) }
    }

    /// `EBUSY` for the folder `name` of `parent` if what would be a mount elsewhere is in it: it
    /// would go into the layer with the folder. Not `EXDEV`, as an overlay answers for a folder of
    /// an earlier layer: then mv(1) copies what is in the mount.
    pub(super) fn may_move_folder(&self, parent: impl AsDescriptor, name: &[u8]) -> Result<(), Errno> {
        let mut folder = self.inside(parent)?;
        if folder != b"/" {
            folder.push(b'/');
        }
        folder.extend_from_slice(name);
        if self.points.values().any(|path| is_below(path, &folder)) { Err(Errno::BUSY) } else { Ok(()) }
    }

    fn is_in_readonly_folder(&self, file: impl AsDescriptor) -> Result<bool, Errno> {
        // Hardly any step has one, and to ask for a path takes time.
        if self.folders.iter().all(|(_, writable)| *writable) {
            return Ok(false);
        }
        let path = self.inside(file)?;
        let covering = self.folders.iter().filter(|(folder, _)| is_below(&path, folder));
        Ok(covering.max_by_key(|(folder, _)| folder.len()).is_some_and(|(_, writable)| !writable))
    }

    /// Has this machine's `outside` stand at `inside`, where the node `stand_in` is.
    pub(super) fn substitute(&mut self, inside: &[u8], outside: &str, stand_in: &Stat) -> Result<(), Errno> {
        let file = rustix::fs::open(outside, PATH_ONLY, Mode::empty())?;
        let outside = path_of(&file)?;
        self.substitutes.push(Substitute { inside: inside.to_vec(), outside, file, stand_in: inode_of(stand_in) });
        Ok(())
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Whether a file is one of this machine's /proc.
    pub(super) fn is_proc(&self, stat: &Stat) -> bool {
        stat.st_dev == self.proc_device
    }

    /// Whether this would be a mount elsewhere.
    pub(super) fn is_mount(&self, stat: &Stat) -> bool {
        self.points.contains_key(&inode_of(stat))
    }

    /// Notes that a stand-in has gone.
    pub(super) fn forget_stand_in(&mut self, inode: Inode) {
        self.substitutes.retain(|substitute| substitute.stand_in != inode);
    }

    /// Whether this node is only a stand-in.
    pub(super) fn is_stand_in(&self, stat: &Stat) -> bool {
        let inode = inode_of(stat);
        self.substitutes.iter().any(|one| one.stand_in == inode)
    }

    /// What stands at exactly this path.
    pub(super) fn substitute_at(&self, inside: &[u8]) -> Option<&OwnedFd> {
        self.substitutes.iter().find(|one| one.inside == inside).map(|one| &one.file)
    }

    /// Opens what is at an absolute path inside that has neither links nor `..`.
    pub(super) fn open(&self, inside: &[u8]) -> Result<OwnedFd, Errno> {
        let covering = self.substitutes.iter().filter(|one| is_below(inside, &one.inside));
        let (from, rest) = match covering.max_by_key(|one| one.inside.len()) {
            Some(one) => (&one.file, &inside[one.inside.len()..]),
            None => (&self.root, inside),
        };
        let rest = rest.trim_ascii_start_matching(b'/');
        if rest.is_empty() {
            return reopen(from, PATH_ONLY);
        }
        rustix::fs::openat2(from, OsStr::from_bytes(rest), PATH_ONLY | OFlags::NOFOLLOW, Mode::empty(), BENEATH)
    }

    /// The path inside of an open file; this machine's own for one that is not inside, such as a
    /// pipe.
    pub(super) fn inside(&self, file: impl AsDescriptor) -> Result<Vec<u8>, Errno> {
        Ok(self.translate(&path_of(file)?))
    }

    /// The path inside of a path on this machine.
    pub(super) fn translate(&self, outside: &[u8]) -> Vec<u8> {
        let in_root = is_below(outside, &self.outside).then(|| (self.outside.len(), &b""[..]));
        let in_substitutes = self.substitutes.iter().filter(|one| is_below(outside, &one.outside));
        let candidates = in_substitutes.map(|one| (one.outside.len(), &one.inside[..])).chain(in_root);
        match candidates.max_by_key(|(length, _)| *length) {
            Some((length, inside)) => match [inside, &outside[length..]].concat() {
                empty if empty.is_empty() => b"/".to_vec(),
                path => path,
            },
            None => outside.to_vec(),
        }
    }

    /// Whether an open file is one that the command may name paths from.
    pub(super) fn holds(&self, file: impl AsDescriptor) -> bool {
        let Ok(path) = path_of(file) else { return false };
        is_below(&path, &self.outside) || self.substitutes.iter().any(|one| is_below(&path, &one.outside))
    }
}

/// Anything with a descriptor.
pub(super) trait AsDescriptor {
    fn number(&self) -> i32;
}

impl AsDescriptor for &OwnedFd {
    fn number(&self) -> i32 {
        self.as_raw_fd()
    }
}

impl AsDescriptor for BorrowedFd<'_> {
    fn number(&self) -> i32 {
        self.as_raw_fd()
    }
}

trait TrimStart {
    fn trim_ascii_start_matching(&self, byte: u8) -> &[u8];
}

impl TrimStart for [u8] {
    fn trim_ascii_start_matching(&self, byte: u8) -> &[u8] {
        &self[self.iter().position(|one| *one != byte).unwrap_or(self.len())..]
    }
}

/// Whether `path` is `folder` or below it; neither ends with a slash.
fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The last component of a path without the slash that may follow it.
pub(super) fn without_slash(name: &[u8]) -> &[u8] {
    name.strip_suffix(b"/").unwrap_or(name)
}

/// The path of an open file on this machine.
pub(super) fn path_of(file: impl AsDescriptor) -> Result<Vec<u8>, Errno> {
    Ok(rustix::fs::readlinkat(rustix::fs::CWD, format!("/proc/self/fd/{}", file.number()), Vec::new())?.into_bytes())
}

/// The name of an open file for calls that only take paths.
pub(super) fn name_of(file: impl AsDescriptor) -> String {
    format!("/proc/self/fd/{}", file.number())
}

/// A second descriptor of an open file. With `PATH` it is a duplicate: other flags are not applied.
pub(super) fn reopen(file: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    if flags.contains(OFlags::PATH) {
        return rustix::io::fcntl_dupfd_cloexec(file, 3);
    }
    rustix::fs::open(name_of(file), flags, Mode::empty())
}

pub(super) fn stat_at(folder: &OwnedFd, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(super) fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}
