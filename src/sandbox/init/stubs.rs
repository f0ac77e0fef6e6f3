//! Mount targets inside a root file system: found as the image's links lead to them, made where
//! they are missing, removed afterwards.
//!
//! A stub that the command has not touched goes again, and the folder that it was in gets its time
//! back, so that neither is a change.
//!
//! Nothing outside the root file system is touched: links are resolved here, one component at a
//! time, and never above the root.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::layer::{LayerPath, SET_GROUP_ID, open_inside};
use crate::sandbox::setup_error::SetupError;
use crate::sandbox::setup_error::Step as _;
use crate::sandbox::{RunSpec, User};

/// As many links on the way as the kernel follows.
const MAX_LINKS: usize = 40;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// What was made for mounts, in order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Stubs {
    made: Vec<Stub>,
    parents: Vec<Parent>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stub {
    path: LayerPath,
    folder: bool,
}

/// A folder of the image that stubs were made in, with its time before and after: seconds and
/// nanoseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parent {
    path: LayerPath,
    before: (i64, i64),
    after: (i64, i64),
}

/// Whether a folder or a file is to be mounted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Folder,
    File,
}

impl Stubs {
    /// Opens the place in `root` that `path` names, making it where it is missing.
    pub(super) fn target(&mut self, root: &OwnedFd, path: &LayerPath, kind: Target) -> Result<OwnedFd, SetupError> {
        let place = resolve(root, path)?;
        let step = || format!("make the mount target `{path}`");
        for folder in place.ancestors() {
            self.make(root, &folder, Target::Folder).step(step)?;
        }
        self.make(root, &place, kind).step(step)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        open_inside(root, relative(&place), flags, BENEATH).step(step)
    }

    /// Makes the folder `path` where it is missing; its parents are there.
    pub(super) fn make_folder(&mut self, root: &OwnedFd, path: &LayerPath) -> Result<(), Errno> {
        self.make(root, path, Target::Folder)
    }

    fn make(&mut self, root: &OwnedFd, path: &LayerPath, kind: Target) -> Result<(), Errno> {
        let Some(name) = path.name() else { return Ok(()) };
        match rustix::fs::statat(root, relative(path), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            found => return found.map(drop),
        }
        let parent_path = path.parent().unwrap_or_default();
        let parent = open_folder(root, &parent_path)?;
        self.keep_time(&parent_path, &parent)?;
        if kind == Target::Folder {
            rustix::fs::mkdirat(&parent, OsStr::from_bytes(name), Mode::from_raw_mode(0o755))?;
        } else {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            drop(rustix::fs::openat(&parent, OsStr::from_bytes(name), flags, Mode::from_raw_mode(0o644))?);
        }
        self.note_time(&parent_path, &parent)?;
        self.made.push(Stub { path: path.clone(), folder: kind == Target::Folder });
        Ok(())
    }

    /// Notes the time of a folder before its first change.
    pub(super) fn keep_time(&mut self, path: &LayerPath, folder: &OwnedFd) -> Result<(), Errno> {
        if self.parents.iter().all(|known| known.path != *path) {
            let before = mtime(folder)?;
            self.parents.push(Parent { path: path.clone(), before, after: before });
        }
        Ok(())
    }

    /// Notes the time of a folder after a change.
    pub(super) fn note_time(&mut self, path: &LayerPath, folder: &OwnedFd) -> Result<(), Errno> {
        let after = mtime(folder)?;
        self.parents.iter_mut().filter(|known| known.path == *path).for_each(|known| known.after = after);
        Ok(())
    }

    /// The folders of the image that have been changed.
    pub(super) fn parents(&self) -> impl Iterator<Item = LayerPath> {
        self.parents.iter().map(|parent| parent.path.clone())
    }

    /// The changed folders with the times that they shall have in the end. To be called before
    /// anything is removed.
    pub(super) fn times(&self, root: &OwnedFd) -> Result<Times, SetupError> {
        let mut times = Vec::new();
        for parent in &self.parents {
            let Ok(folder) = open_folder(root, &parent.path) else { continue };
            let now = mtime(&folder).step(|| "remove mount targets".into())?;
            times.push((folder, if now == parent.after { parent.before } else { now }));
        }
        Ok(Times(times))
    }

