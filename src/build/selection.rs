//! Entries chosen from the file system of a stage or an image; their bytes are looked up for all of
//! them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::filesystem::Filesystem;
use super::item::{Content, LayerItem};
use super::session::Session;
use crate::error::Result;
use crate::layer::{Entry, Kind, LayerPath, Node, Origin};

/// Entries with the origins of their bytes.
#[derive(Default)]
pub(super) struct Selection {
    /// With the number of the source that each belongs to.
    entries: Vec<(Entry, Option<Origin>, usize)>,
    source: usize,
    made: BTreeSet<LayerPath>,
}

impl Selection {
    /// Adds an entry whose bytes are those of `node`.
    pub(super) fn push(&mut self, entry: Entry, node: &Node) {
        self.entries.push((entry, node.origin.clone(), self.source));
    }

    /// Begins another source: its files are no further names of those before it (BuildKit copies
    /// each source by itself).
    pub(super) fn next_source(&mut self) {
        self.source += 1;
    }

    /// Adds a folder that is made where it is missing.
    pub(super) fn push_made(&mut self, path: LayerPath) {
        self.made.insert(path);
    }

    /// Finds the bytes of all files, with `scratch` as room for those that are not unpacked
    /// anywhere. The items come in the order of their paths; of several with one path the last
    /// stays. Names of one file in one source stay names of one file.
    pub(super) fn into_items(mut self, session: &Session<'_>, filesystem: &Filesystem, scratch: &Path) -> Result<Vec<LayerItem>> {
        self.entries.sort_by(|a, b| a.0.path.cmp(&b.0.path));
        let wanted = self.entries.iter().filter(|(entry, ..)| entry.kind.size() > 0).filter_map(|(_, origin, _)| origin.as_ref());
        let files = filesystem.files(session, wanted, scratch)?;
        let mut first_names: BTreeMap<(usize, u64), LayerPath> = BTreeMap::new();
        let mut items: Vec<LayerItem> = Vec::with_capacity(self.entries.len());
        for (mut entry, origin, source) in self.entries {
            let mut content = Content::None;
            if let Some(origin) = origin {
                match first_names.get(&(source, origin.file)).filter(|first| **first != entry.path) {
                    Some(first) => entry.kind = Kind::Hardlink { target: first.clone() },
                    None => {
                        first_names.insert((source, origin.file), entry.path.clone());
                        if let Some(path) = files.get(&origin.file) {
                            content = Content::Disk(path.clone());
                        }
                    }
                }
            }
            if items.last().is_some_and(|last| last.entry.path == entry.path) {
                items.pop();
            }
            items.push(LayerItem::new(entry, content));
        }
        let missing = |path: &LayerPath| items.binary_search_by(|item| item.entry.path.cmp(path)).is_err();
        let made: Vec<LayerItem> = self.made.into_iter().filter(missing).map(LayerItem::made_folder).collect();
        items.extend(made);
        items.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
        Ok(items)
    }
}
