//! Sources in another stage or an image: what a pattern names there, and everything at and below
//! it.

use super::destination::{CopyTarget, ResolvedDestination};
use super::rules::Rules;
use crate::build::selection::Selection;
use crate::context::{Filter, FolderMatches, Patterns, has_wildcards, matches_name};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Entry, LayerPath, Node, Tree};

/// The sources of one COPY from a stage, on their way into a selection.
pub(super) struct StageSources<'a> {
    /// What is copied from.
    pub(super) tree: &'a Tree,
    pub(super) rules: &'a Rules<'a>,
    pub(super) destination: &'a mut ResolvedDestination,
    pub(super) selection: &'a mut Selection,
}

impl StageSources<'_> {
    /// Adds what `pattern` names: whether it matches anything; `None` if a path without wildcards
    /// is not there.
    pub(super) fn add(&mut self, pattern: &str) -> Result<Option<bool>> {
        self.add_filtered(pattern, None)
    }

    fn add_filtered(&mut self, pattern: &str, include: Option<Patterns>) -> Result<Option<bool>> {
        let filter = Filter::new(include, &self.rules.exclude);
        let Some(found) = matches(self.tree, pattern)? else { return Ok(None) };
        for (path, node) in &found {
            let target = self.destination.target(&node.kind, path.name())?;
            select(node, target, &filter, self.rules, self.selection)?;
        }
        Ok(Some(!found.is_empty()))
    }

    /// Adds what `pattern` names with `--parents`: the part after the pivot `/./` is matched by the
    /// rules of ignore files, `**` included (BuildKit, `dispatchCopy`). `None` if a path without
    /// wildcards is not there.
    pub(super) fn add_with_parents(&mut self, pattern: &str) -> Result<Option<bool>> {
        let (pivot, below) = pattern.split_once("/./").unwrap_or(("/", pattern));
        let below = LayerPath::clean(below)?;
        if !has_wildcards(pattern.as_bytes()) {
            let path = LayerPath::clean(pivot)?.join(&below);
            // A link is copied itself; at the top, BuildKit wants it to lead somewhere.
            let at_top = path.components().count() == 1;
            let found = self.tree.resolve(path.as_bytes(), at_top)?;
            // The walk follows no link on the way to it, and would copy nothing.
            if found.node.is_none() || !at_top && found.path != path {
                return Ok(None);
            }
        }
        let text = String::from_utf8_lossy(below.as_bytes()).into_owned();
        self.add_filtered(pivot, Some(Patterns::parse([text.as_str()])?))
    }
}

/// What one source pattern names: path and node, in sorted order. Links are followed up to the
/// first wildcard and at the end, not on the way (fsutil, `ResolveWildcards`). `None`: the path, or
/// the folder that wildcards begin in, is not there.
fn matches<'t>(tree: &'t Tree, pattern: &str) -> Result<Option<Vec<(LayerPath, &'t Node)>>> {
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

/// Selects what `filter` takes of `node`, as entries at and below `target`.
fn select(node: &Node, target: CopyTarget, filter: &Filter, rules: &Rules<'_>, selection: &mut Selection) -> Result<()> {
    let base = target.path.clone();
    selection.next_source(target.path, target.new_folder);
    if node.is_dir() {
        return select_folder(node, &base, filter, rules, selection);
    }
    selection.push(ruled(node, base, rules), node);
    Ok(())
}

/// A folder whose entries are being looked at.
struct PendingFolder<'t, I> {
    path: LayerPath,
    node: &'t Node,
    rest: I,
    matches: FolderMatches,
    /// Whether it comes along only if something in it is taken, which has not been yet.
    only_if_child_taken: bool,
}

fn pending(path: LayerPath, node: &Node, matches: FolderMatches) -> PendingFolder<'_, impl Iterator<Item = (&[u8], &Node)>> {
    let only_if_child_taken = !matches.taken;
    PendingFolder { path, node, rest: node.children(), matches, only_if_child_taken }
}

// An image decides how deep folders are nested, so nothing here is recursive.
fn select_folder(node: &Node, base: &LayerPath, filter: &Filter, rules: &Rules<'_>, selection: &mut Selection) -> Result<()> {
    let mut folders = vec![pending(LayerPath::root(), node, filter.root())];
    // How many of them wait: most often none, and a deep tree is not looked through for each file.
    let mut waiting = 0;
    while let Some(folder) = folders.last_mut() {
        let Some((name, child)) = folder.rest.next() else {
            waiting -= usize::from(folder.only_if_child_taken);
            folders.pop();
            continue;
        };
        let path = folder.path.child(name)?;
        let matches = match child.is_dir() {
            true => filter.folder(path.as_bytes(), path.as_bytes(), &folder.matches),
            false => None,
        };
        let taken = match &matches {
            Some(matches) => matches.taken,
            None => !child.is_dir() && filter.takes_leaf(path.as_bytes(), path.as_bytes(), &folder.matches),
        };
        if taken {
            if waiting > 0 {
                for parent in folders.iter_mut().filter(|folder| folder.only_if_child_taken) {
                    parent.only_if_child_taken = false;
                    selection.push_parent(ruled(parent.node, base.join(&parent.path), rules), parent.node);
                }
                waiting = 0;
            }
            selection.push(ruled(child, base.join(&path), rules), child);
        }
        if let Some(matches) = matches {
            waiting += usize::from(!matches.taken);
            folders.push(pending(path, child, matches));
        }
    }
    Ok(())
}

/// The entry of `node` at `path` in the image, with the owner and mode that the step gives it.
fn ruled(node: &Node, path: LayerPath, rules: &Rules<'_>) -> Entry {
    let mut entry = Entry { path, kind: node.kind.clone(), metadata: node.metadata.clone() };
    rules.apply(&mut entry);
    entry
}
