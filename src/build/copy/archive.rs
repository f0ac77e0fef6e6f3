//! Archives of ADD: a tar, plain or compressed, known by its content as docker does, and unpacked
//! into the destination.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::Path;

use super::copier::SourceItems;
use super::destination::ResolvedDestination;
use super::merge::Merged;
use super::rules::Rules;
use crate::build::cache::Listing;
use crate::build::guarded_walk::GuardedWalk;
use crate::build::item::{ConflictPolicy, Content, LayerItem};
use crate::context::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Kind, LayerPath, TarReader, Tree, decompress_tar, read_archive};

/// Opens a source in the build context if it is an archive.
pub(super) fn open(source: &Source, walk: &GuardedWalk<'_>, listing: &RefCell<Listing>) -> Result<Option<File>> {
    if !matches!(source.kind(), Kind::File { size } if *size > 0) {
        return Ok(None);
    }
    let Some(walked) = source.walk(walk.exclude)?.next().transpose()? else { return Ok(None) };
    let mut file = walked.open()?;
    // A compressed file that is not a tar inside is copied as it is, as docker does.
    let Some((_, tar)) = decompress_tar(&mut file)? else { return Ok(None) };
    // What holds nothing is none, either (moby, `IsArchivePath`): a file of zeros is a file.
    if !TarReader::of_archive(tar).next_entry().is_ok_and(|entry| entry.is_some()) {
        return Ok(None);
    }
    Listing::note(listing, walk, &walked)?;
    file.seek(SeekFrom::Start(0)).map_err(|error| Error::io("read", walked.context_path().as_path(), error))?;
    Ok(Some(file))
}

/// The entries of an archive, unpacked as docker does, which changes its root to the destination
/// before: links that are there are followed on the way to an entry, but never out of the
/// destination, and what is in an entry's place is removed. `--chown` is for all entries (BuildKit
/// since 0.23), modes are the archive's own. `scratch` does not exist yet; the bytes of files go
/// there.
pub(super) fn from_archive<'a>(
    tree: &Tree,
    destination: &mut ResolvedDestination,
    file: &File,
    rules: &Rules<'_>,
    scratch: &Path,
) -> Result<SourceItems<'a>> {
    std::fs::create_dir(scratch).map_err(|error| Error::io("create", scratch, error))?;
    let target = destination.target(&Kind::Directory, None)?;
    let base = target.path;
    let mut view = tree.subtree(&base);
    // A destination that is made inherits the bit, as all folders on its way do.
    let way = std::iter::once(LayerPath::default()).chain(base.ancestors()).chain([base.clone()]);
    let base_has_bit = way.filter_map(|path| tree.lookup(&path)).last().is_some_and(|node| node.metadata.has_set_group_id());
    let mut merged = Merged::default();
    let mut spooled = 0_u64;
    let Some((_, tar)) = decompress_tar(file)? else {
        return Err(Error::new(ErrorKind::Context, "the file is not an archive").with_hint("leave out `--unpack`"));
    };
    read_archive(tar, |mut entry, content| {
        if entry.path.is_root() || rules.exclude.matches(&entry.path) {
            return Ok(());
        }
        entry.path = view.resolve(entry.path.as_bytes(), false)?.path;
        if let Kind::Hardlink { target } = &mut entry.kind {
            *target = view.resolve(target.as_bytes(), false)?.path;
        }
        if let Some(owner) = &rules.owner {
            (entry.metadata.uid, entry.metadata.gid) = (owner.uid, owner.gid);
        }
        if entry.kind.is_whiteout() {
            return Err(Error::new(ErrorKind::Context, format!("the archive has a whiteout for `{}`", entry.path))
                .with_hint("it is a layer, not an archive of files: use it as a base image"));
        }
        entry.metadata.mtime = entry.metadata.mtime.min(rules.context_mtime.max(0));
        let content = if entry.kind.size() > 0 { spool(content, &scratch.join(spooled.to_string()))? } else { Content::None };
        spooled += 1;
        for folder in entry.path.ancestors().filter(|folder| !folder.is_root()) {
            imply(&mut view, &mut merged, base_has_bit, &base, &folder)?;
        }
        view.put(entry.clone(), 0)?;
        merged.put(LayerItem { entry: entry.below(&base), content, policy: ConflictPolicy::Replace })
    })?;
    let folder = target.new_folder.then(|| LayerItem::made_folder(base.clone()));
    Ok(SourceItems { target: base, items: Box::new(folder.into_iter().chain(merged.into_items()).map(Ok)) })
}

/// Makes `folder` where it is missing. What it inherits is decided now: a later entry may give its
/// parent another mode.
fn imply(view: &mut Tree, merged: &mut Merged, base_has_bit: bool, base: &LayerPath, folder: &LayerPath) -> Result<()> {
    if view.lookup(folder).is_some() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.is_root());
    let set_group_id = match parent.and_then(|parent| view.lookup(&parent)) {
        Some(parent) => parent.metadata.has_set_group_id(),
        None => base_has_bit,
    };
    let item = LayerItem::implied_folder(folder.clone(), set_group_id);
    view.put(item.entry.clone(), 0)?;
    merged.put(LayerItem { entry: item.entry.below(base), ..item })
}

fn spool(content: &mut dyn Read, path: &Path) -> Result<Content> {
    let mut file = File::create(path).map_err(|error| Error::io("create", path, error))?;
    std::io::copy(content, &mut file).map_err(|error| Error::io("write", path, error))?;
    Ok(Content::Disk(path.to_owned()))
}
