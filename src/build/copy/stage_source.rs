//! Sources in another stage or an image: what a pattern names there, and everything at and below it.

use super::copier::CopyTarget;
use super::rules::Rules;
use crate::build::selection::Selection;
use crate::context::{has_wildcards, matches_name};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Entry, LayerPath, Node, Tree};

/// What one source pattern names: path and node, in sorted order. Links are followed up to the first wildcard and at the end, not
/// on the way (fsutil, `ResolveWildcards`). `None`: the path, or the folder that wildcards begin in, is not there.
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

/// Selects everything at and below `node`, as entries at and below `target`.
pub(super) fn select(node: &Node, target: &CopyTarget, rules: &Rules<'_>, selection: &mut Selection) -> Result<()> {
    if node.is_dir() {
        if let Some(item) = rules.new_folder(target) {
            selection.push_empty(item.entry);
        }
        return select_children(&LayerPath::root(), node, &target.path, rules, selection);
    }
    select_one(node, target.path.clone(), rules, selection);
    Ok(())
}

fn select_children(below: &LayerPath, node: &Node, base: &LayerPath, rules: &Rules<'_>, selection: &mut Selection) -> Result<()> {
    for (name, child) in node.children() {
        let relative = below.child(name)?;
        if rules.exclude.matches(&relative) {
            continue;
        }
        select_one(child, base.join(&relative), rules, selection);
        select_children(&relative, child, base, rules, selection)?;
    }
    Ok(())
}

fn select_one(node: &Node, path: LayerPath, rules: &Rules<'_>, selection: &mut Selection) {
    let mut entry = Entry { path, kind: node.kind.clone(), metadata: node.metadata.clone() };
    rules.apply(&mut entry);
    selection.push(entry, node);
}
