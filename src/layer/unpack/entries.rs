//! Makes the entries of a layer in its folder, one by one, as an overlay's lower layer needs them.
//!
//! Refuses entries over the limits, and forged overlay marks: only whiteouts of the layer format
//! become overlay's.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::{Error, Result, Setting};
use crate::layer::header_field::corrupt;
use crate::layer::owner_table::OwnerTable;
use crate::layer::owners::{self, Device, OWNER};
use crate::layer::{Entry, Kind, LayerPath, Metadata, Piece, TarReader};

use super::confined::{Confined, FOLDER, is_folder, stat, write_at};
use super::options::{UnpackOptions, UnpackStats, Whiteouts};
use super::read_ahead::READ;
use super::remove;
use super::stack::{Stack, is_whiteout, relative};
use super::table_rows::{copied_metadata, enter};

pub(super) struct Unpacker<'a> {
    into: Confined,
    lower: Stack,
    options: &'a UnpackOptions,
    stats: UnpackStats,
    // A folder's time changes with every entry in it, so it is set at the end.
    folder_times: BTreeMap<LayerPath, i64>,
    // Paths of this layer, kept for whiteouts, which never remove what their own layer brings.
    own: HashSet<LayerPath>,
    table: Option<OwnerTable>,
    buffer: Vec<u8>,
}

type Folder = Arc<OwnedFd>;

impl<'a> Unpacker<'a> {
    pub(super) fn new(into: &Path, options: &'a UnpackOptions) -> Result<Self> {
        Ok(Self {
            into: Confined::open(into)?,
            lower: Stack::open(&options.lower)?,
            options,
            stats: UnpackStats::default(),
            folder_times: BTreeMap::new(),
            own: HashSet::new(),
            table: match options.owner_table {
                true => Some(OwnerTable::read(into)?.unwrap_or_default()),
                false => None,
            },
            buffer: vec![0; READ],
        })
    }

