//! Puts into the step's tree what is mounted elsewhere: stand-ins for the machine's /proc, /sys and
//! devices, the files of /etc, the step's own mounts as copies, or as the folder itself where it
//! outlives the step.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::super::descriptors::{fd_path, open_folder, write_all};
use super::super::plan::{Content, Entry, RootPlan};
use super::super::{copy, sources, ssh, stubs};
use super::view::{View, kind, stat_at};
use crate::layer::LayerPath;
use crate::layer::owner_table::{Inode, OwnerTable, Row, inode_of, split_mode};
use crate::layer::owners::Record;
use crate::layer::unpack::relative;
use crate::sandbox::init::substitute_mounts::SubstituteMounts;
use crate::sandbox::setup_error::{SetupError, Step as _};
use crate::sandbox::{BindSource, Mount};

fn has_terminals() -> bool {
    Path::new("/dev/pts/ptmx").exists()
}

/// The tree with everything in it, and what has to be known to take it out again.
pub(super) struct Placed {
    pub(super) mounts: SubstituteMounts,
    pub(super) table: OwnerTable,
    /// Inodes that go when the step has ended.
    passing: Vec<Inode>,
}

impl Placed {
    pub(super) fn new(mounts: SubstituteMounts, table: OwnerTable) -> Self {
        Self { mounts, table, passing: Vec::new() }
    }

    /// Puts everything of `plan` in place. Returns the file system as the command will see it.
    pub(super) fn fill(&mut self, plan: &RootPlan<'_>, aside: &Path) -> Result<View, SetupError> {
        let mut view = View::new(self.mounts.tree()).step(|| "open the tree".into())?;
        for Entry { target, content } in &plan.entries {
            match content {
                Content::Proc | Content::Sys => self.put_substitute(&mut view, target, FileType::Directory)?,
                Content::Device { .. } => self.put_substitute(&mut view, target, FileType::RegularFile)?,
                Content::Terminals if has_terminals() => self.put_substitute(&mut view, target, FileType::Directory)?,
                Content::Link("pts/ptmx") if !has_terminals() => {}
                Content::Link(text) => {
                    self.put(target, 0, 0, 0o777, |folder, name| rustix::fs::symlinkat(*text, folder, name))?;
                }
                Content::Memory(memory) => {
                    let mode = memory.mode.or_else(|| self.mode_of(target)).unwrap_or(0o1777);
                    self.put_folder(target, mode)?;
                    self.note_mount(&mut view, false)?;
                }
                Content::Folder { mode } => self.put_folder(target, *mode)?,
                Content::Script(bytes) => self.put_file(target, bytes, 0o755, 0, 0)?,
                Content::File(file) => {
                    self.put_file(target, &file.bytes, file.mode, file.uid, file.gid)?;
                    self.note_mount(&mut view, file.readonly)?;
                }
                Content::Mount(index, mount) => {
                    self.put_mount(mount, *index, aside)?;
                    self.note_mount(&mut view, mount.is_readonly())?;
                }
                Content::Terminals | Content::MessageQueues | Content::Console | Content::Hidden | Content::ReadOnly => {}
            }
        }
        Ok(view)
    }

    /// Notes that what was put in place last would be a mount elsewhere.
    fn note_mount(&self, view: &mut View, readonly: bool) -> Result<(), SetupError> {
        let Some(place) = self.mounts.last_place() else { return Ok(()) };
        let stat = rustix::fs::statat(self.mounts.tree(), relative(place), AtFlags::SYMLINK_NOFOLLOW);
        view.mount(place.to_string().as_bytes(), &stat.step(|| format!("examine `{place}`"))?, readonly);
        Ok(())
    }

