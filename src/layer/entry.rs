//! One entry of a layer: what it is, whose it is, and what is removed from below (image
//! specification, layer.md).
//!
//! Holds no content: bytes travel beside an entry, never in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::LayerPath;

/// The set-group-ID bit of a mode: new files in such a folder get the folder's group.
pub(crate) const SET_GROUP_ID: u32 = 0o2000;

/// Extended attributes by name (`security.capability`, `user.…`).
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// An entry of a layer: a path with what the layer says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is in the image.
    pub path: LayerPath,
    /// What is there.
    pub kind: Kind,
    /// Whose it is, and since when. Of no meaning for whiteouts.
    pub metadata: Metadata,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A folder; one of a lower layer keeps its entries.
    Directory,
    /// A regular file of `size` bytes.
    File {
        /// Bytes.
        size: u64,
    },
    /// A symbolic link with this text, never resolved here.
    Symlink {
        /// The text.
        target: Vec<u8>,
    },
    /// Another name of the file at `target`, which comes earlier in this layer or in a lower one.
    Hardlink {
        /// The first name.
        target: LayerPath,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// `path` of the lower layers is removed (written as `.wh.NAME`).
    Whiteout,
    /// Everything that lower layers have in the folder `path` is removed (written as `.wh..wh..opq`
    /// in it).
    OpaqueWhiteout,
}

impl Kind {
    /// Whether it removes something of lower layers.
    pub(crate) fn is_whiteout(&self) -> bool {
        matches!(self, Self::Whiteout | Self::OpaqueWhiteout)
    }

    /// What it is in one word, as `mpimg inspect --json` and the Python package write it, and where
    /// a link leads.
    pub fn describe(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Directory => ("directory", None),
            Self::Symlink { target } => ("symlink", Some(String::from_utf8_lossy(target).into_owned())),
            Self::Hardlink { target } => ("hardlink", Some(target.to_string())),
            Self::CharDevice { .. } => ("char_device", None),
            Self::BlockDevice { .. } => ("block_device", None),
            Self::Fifo => ("fifo", None),
            Self::Whiteout => ("whiteout", None),
            Self::OpaqueWhiteout => ("opaque_whiteout", None),
            Self::File { .. } => ("file", None),
        }
    }
}

/// Owner, permissions and times of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// Permission bits, set-id and sticky bits: `0o7777` at most.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Whole seconds since 1970.
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Metadata {
    /// `mode`, owned by `uid:gid`, of `mtime`, without extended attributes.
    pub fn new(mode: u32, uid: u32, gid: u32, mtime: i64) -> Self {
        Self { mode, uid, gid, mtime, xattrs: Xattrs::new() }
    }

    /// Whether new files in the folder get its group.
    pub(crate) fn has_set_group_id(&self) -> bool {
        self.mode & SET_GROUP_ID != 0
    }
}

impl Entry {
    /// The same entry in `folder` instead of the root.
    pub(crate) fn below(mut self, folder: &LayerPath) -> Self {
        self.path = folder.join(&self.path);
        if let Kind::Hardlink { target } = &mut self.kind {
            *target = folder.join(target);
        }
        self
    }
}

impl Kind {
    /// How many bytes of content follow the entry.
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size } => *size,
            _ => 0,
        }
    }
}
