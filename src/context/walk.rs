//! The walk of a source: one entry after the other, a folder before what it holds, siblings in byte
//! order.
//!
//! It holds the names of one folder for each level, never the tree, and a bounded number of open
//! folders however deep the tree is. Links are not followed; a folder that cannot be read, and a
//! file that changes while it is read, are errors.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::filter::{Filter, FolderMatches};
use super::tree::{self, EntryType, Folder, Form, Identity, Name, Status};
use super::{changed, shown, unreadable};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Entry, Kind, LateContent, LayerPath, Metadata, Stamp, Xattrs};

/// How many folders of the way down stay open; those above are opened again from below when the
/// walk comes back to them.
const OPEN_FOLDERS: usize = 32;

/// The one extended attribute that docker puts into a layer.
const CAPABILITY: &str = "security.capability";

/// Entries of a source: an iterator that ends after its first error.
#[derive(Debug)]
pub struct Walk {
    /// Where the source is in the build context.
    base: Arc<LayerPath>,
    /// The root of the build context.
    root: Arc<Folder>,
    filter: Filter,
    levels: Vec<Level>,
    /// The path of the deepest level in the build context.
    path: Vec<u8>,
    ready: VecDeque<WalkEntry>,
    /// How many levels have an entry pending.
    waiting: usize,
}

/// A folder on the way down.
#[derive(Debug)]
struct Level {
    /// `None` where it was closed for those below.
    folder: Option<Arc<Folder>>,
    identity: Identity,
    names: std::vec::IntoIter<Name>,
    matches: FolderMatches,
    /// The folder's own entry where it enters the image only if something in it does.
    pending: Option<WalkEntry>,
    /// The length of its path.
    length: usize,
}

/// One entry of a walk. That of a regular file holds its folder open until it is
/// [closed](Self::close): keep few that are not.
#[derive(Debug)]
pub struct WalkEntry {
    /// Path relative to the source, kind (never a hard link), and mode, owner and time as the file
    /// system has them. docker gives what comes from a build context to 0:0 where no owner is asked
    /// for.
    pub entry: Entry,
    base: Arc<LayerPath>,
    root: Arc<Folder>,
    /// Of a regular file.
    file: Option<FilePlace>,
    status: Status,
    is_parent: bool,
}

/// Where a regular file is.
#[derive(Debug)]
struct FilePlace {
    /// The folder that holds it, unless it was closed.
    folder: Option<Arc<Folder>>,
    name: Box<[u8]>,
}

impl Walk {
    /// What is in `folder`, which is at `base` in the build context, whose root is `root`.
    pub(super) fn of_folder(
        (root, base): (&Arc<Folder>, &LayerPath),
        folder: Folder,
        matches: FolderMatches,
        filter: Filter,
    ) -> Result<Self> {
        let mut walk = Self::empty(root, base, filter);
        let read = || Ok((folder.own_status()?.identity, folder.names()?));
        let (identity, names) = read().map_err(|error| unreadable(base.as_bytes(), error))?;
        let length = walk.path.len();
        let names = names.into_iter();
        walk.levels.push(Level { folder: Some(Arc::new(folder)), identity, names, matches, pending: None, length });
        Ok(walk)
    }

    /// The one entry of a source that is not a folder.
    pub(super) fn of_leaf(
        (root, path): (&Arc<Folder>, &LayerPath),
        folder: Arc<Folder>,
        name: &[u8],
        status: Status,
        filter: Filter,
    ) -> Result<Self> {
        let mut walk = Self::empty(root, path, filter);
        // BuildKit does not match `--exclude` against a source that is a file itself.
        let entry = walk.entry(LayerPath::root(), folder, name.into(), status)?;
        walk.ready.extend(entry);
        Ok(walk)
    }