    /// Permission bits of what is at `path`, as the command sees them.
    fn mode_of(&self, path: &LayerPath) -> Option<u32> {
        let place = stubs::resolve(self.mounts.tree(), path).ok()?;
        let mut stat = rustix::fs::statat(self.mounts.tree(), place.as_path(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        self.table.apply(&mut stat);
        Some(stat.st_mode & 0o7777)
    }

    /// Takes everything out again. Nothing of the step may run any more.
    pub(super) fn restore(self, mut table: OwnerTable, tree: &Path) -> Result<(), SetupError> {
        self.passing.into_iter().for_each(|inode| table.forget(inode));
        let written = |error: crate::Error| SetupError::new(error.to_string(), None);
        // Before what stays is back at its name: there later steps take it and its owners for
        // whole.
        let record = |(folder, lent): (&Path, &OwnedFd)| {
            let rows = table.split_off(inodes_in(&Path::new(&fd_path(lent)).join(".")).into_iter());
            rows.write_for(folder, device_of(lent)?).map_err(written)
        };
        let recorded = self.mounts.lent().map(record).fold(Ok(()), Result::and);
        self.mounts.restore().and(recorded)?;
        table.write(tree).map_err(written)
    }

    /// Puts something in place that belongs to the step alone.
    fn put(
        &mut self,
        path: &LayerPath,
        uid: u32,
        gid: u32,
        mode: u32,
        make: impl FnOnce(&OwnedFd, &OsStr) -> Result<(), Errno>,
    ) -> Result<Stat, SetupError> {
        let mut made = None;
        self.mounts.put(path, |folder, name| {
            make(folder, name)?;
            made = Some(stat_at(folder, name.as_bytes())?);
            Ok(())
        })?;
        let stat = made.ok_or(Errno::NOENT).step(|| format!("put `{path}` in place"))?;
        let record = Record { uid, gid, mode: split_mode(kind(&stat), mode).1, device: None };
        self.table.set(inode_of(&stat), Row { record, capability: None });
        self.passing.push(inode_of(&stat));
        Ok(stat)
    }

    fn put_folder(&mut self, path: &LayerPath, mode: u32) -> Result<(), SetupError> {
        let (on_disk, _) = split_mode(FileType::Directory, mode);
        self.put(path, 0, 0, mode, |folder, name| rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(on_disk))).map(drop)
    }

    fn put_file(&mut self, path: &LayerPath, content: &[u8], mode: u32, uid: u32, gid: u32) -> Result<(), SetupError> {
        let (on_disk, _) = split_mode(FileType::RegularFile, mode);
        let write = |folder: &OwnedFd, name: &OsStr| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(on_disk))?;
            write_all(&file, content)
        };
        self.put(path, uid, gid, mode, write).map(drop)
    }

    /// A node that nobody can pass, in the place of what this machine has at the same path.
    fn put_substitute(&mut self, view: &mut View, path: &LayerPath, kind: FileType) -> Result<(), SetupError> {
        let make = |folder: &OwnedFd, name: &OsStr| match kind {
            FileType::Directory => rustix::fs::mkdirat(folder, name, Mode::empty()),
            _ => {
                let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(folder, name, flags, Mode::empty()).map(drop)
            }
        };
        let stat = self.put(path, 0, 0, 0o755, make)?;
        let outside = path.to_string();
        view.substitute(outside.as_bytes(), &outside, &stat).step(|| format!("open `{outside}`"))
    }

    fn put_mount(&mut self, mount: &Mount, index: usize, aside: &Path) -> Result<(), SetupError> {
        match mount {
            Mount::Bind { source, target, .. } => {
                let (root, path) = source_of(source)?;
                self.put_copy(&sources::open_in(&open_folder(root)?, path)?, table_of(root)?.as_ref(), target)
            }
            Mount::Volume { source, target, .. } => self.put_copy(&sources::open_volume(source)?, None, target),
            Mount::Cache { folder, room, target, mode, uid, gid, seed, readonly } => {
                let source = sources::cache_folder(folder, room, |parent, name| {
                    let rows = make_cache(seed.as_ref(), parent, name, (*uid, *gid, *mode))?;
                    // Before the folder gets its name: with it later steps take both for whole.
                    rows.write_for(folder, device_of(parent)?).map_err(|error| SetupError::new(error.to_string(), None))
                })?;
                if *readonly {
                    // Nothing keeps the command from writing, but it writes into a copy.
                    return self.put_copy(&source, table_of(folder)?.as_ref(), target);
                }
                if let Some(mut table) = table_of(folder)? {
                    // Without those of files that have gone since, whose numbers may be others'
                    // now.
                    self.table.extend(table.split_off(inodes_in(folder).into_iter()));
                }
                self.mounts.lend(target, folder)
            }
            // The plan has it as memory.
            Mount::Tmpfs { .. } => Ok(()),
            Mount::MemoryFile { bytes, target, mode, uid, gid } => self.put_file(target, bytes.reveal(), *mode, *uid, *gid),
            Mount::Ssh { target, mode, uid, gid, .. } => {
                let sockets = open_folder(aside)?;
                let name = ssh::socket_name(index);
                self.put(target, *uid, *gid, *mode, |folder, to| rustix::fs::renameat(&sockets, name, folder, to)).map(drop)
            }
        }
    }

    fn put_copy(&mut self, source: &OwnedFd, owners: Option<&OwnerTable>, target: &LayerPath) -> Result<(), SetupError> {
        let mut rows = OwnerTable::default();
        self.mounts.put(target, |folder, name| copy(source, owners, folder, name, &mut rows))?;
        self.passing.extend(rows.inodes());
        self.table.extend(rows);
        Ok(())
    }
}

