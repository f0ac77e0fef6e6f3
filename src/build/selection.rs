//! Entries chosen from the file system of a stage or an image; their bytes are looked up for all of
//! them at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::filesystem::Filesystem;
use super::item::{ConflictPolicy, Content, LayerItem};
use super::session::Session;
use crate::error::Result;
use crate::layer::{Entry, Kind, LayerPath, Node, Origin};

/// Entries with the origins of their bytes, by source.
#[derive(Default)]
pub(super) struct Selection(Vec<SourceEntries>);

/// What was chosen of one source: its files are not further names of the files of another (BuildKit
/// copies each source by itself).
#[derive(Default)]
struct SourceEntries {
    target: LayerPath,
    entries: Vec<Chosen>,
    made: Option<LayerItem>,
}

struct Chosen {
    entry: Entry,
    origin: Option<Origin>,
    policy: ConflictPolicy,
}

/// The items of one source, in the order of their paths, all at or below `target`.
pub(super) struct SelectedItems {
    pub(super) target: LayerPath,
    pub(super) items: Vec<LayerItem>,
}

impl Selection {
    /// Adds an entry whose bytes are those of `node`.
    pub(super) fn push(&mut self, entry: Entry, node: &Node) {
        self.put(entry, node, ConflictPolicy::Refuse);
    }

    /// Adds a folder that is left out itself, and comes along as the parent of what is taken;
    /// `node` is its source.
    pub(super) fn push_parent(&mut self, entry: Entry, node: &Node) {
        self.put(entry, node, ConflictPolicy::Parent { mode: node.metadata.mode });
    }

    fn put(&mut self, entry: Entry, node: &Node, policy: ConflictPolicy) {
        if self.0.is_empty() {
            self.0.push(SourceEntries::default());
        }
        let chosen = Chosen { entry, origin: node.origin.clone(), policy };
        if let Some(source) = self.0.last_mut() {
            source.entries.push(chosen);
        }
    }

    /// Begins another source, which goes to `target`; with `make`, that is a folder that is made
    /// where it is missing.
    pub(super) fn next_source(&mut self, target: LayerPath, make: bool) {
        let made = make.then(|| LayerItem::made_folder(target.clone()));
        self.0.push(SourceEntries { target, entries: Vec::new(), made });
    }

    /// Finds the bytes of all files, with `scratch` as room for those that are not unpacked
    /// anywhere. Names of one file in one source stay names of one file.
    pub(super) fn into_items(self, session: &Session<'_>, filesystem: &Filesystem, scratch: &Path) -> Result<Vec<SelectedItems>> {
        let entries = self.0.iter().flat_map(|source| &source.entries);
        let wanted = entries.filter(|chosen| chosen.entry.kind.size() > 0).filter_map(|chosen| chosen.origin.as_ref());
        let files = filesystem.files(session, wanted, scratch)?;
        Ok(self.0.into_iter().map(|source| source.into_items(&files)).collect())
    }
}

impl SourceEntries {
    fn into_items(mut self, files: &BTreeMap<u64, PathBuf>) -> SelectedItems {
        self.entries.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
        let mut first_names: BTreeMap<u64, LayerPath> = BTreeMap::new();
        let mut items: Vec<LayerItem> = self.made.into_iter().collect();
        items.reserve(self.entries.len());
        for Chosen { mut entry, origin, policy } in self.entries {
            let mut content = Content::None;
            if let Some(origin) = origin {
                match first_names.get(&origin.file) {
                    Some(first) => entry.kind = Kind::Hardlink { target: first.clone() },
                    None => {
                        first_names.insert(origin.file, entry.path.clone());
                        content = files.get(&origin.file).cloned().map_or(Content::None, Content::Disk);
                    }
                }
            }
            items.push(LayerItem { entry, content, policy });
        }
        SelectedItems { target: self.target, items }
    }
}