    fn empty(root: &Arc<Folder>, base: &LayerPath, filter: Filter) -> Self {
        Self {
            base: Arc::new(base.clone()),
            root: root.clone(),
            filter,
            levels: Vec::new(),
            path: base.as_bytes().to_vec(),
            ready: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Takes the next name of the deepest level; `false` at the end of the walk.
    fn step(&mut self) -> Result<bool> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        self.path.truncate(level.length);
        match level.names.next() {
            Some(name) => self.visit(name)?,
            None => self.leave()?,
        }
        Ok(true)
    }

    fn visit(&mut self, name: Name) -> Result<()> {
        let Some((level, folder)) = self.levels.last().and_then(|level| Some((level, level.folder.clone()?))) else {
            return Ok(());
        };
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&name.bytes);
        if name.entry_type == EntryType::Folder {
            return self.enter(&folder, name.bytes);
        }
        if name.entry_type != EntryType::Unknown && !self.filter.takes_leaf(&self.path, self.relative(), &level.matches) {
            return Ok(());
        }
        let Some(status) = there(folder.status(&name.bytes)).map_err(|error| unreadable(&self.path, error))? else {
            return Ok(());
        };
        match (status.form, name.entry_type) {
            (Form::Folder, EntryType::Unknown) => return self.enter(&folder, name.bytes),
            (Form::Folder, _) => return Err(changed(&self.path)),
            (_, EntryType::Unknown) if !self.filter.takes_leaf(&self.path, self.relative(), &level.matches) => return Ok(()),
            _ => {}
        }
        let path = LayerPath::parse(self.relative())?;
        if let Some(entry) = self.entry(path, folder, name.bytes, status)? {
            self.take_pending();
            self.ready.push_back(entry);
        }
        Ok(())
    }

    /// Enters the folder at `self.path`, unless nothing in it can be included.
    fn enter(&mut self, parent: &Arc<Folder>, name: Box<[u8]>) -> Result<()> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let Some(matches) = self.filter.folder(&self.path, self.relative(), &level.matches) else { return Ok(()) };
        let folder = match parent.open_child(&name) {
            Ok(folder) => folder,
            Err(error) => return self.not_entered(&matches, error),
        };
        if self.filter.is_virtual_environment(&folder) {
            return Ok(());
        }
        let read = || Ok((folder.own_status()?, folder.names()?));
        let (status, names) = match read() {
            Ok(read) => read,
            Err(error) => return self.not_entered(&matches, error),
        };
        let identity = status.identity;
        let path = LayerPath::parse(self.relative())?;
        let mut pending = self.entry(path, parent.clone(), name, status)?;
        if matches.taken {
            self.take_pending();
            self.ready.extend(pending.take());
        } else if let Some(pending) = &mut pending {
            pending.is_parent = matches.left_out();
        }
        if let Some(above) = self.levels.len().checked_sub(OPEN_FOLDERS) {
            self.levels[above].folder = None;
        }
        self.waiting += usize::from(pending.is_some());
        let (length, names) = (self.path.len(), names.into_iter());
        self.levels.push(Level { folder: Some(Arc::new(folder)), identity, names, matches, pending, length });
        Ok(())
    }

    /// Makes the folders ready that waited for something in them.
    fn take_pending(&mut self) {
        if self.waiting > 0 {
            self.ready.extend(self.levels.iter_mut().filter_map(|level| level.pending.take()));
            self.waiting = 0;
        }
    }

    /// A folder that could not be opened: gone, swapped for something else, or not to be read.
    fn not_entered(&self, matches: &FolderMatches, error: io::Error) -> Result<()> {
        use rustix::io::Errno;
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Ok(()),
            Some(Errno::LOOP | Errno::NOTDIR | Errno::MLINK) => Err(changed(&self.path)),
            // What is excluded need not be readable: moby ignores it as well.
            Some(Errno::ACCESS | Errno::PERM) if !matches.taken => Ok(()),
            _ => Err(unreadable(&self.path, error)),
        }
    }

    /// Goes back up to the folder above, which is opened again where it was closed.
    fn leave(&mut self) -> Result<()> {
        let Some(left) = self.levels.pop() else { return Ok(()) };
        self.waiting -= usize::from(left.pending.is_some());
        let Some(above) = self.levels.last_mut() else { return Ok(()) };
        if let (None, Some(folder)) = (&above.folder, left.folder) {
            let at = &self.path[..above.length];
            let reopened = folder.open_parent().map_err(|error| unreadable(at, error))?;
            let status = reopened.own_status().map_err(|error| unreadable(at, error))?;
            if status.identity != above.identity {
                return Err(changed(at));
            }
            above.folder = Some(Arc::new(reopened));
        }
        Ok(())
    }

    /// `None` of a link that vanished.
    fn entry(&self, path: LayerPath, folder: Arc<Folder>, name: Box<[u8]>, status: Status) -> Result<Option<WalkEntry>> {
        let kind = match status.kind() {
            Some(kind) => kind,
            None => match folder.link_text(&name) {
                Ok(target) => Kind::Symlink { target },
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Err(changed(self.base.join(&path).as_bytes()));
                }
                Err(error) => return Err(unreadable(self.base.join(&path).as_bytes(), error)),
            },
        };
        let metadata = Metadata::new(status.mode, status.uid, status.gid, status.mtime.0);
        // A folder's entry may wait on every level of a deep tree: it must not hold another folder
        // open.
        let file = (status.form == Form::File).then_some(FilePlace { folder: Some(folder), name });
        let (base, root) = (self.base.clone(), self.root.clone());
        Ok(Some(WalkEntry { entry: Entry { path, kind, metadata }, base, root, file, status, is_parent: false }))
    }

    /// `self.path` seen from the source.
    fn relative(&self) -> &[u8] {
        let base = self.base.as_bytes().len();
        let relative = &self.path[base..];
        relative.strip_prefix(b"/").unwrap_or(relative)
    }
}

