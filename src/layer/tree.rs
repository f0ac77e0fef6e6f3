//! The tree of a stack of layers: what a container of it would see, without any content.
//!
//! Never touches a file system: it is made of layers' indexes, so it works for layers that nobody
//! has unpacked and for users who cannot set owners.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use super::{Entry, Kind, LayerIndex, LayerPath, Metadata};
use crate::error::{Error, ErrorKind, Result};

/// Mode of a folder that no layer describes, as docker creates it.
const IMPLIED_MODE: u32 = 0o755;
/// The kernel's limit, `ELOOP` beyond it (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// What a stack of layers looks like.
#[derive(Debug, Clone)]
pub struct Tree {
    root: Node,
    files: u64,
}

/// A file, folder, link or device of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is; never a hard link or a whiteout.
    pub kind: Kind,
    /// Its owner, mode and times.
    pub metadata: Metadata,
    /// Of a file: where its bytes are.
    pub origin: Option<Origin>,
    // Shared: a stage's tree begins as a copy of another's.
    children: BTreeMap<Vec<u8>, Arc<Node>>,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The layer, counted from the lowest, from 0.
    pub layer: usize,
    /// The path in that layer.
    pub path: LayerPath,
    /// As `path`, for all names of one file (hard links).
    pub file: u64,
    /// The bytes themselves, where the layer's index keeps them.
    pub content: Option<Arc<[u8]>>,
}

/// Where a path leads when symbolic links on the way are followed.
#[derive(Debug)]
pub struct Resolved<'a> {
    /// The path without links.
    pub path: LayerPath,
    /// What is there; `None` if nothing is.
    pub node: Option<&'a Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Node::implied(), files: 0 }
    }
}

impl Node {
    fn implied() -> Self {
        Self::new(Kind::Directory, Metadata::new(IMPLIED_MODE, 0, 0, 0))
    }

    fn new(kind: Kind, metadata: Metadata) -> Self {
        Self { kind, metadata, origin: None, children: BTreeMap::new() }
    }

    /// The next file of a tree that has `files`, at `path` in the layer `layer`.
    fn file(kind: Kind, metadata: Metadata, path: LayerPath, layer: usize, files: &mut u64) -> Self {
        *files += 1;
        let mut file = Self::new(kind, metadata);
        file.origin = Some(Origin { layer, path, file: *files, content: None });
        file
    }

    /// Puts `node` into a folder. A folder over a folder keeps its entries.
    fn put(&mut self, name: &[u8], node: Self) {
        match self.children.entry(name.to_vec()) {
            btree_map::Entry::Vacant(place) => _ = place.insert(Arc::new(node)),
            btree_map::Entry::Occupied(mut place) if node.is_dir() && place.get().is_dir() => {
                Arc::make_mut(place.get_mut()).replace_with(node);
            }
            btree_map::Entry::Occupied(mut place) => _ = place.insert(Arc::new(node)),
        }
    }

    /// Becomes the folder `node` with its own entries.
    fn replace_with(&mut self, mut node: Self) {
        node.children = std::mem::take(&mut self.children);
        *self = node;
    }

    /// Whether this is a folder.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// What a folder holds, in byte order of the names.
    pub fn children(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.children.iter().map(|(name, node)| (name.as_slice(), &**node))
    }

    /// The entry `name` of a folder.
    pub fn child(&self, name: &[u8]) -> Option<&Node> {
        self.children.get(name).map(|node| &**node)
    }
}

/// An image decides how deep folders are nested: one is not dropped inside the other.
impl Drop for Node {
    fn drop(&mut self) {
        let mut rest: Vec<Arc<Self>> = std::mem::take(&mut self.children).into_values().collect();
        while let Some(node) = rest.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                rest.extend(std::mem::take(&mut node.children).into_values());
            }
        }
    }
}

