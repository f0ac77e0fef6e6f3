//! How far a blob's file can be believed: its permissions say so. See `durable.rs`.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// How far a blob's file can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlobState {
    /// On disk as its digest says.
    Durable,
    /// Written since the last boot.
    Fresh,
    /// Perhaps damaged.
    Unverified,
}

impl BlobState {
    const fn mode(self) -> u32 {
        match self {
            Self::Durable => 0o400,
            Self::Fresh => 0o600,
            Self::Unverified => 0o700,
        }
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
        let mode = metadata.permissions().mode() & 0o7777;
        [Self::Durable, Self::Fresh].into_iter().find(|state| state.mode() == mode).unwrap_or(Self::Unverified)
    }

    pub(super) fn set(self, path: &Path) -> io::Result<()> {
        std::fs::set_permissions(path, Permissions::from_mode(self.mode()))
    }

    pub(super) fn set_open(self, file: &File) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(self.mode()))
    }
}
