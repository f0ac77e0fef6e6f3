//! Sources in another stage or an image: what a pattern names there, and everything at and below
//! it.

use super::destination::{CopyTarget, Destination};
use super::rules::Rules;
use crate::build::selection::Selection;
use crate::context::{Patterns, has_wildcards, matches_name};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Entry, LayerPath, Node, Tree};

/// The sources of one COPY from a stage, on their way into a selection.
pub(super) struct StageSources<'a> {
    /// What is copied from.
    pub(super) tree: &'a Tree,
    pub(super) rules: &'a Rules<'a>,
    pub(super) destination: &'a mut Destination,
    pub(super) selection: &'a mut Selection,
}

impl StageSources<'_> {
    /// Adds what `pattern` names: whether it matches anything; `None` if a path without wildcards
    /// is not there.
    pub(super) fn add(&mut self, pattern: &str) -> Result<Option<bool>> {
        let Some(found) = matches(self.tree, pattern)? else { return Ok(None) };
        for (path, node) in &found {
            let target = self.destination.target(&node.kind, path.name())?;
            self.selection.next_source();
            select(node, &target, self.rules, self.selection)?;
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
            if self.tree.resolve(path.as_bytes(), true)?.node.is_none() {
                return Ok(None);
            }
        }
        if below.is_root() {
            return self.add(pivot);
        }
        let text = String::from_utf8_lossy(below.as_bytes()).into_owned();
        let include = Patterns::parse([text.as_str()])?;
        let Some(found) = matches(self.tree, pivot)? else { return Ok(None) };
        for (path, node) in &found {
            let target = self.destination.target(&node.kind, path.name())?;
            self.selection.next_source();
            select_with_parents(node, &target, &include, self.rules, self.selection)?;
        }
        Ok(Some(!found.is_empty()))
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

/// Selects everything at and below `node`, as entries at and below `target`.
fn select(node: &Node, target: &CopyTarget, rules: &Rules<'_>, selection: &mut Selection) -> Result<()> {
    if node.is_dir() {
        if target.new_folder {
            selection.push_made(target.path.clone());
        }
        return select_children(node, &target.path, rules, selection);
    }
    select_one(node, target.path.clone(), rules, selection);
    Ok(())
}

/// Selects what `--parents` copies of a folder: everything that `include` matches, with the folders
/// above it.
fn select_with_parents(
    node: &Node,
    target: &CopyTarget,
    include: &Patterns,
    rules: &Rules<'_>,
    selection: &mut Selection,
) -> Result<()> {
    if target.new_folder {
        selection.push_made(target.path.clone());
    }
    select_included(node, &target.path, include, rules, selection)
}

/// A folder whose entries are being looked at.
struct Open<'t, I> {
    path: LayerPath,
    node: &'t Node,
    rest: I,
    /// Whether something below was selected.
    any: bool,
}

fn open(path: LayerPath, node: &Node) -> Open<'_, impl Iterator<Item = (&[u8], &Node)>> {
    Open { path, node, rest: node.children(), any: false }
}

// An image decides how deep folders are nested, so nothing here is recursive.
fn select_included(
    node: &Node,
    base: &LayerPath,
    include: &Patterns,
    rules: &Rules<'_>,
    selection: &mut Selection,
) -> Result<()> {
    let mut folders = vec![open(LayerPath::root(), node)];
    while let Some(folder) = folders.last_mut() {
        if let Some((name, child)) = folder.rest.next() {
            let relative = folder.path.child(name)?;
            if !rules.exclude.matches(&relative) {
                folders.push(open(relative, child));
            }
            continue;
        }
        let (any, path, node) = (folder.any, folder.path.clone(), folder.node);
        folders.pop();
        if let Some(above) = folders.last_mut().filter(|_| any || include.matches(&path)) {
            select_one(node, base.join(&path), rules, selection);
            above.any = true;
        }
    }
    Ok(())
}

fn select_children(node: &Node, base: &LayerPath, rules: &Rules<'_>, selection: &mut Selection) -> Result<()> {
    let mut folders = vec![open(LayerPath::root(), node)];
    while let Some(folder) = folders.last_mut() {
        let Some((name, child)) = folder.rest.next() else {
            folders.pop();
            continue;
        };
        let relative = folder.path.child(name)?;
        if !rules.exclude.matches(&relative) {
            select_one(child, base.join(&relative), rules, selection);
            folders.push(open(relative, child));
        }
    }
    Ok(())
}

fn select_one(node: &Node, path: LayerPath, rules: &Rules<'_>, selection: &mut Selection) {
    let mut entry = Entry { path, kind: node.kind.clone(), metadata: node.metadata.clone() };
    rules.apply(&mut entry);
    selection.push(entry, node);
}