impl Tree {
    /// Puts a layer on top; `layer` is its number from the lowest.
    pub fn apply(&mut self, index: &LayerIndex, layer: usize) -> Result<()> {
        // Removals count for lower layers only, wherever they stand in the tar (image
        // specification, layer.md, "Whiteouts").
        for entry in index.removals() {
            match entry.kind {
                Kind::OpaqueWhiteout => {
                    if let Some(folder) = self.node_mut(&entry.path) {
                        folder.children.clear();
                    }
                }
                _ => self.remove(&entry.path),
            }
        }
        let mut entries = index.entries().peekable();
        while let Some(entry) = entries.next() {
            if !matches!(entry.kind, Kind::File { .. }) {
                self.put(entry, layer)?;
                continue;
            }
            // Files of one folder follow each other: the way to it is looked up once for all of
            // them.
            let first = entry.path.clone();
            let Some((folder, _)) = first.split() else { continue };
            let place = folder_at(&mut self.root, folder);
            let is_beside = |next: &Entry| {
                matches!(next.kind, Kind::File { .. }) && next.path.split().is_some_and(|(other, _)| other == folder)
            };
            let mut next = Some(entry);
            while let Some(Entry { path, kind, metadata }) = next {
                let node = Node::file(kind, metadata, path.clone(), layer, &mut self.files);
                place.put(path.name().unwrap_or_default(), node);
                next = entries.next_if(is_beside);
            }
        }
        for (path, content) in index.contents() {
            if let Some(Node { origin: Some(origin), .. }) = self.node_mut(&path) {
                origin.content = Some(content.into());
            }
        }
        Ok(())
    }

    /// Puts one entry of the layer `layer` in; removals are passed over.
    pub fn put(&mut self, entry: Entry, layer: usize) -> Result<()> {
        let Entry { path, kind, metadata } = entry;
        let node = match kind {
            Kind::Whiteout | Kind::OpaqueWhiteout => return Ok(()),
            Kind::Hardlink { target } => {
                let wrong =
                    |what| Error::new(ErrorKind::Corrupt, format!("`{path}` is a hard link to `{target}`, which is {what}"));
                match self.lookup(&target) {
                    None => return Err(wrong("missing")),
                    Some(node) if node.is_dir() => return Err(wrong("a folder")),
                    Some(first) => first.clone(),
                }
            }
            Kind::File { .. } => Node::file(kind, metadata, path.clone(), layer, &mut self.files),
            kind => Node::new(kind, metadata),
        };
        match path.split() {
            Some((folder, name)) => folder_at(&mut self.root, folder).put(name, node),
            None if node.is_dir() => self.root.replace_with(node),
            None => {}
        }
        Ok(())
    }

    fn remove(&mut self, path: &LayerPath) {
        let parent = path.parent().unwrap_or_default();
        if let (Some(folder), Some(name)) = (self.node_mut(&parent), path.name()) {
            folder.children.remove(name);
        }
    }

    fn node_mut(&mut self, path: &LayerPath) -> Option<&mut Node> {
        path.components().try_fold(&mut self.root, |node, name| node.children.get_mut(name).map(Arc::make_mut))
    }

    /// The folder `path` as a tree of its own: links in it cannot lead out of it. Empty if there is
    /// none.
    #[must_use]
    pub fn subtree(&self, path: &LayerPath) -> Self {
        let root = self.lookup(path).filter(|node| node.is_dir()).cloned().unwrap_or_else(Node::implied);
        Self { root, files: self.files }
    }

    /// The root folder.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// What is at `path`, no link followed.
    pub fn lookup(&self, path: &LayerPath) -> Option<&Node> {
        path.components().try_fold(&self.root, Node::child)
    }

