//! Which changed paths are names of one file, and which candidates are changes at all.
//!
//! A file with several names is written whole or not at all: engines that unpack a layer alone
//! could not link to a file below it.
//!
//! Never links across trees: only names in the same changed tree count.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Change, Tree};
use crate::layer::{Entry, Kind, LayerPath};

/// An inode: device and number.
pub(super) type Inode = (u64, u64);

/// An entry of a changed tree that may or may not be a change.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) entry: Entry,
    /// Its inode, where it has several names.
    pub(super) inode: Option<Inode>,
    /// The inode below that it is an unchanged copy of.
    pub(super) copy_of: Option<Inode>,
}

/// Drops what is unchanged, keeps the folders above every change, and turns later names of a file
/// into links.
pub(super) fn settle(candidates: Vec<Candidate>, changed: &HashSet<Inode>, tree: &Arc<Tree>) -> Vec<Change> {
    let mut first_names: HashMap<Inode, LayerPath> = HashMap::new();
    let mut folders: Vec<Entry> = Vec::new();
    let mut changes = Vec::new();
    for mut candidate in candidates {
        while folders.last().is_some_and(|folder| !candidate.entry.path.starts_with(&folder.path)) {
            folders.pop();
        }
        let group_changed = candidate.inode.is_some_and(|inode| changed.contains(&inode));
        if candidate.copy_of.is_some() && !group_changed {
            if candidate.entry.kind == Kind::Directory {
                folders.push(candidate.entry);
            }
            continue;
        }
        if let Some(inode) = candidate.inode {
            match first_names.get(&inode) {
                Some(first) => candidate.entry.kind = Kind::Hardlink { target: first.clone() },
                None => drop(first_names.insert(inode, candidate.entry.path.clone())),
            }
        }
        let parents = folders.drain(..).chain([candidate.entry]);
        changes.extend(parents.map(|entry| Change { entry, tree: Arc::clone(tree) }));
    }
    changes
}

/// Files with several names of which one at least is new or changed, or whose names were not one
/// file before.
pub(super) fn changed_inodes(candidates: &[Candidate]) -> HashSet<Inode> {
    let mut before: HashMap<Inode, Inode> = HashMap::new();
    let mut changed = HashSet::new();
    for candidate in candidates {
        let Some(inode) = candidate.inode else { continue };
        match candidate.copy_of {
            Some(copy_of) if *before.entry(inode).or_insert(copy_of) == copy_of => {}
            _ => drop(changed.insert(inode)),
        }
    }
    changed
}
