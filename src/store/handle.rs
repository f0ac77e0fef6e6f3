//! A handle on a store: where it is, what this process uses of it, and how its files come into
//! being.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::layout::{GATE, TMP, create_folder, failed, sync_folder};
use super::process_session::{self, ProcessSession};
use super::{boot, root};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::layer::remove_tree;
use crate::oci::Digest;
use crate::project::variable;

/// A handle on a store. Cheap to clone; what it uses is safe from pruning until the last clone is
/// dropped.
#[derive(Debug, Clone)]
pub struct Store(pub(super) Arc<StoreInner>);

#[derive(Debug)]
pub(super) struct StoreInner {
    pub(super) root: PathBuf,
    // A full or read-only disk has no place for a session; reading and pruning work all the same.
    pub(super) session: Result<ProcessSession, io::Error>,
    // Set where blobs written before the last boot could not be marked as unverified.
    pub(super) distrust_fresh: bool,
}

impl Store {
    /// Opens the store in the folder `root`, made if it is missing, and removes what dead processes
    /// left there.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: `root` cannot be read, holds something else, or was written by a newer
    /// mpimg.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = std::path::absolute(root.as_ref()).map_err(|error| failed("open", root.as_ref(), error))?;
        let writable = root::prepare(&root)?;
        let tmp = root.join(TMP);
        let session = match writable {
            Ok(()) => ProcessSession::begin(&tmp, &root.join(GATE)),
            Err(error) => Err(error),
        };
        if session.is_ok() {
            process_session::sweep(&tmp, &|path| remove_tree(path).is_ok());
        }
        let distrust_fresh = boot::after_boot(&root, session.as_ref().ok().map(ProcessSession::folder));
        Ok(Self(Arc::new(StoreInner { root, session, distrust_fresh })))
    }

    /// Where the store is unless told otherwise: `$MPIMG_HOME`, else `mpimg` in the XDG data
    /// folder.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: neither that variable nor a home folder is set.
    pub fn default_root() -> Result<PathBuf> {
        root::default_root(variable)
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    pub(super) fn session(&self) -> Result<&ProcessSession> {
        self.0.session.as_ref().map_err(|error| {
            // io::Error cannot be cloned; its number and kind say all there is.
            let copy = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
            failed("write to", &self.0.root, copy)
        })
    }

    /// Keeps `digest` from being pruned while this process lives. Nothing can be pruned from a
    /// store that cannot be written to.
    pub(super) fn pin(&self, digest: &Digest) -> Result<()> {
        match &self.0.session {
            Ok(session) => session.pin(digest).map_err(|error| failed("write to", session.folder(), error)),
            Err(_) => Ok(()),
        }
    }

    /// A file in this process's folder, which becomes something else by a rename or vanishes.
    pub(super) fn temp_file(&self) -> Result<tempfile::NamedTempFile> {
        let folder = self.session()?.folder();
        tempfile::NamedTempFile::new_in(folder).map_err(|error| failed("write to", folder, error))
    }

    /// Makes `parts`, one after the other, the content of the file `path`, whole or not at all.
    pub(super) fn write_file(&self, path: &Path, parts: &[&[u8]], durability: Durability) -> Result<()> {
        use std::io::Write as _;
        let mut file = self.temp_file()?;
        let write = |file: &mut tempfile::NamedTempFile| {
            parts.iter().try_for_each(|part| file.write_all(part))?;
            match durability {
                Durability::OnDisk => file.as_file().sync_all(),
                Durability::Whenever => Ok(()),
            }
        };
        write(&mut file).map_err(|error| failed("write", path, error))?;
        let parent = path.parent().unwrap_or(&self.0.root);
        create_folder(parent)?;
        file.persist(path).map_err(|error| failed("write", path, error.error))?;
        match durability {
            Durability::OnDisk => sync_folder(parent),
            Durability::Whenever => Ok(()),
        }
    }
}

/// When a write must have reached the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Before the call returns.
    OnDisk,
    /// When the system likes: a loss is noticed and costs only time.
    Whenever,
}
