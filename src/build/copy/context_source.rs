//! Sources in the build context, and files whose content stands in the Dockerfile (heredocs), as
//! items of a layer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;

use super::copier::SourceItems;
use super::destination::ResolvedDestination;
use super::rules::Rules;
use crate::build::item::{Content, LayerItem};
use crate::context::{Source, WalkEntry};
use crate::dockerfile::InlineFile;
use crate::error::Result;
use crate::layer::{Entry, Kind, LayerPath, Metadata};

/// A source in the build context. Its files belong to root and have the build's time. `check` sees
/// each of them first.
pub(super) fn from_context<'a>(
    destination: &mut ResolvedDestination,
    source: &Source,
    rules: &'a Rules<'a>,
    check: impl Fn(&WalkEntry) -> Result<()> + 'a,
) -> Result<SourceItems<'a>> {
    let target = destination.target(source.kind(), source.path().name())?;
    let head = target.new_folder.then(|| Ok(LayerItem::made_folder(target.path.clone())));
    let base = target.path.clone();
    let mut first_names: BTreeMap<(u64, u64), LayerPath> = BTreeMap::new();
    let entries = source.walk(&rules.exclude)?.ahead().map(move |walked| {
        let walked = walked?;
        check(&walked)?;
        let mut entry = walked.entry.clone();
        entry.path = base.join(&entry.path);
        (entry.metadata.uid, entry.metadata.gid) = (0, 0);
        entry.metadata.mtime = rules.context_mtime;
        let mode = entry.metadata.mode;
        rules.apply(&mut entry);
        if walked.is_parent() {
            return Ok(LayerItem::parent(entry, mode));
        }
        if let Some(file) = walked.shared_file() {
            // Names of one file stay names of one file within a source, as fsutil keeps them.
            match first_names.entry(file) {
                MapEntry::Occupied(first) => entry.kind = Kind::Hardlink { target: first.get().clone() },
                MapEntry::Vacant(vacant) => drop(vacant.insert(entry.path.clone())),
            }
        }
        let content = if entry.kind.size() > 0 { Content::Context(Box::new(walked)) } else { Content::None };
        Ok(LayerItem::new(entry, content))
    });
    Ok(SourceItems { target: target.path, items: Box::new(head.into_iter().chain(entries)) })
}

/// A file whose content stands in the Dockerfile.
pub(super) fn from_heredoc<'a>(
    destination: &mut ResolvedDestination,
    file: &InlineFile,
    rules: &Rules<'_>,
) -> Result<SourceItems<'a>> {
    let bytes = file.content.as_slice();
    let kind = Kind::File { size: bytes.len() as u64 };
    let target = destination.target(&kind, Some(file.name.as_bytes()))?;
    let mut entry = Entry { path: target.path.clone(), kind, metadata: Metadata::new(0o644, 0, 0, rules.context_mtime) };
    rules.apply(&mut entry);
    let content = if bytes.is_empty() { Content::None } else { Content::Bytes(bytes.into()) };
    Ok(SourceItems::one(LayerItem::new(entry, content)))
}
