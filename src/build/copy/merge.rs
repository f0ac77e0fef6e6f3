//! Items of several sources for one layer, merged as writing them one after the other would: a
//! later one wins. They come out in the order of their paths, a file before its further names.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::item::{ConflictPolicy, Content, LayerItem};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Entry, Kind, LayerPath};

/// Items by path.
#[derive(Default)]
pub(super) struct Merged {
    items: BTreeMap<LayerPath, LayerItem>,
    /// Names that link to a file, by the file's path.
    links: BTreeMap<LayerPath, BTreeSet<LayerPath>>,
}

impl Merged {
    /// Puts one item over what is there.
    pub(super) fn put(&mut self, mut item: LayerItem) -> Result<()> {
        // All items are kept, of trees of any size.
        if let Content::Context(walked) = &mut item.content {
            walked.close();
        }
        let path = &item.entry.path;
        let folder = item.entry.kind == Kind::Directory;
        if let Some(earlier) = self.items.get_mut(path) {
            let both = earlier.entry.kind == Kind::Directory && folder;
            match item.policy {
                ConflictPolicy::MakeFolder | ConflictPolicy::ImpliedFolder if both => return Ok(()),
                ConflictPolicy::Parent { mode } if both => {
                    earlier.entry.metadata.mode = mode;
                    if let ConflictPolicy::Parent { mode: earlier } = &mut earlier.policy {
                        *earlier = mode;
                    }
                    return Ok(());
                }
                _ => {}
            }
            if !both && !item.policy.replaces() && (earlier.entry.kind == Kind::Directory) != folder {
                return Err(conflict(path, if folder { "a folder" } else { "a file" }, "comes from an earlier source"));
            }
            if !both {
                self.remove(&path.clone());
            }
        }
        if let Kind::Hardlink { target } = &mut item.entry.kind {
            if let Some(Kind::Hardlink { target: file }) = self.items.get(target).map(|item| &item.entry.kind) {
                *target = file.clone();
            }
            let names = self.links.entry(target.clone()).or_default();
            names.insert(item.entry.path.clone());
            if item.policy == ConflictPolicy::Replace {
                // They are the file's, and the entry that is unpacked last sets them (moby,
                // pkg/archive, `createTarFile`).
                let last = &item.entry.metadata;
                for name in std::iter::once(&*target).chain(&*names) {
                    let Some(Entry { kind, metadata, .. }) = self.items.get_mut(name).map(|item| &mut item.entry) else {
                        continue;
                    };
                    (metadata.uid, metadata.gid, metadata.mtime) = (last.uid, last.gid, last.mtime);
                    if !matches!(kind, Kind::Symlink { .. }) {
                        metadata.mode = last.mode;
                    }
                }
            }
        }
        self.items.insert(item.entry.path.clone(), item);
        Ok(())
    }

