//! One repository: an OCI image layout whose `index.json` is kept in memory and written whole at
//! every change.
//!
//! Never looks into blobs other than manifests.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::index::{Index, IndexEntry};
use super::manifest::Manifest;
use crate::error::{Error, Result};
use crate::oci::{Descriptor, Digest};

/// The layout's folder in a repository's folder. No repository can be called so: names start with a
/// letter or digit.
pub(super) const LAYOUT: &str = "_layout";
/// The folder of unfinished uploads in a repository's folder.
pub(super) const UPLOADS: &str = "_uploads";

/// `oci-layout` (image specification, image-layout.md).
const OCI_LAYOUT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";

/// A repository that exists.
#[derive(Debug)]
pub(super) struct Repository {
    layout: PathBuf,
    durable: bool,
    index: RwLock<Arc<Index>>,
    // Writers take turns; readers see the index before or after a change and never wait for the
    // disk.
    writing: Mutex<()>,
}

impl Repository {
    /// Reads the repository in `dir`; `None` if there is none.
    pub(super) fn read(dir: &Path, durable: bool) -> Result<Option<Self>> {
        let repository = Self::empty(dir, durable);
        let path = repository.layout.join("index.json");
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path, error)),
        };
        let index = Index::parse(&json, |descriptor| repository.read_entry(descriptor))?;
        Ok(Some(Self { index: RwLock::new(Arc::new(index)), ..repository }))
    }

    /// Makes an empty repository in `dir`.
    pub(super) fn create(dir: &Path, durable: bool) -> Result<Self> {
        let repository = Self::empty(dir, durable);
        for algorithm in ["sha256", "sha512"] {
            let dir = repository.layout.join("blobs").join(algorithm);
            fs::create_dir_all(&dir).map_err(|error| Error::io("make the folder", dir, error))?;
        }
        let marker = repository.layout.join("oci-layout");
        fs::write(&marker, OCI_LAYOUT).map_err(|error| Error::io("write", marker, error))?;
        // Last, because a repository exists if its index does.
        repository.write(&Index::default())?;
        Ok(repository)
    }

    fn empty(dir: &Path, durable: bool) -> Self {
        Self { layout: dir.join(LAYOUT), durable, index: RwLock::default(), writing: Mutex::default() }
    }

    /// What it holds now.
    pub(super) fn index(&self) -> Arc<Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the blob `digest` is, if it is in this repository.
    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.layout.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    /// The folder of its blobs of one algorithm.
    pub(super) fn blobs_dir(&self, algorithm: &str) -> PathBuf {
        self.layout.join("blobs").join(algorithm)
    }

    /// The size of a blob in bytes; `None` if it is not here.
    pub(super) fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path, error)),
        }
    }

    /// A blob's file and size in bytes; `None` if it is not here.
    pub(super) fn open_blob(&self, digest: &Digest) -> Result<Option<(File, u64)>> {
        let path = self.blob_path(digest);
        let opened = File::open(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata.len())));
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", path, error)),
        }
    }

    /// Changes the index: on the disk, then for readers. Nobody else changes it or the manifests'
    /// files meanwhile. `change` tells whether it changed anything; so does the answer.
    pub(super) fn change(&self, change: impl FnOnce(&mut Index) -> Result<bool>) -> Result<bool> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut index = Index::clone(&self.index());
        if !change(&mut index)? {
            return Ok(false);
        }
        self.write(&index)?;
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(index);
        Ok(true)
    }

    /// Makes sure that a power cut keeps the links of all blobs; their bytes were synchronised when
    /// they came.
    pub(super) fn sync_blob_links(&self) -> Result<()> {
        ["sha256", "sha512"].iter().try_for_each(|algorithm| sync_dir(&self.layout.join("blobs").join(algorithm)))
    }

    fn write(&self, index: &Index) -> Result<()> {
        let path = self.layout.join("index.json");
        let temporary = self.layout.join("index.json.new");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&index.to_json())?;
            if self.durable {
                file.sync_data()?;
            }
            fs::rename(&temporary, &path)
        };
        write().map_err(|error| Error::io("write", &path, error))?;
        if self.durable { sync_dir(&self.layout) } else { Ok(()) }
    }

    fn read_entry(&self, descriptor: &Descriptor) -> Option<IndexEntry> {
        let path = self.blob_path(&descriptor.digest);
        let read = fs::read(&path).map_err(|error| Error::io("read", path, error));
        match read.and_then(|json| Manifest::parse(&json)) {
            Ok(manifest) => Some(IndexEntry::new(descriptor.media_type.clone(), descriptor.size, manifest)),
            Err(error) => {
                tracing::debug!(%error, digest = %descriptor.digest, "a manifest of the index is not there");
                None
            }
        }
    }
}

/// Makes sure that a power cut keeps the names in a folder.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| Error::io("write", dir, error))
}
