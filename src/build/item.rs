//! An entry of a layer that is about to be written, and where its bytes are.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use crate::context::WalkEntry;
use crate::error::{Error, Result};
use crate::layer::{Entry, Kind, LayerPath, LayerWriter, Metadata, SET_GROUP_ID};

/// Where the bytes of an entry are.
pub(super) enum Content {
    /// It has none.
    None,
    /// In the build context.
    Context(Box<WalkEntry>),
    /// In a file of this machine.
    Disk(PathBuf),
    /// In memory.
    Bytes(Arc<[u8]>),
}

/// What happens where an entry of another type already is at an item's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConflictPolicy {
    /// COPY: a file and a folder do not replace each other (fsutil: "cannot copy to
    /// non-directory").
    Refuse,
    /// An archive of ADD: what is there is removed, unless both are folders (moby, pkg/archive,
    /// `Unpack`).
    Replace,
    /// A folder that is made only where it is missing; one that is there keeps its owner and mode.
    MakeFolder,
    /// As `MakeFolder`, of a folder that an archive implies by what is in it: it is root's,
    /// whomever the archive's entries are given to (moby, pkg/archive, `createImpliedDirectories`),
    /// and has the set-group-ID bit if its parent had it at that moment: all that the item's mode
    /// says.
    ImpliedFolder,
    /// The parent of what `--parents` or `--exclude` take, left out itself: one that is there keeps
    /// its owner, and gets its source's `mode` without `--chmod` (fsutil, `createParentDirs`).
    Parent { mode: u32 },
}

impl ConflictPolicy {
    /// Whether the item takes the place of an entry of another type.
    pub(super) fn replaces(self) -> bool {
        matches!(self, Self::Replace | Self::ImpliedFolder)
    }
}

/// An entry at its path in the image, with its bytes.
pub(super) struct LayerItem {
    pub(super) entry: Entry,
    pub(super) content: Content,
    pub(super) policy: ConflictPolicy,
}

impl LayerItem {
    /// An item of COPY.
    pub(super) fn new(entry: Entry, content: Content) -> Self {
        Self { entry, content, policy: ConflictPolicy::Refuse }
    }

    /// A folder that `--parents` or `--exclude` leave out, with the `mode` of its source.
    pub(super) fn parent(entry: Entry, mode: u32) -> Self {
        Self { entry, content: Content::None, policy: ConflictPolicy::Parent { mode } }
    }

    /// A folder that is made where it is missing.
    pub(super) fn made_folder(path: LayerPath) -> Self {
        Self::missing_folder(path, ConflictPolicy::MakeFolder)
    }

    /// A folder that an archive implies.
    pub(super) fn implied_folder(path: LayerPath, set_group_id: bool) -> Self {
        let mut item = Self::missing_folder(path, ConflictPolicy::ImpliedFolder);
        item.entry.metadata.mode |= if set_group_id { SET_GROUP_ID } else { 0 };
        item
    }

    fn missing_folder(path: LayerPath, policy: ConflictPolicy) -> Self {
        let entry = Entry { path, kind: Kind::Directory, metadata: Metadata::default() };
        Self { entry, content: Content::None, policy }
    }

    /// Appends it to a layer; the caller keeps the order, which the writer does not check.
    pub(super) fn append<W: Write + Send + 'static>(self, writer: &mut LayerWriter<W>) -> Result<()> {
        let entry = self.entry;
        match self.content {
            Content::None => writer.append(&entry),
            Content::Context(walked) => writer.append_late(&entry, walked),
            Content::Disk(path) => {
                let open = || File::open(&path).map_err(|error| Error::io("open", &path, error));
                writer.append_opened(&entry, open)
            }
            Content::Bytes(bytes) => writer.append_file(&entry, &mut &bytes[..]),
        }
    }
}
