//! Sources of COPY and ADD as streams of items: from the build context, from another stage, from the Dockerfile itself.
//!
//! Refuses to decide where they go: see `place`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::path::Path;

use super::filesystem::Filesystem;
use super::place::{Content, Item, Manner, Stream, Target, target};
use super::reuse::{Listing, Look};
use super::session::Session;
use crate::context::{Patterns, Source, has_wildcards, matches_name};
use crate::dockerfile::{Chmod, InlineFile};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Entry, Kind, LayerPath, Metadata, Node, Tree};
use crate::sandbox::User;

/// What a copy does to all that it copies.
pub(super) struct Rules<'a> {
    pub(super) owner: Option<User>,
    pub(super) chmod: Option<&'a Chmod>,
    /// Time of files from the build context; the latest time of files from stages.
    pub(super) context_mtime: i64,
    pub(super) exclude: Patterns,
    pub(super) destination: &'a str,
    /// Whether the destination must be a folder because there is more than one source.
    pub(super) several: bool,
}

impl Rules<'_> {
    pub(super) fn apply(&self, entry: &mut Entry) {
        if let Some(owner) = &self.owner {
            (entry.metadata.uid, entry.metadata.gid) = (owner.uid, owner.gid);
        }
        if let Some(chmod) = self.chmod
            && !matches!(entry.kind, Kind::Symlink { .. })
        {
            entry.metadata.mode = chmod.apply(entry.metadata.mode, entry.kind == Kind::Directory);
        }
    }

    fn target(&self, tree: &Tree, kind: &Kind, name: Option<&[u8]>) -> Result<Target> {
        target(tree, self.destination, self.several, if *kind == Kind::Directory { None } else { name })
    }

    /// The folder that a source's entries go into, if it is new: it is nobody's copy.
    pub(super) fn new_folder(&self, target: &Target) -> Option<Item> {
        let (uid, gid) = self.owner.as_ref().map_or((0, 0), |owner| (owner.uid, owner.gid));
        let metadata = Metadata::new(0o755, uid, gid, self.context_mtime);
        let entry = Entry { path: target.path.clone(), kind: Kind::Directory, metadata };
        (!target.exists).then_some(Item { entry, content: Content::None, manner: Manner::Copy })
    }
}

/// What a pattern with wildcards matches may be nothing, as in `COPY yarn.lock* .` (BuildKit's `AllowEmptyWildcard`); the
/// user is told all the same.
pub(super) fn found<T>(session: &Session<'_>, pattern: &str, matched: Vec<T>) -> Vec<T> {
    if matched.is_empty() {
        session.progress.warn(&format!("`{pattern}` matches nothing"), None);
    }
    matched
}

/// A source in the build context. Files of the context belong to root and have the build's time.
pub(super) fn from_context<'a>(
    tree: &Tree,
    source: &Source,
    rules: &'a Rules<'a>,
    look: &'a Look<'a>,
    listing: &'a RefCell<Listing>,
) -> Result<Stream<'a>> {
    let target = rules.target(tree, source.kind(), source.path().name())?;
    let head = if *source.kind() == Kind::Directory { rules.new_folder(&target).map(Ok) } else { None };
    let base = target.path.clone();
    let mut first_names: BTreeMap<(u64, u64), LayerPath> = BTreeMap::new();
    let walk = source.walk(&rules.exclude)?.map(move |walked| {
        let walked = walked?;
        look.check(&walked)?;
        listing.borrow_mut().add(&walked);
        let mut entry = walked.entry.clone();
        entry.path = base.join(&entry.path);
        (entry.metadata.uid, entry.metadata.gid) = (0, 0);
        entry.metadata.mtime = rules.context_mtime;
        rules.apply(&mut entry);
        if let Some(file) = walked.shared_file() {
            // Names of one file stay names of one file within a source, as fsutil keeps them.
            match first_names.entry(file) {
                MapEntry::Occupied(first) => entry.kind = Kind::Hardlink { target: first.get().clone() },
                MapEntry::Vacant(place) => drop(place.insert(entry.path.clone())),
            }
        }
        let content = if entry.kind.size() > 0 { Content::Context(walked) } else { Content::None };
        Ok(Item { entry, content, manner: Manner::Copy })
    });
    Ok(Stream { target: target.path, items: Box::new(head.into_iter().chain(walk)) })
}

/// A file whose content stands in the Dockerfile.
pub(super) fn from_heredoc<'a>(tree: &Tree, file: &InlineFile, rules: &Rules<'_>) -> Result<Stream<'a>> {
    let bytes = file.content.as_bytes();
    let target = target(tree, rules.destination, rules.several, Some(file.name.as_bytes()))?;
    let kind = Kind::File { size: bytes.len() as u64 };
    let mut entry = Entry { path: target.path.clone(), kind, metadata: Metadata::new(0o644, 0, 0, rules.context_mtime) };
    rules.apply(&mut entry);
    let content = if bytes.is_empty() { Content::None } else { Content::Bytes(bytes.into()) };
    Ok(Stream { target: target.path, items: Box::new(std::iter::once(Ok(Item { entry, content, manner: Manner::Copy }))) })
}

