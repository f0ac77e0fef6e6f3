//! Items of several sources for one layer, merged as writing them one after the other would: a later one wins.
//!
//! Refuses order of arrival in the result: items come out by path, and a file before its further names.

use std::collections::{BTreeMap, BTreeSet};

use super::place::{Content, Item, Manner, in_the_way};
use crate::error::Result;
use crate::layer::{Entry, Kind, LayerPath};

/// Items by path.
#[derive(Default)]
pub(super) struct Merged {
    items: BTreeMap<LayerPath, Item>,
    /// Names that link to a file, by the file's path.
    links: BTreeMap<LayerPath, BTreeSet<LayerPath>>,
}

impl Merged {
    /// Puts one item over what is there.
    pub(super) fn put(&mut self, item: Item) -> Result<()> {
        let path = &item.entry.path;
        let folder = item.entry.kind == Kind::Directory;
        if let Some(earlier) = self.items.get(path) {
            let both = earlier.entry.kind == Kind::Directory && folder;
            if !both && item.manner == Manner::Copy && (earlier.entry.kind == Kind::Directory) != folder {
                return Err(in_the_way(path, if folder { "a folder" } else { "a file" }, "comes from an earlier source"));
            }
            if !both {
                self.remove(&path.clone());
            }
        }
        if let Kind::Hardlink { target } = &item.entry.kind {
            self.links.entry(target.clone()).or_default().insert(item.entry.path.clone());
        }
        self.items.insert(item.entry.path.clone(), item);
        Ok(())
    }

    /// Removes an item and, of a folder, all that is in it. A file that has further names lives on under the first of them.
    fn remove(&mut self, path: &LayerPath) {
        let below: Vec<LayerPath> =
            self.items.range(path.clone()..).map(|(path, _)| path).take_while(|found| found.starts_with(path)).cloned().collect();
        for path in below {
            let Some(removed) = self.items.remove(&path) else { continue };
            if let Kind::Hardlink { target } = &removed.entry.kind
                && let Some(names) = self.links.get_mut(target)
            {
                names.remove(&path);
            }
            let names = self.links.remove(&path).unwrap_or_default();
            self.promote(names, removed);
        }
    }

    /// Makes the first of `names` the file that `file` was, and the others its links.
    fn promote(&mut self, mut names: BTreeSet<LayerPath>, file: Item) {
        let Some(first) = names.pop_first() else { return };
        let entry = Entry { path: first.clone(), ..file.entry };
        self.items.insert(first.clone(), Item { entry, ..file });
        for name in &names {
            if let Some(item) = self.items.get_mut(name) {
                item.entry.kind = Kind::Hardlink { target: first.clone() };
            }
        }
        if !names.is_empty() {
            self.links.insert(first, names);
        }
    }

    /// The items in the order of a layer.
    pub(super) fn into_items(mut self) -> impl Iterator<Item = Item> {
        // In path order a link may come before its file; then the first name in order becomes the file.
        let links = std::mem::take(&mut self.links);
        for (target, mut names) in links {
            let first_is_link = names.first().is_some_and(|first| *first < target);
            if first_is_link && let Some(file) = self.items.remove(&target) {
                let link = Item {
                    entry: Entry { kind: Kind::Hardlink { target: target.clone() }, ..file.entry.clone() },
                    content: Content::None,
                    manner: file.manner,
                };
                self.items.insert(target.clone(), link);
                names.insert(target);
                self.promote(names, file);
            }
        }
        self.items.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Metadata;

    fn path(text: &str) -> LayerPath {
        LayerPath::parse(text).unwrap()
    }

    fn item(name: &str, kind: Kind, manner: Manner) -> Item {
        Item { entry: Entry { path: path(name), kind, metadata: Metadata::default() }, content: Content::None, manner }
    }

    fn link(target: &str) -> Kind {
        Kind::Hardlink { target: path(target) }
    }

    fn merged(items: Vec<Item>) -> Vec<(String, Kind)> {
        let mut merged = Merged::default();
        items.into_iter().try_for_each(|item| merged.put(item)).unwrap();
        merged.into_items().map(|item| (item.entry.path.to_string(), item.entry.kind)).collect()
    }

    const ONE: Kind = Kind::File { size: 1 };
    const TWO: Kind = Kind::File { size: 2 };

    #[test]
    fn a_file_that_is_replaced_lives_on_under_its_other_names() {
        let items = vec![
            item("a", ONE, Manner::Unpack),
            item("b", link("a"), Manner::Unpack),
            item("c", link("a"), Manner::Unpack),
            item("a", TWO, Manner::Unpack),
        ];
        let expected = [("/a".into(), TWO), ("/b".into(), ONE), ("/c".into(), link("b"))];
        assert_eq!(merged(items), expected);
    }

    #[test]
    fn the_first_name_in_order_is_the_file() {
        let items =
            vec![item("z", ONE, Manner::Unpack), item("a", link("z"), Manner::Unpack), item("m", link("z"), Manner::Unpack)];
        assert_eq!(merged(items), [("/a".into(), ONE), ("/m".into(), link("a")), ("/z".into(), link("a"))]);
    }

    #[test]
    fn an_archive_replaces_folders_and_a_copy_does_not() {
        let items =
            vec![item("d", Kind::Directory, Manner::Unpack), item("d/x", ONE, Manner::Unpack), item("d", TWO, Manner::Unpack)];
        assert_eq!(merged(items), [("/d".into(), TWO)]);
        let mut copied = Merged::default();
        copied.put(item("d", Kind::Directory, Manner::Copy)).unwrap();
        assert!(copied.put(item("d", ONE, Manner::Copy)).is_err());
    }
}
