//! The registry's folder:
//!
//! ```text
//! registry.json                     marks the folder; locked while a registry has it open
//! blobs/ALGORITHM/HEX               every blob once, whatever repositories have it
//! tmp/                              blobs on their way in; emptied at start
//! repositories/NAME/_layout/        an OCI image layout; its blobs are hard links to those above
//! repositories/NAME/_uploads/ID     an unfinished upload: the bytes that have arrived
//! ```
//!
//! A blob is in a repository if its link is. Any program that reads OCI layouts can read `_layout`;
//! while a registry runs, only the registry writes there. Every change is one link, rename or
//! removal, so a process killed at any moment leaves at worst a blob without a repository, which
//! the next start removes.
//!
//! Refuses folders that hold something else, and folders that another registry has open.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use super::index::IndexEntry;
use super::repository::{LAYOUT, Repository, UPLOADS, sync_dir};
use super::route::RepositoryName;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Tag};

const MARKER: &str = "registry.json";
const FORMAT: &str = "{\"format\":1}\n";

/// A registry that has just stopped may still be letting go of its folder: a fifth of a second in
/// all.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A manifest to record.
#[derive(Debug)]
pub(super) struct NewManifest {
    pub(super) digest: Digest,
    pub(super) entry: IndexEntry,
    pub(super) tags: Vec<Tag>,
}

/// The open folder.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    durable: bool,
    repositories: Mutex<HashMap<RepositoryName, Arc<Repository>>>,
    _lock: Lock,
    // Removes a temporary folder, last of all.
    _temporary: Option<tempfile::TempDir>,
}

