//! The local store: blobs by digest, image names, build cache, locks.
//!
//! ```text
//! version            the layout's number           gate       held while pruning
//! boot               of which boot `fresh` speaks  locks/     one file a blob being fetched
//! blobs/sha256/HEX   stored bytes                  tmp/       a folder and a lock a process
//! names/HEX.json     image records                 uploads/   belongs to the registry room
//! cache/HE/HEX       build cache records
//! layers/HEX.index   side data of a layer          unpacked/HEX.OWNERSHIP/tree, and trees of several layers
//! mounts/HEX         folders of cache mounts
//! ```
//!
//! Every file comes into being by a rename, complete; a kill at any moment leaves at most a folder in `tmp`, which the next
//! process removes. What a power cut may do is told in `durable.rs`. Several processes may use one store at once; each pins what it
//! uses (`session.rs`), and pruning keeps pinned and named things.
//!
//! Refuses HTTP: a remote blob is only known here by the trait that fetches it. Refuses a store of a newer version, and a folder
//! that holds something else.

mod blobs;
mod cache;
mod durable;
mod fetch;
mod layers;
mod lock;
mod mounts;
mod names;
mod prune;
mod remove;
mod root;
mod scratch;
mod session;
mod source;
mod transient;
mod trees;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use cache::{CacheKey, CacheRecord, CachedLayer};
pub use layers::LayerData;
pub use mounts::MountLock;
pub use names::{ImageRecord, LayerRecord, Place};
pub use prune::{DiskUsage, PruneOptions, PruneReport};
pub use scratch::ScratchDir;
pub use source::{BlobSource, ByteStream, Growing, Growth, GrowthSender, RemoteBlob};
pub use writer::BlobWriter;

use crate::error::{Error, ErrorKind, Result};
use crate::oci::Digest;
use session::Session;

/// A handle on a store. Cheap to clone; what it uses is safe from pruning until the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    // A full or read-only disk has no place for a session; reading and pruning work all the same.
    session: Result<Session, io::Error>,
    // Set where blobs written before the last boot could not be marked as doubtful.
    doubt_fresh: bool,
}

impl Store {
    /// Opens the store in the folder `root`, made if it is missing, and removes what dead processes left there.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: `root` cannot be read, holds something else, or was written by a newer mpimg.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = std::path::absolute(root.as_ref()).map_err(|error| failed("open", root.as_ref(), error))?;
        let writable = root::prepare(&root)?;
        let tmp = root.join(TMP);
        let session = match writable {
            Ok(()) => Session::begin(&tmp, &root.join(GATE)),
            Err(error) => Err(error),
        };
        if session.is_ok() {
            session::sweep(&tmp, &|path| remove::remove_tree(path).is_ok());
        }
        let doubt_fresh = durable::after_boot(&root, session.as_ref().ok().map(Session::folder));
        Ok(Self(Arc::new(Inner { root, session, doubt_fresh })))
    }

    /// Where the store is unless told otherwise: `$MPIMG_HOME`, else `mpimg` in the XDG data folder.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: neither that variable nor a home folder is set.
    pub fn default_root() -> Result<PathBuf> {
        root::default_root(|name| std::env::var_os(name))
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    fn session(&self) -> Result<&Session> {
        self.0.session.as_ref().map_err(|error| {
            // io::Error cannot be cloned; its number and kind say all there is.
            let copy = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
            failed("write to", &self.0.root, copy)
        })
    }

    /// Keeps `digest` from being pruned while this process lives. Nothing can be pruned from a store that cannot be written to.
    fn pin(&self, digest: &Digest) -> Result<()> {
        match &self.0.session {
            Ok(session) => session.pin(digest).map_err(|error| failed("write to", session.folder(), error)),
            Err(_) => Ok(()),
        }
    }

    /// A file in this process's folder, which becomes something else by a rename or vanishes.
    fn temp_file(&self) -> Result<tempfile::NamedTempFile> {
        let folder = self.session()?.folder();
        tempfile::NamedTempFile::new_in(folder).map_err(|error| failed("write to", folder, error))
    }

    /// Makes `parts`, one after the other, the content of the file `path`, whole or not at all.
    fn write_file(&self, path: &Path, parts: &[&[u8]], durability: Durability) -> Result<()> {
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
            Durability::OnDisk => durable::sync_folder(parent),
            Durability::Whenever => Ok(()),
        }
    }
}

/// When a write must have reached the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// Before the call returns.
    OnDisk,
    /// When the system likes: a loss is noticed and costs only time.
    Whenever,
}

const TMP: &str = "tmp";
const GATE: &str = "gate";
const LOCKS: &str = "locks";

/// Seconds since 1970 by this machine's clock: when something was, in records.
pub(crate) fn now() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| failed("make", path, error))
}

/// "cannot {verb} `{path}`", with the remedy for the usual causes.
fn failed(verb: &str, path: &Path, source: io::Error) -> Error {
    let error = Error::new(ErrorKind::Store, format!("cannot {verb} `{}`", path.display()));
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            error.with_hint("run `mpimg prune`, or free some space on that disk, then try again")
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            error.with_hint("set MPIMG_HOME to a folder that you can write to")
        }
        _ => error,
    }
    .with_source(source)
}
