//! What is kept of a layer besides its bytes, by diff ID: side data, and its unpacked trees, one
//! for each kind of ownership on disk.
//!
//! A tree is never there in half: it appears by one rename when it is filled.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Store;
use super::handle::Durability;
use super::layout;
use super::layout::{MARK, UNPACKED, create_folder, diff_id, failed, file_names};
use super::lock::FileLock;
use crate::error::Result;
use crate::oci::{ChainId, DiffId, Digest};

pub(super) const LAYERS: &str = "layers";
const TREE: &str = "tree";
/// After this long the system has written the tree by itself, so that waiting for it takes no time.
const WRITTEN_BY_THEN: Duration = Duration::from_secs(60);

/// Which side data of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerData {
    /// The list of its entries.
    Index,
    /// What its files tell of packages.
    Packages,
}

impl LayerData {
    fn extension(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Packages => "packages",
        }
    }
}

impl Store {
    /// The layer's side data as it was written; `None` if there is none or the file is damaged.
    pub fn read_layer_data(&self, diff_id: &DiffId, data: LayerData) -> Result<Option<Vec<u8>>> {
        self.pin(&diff_id.0)?;
        read_sealed(&self.layer_data_path(diff_id, data))
    }

    /// Whether there is such side data, which may be damaged.
    pub fn has_layer_data(&self, diff_id: &DiffId, data: LayerData) -> bool {
        self.layer_data_path(diff_id, data).exists()
    }

    /// Keeps side data of the layer, whole or not at all.
    pub fn write_layer_data(&self, diff_id: &DiffId, data: LayerData, bytes: &[u8]) -> Result<()> {
        self.pin(&diff_id.0)?;
        self.write_sealed(&self.layer_data_path(diff_id, data), bytes)
    }

    /// Writes side data that shows damage.
    pub(super) fn write_sealed(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        // Not put together in memory: of a large layer these are many.
        self.write_file(path, &[bytes, &seal(bytes)], Durability::Whenever)
    }

    fn layer_data_path(&self, diff_id: &DiffId, data: LayerData) -> PathBuf {
        self.root().join(LAYERS).join(format!("{}.{}", diff_id.0.hex(), data.extension()))
    }

    /// Where the layer's tree of this ownership is once it is unpacked.
    pub fn unpacked_path(&self, diff_id: &DiffId, ownership: &str) -> PathBuf {
        self.unpacked_home(diff_id, ownership).join(TREE)
    }

    /// The layer's unpacked trees, whatever owners their files have: for callers that want content
    /// alone.
    pub fn unpacked_paths(&self, diff_id: &DiffId) -> Vec<PathBuf> {
        let names = file_names(&self.root().join(UNPACKED)).unwrap_or_default();
        let homes = names.into_iter().filter(|name| layout::diff_id(name) == Some(diff_id.0));
        homes.map(|name| self.root().join(UNPACKED).join(name).join(TREE)).filter(|tree| tree.is_dir()).collect()
    }

    pub(super) fn unpacked_home(&self, diff_id: &DiffId, ownership: &str) -> PathBuf {
        self.root().join(UNPACKED).join(format!("{}.{ownership}", diff_id.0.hex()))
    }

    /// The layer's unpacked tree, which `fill` makes in an empty folder unless it is there already.
    /// It stays while this process lives, and must not be changed. Blocks while another thread or
    /// process unpacks the same layer.
    ///
    /// `ownership` is the sandbox's name for how owners and marks are kept on disk: one layer may
    /// be unpacked several ways.
    ///
    /// # Errors
    /// Those of `fill`; nothing is kept then.
    pub fn unpacked_dir(&self, diff_id: &DiffId, ownership: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        self.unpacked_over(diff_id, ownership, None, |folder| fill(folder).map(|()| false))
    }

    /// As `unpacked_dir`, for a layer over others, `below`. `fill` tells whether it took anything
    /// from them: such a tree is theirs alone.
    ///
    /// # Errors
    /// Those of `fill`; nothing is kept then.
    pub fn unpacked_over(
        &self,
        diff_id: &DiffId,
        ownership: &str,
        below: Option<ChainId>,
        fill: impl FnOnce(&Path) -> Result<bool>,
    ) -> Result<PathBuf> {
        self.pin(&diff_id.0)?;
        let alone = self.unpacked_home(diff_id, ownership);
        let below = below.map_or_else(|| "none".into(), |chain| chain.0.hex().to_owned());
        let over = self.unpacked_home(diff_id, &format!("{ownership}.{below}"));
        let there = || -> Result<Option<PathBuf>> {
            for home in [&alone, &over] {
                if self.is_unpacked(home)? {
                    return Ok(Some(home.join(TREE)));
                }
            }
            Ok(None)
        };
        if let Some(tree) = there()? {
            return Ok(tree);
        }
        let lock_path = self.lock_path(&diff_id.0).with_extension("unpacked");
        let _lock = FileLock::acquire(&lock_path).map_err(|error| failed("lock", &lock_path, error))?;
        if let Some(tree) = there()? {
            return Ok(tree);
        }
        let scratch = self.scratch()?;
        let new = scratch.path().join(TREE);
        create_folder(&new)?;
        let home = if fill(&new)? { over } else { alone };
        create_folder(&self.root().join(UNPACKED))?;
        std::fs::rename(scratch.path(), &home).map_err(|error| failed("write", &home, error))?;
        Ok(home.join(TREE))
    }

    fn is_unpacked(&self, home: &Path) -> Result<bool> {
        let used = match home.symlink_metadata().and_then(|metadata| metadata.modified()) {
            Ok(used) => used,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("read", home, error)),
        };
        // Only time is lost if any of this fails: the tree goes at the first opening after a boot,
        // or is pruned early.
        if self.0.session.is_ok() {
            let _ = File::open(home).and_then(|folder| {
                if used.elapsed().is_ok_and(|age| age > WRITTEN_BY_THEN) && !home.join(MARK).exists() {
                    rustix::fs::syncfs(&folder)?;
                    File::create(home.join(MARK))?;
                }
                folder.set_modified(SystemTime::now())
            });
        }
        Ok(true)
    }
}

/// Side data as it was written; `None` if there is none or the file is damaged.
pub(super) fn read_sealed(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path, error)),
    };
    let Some(length) = bytes.len().checked_sub(seal(b"").len()) else { return Ok(None) };
    if seal(&bytes[..length]) != bytes[length..] {
        return Ok(None);
    }
    bytes.truncate(length);
    Ok(Some(bytes))
}

/// The digest that stands at the end of side data.
fn seal(bytes: &[u8]) -> Vec<u8> {
    Digest::of(bytes).to_string().into_bytes()
}

/// Side data of all layers.
pub(super) fn list_data(root: &Path) -> Result<Vec<(Digest, PathBuf)>> {
    list(&root.join(LAYERS))
}

/// The folders of all unpacked layers.
pub(super) fn list_unpacked(root: &Path) -> Result<Vec<(Digest, PathBuf)>> {
    list(&root.join(UNPACKED))
}

fn list(folder: &Path) -> Result<Vec<(Digest, PathBuf)>> {
    let names = file_names(folder).map_err(|error| failed("read", folder, error))?;
    Ok(names.into_iter().filter_map(|name| Some((diff_id(&name)?, folder.join(name)))).collect())
}
