//! Copies items onto a stage's tree, as BuildKit's copier (fsutil, copy.go) does: folders on the way are repeated from below or
//! made, links on the way are followed. COPY never replaces a folder by a file or a file by a folder.

use std::collections::BTreeSet;

use super::merge::{Merged, conflict};
use crate::build::item::{ConflictPolicy, LayerItem};
use crate::build::sink::LayerSink;
use crate::error::Result;
use crate::layer::{Entry, Kind, LayerPath, LayerWriter, Metadata, Node, Tree};
use crate::sandbox::User;

/// Mode of folders that are made on the way.
const NEW_FOLDER: u32 = 0o755;

/// The items of one source, in the order of their paths, all at or below `target`.
pub(super) struct SourceItems<'a> {
    pub(super) target: LayerPath,
    pub(super) items: Box<dyn Iterator<Item = Result<LayerItem>> + 'a>,
}

impl SourceItems<'_> {
    /// A source that is a single entry.
    pub(super) fn one(item: LayerItem) -> Self {
        Self { target: item.entry.path.clone(), items: Box::new(std::iter::once(Ok(item))) }
    }
}

/// Writes one layer on top of a tree.
pub(in crate::build) struct Copier<'a> {
    tree: &'a Tree,
    writer: LayerWriter<LayerSink>,
    /// Owner of folders that are created on the way.
    owner: (u32, u32),
    /// Time of folders that are created on the way.
    mtime: i64,
    folders: BTreeSet<LayerPath>,
    changed: bool,
}

impl<'a> Copier<'a> {
    pub(in crate::build) fn new(tree: &'a Tree, writer: LayerWriter<LayerSink>, owner: Option<&User>, mtime: i64) -> Self {
        let owner = owner.map_or((0, 0), |user| (user.uid, user.gid));
        Self { tree, writer, owner, mtime, folders: BTreeSet::new(), changed: false }
    }

    /// Makes the folder `path` where it is missing, and repeats it in the layer where it is there.
    pub(in crate::build) fn make_folder(&mut self, path: &LayerPath) -> Result<()> {
        if path.is_root() || !self.folders.insert(path.clone()) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.make_folder(&parent)?;
        }
        let metadata = match self.tree.lookup(path) {
            Some(node) if node.is_dir() => node.metadata.clone(),
            Some(_) => return Err(conflict(path, "a folder", "is not a folder")),
            None => {
                self.changed = true;
                Metadata::new(NEW_FOLDER, self.owner.0, self.owner.1, self.mtime)
            }
        };
        self.writer.append(&Entry { path: path.clone(), kind: Kind::Directory, metadata })
    }

    /// Copies one item; items must come in the order of their paths.
    fn copy(&mut self, item: LayerItem) -> Result<()> {
        let LayerItem { entry, policy, .. } = &item;
        if entry.path.is_root() {
            return Ok(());
        }
        if let Some(parent) = entry.path.parent() {
            self.make_folder(&parent)?;
        }
        match (self.tree.lookup(&entry.path).filter(|_| *policy == ConflictPolicy::Refuse), &entry.kind) {
            (Some(node), Kind::Directory) if !node.is_dir() => {
                return Err(conflict(&entry.path, "a folder", "is not a folder"));
            }
            (Some(node), kind) if node.is_dir() && *kind != Kind::Directory => {
                return Err(conflict(&entry.path, "a file", "is a folder"));
            }
            _ => {}
        }
        if entry.kind == Kind::Directory && !self.folders.insert(entry.path.clone()) {
            return Ok(());
        }
        self.changed = true;
        item.append(&mut self.writer)
    }

    /// Copies the items of all sources; a later source wins over an earlier one.
    pub(super) fn copy_all(&mut self, mut sources: Vec<SourceItems<'_>>) -> Result<()> {
        let mut targets: Vec<&LayerPath> = sources.iter().map(|source| &source.target).collect();
        targets.sort();
        if targets.windows(2).all(|pair| !pair[1].starts_with(pair[0])) {
            // The usual case: sources do not meet, so nothing needs to be kept in memory.
            sources.sort_by(|a, b| a.target.cmp(&b.target));
            return sources.into_iter().flat_map(|source| source.items).try_for_each(|item| self.copy(item?));
        }
        let mut merged = Merged::default();
        sources.into_iter().flat_map(|source| source.items).try_for_each(|item| merged.put(item?))?;
        merged.into_items().try_for_each(|item| self.copy(item))
    }

    /// The finished layer's writer; `None` if nothing has changed.
    pub(in crate::build) fn finish(self) -> Option<LayerWriter<LayerSink>> {
        self.changed.then_some(self.writer)
    }
}

/// Where a source goes.
pub(super) struct CopyTarget {
    /// The path in the image, links followed.
    pub(super) path: LayerPath,
    /// Whether there is a folder at `path`.
    pub(super) exists: bool,
}

impl CopyTarget {
    /// Where a source named `name` goes that is copied to `destination` (absolute; with a slash at its end, or with `several`
    /// sources, it is a folder). The entries of a folder, which has no `name` here, go into the destination; a file goes into it
    /// or in its place.
    pub(super) fn find(tree: &Tree, destination: &str, several: bool, name: Option<&[u8]>) -> Result<Self> {
        let resolved = tree.resolve(destination, true)?;
        let exists = resolved.node.is_some_and(Node::is_dir);
        match name {
            Some(name) if exists || several || destination.ends_with('/') => {
                if resolved.node.is_some() && !exists {
                    return Err(conflict(&resolved.path, "a folder", "is not a folder"));
                }
                Ok(Self { path: resolved.path.child(name)?, exists: false })
            }
            _ => Ok(Self { path: resolved.path, exists }),
        }
    }
}
