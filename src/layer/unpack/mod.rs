//! Unpacks ONE layer into its own folder, so that the folder can be a lower layer of an overlay (or several into one folder, applied).
//!
//! Refuses to leave that folder, whatever the tar says: parents are found by openat2 inside it, the last component is always
//! replaced and never followed, link texts are stored as they stand, sources of hard links are looked up the same way. Refuses also to
//! lose the owners that the layer names: a process that may not give them gets an error, unless it asks for records of them.

mod confined;
mod entries;
mod read_ahead;
mod stack;

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layer::TarReader;

pub use super::owners::Identity;
pub(crate) use confined::{is_folder, remove};
pub(crate) use stack::{Stack, is_opaque, is_whiteout, relative};

/// How whiteouts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whiteouts {
    /// As overlay has them for real root: a 0:0 character device, `trusted.overlay.opaque`.
    #[default]
    Overlay,
    /// As overlay has them in a user namespace: a 0:0 character device, `user.overlay.opaque`.
    UserOverlay,
    /// Applied: what they remove is removed from the folder, which then holds several layers.
    Apply,
}

/// What a layer may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of content, holes included.
    pub bytes: u64,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of a path.
    pub path_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000_000, bytes: 1 << 40, depth: 256, path_bytes: 4096 }
    }
}

/// How to unpack.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// How whiteouts are kept.
    pub whiteouts: Whiteouts,
    /// Folders of the layers below, topmost first: where a hard link's first name is if this layer does not have it, and what a
    /// folder looks like that this layer uses without saying so.
    pub lower: Vec<PathBuf>,
    /// What the layer may cost.
    pub limits: Limits,
    /// For a process with one id: owners, modes and devices are recorded, and modes made so that this user may do what it may.
    pub recorded: Option<Identity>,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UnpackStats {
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Bytes of content, holes included.
    pub bytes: u64,
    /// Devices that could not be made because a user namespace does not allow it; engines leave them out as well.
    pub skipped_devices: u64,
    /// Whether anything was taken from the layers below: over others the folder would be a different one.
    pub leans_below: bool,
}

const READ: usize = 256 * 1024;

/// Unpacks the uncompressed tar `reader` into the folder `into`, which is created where it is missing. `reader` is read to its end,
/// so that a reader that checks a digest can do so, and on a thread of its own, so that decompression and writing overlap.
///
/// # Errors
/// [`Corrupt`](crate::ErrorKind::Corrupt) for a tar that is damaged, leaves its folder or exceeds the limits;
/// [`Io`](crate::ErrorKind::Io) otherwise. What was unpacked until then stays for the caller to remove.
pub fn unpack(reader: impl Read + Send, into: &Path, options: &UnpackOptions) -> Result<UnpackStats> {
    std::fs::create_dir_all(into).map_err(|error| Error::io("create", into, error))?;
    std::thread::scope(|scope| {
        let mut tar = TarReader::new(read_ahead::start(scope, reader));
        if let Some(identity) = &options.recorded {
            identity.mark_tree(into).map_err(|errno| Error::io("record the owner of", into, errno.into()))?;
        }
        let mut unpacker = entries::Unpacker::new(into, options)?;
        while let Some(entry) = tar.next_entry()? {
            unpacker.entry(&entry, &mut tar)?;
        }
        unpacker.finish()
    })
}
