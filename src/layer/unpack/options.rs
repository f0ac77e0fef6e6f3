//! How a layer is unpacked, what it may cost, and what was unpacked.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::layer::LayerPath;
use crate::layer::header_field::corrupt;
use crate::layer::owners::Identity;

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
        // As deep as a path of the kernel's longest (PATH_MAX) can be.
        Self { entries: 10_000_000, bytes: 1 << 40, depth: 2048, path_bytes: 4096 }
    }
}

impl Limits {
    /// Whether an entry at `path` is over them; `stats` count it already.
    pub(super) fn check(&self, stats: &UnpackStats, path: &LayerPath) -> Result<()> {
        let exceeded = |what: &str, limit: u64| {
            Err(corrupt(format!("the layer has more than {limit} {what}"))
                .with_hint("if this image is to be trusted, raise the limit"))
        };
        if stats.entries > self.entries {
            return exceeded("entries", self.entries);
        }
        if stats.bytes > self.bytes {
            return exceeded("bytes", self.bytes);
        }
        let too_deep = path.components().count() > self.depth || path.as_bytes().len() > self.path_bytes;
        if too_deep || path.components().any(|name| name.len() > 255) {
            return Err(corrupt("the layer has a path that is too long or too deep"));
        }
        Ok(())
    }
}

/// How to unpack.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// How whiteouts are kept.
    pub whiteouts: Whiteouts,
    /// Folders of the layers below, topmost first: where a hard link's first name is if this layer
    /// does not have it, and what a folder looks like that this layer uses without saying so.
    pub lower: Vec<PathBuf>,
    /// What the layer may cost.
    pub limits: Limits,
    /// For a process with one id: owners, modes and devices are recorded, and modes made so that
    /// this user may do what it may.
    pub recorded: Option<Identity>,
    /// For a process without privileges: owners, modes, devices and file capabilities go into a
    /// table beside the folder.
    pub owner_table: bool,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UnpackStats {
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Bytes of content, holes included.
    pub bytes: u64,
    /// Devices that could not be made because a user namespace does not allow it; engines leave
    /// them out as well.
    pub skipped_devices: u64,
    /// Whether anything was taken from the layers below: over others the folder would be a
    /// different one.
    pub uses_lower_layers: bool,
}
