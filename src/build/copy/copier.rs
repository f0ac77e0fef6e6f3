//! Copies items onto a stage's tree, as BuildKit's copier (fsutil, copy.go) does: folders on the
//! way are repeated from below or made, links on the way are followed. COPY never replaces a folder
//! by a file or a file by a folder.

use std::collections::BTreeMap;

use super::merge::{Merged, conflict};
use crate::build::item::{ConflictPolicy, LayerItem};
use crate::build::selection::SelectedItems;
use crate::build::sink::LayerSink;
use crate::error::Result;
use crate::layer::{Entry, Kind, LayerPath, LayerWriter, Metadata, SET_GROUP_ID, Tree};
use crate::sandbox::User;

/// Mode of folders that are made, unless an octal `--chmod` says otherwise.
const NEW_FOLDER: u32 = 0o755;

/// The items of one source, in the order of their paths, all at or below `target`.
pub(super) struct SourceItems<'a> {
    pub(super) target: LayerPath,
    pub(super) items: Box<dyn Iterator<Item = Result<LayerItem>> + 'a>,
}

impl SourceItems<'_> {
    /// A source in a stage or an image.
    pub(super) fn selected(selected: SelectedItems) -> Self {
        Self { target: selected.target, items: Box::new(selected.items.into_iter().map(Ok)) }
    }

    /// A source that is a single entry.
    pub(super) fn one(item: LayerItem) -> Self {
        Self { target: item.entry.path.clone(), items: Box::new(std::iter::once(Ok(item))) }
    }
}

/// Owner, mode and time of the folders that are missing on the way to a destination.
#[derive(Debug, Clone, Copy)]
pub(in crate::build) struct NewFolders {
    /// `None`: root, or the group of a set-group-ID folder that they are made in.
    owner: Option<(u32, u32)>,
    mode: u32,
    mtime: i64,
}

impl NewFolders {
    /// `owner`: whom the instruction gives them to.
    pub(in crate::build) fn new(owner: Option<&User>, mtime: i64) -> Self {
        Self { owner: owner.map(|user| (user.uid, user.gid)), mode: NEW_FOLDER, mtime }
    }

    /// With the permission bits of an octal `--chmod` (BuildKit since 0.21; fsutil, `MkdirAll`,
    /// which drops the special bits).
    pub(super) fn with_mode(self, chmod: Option<u32>) -> Self {
        Self { mode: chmod.map_or(NEW_FOLDER, |bits| bits & 0o777), ..self }
    }

    /// A folder that an archive implies, with this special bit or none.
    fn implied(self, bit: u32) -> Metadata {
        Metadata::new(NEW_FOLDER | bit, 0, 0, self.mtime)
    }

    /// A folder in `parent`: as mkdir(2) does, it inherits the bit and the group of a set-group-ID
    /// folder.
    fn metadata(self, parent: Option<&Metadata>) -> Metadata {
        let inherited = parent.filter(|parent| parent.has_set_group_id());
        let (uid, gid) = self.owner.unwrap_or_else(|| (0, inherited.map_or(0, |parent| parent.gid)));
        Metadata::new(self.mode | inherited.map_or(0, |_| SET_GROUP_ID), uid, gid, self.mtime)
    }
}

/// Writes one layer on top of a tree.
pub(in crate::build) struct Copier<'a> {
    tree: &'a Tree,
    writer: LayerWriter<LayerSink>,
    made: NewFolders,
    /// The folders that are in the layer already.
    folders: BTreeMap<LayerPath, Metadata>,
    /// The folder of the last item, which is in `folders`: most items are in the folder of the one
    /// before, and need not be looked for there (6 % of the build of a large tree that is known).
    latest: LayerPath,
    changed: bool,
}

impl<'a> Copier<'a> {
    pub(in crate::build) fn new(tree: &'a Tree, writer: LayerWriter<LayerSink>, made: NewFolders) -> Self {
        Self { tree, writer, made, folders: BTreeMap::new(), latest: LayerPath::root(), changed: false }
    }

    /// Makes the folder `path` where it is missing, and repeats it in the layer where it is there.
    pub(in crate::build) fn make_folder(&mut self, path: &LayerPath) -> Result<()> {
        let made = self.made;
        self.make_folder_as(path, |parent| made.metadata(parent))
    }

    fn make_folder_as(&mut self, path: &LayerPath, made: impl FnOnce(Option<&Metadata>) -> Metadata) -> Result<()> {
        if path.is_root() || self.folders.contains_key(path) {
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
                let parent = path.parent().unwrap_or_default();
                let parent = self.folders.get(&parent).or_else(|| Some(&self.tree.lookup(&parent)?.metadata));
                made(parent)
            }
        };
        self.folders.insert(path.clone(), metadata.clone());
        self.writer.append(&Entry { path: path.clone(), kind: Kind::Directory, metadata })
    }

    /// Copies one item; items must come in the order of their paths.
    fn copy(&mut self, mut item: LayerItem) -> Result<()> {
        let LayerItem { entry, policy, .. } = &mut item;
        if entry.path.is_root() {
            return Ok(());
        }
        match policy {
            ConflictPolicy::MakeFolder => return self.make_folder(&entry.path),
            ConflictPolicy::ImpliedFolder => {
                let metadata = self.made.implied(entry.metadata.mode);
                return self.make_folder_as(&entry.path, |_| metadata);
            }
            _ => {}
        }
        if let Some(parent) = entry.path.parent().filter(|parent| *parent != self.latest) {
            self.make_folder(&parent)?;
            self.latest = parent;
        }
        let below = self.tree.lookup(&entry.path);
        match (below.filter(|_| !policy.replaces()), &entry.kind) {
            (Some(node), Kind::Directory) if !node.is_dir() => {
                return Err(conflict(&entry.path, "a folder", "is not a folder"));
            }
            (Some(node), kind) if node.is_dir() && *kind != Kind::Directory => {
                return Err(conflict(&entry.path, "a file", "is a folder"));
            }
            _ => {}
        }
        if let (ConflictPolicy::Parent { mode }, Some(node)) = (*policy, below) {
            entry.metadata = Metadata { mode, ..node.metadata.clone() };
        }
        if entry.kind == Kind::Directory && self.folders.insert(entry.path.clone(), entry.metadata.clone()).is_some() {
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
