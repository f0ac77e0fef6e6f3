//! Volumes where nothing can be mounted: they were copied in, and what the command changed in them
//! is copied back at the end.
//!
//! Links that the command made are not followed: every path is opened beneath the volume's own
//! folder.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::descriptors::fd_path;
use super::descriptors::is_folder;
use super::stubs::{open_folder, resolve};
use super::{copy, sources};
use crate::layer::diff::{Baseline, TreeChanges};
use crate::layer::{Kind, LayerPath, open_inside, unpack};
use crate::sandbox::setup_error::SetupError;
use crate::sandbox::setup_error::Step as _;
use crate::sandbox::{Mount, RunSpec};

/// A volume that was copied in.
pub(super) struct Volume {
    source: PathBuf,
    /// Its copy: the folder, or the file's folder and name.
    copy: OwnedFd,
    name: Option<Vec<u8>>,
    before: Option<Baseline>,
}

/// Notes what the copies of all volumes look like before the command.
pub(super) fn note(tree: &OwnedFd, spec: &RunSpec) -> Result<Vec<Volume>, SetupError> {
    let mut volumes = Vec::new();
    for mount in &spec.mounts {
        let Mount::Volume { source, target, readonly: false } = mount else { continue };
        let step = || format!("look at the volume on `{target}`");
        let place = resolve(tree, target)?;
        let folder = is_folder(&sources::open_volume(source)?).step(step)?;
        let opened = if folder { place.clone() } else { place.parent().unwrap_or_default() };
        let copy = open_folder(tree, &opened).step(step)?;
        let before = match folder {
            true => Some(Baseline::scan(fd_path(&copy).as_ref(), 1).map_err(|error| SetupError::new(error.to_string(), None))?),
            false => None,
        };
        let name = place.name().filter(|_| !folder).map(<[u8]>::to_vec);
        volumes.push(Volume { source: source.clone(), copy, name, before });
    }
    Ok(volumes)
}

/// Makes each volume what its copy has become. What cannot be copied keeps nothing else from being
/// copied; the first failure is returned.
pub(super) fn copy_all_back(volumes: &[Volume]) -> Result<(), SetupError> {
    volumes.iter().map(Volume::copy_back).fold(Ok(()), Result::and)
}

impl Volume {
    fn copy_back(&self) -> Result<(), SetupError> {
        match (&self.before, &self.name) {
            (Some(before), _) => self.copy_changes(before),
            (None, Some(name)) => self.copy_file(name).step(|| format!("copy `{}` back", self.source.display())),
            (None, None) => Ok(()),
        }
    }

    fn copy_file(&self, name: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let now = File::from(rustix::fs::openat(&self.copy, OsStr::from_bytes(name), flags, Mode::empty())?);
        let before = File::open(&self.source).map_err(errno)?;
        match is_same(&now, &before).map_err(errno)? {
            true => Ok(()),
            false => replace_file(&self.source, &before, &now).map_err(errno),
        }
    }

    fn copy_changes(&self, before: &Baseline) -> Result<(), SetupError> {
        let step = || format!("copy `{}` back", self.source.display());
        let root = rustix::fs::open(&self.source, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let root = root.step(step)?;
        let TreeChanges { changes, .. } = before
            .changes(fd_path(&self.copy).as_ref(), 1, &Default::default(), &mut |_| Ok(Default::default()))
            .map_err(|error| SetupError::new(step(), error.os_error()))?;
        let apply = |change: crate::layer::diff::Change| {
            let path = &change.entry.path;
            let step = || format!("copy `{}` back", self.source.join(path.as_path()).display());
            self.apply(&root, path, &change.entry.kind).step(step)
        };
        changes.into_iter().map(apply).fold(Ok(()), Result::and)
    }

    fn apply(&self, root: &OwnedFd, path: &LayerPath, kind: &Kind) -> Result<(), Errno> {
        let Some(name) = path.name() else { return Ok(()) };
        let parent = open_folder(root, &path.parent().unwrap_or_default())?;
        let there = rustix::fs::statat(&parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW);
        if *kind == Kind::Directory && there.as_ref().is_ok_and(unpack::is_folder) {
            return Ok(());
        }
        match kind {
            Kind::Whiteout | Kind::OpaqueWhiteout => match there {
                Ok(_) => unpack::remove(&parent, name),
                Err(_) => Ok(()),
            },
            Kind::Directory => {
                if there.is_ok() {
                    unpack::remove(&parent, name)?;
                }
                rustix::fs::mkdirat(&parent, OsStr::from_bytes(name), Mode::from_raw_mode(0o755))
            }
            _ => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
                let source = open_inside(&self.copy, unpack::relative(path), flags, resolve)?;
                replace(&source, &parent, name, there.is_ok())
            }
        }
    }
}