    /// Follows the symbolic links on the way to `path`, and at its end if `follow_last`; `..` and
    /// absolute links stop at the root, as in a container. Components that do not exist are kept as
    /// they are.
    ///
    /// # Errors
    /// [`ErrorKind::Context`] for a loop of links, and for a path through something that is no
    /// folder.
    pub fn resolve(&self, path: impl AsRef<[u8]>, follow_last: bool) -> Result<Resolved<'_>> {
        let written = path.as_ref();
        if let Some((path, node)) = self.plain(written, follow_last) {
            return Ok(Resolved { path, node: Some(node) });
        }
        let wrong = |why: &str| Error::new(ErrorKind::Context, format!("`{}` {why}", String::from_utf8_lossy(written)));
        let mut rest = split(written);
        // Where the walk is, and all that it went through: looking up each from the root would cost
        // the square of the depth.
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut nodes = vec![Some(&self.root)];
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == b".." {
                names.pop();
                nodes.truncate(names.len() + 1);
                continue;
            }
            let node = nodes.last().copied().flatten().and_then(|folder| folder.child(&name));
            match node.map(|node| &node.kind) {
                Some(Kind::Symlink { target }) if follow_last || !rest.is_empty() => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(wrong("follows symbolic links in a circle"));
                    }
                    if target.starts_with(b"/") {
                        names.clear();
                        nodes.truncate(1);
                    }
                    rest.extend(split(target));
                    continue;
                }
                Some(kind) if *kind != Kind::Directory && !rest.is_empty() => {
                    names.push(name);
                    let next = LayerPath::parse(names.join(&b'/'))?;
                    return Err(wrong(&format!("leads through `{next}`, which is not a folder")));
                }
                _ => {}
            }
            names.push(name);
            nodes.push(node);
        }
        Ok(Resolved { node: nodes.last().copied().flatten(), path: LayerPath::parse(names.join(&b'/'))? })
    }

    /// What is at a path that is written without `.` and `..` and meets no link, as most do.
    fn plain(&self, written: &[u8], follow_last: bool) -> Option<(LayerPath, &Node)> {
        let path = written.strip_prefix(b"/").unwrap_or(written);
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let mut node = &self.root;
        for name in path.split(|byte| *byte == b'/') {
            if matches!(name, b"" | b"." | b"..") || !node.is_dir() {
                return None;
            }
            node = node.child(name)?;
        }
        let ends = !follow_last || !matches!(node.kind, Kind::Symlink { .. });
        Some((LayerPath::parse(path).ok()?, node)).filter(|_| ends)
    }

    /// The content that the index keeps of a small file, links followed: `/etc/passwd`,
    /// `/etc/group`.
    pub fn kept_content(&self, path: &str) -> Option<Arc<[u8]>> {
        self.resolve(path, true).ok()?.node?.origin.as_ref()?.content.clone()
    }
}

/// The folder at a path below `root`, made where there is none.
fn folder_at<'n>(root: &'n mut Node, path: &[u8]) -> &'n mut Node {
    let mut place = root;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let entry = place.children.entry(name.to_vec()).or_insert_with(|| Arc::new(Node::implied()));
        if !entry.is_dir() {
            *entry = Arc::new(Node::implied());
        }
        place = Arc::make_mut(entry);
    }
    place
}