/// Makes the folder of a cache, as `name` in `parent`: a copy of `seed`, or an empty one with this
/// owner and mode. Returns the rows of its files.
fn make_cache(
    seed: Option<&BindSource>,
    parent: &OwnedFd,
    name: &OsStr,
    (uid, gid, mode): (u32, u32, u32),
) -> Result<OwnerTable, SetupError> {
    let mut rows = OwnerTable::default();
    let step = || "fill a cache".to_owned();
    let Some(seed) = seed else {
        let (on_disk, recorded) = split_mode(FileType::Directory, mode);
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(on_disk)).step(step)?;
        let stat = stat_at(parent, name.as_bytes()).step(step)?;
        let record = Record { uid, gid, mode: recorded, device: None };
        rows.set(inode_of(&stat), Row { record, capability: None });
        return Ok(rows);
    };
    let (root, path) = source_of(seed)?;
    let source = sources::open_in(&open_folder(root)?, path)?;
    if sources::kind_of(&source)? != stubs::Target::Folder {
        return Err(Errno::NOTDIR).step(step);
    }
    copy(&source, table_of(root)?.as_ref(), parent, name, &mut rows).step(step)?;
    Ok(rows)
}

fn source_of(source: &BindSource) -> Result<(&PathBuf, &LayerPath), SetupError> {
    match source {
        BindSource::Host { root, path } => Ok((root, path)),
        BindSource::Stack { lower, path } => match lower.as_slice() {
            [tree] => Ok((tree, path)),
            _ => Err(SetupError::new("bind a stack of layers with isolation `emulated`", None)),
        },
    }
}

fn table_of(folder: &Path) -> Result<Option<OwnerTable>, SetupError> {
    OwnerTable::read(folder).map_err(|error| SetupError::new(error.to_string(), None))
}

fn device_of(folder: &OwnedFd) -> Result<u64, SetupError> {
    let stat = rustix::fs::fstat(folder).step(|| "examine the folder of a cache".into())?;
    Ok(inode_of(&stat).0)
}

/// All inodes of a folder, its own included.
fn inodes_in(folder: &Path) -> Vec<Inode> {
    use std::os::unix::fs::MetadataExt as _;
    let mut inodes = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(found) = path.symlink_metadata() else { continue };
        inodes.push((found.dev(), found.ino()));
        if found.is_dir() {
            todo.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    inodes
}

/// Copies what `source` is open on to `name` in `folder`, its owners too: `owners` are those of the
/// source, `rows` becomes those of the copy.
fn copy(
    source: &OwnedFd,
    owners: Option<&OwnerTable>,
    folder: &OwnedFd,
    name: &OsStr,
    rows: &mut OwnerTable,
) -> Result<(), Errno> {
    copy::copy_with(source, folder.as_fd(), name, &mut |_, folder, name, stat| {
        let kind = kind(stat);
        if kind != FileType::Symlink {
            let (on_disk, _) = split_mode(kind, stat.st_mode);
            rustix::fs::chmodat(folder, name, Mode::from_raw_mode(on_disk), AtFlags::empty())?;
        }
        let made = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let row = match owners {
            Some(owners) => owners.row(inode_of(stat)),
            // This user's own files are root's inside; files of others keep their owner.
            None => {
                let own = stat.st_uid == rustix::process::geteuid().as_raw();
                let (uid, gid) = if own { (0, 0) } else { (stat.st_uid, stat.st_gid) };
                let record = Record { uid, gid, mode: split_mode(kind, stat.st_mode & 0o7777).1, device: None };
                Row { record, capability: None }
            }
        };
        rows.set(inode_of(&made), row);
        let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    })
}