/// `None` of what vanished since its folder was listed: moby takes it as never there.
fn there(status: io::Result<Status>) -> io::Result<Option<Status>> {
    match status {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        status => status.map(Some),
    }
}

impl Iterator for Walk {
    type Item = Result<WalkEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.levels.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl WalkEntry {
    /// Where the entry is in the build context, for messages and for the secret guard.
    pub fn context_path(&self) -> LayerPath {
        self.base.join(&self.entry.path)
    }

    /// Whether the entry is a folder that `--parents` or `--exclude` leave out, and comes along
    /// only as the parent of what they take.
    pub fn is_parent(&self) -> bool {
        self.is_parent
    }

    /// Of a file with several names (hard links), what they have in common: device and inode.
    pub fn shared_file(&self) -> Option<(u64, u64)> {
        let several = self.status.form == Form::File && self.status.links > 1;
        several.then_some((self.status.identity.device, self.status.identity.inode))
    }

    /// The stamp of a regular file: whether it is still the same.
    pub fn stamp(&self) -> Option<Stamp> {
        let Status { identity, form, size, mtime, ctime, .. } = self.status;
        (form == Form::File).then_some(Stamp { device: identity.device, inode: identity.inode, size, mtime, ctime })
    }

    /// Opens a regular file for reading. It is the very file that the entry was made from, with its
    /// size and time: anything else is an error of kind [`Context`](ErrorKind::Context).
    pub fn open(&self) -> Result<File> {
        let path = || self.context_path();
        let Some(FilePlace { folder, name }) = &self.file else {
            return Err(Error::new(ErrorKind::Context, format!("`{}` is not a regular file", shown(path().as_bytes()))));
        };
        let opened = match folder {
            Some(folder) => tree::open_file(folder, name),
            // Whether it is the same folder does not matter: the file in it must be the same.
            None => {
                let folder = self.root.open_below(&path().parent().unwrap_or_default());
                folder.and_then(|folder| tree::open_file(&folder, name))
            }
        };
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => unreadable(path().as_bytes(), error),
            _ => changed(path().as_bytes()).with_source(error),
        })?;
        self.check_unchanged(&file)?;
        Ok(file)
    }

    /// Closes the folder that the entry holds open: it is looked for again, from the root of the
    /// build context, if the file is opened. So any number of entries may be kept.
    pub fn close(&mut self) {
        if let Some(file) = &mut self.file {
            file.folder = None;
        }
    }

    /// Checks, after the last byte was read, that `file` still has the size and time of the entry.
    pub fn check_unchanged(&self, file: &File) -> Result<()> {
        let path = || self.context_path();
        let now = tree::status_of(file).map_err(|error| unreadable(path().as_bytes(), error))?;
        if now.same_content(&self.status) { Ok(()) } else { Err(changed(path().as_bytes())) }
    }

    /// The extended attributes of the opened `file` that docker puts into a layer: file
    /// capabilities.
    pub fn xattrs(&self, file: &File) -> Result<Xattrs> {
        let value = tree::xattr(file, CAPABILITY).map_err(|error| unreadable(self.context_path().as_bytes(), error))?;
        Ok(value.map(|value| (CAPABILITY.into(), value)).into_iter().collect())
    }
}

impl LateContent for WalkEntry {
    fn stamp(&self) -> Option<Stamp> {
        self.stamp()
    }

    fn open(&self) -> Result<File> {
        self.open()
    }

    fn close(&mut self) {
        self.close();
    }

    fn check_unchanged(&self, file: &File) -> Result<()> {
        self.check_unchanged(file)
    }
}