    /// Removes the stubs that the command left as they were, and sets the folders' times.
    pub(super) fn remove_from(&self, root: &OwnedFd, times: Times) -> Result<(), SetupError> {
        let step = || "remove mount targets".to_owned();
        for stub in self.made.iter().rev() {
            let Ok(parent) = open_folder(root, &stub.path.parent().unwrap_or_default()) else { continue };
            let name = OsStr::from_bytes(stub.path.name().unwrap_or_default());
            let Ok(stat) = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let empty_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0;
            let flags = match stub.folder {
                true => AtFlags::REMOVEDIR,
                false if empty_file => AtFlags::empty(),
                false => continue,
            };
            match rustix::fs::unlinkat(&parent, name, flags) {
                // The command put something there: then the folder is a change like any other.
                Ok(()) | Err(Errno::NOTEMPTY | Errno::NOTDIR | Errno::NOENT) => {}
                Err(errno) => return Err(errno).step(step),
            }
        }
        for (folder, (seconds, nanoseconds)) in times.0 {
            let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
            let times = Timestamps { last_access: omit, last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds } };
            rustix::fs::futimens(&folder, &times).step(step)?;
        }
        Ok(())
    }
}

/// What the runtime of BuildKit (runc) mounts on and leaves in an image that does not have it.
const LEFT: [&str; 3] = ["dev", "proc", "sys"];

/// Makes the folders that a step of BuildKit's leaves behind where they are missing: its working
/// folder with the folders above it (755, the step's user's; `runcexecutor`), and [`LEFT`]. To be
/// called before anything is mounted. `give`: gives a new folder its owner and mode.
pub(super) fn make_lasting_folders(
    root: &OwnedFd,
    spec: &RunSpec,
    give: &mut dyn FnMut(&OwnedFd, &User, u32) -> Result<(), Errno>,
) -> Result<(), SetupError> {
    if !spec.make_cwd || spec.container {
        return Ok(());
    }
    let step = || format!("make the working directory `{}`", spec.cwd);
    let place = resolve(root, &spec.cwd)?;
    for path in place.ancestors().chain([place.clone()]) {
        make_lasting(root, &path, &spec.user, give).step(step)?;
    }
    for name in LEFT {
        let path = LayerPath::parse(name).unwrap_or_default();
        make_lasting(root, &path, &User::default(), give).step(|| format!("make `{path}`"))?;
    }
    Ok(())
}

fn make_lasting(
    root: &OwnedFd,
    path: &LayerPath,
    owner: &User,
    give: &mut dyn FnMut(&OwnedFd, &User, u32) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let Some(name) = path.name() else { return Ok(()) };
    match rustix::fs::statat(root, relative(path), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        found => return found.map(drop),
    }
    let parent = open_folder(root, &path.parent().unwrap_or_default())?;
    rustix::fs::mkdirat(&parent, OsStr::from_bytes(name), Mode::RWXU)?;
    let made = open_folder(root, path)?;
    let inherited = rustix::fs::fstat(&made)?.st_mode & SET_GROUP_ID;
    give(&made, owner, 0o755 | inherited)
}

/// Open folders with the times that they shall have.
pub(super) struct Times(Vec<(OwnedFd, (i64, i64))>);

/// Removes from `tree` (an upper folder, nothing mounted on it any more) the stubs that the command
/// left as they were.
pub(super) fn remove(tree: &Path, stubs: &Stubs) -> Result<(), SetupError> {
    if stubs.made.is_empty() {
        return Ok(());
    }
    let root = super::descriptors::open_folder(tree)?;
    let times = stubs.times(&root)?;
    stubs.remove_from(&root, times)
}

/// Where `path` leads in `root`, links on the way and at its end followed as in a chroot; what is
/// missing is taken as it stands.
pub(super) fn resolve(root: &OwnedFd, path: &LayerPath) -> Result<LayerPath, SetupError> {
    let mut rest: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    let mut place = LayerPath::root();
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let wrong = |_| SetupError::new(format!("find `{path}` in the image"), None);
        if name == b".." {
            place = place.parent().unwrap_or_default();
            continue;
        }
        let next = place.child(&name).map_err(wrong)?;
        // `next` has no link before its last component, because `place` has none.
        let Ok(text) = rustix::fs::readlinkat(root, relative(&next), Vec::new()) else {
            place = next;
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP).step(|| format!("find `{path}` in the image"));
        }
        if text.as_bytes().starts_with(b"/") {
            place = LayerPath::root();
        }
        let components = text.as_bytes().split(|byte| *byte == b'/');
        rest.extend(components.filter(|name| !matches!(*name, b"" | b".")).rev().map(<[u8]>::to_vec));
    }
    Ok(place)
}

/// Opens a folder of `root` by a path without links.
pub(super) fn open_folder(root: &OwnedFd, path: &LayerPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_inside(root, relative(path), flags, BENEATH)
}

fn mtime(folder: &OwnedFd) -> Result<(i64, i64), Errno> {
    let stat = rustix::fs::fstat(folder)?;
    Ok((stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default()))
}

fn relative(path: &LayerPath) -> &OsStr {
    crate::layer::unpack::relative(path)
}