    pub(super) fn entry<R: Read>(&mut self, entry: &Entry, tar: &mut TarReader<R>) -> Result<()> {
        self.count(entry)?;
        let path = &entry.path;
        if self.options.whiteouts == Whiteouts::Apply && !entry.kind.is_whiteout() {
            self.own.extend(path.ancestors());
            self.own.insert(path.clone());
        }
        if path.is_root() {
            return self.root(entry);
        }
        if entry.kind == Kind::OpaqueWhiteout {
            return self.opaque(path);
        }
        let folder = self.parent(path)?;
        self.keep_time(path, &folder)?;
        let name = path.name().unwrap_or_default();
        let metadata = &entry.metadata;
        match &entry.kind {
            Kind::Directory => self.directory(&folder, path, metadata),
            Kind::File { .. } => self.file(&folder, path, metadata, tar),
            Kind::Symlink { target } => {
                self.place(&folder, path, || rustix::fs::symlinkat(OsStr::from_bytes(target), &folder, os(name)))
            }
            Kind::Hardlink { target } => return self.hardlink(&folder, path, target),
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                let char = matches!(entry.kind, Kind::CharDevice { .. });
                let kind = if char { FileType::CharacterDevice } else { FileType::BlockDevice };
                match self.device(&folder, path, kind, (*major, *minor))? {
                    true => Ok(()),
                    false => return Ok(()),
                }
            }
            Kind::Fifo => self.place(&folder, path, || rustix::fs::mknodat(&folder, os(name), FileType::Fifo, Mode::RUSR, 0)),
            Kind::Whiteout => return self.whiteout(&folder, path),
            Kind::OpaqueWhiteout => Ok(()),
        }?;
        match entry.kind {
            Kind::File { .. } | Kind::Directory => Ok(()),
            _ => self.apply_node_metadata(&folder, entry),
        }
    }

    pub(super) fn finish(mut self) -> Result<UnpackStats> {
        // Deepest first is not needed: setting a time does not change the parent's.
        for (path, mtime) in std::mem::take(&mut self.folder_times) {
            let Some(parent) = self.into.folder(&path.parent().unwrap_or_default())? else { continue };
            let name = path.name().unwrap_or(b".");
            if stat(&parent, name).ok().flatten().is_some_and(|stat| is_folder(&stat)) {
                let set = rustix::fs::utimensat(&parent, os(name), &times(mtime), AtFlags::SYMLINK_NOFOLLOW);
                set.map_err(|errno| self.into.error("set the time of", &path, errno))?;
            }
        }
        if let Some(table) = &self.table {
            table.write(&self.into.path)?;
        }
        Ok(self.stats)
    }

    /// A folder that this layer uses without saying so keeps the time that a lower layer gave it.
    fn keep_time(&mut self, path: &LayerPath, folder: &Folder) -> Result<()> {
        let parent = path.parent().unwrap_or_default();
        if self.options.whiteouts == Whiteouts::Apply && !self.folder_times.contains_key(&parent) {
            let stat = rustix::fs::fstat(folder).map_err(|errno| self.into.error("examine", &parent, errno))?;
            self.folder_times.insert(parent, stat.st_mtime);
        }
        Ok(())
    }

    fn count(&mut self, entry: &Entry) -> Result<()> {
        self.stats.entries += 1;
        self.stats.bytes = self.stats.bytes.saturating_add(entry.kind.size());
        self.options.limits.check(&self.stats, &entry.path)
    }

    fn root(&mut self, entry: &Entry) -> Result<()> {
        match entry.kind {
            Kind::Directory => {
                let root = self.parent(&LayerPath::root())?;
                self.apply_metadata(&root, &entry.path, &entry.metadata)?;
                self.folder_times.insert(LayerPath::root(), entry.metadata.mtime);
                Ok(())
            }
            Kind::OpaqueWhiteout => self.opaque(&entry.path),
            _ => Err(corrupt("the layer replaces the root folder by something else")),
        }
    }

    /// The parent folder of `path`; where this layer lacks it, made as it is in the layers below.
    fn parent(&mut self, path: &LayerPath) -> Result<Folder> {
        let parent = path.parent().unwrap_or_default();
        if let Some(folder) = self.into.folder(&parent)? {
            return Ok(folder);
        }
        self.stats.uses_lower_layers = true;
        let mut missing = vec![parent];
        let mut folder = loop {
            let above = missing.last().and_then(LayerPath::parent).unwrap_or_default();
            match self.into.folder(&above)? {
                Some(folder) => break folder,
                None => missing.push(above),
            }
        };
        while let Some(next) = missing.pop() {
            folder = self.implied_folder(&folder, &next, path)?;
        }
        Ok(folder)
    }

    /// Makes the folder `path` in `above`, on the way to `entry`.
    fn implied_folder(&mut self, above: &Folder, path: &LayerPath, entry: &LayerPath) -> Result<Folder> {
        let missing = || corrupt(format!("`{entry}` lies below `{path}`, which is not a folder"));
        let existing = stat(above, path.name().unwrap_or_default()).map_err(|errno| self.into.error("examine", path, errno))?;
        if existing.is_some_and(|stat| !is_whiteout(&stat)) {
            return Err(missing());
        }
        let metadata = match self.lower.find(path)? {
            Some(found) if is_folder(&found.stat) => {
                let fd = rustix::fs::openat(found.root, relative(path), FOLDER, Mode::empty());
                let fd = fd.map_err(|errno| self.into.error("read the folder below", path, errno))?;
                copied_metadata(&found.stat, &fd)
            }
            _ => Metadata::new(0o755, 0, 0, 0),
        };
        self.directory(above, path, &metadata)?;
        self.into.folder(path)?.ok_or_else(missing)
    }

    fn directory(&mut self, folder: &Folder, path: &LayerPath, metadata: &Metadata) -> Result<()> {
        let name = path.name().unwrap_or_default();
        let make = || rustix::fs::mkdirat(folder, os(name), Mode::RWXU);
        let mut hides_lower = false;
        match make() {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let existing = stat(folder, name).map_err(|errno| self.into.error("examine", path, errno))?;
                if !existing.as_ref().is_some_and(is_folder) {
                    // A folder in place of a whiteout shows nothing of the removed folder.
                    hides_lower = existing.is_some_and(|stat| is_whiteout(&stat));
                    self.clear(folder, path)?;
                    make().map_err(|errno| self.into.error("create", path, errno))?;
                }
            }
            Err(errno) => return Err(self.into.error("create", path, errno)),
        }
        let made = rustix::fs::openat(folder, os(name), FOLDER, Mode::empty());
        let made = made.map_err(|errno| self.into.error("open", path, errno))?;
        if hides_lower {
            self.mark_opaque(&made, path)?;
        }
        self.apply_metadata(&made, path, metadata)?;
        self.folder_times.insert(path.clone(), metadata.mtime);
        Ok(())
    }

    fn file<R: Read>(&mut self, folder: &Folder, path: &LayerPath, metadata: &Metadata, tar: &mut TarReader<R>) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(folder, os(path.name().unwrap_or_default()), flags, Mode::RUSR | Mode::WUSR);
        let file = match open() {
            Err(Errno::EXIST) => {
                self.clear(folder, path)?;
                open()
            }
            opened => opened,
        };
        let file = file.map_err(|errno| self.into.error("create", path, errno))?;
        self.content(&file, path, tar)?;
        self.apply_metadata(&file, path, metadata)?;
        rustix::fs::futimens(&file, &times(metadata.mtime)).map_err(|errno| self.into.error("set the time of", path, errno))
    }

    fn content<R: Read>(&mut self, file: &OwnedFd, path: &LayerPath, tar: &mut TarReader<R>) -> Result<()> {
        let mut offset = 0;
        let mut ends_in_hole = false;
        loop {
            match tar.read_piece(&mut self.buffer)? {
                Piece::End => break,
                Piece::Hole(length) => {
                    offset += length;
                    ends_in_hole = true;
                }
                Piece::Data(length) => {
                    write_at(file, &self.buffer[..length], offset).map_err(|errno| self.into.error("write", path, errno))?;
                    offset += length as u64;
                    ends_in_hole = false;
                }
            }
        }
        if ends_in_hole {
            rustix::fs::ftruncate(file, offset).map_err(|errno| self.into.error("write", path, errno))?;
        }
        Ok(())
    }

    /// False where a user namespace forbids devices: engines leave them out there as well.
    fn device(&mut self, folder: &Folder, path: &LayerPath, kind: FileType, (major, minor): (u32, u32)) -> Result<bool> {
        if kind == FileType::CharacterDevice && (major, minor) == (0, 0) {
            return Err(corrupt(format!("`{path}` is the device 0:0, which is how overlay marks removed files")));
        }
        let name = path.name().unwrap_or_default();
        let device = rustix::fs::makedev(major, minor);
        let forbidden = std::cell::Cell::new(false);
        let in_user_namespace = self.options.whiteouts == Whiteouts::UserOverlay;
        if self.options.recorded.is_some() || self.table.is_some() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            self.place(folder, path, || rustix::fs::openat(folder, os(name), flags, Mode::RUSR | Mode::WUSR).map(drop))?;
            return Ok(true);
        }
        self.place(folder, path, || match rustix::fs::mknodat(folder, os(name), kind, Mode::RUSR, device) {
            Err(Errno::PERM) if in_user_namespace => {
                forbidden.set(true);
                Ok(())
            }
            made => made,
        })?;
        self.stats.skipped_devices += u64::from(forbidden.get());
        Ok(!forbidden.get())
    }

    /// Makes something that is not a folder and has no content, in place of what is there.
    fn place(&mut self, folder: &Folder, path: &LayerPath, make: impl Fn() -> Result<(), Errno>) -> Result<()> {
        match make() {
            Err(Errno::EXIST) => {
                self.clear(folder, path)?;
                make()
            }
            made => made,
        }
        .map_err(|errno| self.into.error("create", path, errno))
    }

    fn apply_node_metadata(&mut self, folder: &Folder, entry: &Entry) -> Result<()> {
        let (path, metadata) = (&entry.path, &entry.metadata);
        let name = os(path.name().unwrap_or_default());
        let failed = |errno| self.into.error("set the owner, mode or time of", path, errno);
        let mut bits = metadata.mode;
        if let Some(identity) = &self.options.recorded {
            let link = matches!(entry.kind, Kind::Symlink { .. });
            let recorded;
            // A link's mode means nothing.
            (bits, recorded) = identity.on_disk(metadata.uid, metadata.gid, if link { 0 } else { bits }, Device::of(&entry.kind));
            if let Some(record) = recorded {
                let now = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                record.write(&owners::path_in(folder, name), now.st_mode).map_err(failed)?;
            }
        } else if let Some(table) = &mut self.table {
            let now = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            bits = enter(table, &now, metadata, Device::of(&entry.kind));
        } else {
            let (uid, gid) = (Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)));
            rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        }
        if !matches!(entry.kind, Kind::Symlink { .. }) {
            // The node was made a moment ago under a name that nothing else uses: it is not a link.
            rustix::fs::chmodat(folder, name, mode(bits), AtFlags::empty()).map_err(failed)?;
        }
        rustix::fs::utimensat(folder, name, &times(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
    }

    /// Owner, then mode, then attributes: a change of owner clears set-id bits and capabilities.
    fn apply_metadata(&mut self, fd: &OwnedFd, path: &LayerPath, metadata: &Metadata) -> Result<()> {
        let failed = |errno| self.into.error("set the owner or mode of", path, errno);
        let mut bits = metadata.mode;
        if let Some(identity) = &self.options.recorded {
            let recorded;
            (bits, recorded) = identity.on_disk(metadata.uid, metadata.gid, bits, None);
            if let Some(record) = recorded {
                rustix::fs::fsetxattr(fd, OWNER, record.to_text().as_bytes(), XattrFlags::empty()).map_err(failed)?;
            }
        } else if let Some(table) = &mut self.table {
            bits = enter(table, &rustix::fs::fstat(fd).map_err(failed)?, metadata, None);
        } else {
            let (uid, gid) = (Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)));
            rustix::fs::fchown(fd, uid, gid).map_err(failed)?;
        }
        rustix::fs::fchmod(fd, mode(bits)).map_err(failed)?;
        for (name, value) in &metadata.xattrs {
            self.xattr(fd, path, name, value)?;
        }
        Ok(())
    }

    fn xattr(&self, fd: &OwnedFd, path: &LayerPath, name: &[u8], value: &[u8]) -> Result<()> {
        // `overlay.*` would let a layer hide or redirect what other layers have, `mpimg.*` forge
        // owners; `trusted.*` is the machine's own.
        let capability = name == b"security.capability";
        let wanted = capability
            || name.starts_with(b"system.posix_acl_")
            || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && !name.starts_with(owners::PREFIX.as_bytes());
        if !wanted || capability && self.table.is_some() {
            return Ok(());
        }
        match rustix::fs::fsetxattr(fd, os(name), value, XattrFlags::empty()) {
            Ok(()) => Ok(()),
            // File systems without them lose them; a capability changes what programs can do.
            Err(Errno::NOTSUP | Errno::PERM | Errno::INVAL) if !capability => Ok(()),
            Err(errno) => Err(self.into.error("set the file capability of", path, errno)),
        }
    }

    fn hardlink(&mut self, folder: &Folder, path: &LayerPath, target: &LayerPath) -> Result<()> {
        if target == path {
            return Err(corrupt(format!("`{path}` is a hard link to itself")));
        }
        let name = target.name().ok_or_else(|| corrupt(format!("`{path}` is a hard link to the root folder")))?;
        let here = match self.into.folder(&target.parent().unwrap_or_default())? {
            Some(parent) => {
                stat(&parent, name).map_err(|errno| self.into.error("examine", target, errno))?.map(|stat| (parent, stat))
            }
            None => None,
        };
        let source = match here {
            Some((_, stat)) if is_folder(&stat) || is_whiteout(&stat) => {
                return Err(corrupt(format!("`{path}` is a hard link to `{target}`, which is not a file")));
            }
            Some((parent, _)) => parent,
            None => self.raise(target, path)?,
        };
        self.place(folder, path, || {
            rustix::fs::linkat(&source, os(name), folder, os(path.name().unwrap_or_default()), AtFlags::empty())
        })
    }

    /// Copies a file of a lower layer up, so that it can be hard-linked. Returns its folder here.
    fn raise(&mut self, target: &LayerPath, path: &LayerPath) -> Result<Folder> {
        self.stats.uses_lower_layers = true;
        let missing = || corrupt(format!("`{path}` is a hard link to `{target}`, which no layer has"));
        match self.lower.find(target)? {
            Some(found) if !is_folder(&found.stat) => {}
            _ => return Err(missing()),
        }
        let folder = self.parent(target)?;
        let found = self.lower.find(target)?.ok_or_else(missing)?;
        let name = os(target.name().unwrap_or_default());
        // Layers never change once unpacked, so two of them may share an inode.
        match rustix::fs::linkat(found.root, relative(target), &folder, name, AtFlags::empty()) {
            Ok(()) => return Ok(folder),
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM)
                if FileType::from_raw_mode(found.stat.st_mode) == FileType::RegularFile => {}
            Err(errno) => return Err(self.into.error("link", target, errno)),
        }
        let failed = |errno| self.into.error("copy", target, errno);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = rustix::fs::openat(found.root, relative(target), flags, Mode::empty()).map_err(failed)?;
        let metadata = copied_metadata(&found.stat, &source);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(&folder, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let (mut from, mut to) = (std::fs::File::from(source), std::fs::File::from(copy));
        std::io::copy(&mut from, &mut to).map_err(|error| Error::io("copy", target.as_path(), error))?;
        let copy = OwnedFd::from(to);
        self.apply_metadata(&copy, target, &metadata)?;
        rustix::fs::futimens(&copy, &times(metadata.mtime)).map_err(|errno| self.into.error("copy", target, errno))?;
        Ok(folder)
    }

    fn whiteout(&mut self, folder: &Folder, path: &LayerPath) -> Result<()> {
        let name = path.name().unwrap_or_default();
        let existing = stat(folder, name).map_err(|errno| self.into.error("examine", path, errno))?;
        if self.options.whiteouts == Whiteouts::Apply {
            return if self.own.contains(path) { self.opaque(path) } else { self.clear(folder, path) };
        }
        match existing {
            // A whiteout never hides what its own layer brings (image specification, layer.md),
            // only what is below.
            Some(stat) if is_folder(&stat) => {
                let made = rustix::fs::openat(folder, os(name), FOLDER, Mode::empty());
                let made = made.map_err(|errno| self.into.error("open", path, errno))?;
                self.mark_opaque(&made, path)
            }
            Some(_) => Ok(()),
            None => rustix::fs::mknodat(folder, os(name), FileType::CharacterDevice, Mode::empty(), 0).map_err(|errno| {
                let error = self.into.error("mark as removed", path, errno);
                if errno == Errno::PERM {
                    error.with_hint(format!("this container forbids device nodes: use {}", Setting::Isolation.with("chroot")))
                } else {
                    error
                }
            }),
        }
    }

    fn opaque(&mut self, path: &LayerPath) -> Result<()> {
        if self.options.whiteouts == Whiteouts::Apply {
            return self.remove_lower(path);
        }
        let child = path.join(&LayerPath::parse(b"x")?);
        let folder = self.parent(&child)?;
        self.mark_opaque(&folder, path)
    }

    fn mark_opaque(&self, folder: &OwnedFd, path: &LayerPath) -> Result<()> {
        let name = match self.options.whiteouts {
            Whiteouts::Overlay => "trusted.overlay.opaque",
            Whiteouts::UserOverlay => "user.overlay.opaque",
            Whiteouts::Apply => return Ok(()),
        };
        let set = rustix::fs::fsetxattr(folder, name, b"y", XattrFlags::empty());
        set.map_err(|errno| self.into.error("mark as opaque", path, errno))
    }

    /// Removes from the folder `path` what this layer has not brought.
    fn remove_lower(&mut self, path: &LayerPath) -> Result<()> {
        let Some(folder) = self.into.folder(path)? else { return Ok(()) };
        let mut lower = Vec::new();
        let read = |errno| Error::io("read", path.as_path(), std::io::Error::from(errno));
        for entry in rustix::fs::Dir::read_from(&*folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                lower.push(path.child(name)?);
            }
        }
        for child in lower {
            if !self.own.contains(&child) {
                self.clear(&folder, &child)?;
            } else if stat(&folder, child.name().unwrap_or_default()).ok().flatten().is_some_and(|stat| is_folder(&stat)) {
                self.remove_lower(&child)?;
            }
        }
        Ok(())
    }

    fn clear(&mut self, folder: &OwnedFd, path: &LayerPath) -> Result<()> {
        self.into.forget();
        remove(folder, path.name().unwrap_or_default()).map_err(|errno| self.into.error("replace", path, errno))
    }
}

fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