impl Disk {
    /// Opens `dir`, or a new temporary folder.
    pub(super) fn open(dir: Option<&Path>, read_only: bool, durable: bool) -> Result<Self> {
        let temporary = match dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(|error| Error::io("make a folder in", std::env::temp_dir(), error))?),
        };
        let root = dir.or(temporary.as_ref().map(tempfile::TempDir::path)).map(Path::to_owned).unwrap_or_default();
        if !read_only {
            make_root(&root)?;
        }
        let lock = Lock::take(&root, read_only)?;
        let disk = Self { root, durable, repositories: Mutex::default(), _lock: lock, _temporary: temporary };
        if !read_only {
            disk.remove_leftovers()?;
        }
        Ok(disk)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn durable(&self) -> bool {
        self.durable
    }

    /// The repository `name`, if there is one: it has been pushed to.
    pub(super) fn repository(&self, name: &RepositoryName) -> Result<Option<Arc<Repository>>> {
        let mut repositories = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repository) = repositories.get(name) {
            return Ok(Some(repository.clone()));
        }
        let Some(repository) = Repository::read(&self.repository_dir(name), self.durable)? else { return Ok(None) };
        Ok(Some(repositories.entry(name.clone()).or_insert(Arc::new(repository)).clone()))
    }

    /// The repository `name`, made if there is none.
    pub(super) fn make_repository(&self, name: &RepositoryName) -> Result<Arc<Repository>> {
        if let Some(repository) = self.repository(name)? {
            return Ok(repository);
        }
        let mut repositories = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repository) = repositories.get(name) {
            return Ok(repository.clone());
        }
        let dir = self.repository_dir(name);
        let repository = Arc::new(Repository::create(&dir, self.durable)?);
        if self.durable {
            dir.ancestors().take_while(|ancestor| *ancestor != self.root).try_for_each(sync_dir)?;
        }
        repositories.insert(name.clone(), repository.clone());
        Ok(repository)
    }

    /// The names of all repositories in the order of their bytes.
    pub(super) fn repository_names(&self) -> Result<Vec<RepositoryName>> {
        let mut names = Vec::new();
        self.walk_repositories(|name, dir| {
            if dir.join(LAYOUT).join("index.json").exists() {
                names.extend(RepositoryName::parse(name));
            }
            Ok(())
        })?;
        names.sort();
        Ok(names)
    }

    /// Where the uploads of the repository `name` are kept; the repository itself need not exist
    /// yet.
    pub(super) fn uploads_dir(&self, name: &RepositoryName) -> PathBuf {
        self.repository_dir(name).join(UPLOADS)
    }

    /// A new file for bytes on their way in.
    pub(super) fn temporary_file(&self) -> Result<tempfile::NamedTempFile> {
        let dir = self.root.join("tmp");
        tempfile::NamedTempFile::new_in(&dir).map_err(|error| Error::io("make a file in", dir, error))
    }

    /// Puts the complete, checked and (if durable) synchronised file at `path` into a repository as
    /// `digest`. The file itself stays for the caller to remove.
    pub(super) fn add_blob(&self, path: &Path, digest: &Digest, repository: &Repository) -> Result<()> {
        let shared = self.blob_path(digest);
        match fs::hard_link(path, &shared) {
            Ok(()) => {}
            // Somebody else's copy of the same bytes: the repository gets that one, and the bytes
            // are stored once.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.link(&shared, &repository.blob_path(digest))? {
                    return Ok(());
                }
            }
            // No hard links here: each repository has its own copy.
            Err(error) => tracing::debug!(%error, %digest, "cannot share a blob"),
        }
        match self.link(path, &repository.blob_path(digest))? {
            true => Ok(()),
            false => Err(Error::io("read", path, io::ErrorKind::NotFound.into())),
        }
    }

    /// Puts a blob that some repository has into another one: `from`, or any if there is no `from`.
    /// Tells whether it was found.
    pub(super) fn mount_blob(&self, digest: &Digest, from: Option<&Repository>, to: &Repository) -> Result<bool> {
        let source = from.map_or_else(|| self.blob_path(digest), |from| from.blob_path(digest));
        self.link(&source, &to.blob_path(digest))
    }

    /// Whether any repository has the blob.
    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Removes a blob from a repository, and its bytes if no other repository has it. Tells whether
    /// it was there.
    pub(super) fn remove_blob(&self, digest: &Digest, repository: &Repository) -> Result<bool> {
        let path = repository.blob_path(digest);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("remove", path, error)),
        }
        // A mount between the look and the removal keeps its own link: only the sharing of later
        // uploads is lost.
        remove_if_unshared(&self.blob_path(digest))?;
        Ok(true)
    }

    /// Records a manifest: the file at `path`, as [`Disk::add_blob`] takes it, and what the index
    /// says of it.
    pub(super) fn put_manifest(&self, repository: &Repository, path: &Path, manifest: NewManifest) -> Result<()> {
        let NewManifest { digest, entry, tags } = manifest;
        repository.change(|index| {
            self.add_blob(path, &digest, repository)?;
            if self.durable {
                repository.sync_blob_links()?;
            }
            index.put(digest, entry, tags);
            Ok(true)
        })?;
        Ok(())
    }

    /// Removes a manifest and the tags that point to it. Tells whether it was there.
    pub(super) fn remove_manifest(&self, repository: &Repository, digest: &Digest) -> Result<bool> {
        repository.change(|index| {
            let removed = index.remove_manifest(digest);
            if removed {
                self.remove_blob(digest, repository)?;
            }
            Ok(removed)
        })
    }

    /// Removes unfinished uploads that got no bytes for `expiry`.
    pub(super) fn remove_expired_uploads(&self, expiry: Duration) -> Result<()> {
        let Some(oldest) = SystemTime::now().checked_sub(expiry) else { return Ok(()) };
        self.walk_repositories(|_, dir| {
            let uploads = dir.join(UPLOADS);
            for path in files(&uploads)? {
                let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
                if modified.is_ok_and(|modified| modified < oldest) {
                    remove(&path)?;
                }
            }
            Ok(())
        })
    }

    fn repository_dir(&self, name: &RepositoryName) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    /// Makes `to` the same file as `from`, or, where that cannot be, a copy of it. Tells whether
    /// `from` was there.
    fn link(&self, from: &Path, to: &Path) -> Result<bool> {
        match fs::hard_link(from, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // The file has all the links that it may have, or the file system knows none.
            Err(_) => self.copy(from, to).map(|()| true),
        }
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let mut source = File::open(from).map_err(|error| Error::io("open", from, error))?;
        let mut file = self.temporary_file()?;
        io::copy(&mut source, &mut file).map_err(|error| Error::io("write", file.path(), error))?;
        if self.durable {
            file.as_file().sync_data().map_err(|error| Error::io("write", file.path(), error))?;
        }
        file.persist(to).map_err(|error| Error::io("write", to, error.error))?;
        Ok(())
    }

    /// What a killed process left: half-written files, and blobs that no repository has.
    fn remove_leftovers(&self) -> Result<()> {
        for path in files(&self.root.join("tmp"))? {
            remove(&path)?;
        }
        for algorithm in ["sha256", "sha512"] {
            for path in files(&self.root.join("blobs").join(algorithm))? {
                remove_if_unshared(&path)?;
            }
        }
        Ok(())
    }

    /// Calls `visit` with the name and folder of everything under `repositories/` that may be a
    /// repository.
    fn walk_repositories(&self, mut visit: impl FnMut(&str, &Path) -> Result<()>) -> Result<()> {
        let mut pending = vec![(String::new(), self.root.join("repositories"))];
        while let Some((name, dir)) = pending.pop() {
            if !name.is_empty() {
                visit(&name, &dir)?;
            }
            let entries = fs::read_dir(&dir).map_err(|error| Error::io("list", &dir, error))?;
            for entry in entries {
                let entry = entry.map_err(|error| Error::io("list", &dir, error))?;
                let is_dir = entry.file_type().is_ok_and(|file_type| file_type.is_dir());
                let component = entry.file_name();
                // `_layout` and `_uploads` are no names.
                if let Some(component) = component.to_str().filter(|text| is_dir && !text.starts_with('_')) {
                    let separator = if name.is_empty() { "" } else { "/" };
                    pending.push((format!("{name}{separator}{component}"), entry.path()));
                }
            }
        }
        Ok(())
    }
}