    /// Removes an item and, of a folder, all that is in it. A file that has further names lives on
    /// under the first of them.
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
    fn promote(&mut self, mut names: BTreeSet<LayerPath>, file: LayerItem) {
        let Some(first) = names.pop_first() else { return };
        let entry = Entry { path: first.clone(), ..file.entry };
        self.items.insert(first.clone(), LayerItem { entry, ..file });
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
    pub(super) fn into_items(mut self) -> impl Iterator<Item = LayerItem> {
        // In path order a link may come before its file; then the first name in order becomes the
        // file.
        let links = std::mem::take(&mut self.links);
        for (target, mut names) in links {
            let first_is_link = names.first().is_some_and(|first| *first < target);
            if first_is_link && let Some(file) = self.items.remove(&target) {
                let link = LayerItem {
                    entry: Entry { kind: Kind::Hardlink { target: target.clone() }, ..file.entry.clone() },
                    content: Content::None,
                    policy: file.policy,
                };
                self.items.insert(target.clone(), link);
                names.insert(target);
                self.promote(names, file);
            }
        }
        self.items.into_values()
    }
}

/// The error of an entry whose place is taken by another type of entry.
pub(super) fn conflict(path: &LayerPath, what: &str, is: &str) -> Error {
    Error::new(ErrorKind::Context, format!("cannot put {what} at `{path}`: what is there {is}"))
        .with_hint("name another destination, or remove it with RUN rm before")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Metadata;

    fn path(text: &str) -> LayerPath {
        LayerPath::parse(text).unwrap()
    }

    fn item(name: &str, kind: Kind, policy: ConflictPolicy) -> LayerItem {
        LayerItem { entry: Entry { path: path(name), kind, metadata: Metadata::default() }, content: Content::None, policy }
    }

    fn link(target: &str) -> Kind {
        Kind::Hardlink { target: path(target) }
    }

    fn merged(items: Vec<LayerItem>) -> Vec<(String, Kind)> {
        let mut merged = Merged::default();
        items.into_iter().try_for_each(|item| merged.put(item)).unwrap();
        merged.into_items().map(|item| (item.entry.path.to_string(), item.entry.kind)).collect()
    }

    const ONE: Kind = Kind::File { size: 1 };
    const TWO: Kind = Kind::File { size: 2 };

    #[test]
    fn a_file_that_is_replaced_lives_on_under_its_other_names() {
        let items = vec![
            item("a", ONE, ConflictPolicy::Replace),
            item("b", link("a"), ConflictPolicy::Replace),
            item("c", link("a"), ConflictPolicy::Replace),
            item("a", TWO, ConflictPolicy::Replace),
        ];
        let expected = [("/a".into(), TWO), ("/b".into(), ONE), ("/c".into(), link("b"))];
        assert_eq!(merged(items), expected);
    }

    #[test]
    fn the_last_name_of_an_archives_file_decides_its_owner_and_mode() {
        let with = |mut item: LayerItem, mode, uid| {
            item.entry.metadata = Metadata::new(mode, uid, 0, 0);
            item
        };
        let mut merged = Merged::default();
        for (name, kind, mode, uid) in [("a", ONE, 0o644, 7), ("b", link("a"), 0o600, 8), ("c", link("b"), 0o711, 9)] {
            merged.put(with(item(name, kind, ConflictPolicy::Replace), mode, uid)).unwrap();
        }
        let items: Vec<Entry> = merged.into_items().map(|item| item.entry).collect();
        assert!(items.iter().all(|entry| (entry.metadata.mode, entry.metadata.uid) == (0o711, 9)), "{items:?}");
        assert!(items[1..].iter().all(|entry| entry.kind == link("a")), "{items:?}");
    }

    #[test]
    fn the_first_name_in_order_is_the_file() {
        let items = vec![
            item("z", ONE, ConflictPolicy::Replace),
            item("a", link("z"), ConflictPolicy::Replace),
            item("m", link("z"), ConflictPolicy::Replace),
        ];
        assert_eq!(merged(items), [("/a".into(), ONE), ("/m".into(), link("a")), ("/z".into(), link("a"))]);
    }

    #[test]
    fn a_parent_that_is_there_gets_its_sources_mode_and_keeps_its_owner() {
        let folder = |mode, uid, policy| LayerItem {
            entry: Entry { metadata: Metadata::new(mode, uid, 0, 0), ..item("d", Kind::Directory, policy).entry },
            content: Content::None,
            policy,
        };
        let parent = ConflictPolicy::Parent { mode: 0o750 };
        let mut merged = Merged::default();
        merged.put(folder(0o700, 7, ConflictPolicy::Refuse)).unwrap();
        merged.put(folder(0o711, 8, parent)).unwrap();
        let found = merged.into_items().next().unwrap();
        assert_eq!((found.entry.metadata.mode, found.entry.metadata.uid), (0o750, 7));
        assert_eq!(found.policy, ConflictPolicy::Refuse);
    }

    #[test]
    fn an_archive_replaces_folders_and_a_copy_does_not() {
        let items = vec![
            item("d", Kind::Directory, ConflictPolicy::Replace),
            item("d/x", ONE, ConflictPolicy::Replace),
            item("d", TWO, ConflictPolicy::Replace),
        ];
        assert_eq!(merged(items), [("/d".into(), TWO)]);
        let mut copied = Merged::default();
        copied.put(item("d", Kind::Directory, ConflictPolicy::Refuse)).unwrap();
        assert!(copied.put(item("d", ONE, ConflictPolicy::Refuse)).is_err());
    }
}
