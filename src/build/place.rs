//! Puts entries on top of a stage's tree, as BuildKit's copier (fsutil, copy.go) does: folders on the way are repeated from
//! below or created, links on the way are followed, what is in the way is an error.
//!
//! Refuses to replace a folder by a file or a file by a folder: that would be a wrong image.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::merge::Merged;
use super::sink::LayerSink;
use crate::context::WalkEntry;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Entry, Kind, LayerPath, LayerWriter, Metadata, Node, Tree};
use crate::sandbox::User;

/// Mode of folders that a copy creates on the way.
const NEW_FOLDER: u32 = 0o755;

/// Where the bytes of an entry are.
pub(super) enum Content {
    /// There are none.
    None,
    /// In the build context.
    Context(WalkEntry),
    /// In a file of this machine.
    Disk(PathBuf),
    /// Here.
    Bytes(Arc<[u8]>),
}

/// An entry at its place in the image, with its bytes.
pub(super) struct Item {
    pub(super) entry: Entry,
    pub(super) content: Content,
    pub(super) manner: Manner,
}

impl Item {
    /// Appends it to a layer as it is, wherever it belongs.
    pub(super) fn append<W: Write + Send + 'static>(self, writer: &mut LayerWriter<W>) -> Result<()> {
        let entry = self.entry;
        match self.content {
            Content::None => writer.append(&entry),
            Content::Context(walked) => {
                let mut file = walked.open()?;
                writer.append_file(&entry, &mut file)?;
                walked.check_unchanged(&file)
            }
            Content::Disk(path) => {
                let open = || File::open(&path).map_err(|error| Error::io("open", &path, error));
                writer.append_opened(&entry, open)
            }
            Content::Bytes(bytes) => writer.append_file(&entry, &mut &bytes[..]),
        }
    }
}

/// How an item treats what is in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// COPY: a file and a folder do not replace each other (fsutil: "cannot copy to non-directory").
    Copy,
    /// An archive of ADD: whatever is there is removed, unless both are folders (moby, pkg/archive, `Unpack`).
    Unpack,
}

/// The items of one source, in the order of their paths, all at or below `target`.
pub(super) struct Stream<'a> {
    pub(super) target: LayerPath,
    pub(super) items: Box<dyn Iterator<Item = Result<Item>> + 'a>,
}

/// Writes one layer on top of a tree.
pub(super) struct Placement<'a> {
    tree: &'a Tree,
    writer: LayerWriter<LayerSink>,
    /// Owner of folders that are created on the way.
    owner: (u32, u32),
    /// Time of folders that are created on the way.
    mtime: i64,
    folders: BTreeSet<LayerPath>,
    changed: bool,
}

impl<'a> Placement<'a> {
    pub(super) fn new(tree: &'a Tree, writer: LayerWriter<LayerSink>, owner: Option<&User>, mtime: i64) -> Self {
        let owner = owner.map_or((0, 0), |user| (user.uid, user.gid));
        Self { tree, writer, owner, mtime, folders: BTreeSet::new(), changed: false }
    }

    /// Makes sure that there is a folder at `path`.
    pub(super) fn folder(&mut self, path: &LayerPath) -> Result<()> {
        if path.is_root() || !self.folders.insert(path.clone()) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(&parent)?;
        }
        let metadata = match self.tree.lookup(path) {
            Some(node) if node.is_dir() => node.metadata.clone(),
            Some(_) => return Err(in_the_way(path, "a folder", "is no folder")),
            None => {
                self.changed = true;
                Metadata::new(NEW_FOLDER, self.owner.0, self.owner.1, self.mtime)
            }
        };
        self.writer.append(&Entry { path: path.clone(), kind: Kind::Directory, metadata })
    }

    /// Puts one item; items must come in the order of their paths.
    pub(super) fn put(&mut self, item: Item) -> Result<()> {
        let Item { entry, manner, .. } = &item;
        if entry.path.is_root() {
            return Ok(());
        }
        if let Some(parent) = entry.path.parent() {
            self.folder(&parent)?;
        }
        match (self.tree.lookup(&entry.path).filter(|_| *manner == Manner::Copy), &entry.kind) {
            (Some(node), Kind::Directory) if !node.is_dir() => {
                return Err(in_the_way(&entry.path, "a folder", "is no folder"));
            }
            (Some(node), kind) if node.is_dir() && *kind != Kind::Directory => {
                return Err(in_the_way(&entry.path, "a file", "is a folder"));
            }
            _ => {}
        }
        if entry.kind == Kind::Directory && !self.folders.insert(entry.path.clone()) {
            return Ok(());
        }
        self.changed = true;
        item.append(&mut self.writer)
    }

    /// Puts the items of all sources; a later source wins over an earlier one.
    pub(super) fn put_all(&mut self, mut streams: Vec<Stream<'_>>) -> Result<()> {
        let mut targets: Vec<&LayerPath> = streams.iter().map(|stream| &stream.target).collect();
        targets.sort();
        if targets.windows(2).all(|pair| !pair[1].starts_with(pair[0])) {
            // The usual case: sources do not meet, so nothing needs to be kept in memory.
            streams.sort_by(|a, b| a.target.cmp(&b.target));
            return streams.into_iter().flat_map(|stream| stream.items).try_for_each(|item| self.put(item?));
        }
        let mut merged = Merged::default();
        streams.into_iter().flat_map(|stream| stream.items).try_for_each(|item| merged.put(item?))?;
        merged.into_items().try_for_each(|item| self.put(item))
    }

    /// The finished layer's writer; `None` if nothing has changed.
    pub(super) fn finish(self) -> Option<LayerWriter<LayerSink>> {
        self.changed.then_some(self.writer)
    }
}

pub(super) fn in_the_way(path: &LayerPath, what: &str, is: &str) -> Error {
    Error::new(ErrorKind::Context, format!("cannot put {what} at `{path}`: what is there {is}"))
        .with_hint("name another destination, or remove it with RUN rm before")
}

/// Where a source goes.
pub(super) struct Target {
    /// The path in the image, links followed.
    pub(super) path: LayerPath,
    /// Whether there is a folder at `path`.
    pub(super) exists: bool,
}

/// Finds the place for a source named `name` that goes to `destination` (absolute; with a slash at its end, or `several`
/// sources, it is a folder). A folder's entries go into the destination, a file into it or in its place.
pub(super) fn target(tree: &Tree, destination: &str, several: bool, name: Option<&[u8]>) -> Result<Target> {
    let resolved = tree.resolve(destination, true)?;
    let exists = resolved.node.is_some_and(Node::is_dir);
    match name {
        Some(name) if exists || several || destination.ends_with('/') => {
            if resolved.node.is_some() && !exists {
                return Err(in_the_way(&resolved.path, "a folder", "is no folder"));
            }
            Ok(Target { path: resolved.path.child(name)?, exists: false })
        }
        _ => Ok(Target { path: resolved.path, exists }),
    }
}
