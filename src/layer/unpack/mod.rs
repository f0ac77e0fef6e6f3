//! Unpacks ONE layer into its own folder, so that the folder can be a lower layer of an overlay.
//!
//! Refuses to leave that folder, whatever the tar says.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// How owners are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ownership {
    /// Files belong to whom the layer says; needs the right to change owners.
    #[default]
    Real,
    /// Files belong to this process; true owners and modes go to a side table beside the folder.
    SideTable,
}

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of content.
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
    /// How owners are kept.
    pub ownership: Ownership,
    /// How whiteouts are kept.
    pub whiteouts: Whiteouts,
    /// Folders of the layers below, topmost first: sources of hard links whose first name this layer does not have.
    pub lower: Vec<PathBuf>,
    /// What the layer may cost.
    pub limits: Limits,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnpackStats {
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Bytes of content.
    pub bytes: u64,
}

/// Unpacks the uncompressed tar `reader` into the folder `into`, which is created where it is missing.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for a tar that is damaged, leaves its folder or exceeds the limits; [`ErrorKind::Io`] otherwise.
pub fn unpack(reader: impl Read, into: &Path, options: &UnpackOptions) -> Result<UnpackStats> {
    let _ = (reader, into, options);
    Err(Error::new(ErrorKind::Unsupported, "unpacking is not there yet"))
}