fn make_root(root: &Path) -> Result<()> {
    let dirs = ["blobs/sha256", "blobs/sha512", "tmp", "repositories"];
    let is_marked = root.join(MARKER).exists();
    if !is_marked && fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("`{}` is not empty and not a registry's folder", root.display());
        return Err(Error::new(ErrorKind::Usage, message).with_hint("name a new or empty folder"));
    }
    for dir in dirs {
        let dir = root.join(dir);
        fs::create_dir_all(&dir).map_err(|error| Error::io("make the folder", dir, error))?;
    }
    if !is_marked {
        let marker = root.join(MARKER);
        fs::write(&marker, FORMAT).map_err(|error| Error::io("write", marker, error))?;
    }
    Ok(())
}

/// Keeps other registries out of the folder.
#[derive(Debug)]
struct Lock(File);

impl Lock {
    /// A read-only registry shares the folder with others of its kind.
    fn take(root: &Path, read_only: bool) -> Result<Self> {
        let path = root.join(MARKER);
        let marker = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, format!("`{}` is not a registry's folder", root.display())).with_source(error)
            }
            _ => Error::io("open", &path, error),
        })?;
        let format = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
        // An empty marker is one whose writer was killed before it wrote.
        if !format.is_empty() && format != FORMAT {
            let message = format!("`{}` was written by another version of the registry", root.display());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let operation = if read_only { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
        let mut tries = 0;
        while let Err(error) = rustix::fs::flock(&marker, operation) {
            tries += 1;
            if tries == LOCK_TRIES {
                let message = format!("`{}` is in use by another registry", root.display());
                return Err(Error::new(ErrorKind::Usage, message)
                    .with_hint("stop the other one, or name another folder")
                    .with_source(io::Error::from(error)));
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        Ok(Self(marker))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, were it not for processes being forked just now: they have the file
        // open until they exec.
        if let Err(error) = rustix::fs::flock(&self.0, FlockOperation::Unlock) {
            tracing::debug!(%error, "cannot unlock the registry's folder");
        }
    }
}

/// The files of a folder; none if there is no such folder.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", dir, error)),
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| Error::io("list", dir, error))).collect()
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

fn remove_if_unshared(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.nlink() == 1 => remove(path),
        _ => Ok(()),
    }
}