/// What one source pattern names in another stage: path and node, in sorted order. Links are followed up to the first wildcard and
/// at the end, not on the way (fsutil, `ResolveWildcards`). `None`: the path, or the folder that wildcards begin in, is not there.
pub(super) fn matches<'t>(tree: &'t Tree, pattern: &str) -> Result<Option<Vec<(LayerPath, &'t Node)>>> {
    let path = LayerPath::clean(pattern)?;
    let wild = path.components().position(has_wildcards);
    let literal = path.components().take(wild.unwrap_or(usize::MAX)).collect::<Vec<_>>().join(&b'/');
    let start = tree.resolve(&literal, true)?;
    let Some(node) = start.node else { return Ok(None) };
    let mut found = Vec::new();
    match wild {
        Some(wild) => {
            let globs: Vec<&[u8]> = path.components().skip(wild).collect();
            expand(tree, &start.path, node, &globs, &mut found)?;
        }
        None => found.push((path, node)),
    }
    Ok(Some(found))
}

fn expand<'t>(
    tree: &'t Tree,
    folder: &LayerPath,
    node: &'t Node,
    globs: &[&[u8]],
    found: &mut Vec<(LayerPath, &'t Node)>,
) -> Result<()> {
    let Some((glob, below)) = globs.split_first() else {
        let node = tree.resolve(folder.as_bytes(), true)?.node.ok_or_else(|| {
            Error::new(ErrorKind::Context, format!("`{folder}` is a symbolic link to something that is not there"))
                .with_hint("remove the link in that stage, or leave it out of the pattern")
        })?;
        found.push((folder.clone(), node));
        return Ok(());
    };
    for (name, child) in node.children() {
        if matches_name(&String::from_utf8_lossy(glob), name)? {
            expand(tree, &folder.child(name)?, child, below, found)?;
        }
    }
    Ok(())
}

/// Everything at and below a node of another stage, as items below `base`, without their content: that is fetched for all
/// at once.
pub(super) fn from_stage(node: &Node, target: &Target, rules: &Rules<'_>, collected: &mut Collected) -> Result<()> {
    if node.is_dir() {
        if let Some(item) = rules.new_folder(target) {
            collected.push(item.entry, None);
        }
        return collect_children(&LayerPath::root(), node, &target.path, rules, collected);
    }
    collect(node, target.path.clone(), rules, collected);
    Ok(())
}

/// The place of a source of another stage.
pub(super) fn stage_target(tree: &Tree, path: &LayerPath, node: &Node, rules: &Rules<'_>) -> Result<Target> {
    rules.target(tree, &node.kind, path.name())
}

fn collect_children(
    below: &LayerPath,
    node: &Node,
    base: &LayerPath,
    rules: &Rules<'_>,
    collected: &mut Collected,
) -> Result<()> {
    for (name, child) in node.children() {
        let relative = below.child(name)?;
        if rules.exclude.matches(&relative) {
            continue;
        }
        collect(child, base.join(&relative), rules, collected);
        collect_children(&relative, child, base, rules, collected)?;
    }
    Ok(())
}

fn collect(node: &Node, path: LayerPath, rules: &Rules<'_>, collected: &mut Collected) {
    let mut entry = Entry { path, kind: node.kind.clone(), metadata: node.metadata.clone() };
    rules.apply(&mut entry);
    collected.push(entry, node.origin.clone());
}

/// Entries of another stage with the origins of their bytes.
#[derive(Default)]
pub(super) struct Collected {
    entries: Vec<(Entry, Option<crate::layer::Origin>)>,
}

impl Collected {
    pub(super) fn push(&mut self, entry: Entry, origin: Option<crate::layer::Origin>) {
        self.entries.push((entry, origin));
    }

    /// Finds the bytes of all files and gives the items in the order of their paths, the last of each path. Names of one
    /// file stay names of one file.
    pub(super) fn into_items(mut self, session: &Session<'_>, filesystem: &Filesystem, scratch: &Path) -> Result<Vec<Item>> {
        self.entries.sort_by(|a, b| a.0.path.cmp(&b.0.path));
        let wanted = self.entries.iter().filter(|(entry, _)| entry.kind.size() > 0).filter_map(|(_, origin)| origin.as_ref());
        let files = filesystem.files(session, wanted, scratch)?;
        let mut first_names: BTreeMap<u64, LayerPath> = BTreeMap::new();
        let mut items: Vec<Item> = Vec::with_capacity(self.entries.len());
        for (mut entry, origin) in self.entries {
            let mut content = Content::None;
            if let Some(origin) = origin {
                match first_names.get(&origin.file).filter(|first| **first != entry.path) {
                    Some(first) => entry.kind = Kind::Hardlink { target: first.clone() },
                    None => {
                        first_names.insert(origin.file, entry.path.clone());
                        if let Some(path) = files.get(&origin.file) {
                            content = Content::Disk(path.clone());
                        }
                    }
                }
            }
            if items.last().is_some_and(|last| last.entry.path == entry.path) {
                items.pop();
            }
            items.push(Item { entry, content, manner: Manner::Copy });
        }
        Ok(items)
    }
}