/// Components in reverse, so that the next one is the last; without those that stay where they are.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').rev().filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> LayerPath {
        LayerPath::parse(text).unwrap()
    }

    fn index(entries: &[(&str, Kind)]) -> LayerIndex {
        let mut index = LayerIndex::default();
        for (name, kind) in entries {
            let metadata = Metadata::new(0o700, 1, 2, 3);
            index.push(&Entry { path: path(name), kind: kind.clone(), metadata }).unwrap();
        }
        index
    }

    fn tree(layers: &[&[(&str, Kind)]]) -> Tree {
        let mut tree = Tree::default();
        for (number, layer) in layers.iter().enumerate() {
            tree.apply(&index(layer), number).unwrap();
        }
        tree
    }

    fn link(target: &str) -> Kind {
        Kind::Symlink { target: target.into() }
    }

    const FILE: Kind = Kind::File { size: 1 };
    const DIR: Kind = Kind::Directory;

    #[test]
    fn whiteouts_remove_from_lower_layers_only() {
        let tree = tree(&[
            &[("a", DIR), ("a/x", FILE), ("a/y", FILE), ("b", DIR), ("b/z", FILE)],
            &[("a", DIR), ("a/new", FILE), ("a", Kind::OpaqueWhiteout), ("b/z", Kind::Whiteout)],
        ]);
        let names =
            |folder: &str| tree.lookup(&path(folder)).unwrap().children().map(|(name, _)| name.to_vec()).collect::<Vec<_>>();
        assert_eq!(names("a"), [b"new"]);
        assert!(names("b").is_empty());
    }

    #[test]
    fn a_folder_over_a_folder_keeps_its_entries_and_a_file_over_a_folder_does_not() {
        let tree = tree(&[&[("a", DIR), ("a/x", FILE), ("b", DIR), ("b/x", FILE)], &[("a", DIR), ("b", FILE)]]);
        assert!(tree.lookup(&path("a/x")).is_some());
        assert!(tree.lookup(&path("b/x")).is_none());
        assert_eq!(tree.lookup(&path("b")).unwrap().origin.as_ref().unwrap().layer, 1);
    }

    #[test]
    fn hard_links_share_their_origin() {
        let tree = tree(&[&[("a", FILE), ("b", Kind::Hardlink { target: path("a") })]]);
        assert_eq!(tree.lookup(&path("a")).unwrap().origin, tree.lookup(&path("b")).unwrap().origin);
        let mut broken = Tree::default();
        assert!(broken.apply(&index(&[("b", Kind::Hardlink { target: path("gone") })]), 0).is_err());
    }

    #[test]
    fn a_nest_of_2000_folders_is_built_copied_changed_and_dropped_in_a_small_stack() {
        let deep = ["d"; 2000].join("/");
        let work = move || {
            let mut tree = tree(&[&[(&deep, DIR)]]);
            let copy = tree.clone();
            tree.apply(&index(&[(&format!("{deep}/file"), FILE)]), 1).unwrap();
            tree.apply(&index(&[("d/d/other", FILE)]), 2).unwrap();
            assert!(tree.resolve(format!("{deep}/file"), true).unwrap().node.is_some());
            assert!(copy.lookup(&path(&deep)).unwrap().children().next().is_none());
        };
        std::thread::Builder::new().stack_size(256 * 1024).spawn(work).unwrap().join().unwrap();
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let tree = tree(&[&[
            ("usr", DIR),
            ("usr/bin", DIR),
            ("usr/bin/python", FILE),
            ("bin", link("usr/bin")),
            ("abs", link("/usr/../../usr")),
            ("py", link("bin/python")),
            ("loop", link("loop")),
            ("file", FILE),
        ]]);
        let resolved = |text: &str, follow| tree.resolve(text, follow).unwrap().path.to_string();
        assert_eq!(resolved("/bin/python", false), "/usr/bin/python");
        assert_eq!(resolved("abs/bin/new/deeper", false), "/usr/bin/new/deeper");
        assert_eq!(resolved("py", false), "/py");
        assert_eq!(resolved("py", true), "/usr/bin/python");
        assert_eq!(resolved("/bin/", true), "/usr/bin");
        assert_eq!(resolved("../../bin/..", true), "/usr");
        assert!(tree.resolve("loop/x", true).is_err());
        assert!(tree.resolve("file/x", true).is_err());
    }

    #[test]
    fn folders_that_no_layer_describes_are_as_docker_makes_them() {
        let tree = tree(&[&[("a/b/c", FILE)]]);
        assert_eq!(tree.lookup(&path("a/b")).unwrap().metadata, Metadata::new(0o755, 0, 0, 0));
    }

    /// Few names, so that files and folders replace each other.
    fn entries() -> impl Strategy<Value = Vec<(String, Kind)>> {
        let name = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|names| names.join("/"));
        let kind = prop::sample::select(vec![DIR, FILE, FILE, FILE, link("a"), Kind::Fifo]);
        prop::collection::vec((name, kind), 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_layer_put_on_as_a_whole_is_the_layer_put_on_entry_by_entry(entries in entries()) {
            let entries: Vec<(&str, Kind)> = entries.iter().map(|(name, kind)| (name.as_str(), kind.clone())).collect();
            let mut one_by_one = Tree::default();
            index(&entries).entries().for_each(|entry| one_by_one.put(entry, 0).unwrap());
            prop_assert_eq!(format!("{:?}", tree(&[&entries])), format!("{one_by_one:?}"));
        }
    }
}