/// Copies `source` to a name of its own beside `name` and renames it: what was there goes only when
/// all of the new is on the disk.
fn replace(source: &OwnedFd, parent: &OwnedFd, name: &[u8], exists: bool) -> Result<(), Errno> {
    let beside = beside(name);
    let replace = || {
        copy::copy(source, parent, &beside)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(parent, &beside, flags, Mode::empty()) {
            Ok(file) => match rustix::fs::fsync(file) {
                // A fifo.
                Err(Errno::INVAL) => {}
                synced => synced?,
            },
            // A link, which has no content. A device or a socket was not copied.
            Err(Errno::LOOP) => {}
            Err(Errno::NOENT) if exists => return unpack::remove(parent, name),
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        }
        if !exists {
            return rustix::fs::renameat(parent, &beside, parent, OsStr::from_bytes(name));
        }
        match rustix::fs::renameat(parent, &beside, parent, OsStr::from_bytes(name)) {
            // A folder is replaced by what is not one.
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                let exchange = RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(parent, &beside, parent, OsStr::from_bytes(name), exchange)?;
                unpack::remove(parent, beside.as_bytes())
            }
            renamed => renamed,
        }
    };
    let replaced = replace();
    if replaced.is_err() {
        let _ = rustix::fs::unlinkat(parent, &beside, AtFlags::empty());
    }
    replaced
}

/// Makes the file `path`, which is open as `before`, hold what `now` holds, whole or not at all.
fn replace_file(path: &Path, before: &File, now: &File) -> io::Result<()> {
    // The file itself where `path` is a link to it.
    let path = path.canonicalize()?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let beside = folder.join(beside(name.as_bytes()));
    let write = || {
        let mut new = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
        copy_content(now, &mut new)?;
        let metadata = before.metadata()?;
        std::os::unix::fs::fchown(&new, Some(metadata.uid()), Some(metadata.gid()))?;
        new.set_permissions(metadata.permissions())?;
        new.sync_all()?;
        std::fs::rename(&beside, &path)
    };
    let written = write();
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    match written {
        // A mount point, or a folder in which this user may not write: only the file itself can be
        // written. Its new length is reserved first, so that a full disk is seen while the old
        // content is still there.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::BUSY | Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {
            write_in_place(&path, now)
        }
        written => written,
    }
}

fn write_in_place(path: &Path, now: &File) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    let length = now.metadata()?.len();
    if length > file.metadata()?.len() {
        match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, length) {
            // Not every file system can reserve.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    copy_content(now, &mut file)?;
    file.set_len(length)?;
    file.sync_all()
}

fn copy_content(mut from: &File, to: &mut File) -> io::Result<()> {
    from.rewind()?;
    io::copy(&mut from, to).map(drop)
}

fn is_same(a: &File, b: &File) -> io::Result<bool> {
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (BufReader::new(a), BufReader::new(b));
    loop {
        let (left, right) = (a.fill_buf()?, b.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 {
            return Ok(left.len() == right.len());
        }
        if left[..length] != right[..length] {
            return Ok(false);
        }
        a.consume(length);
        b.consume(length);
    }
}

/// A name that is in nobody's way, for a file that is renamed to `name` when it is complete.
fn beside(name: &[u8]) -> OsString {
    let mut beside = OsString::from(".mpimg-");
    // Names have 255 bytes at most.
    beside.push(OsStr::from_bytes(&name[..name.len().min(200)]));
    beside.push(format!(".{}", std::process::id()));
    beside
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
