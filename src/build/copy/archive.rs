//! Archives of ADD: a tar, plain or compressed, known by its content as docker does, and unpacked into the destination.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::Path;

use super::copier::{CopyTarget, SourceItems};
use super::merge::Merged;
use super::rules::Rules;
use crate::build::cache::Listing;
use crate::build::guarded_walk::GuardedWalk;
use crate::build::item::{ConflictPolicy, Content, LayerItem};
use crate::context::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Kind, LayerPath, TarReader, Tree, read_entries, unwrap_tar};

/// Opens a source in the build context if it is an archive.
pub(super) fn open(source: &Source, walk: &GuardedWalk<'_>, listing: &RefCell<Listing>) -> Result<Option<File>> {
    if !matches!(source.kind(), Kind::File { size } if *size > 0) {
        return Ok(None);
    }
    let Some(walked) = source.walk(walk.exclude)?.next().transpose()? else { return Ok(None) };
    let mut file = walked.open()?;
    // A compressed file that is not a tar inside is copied as it is, as docker does.
    let Some((_, tar)) = unwrap_tar(&mut file)? else { return Ok(None) };
    if TarReader::new(tar).next_entry().is_err() {
        return Ok(None);
    }
    walk.check(&walked)?;
    listing.borrow_mut().add(&walked);
    file.seek(SeekFrom::Start(0)).map_err(|error| Error::io("read", walked.context_path().as_path(), error))?;
    Ok(Some(file))
}

/// The entries of an archive, unpacked as docker does: links that are there are followed on the way to an entry, and what is in
/// its place is removed. Owners and modes are the archive's own; only a new destination folder gets `--chown`'s. `scratch` does
/// not exist yet; the bytes of files go there.
pub(super) fn from_archive<'a>(tree: &Tree, file: &File, rules: &Rules<'_>, scratch: &Path) -> Result<SourceItems<'a>> {
    std::fs::create_dir(scratch).map_err(|error| Error::io("create", scratch, error))?;
    let base = tree.resolve(rules.destination, true)?.path;
    let mut view = tree.clone();
    let mut merged = Merged::default();
    let mut spooled = 0_u64;
    let Some((_, tar)) = unwrap_tar(file)? else {
        return Err(Error::new(ErrorKind::Context, "the file is not an archive").with_hint("leave out --unpack"));
    };
    read_entries(tar, |mut entry, content| {
        if entry.path.is_root() || rules.exclude.matches(&entry.path) {
            return Ok(());
        }
        let inside =
            |path: &LayerPath, view: &Tree| -> Result<LayerPath> { Ok(view.resolve(base.join(path).as_bytes(), false)?.path) };
        entry.path = inside(&entry.path, &view)?;
        if let Kind::Hardlink { target } = &mut entry.kind {
            *target = inside(target, &view)?;
        }
        if matches!(entry.kind, Kind::Whiteout | Kind::OpaqueWhiteout) {
            return Err(Error::new(ErrorKind::Context, format!("the archive has a whiteout for `{}`", entry.path))
                .with_hint("it is a layer, not an archive of files: use it as a base image"));
        }
        entry.metadata.mtime = entry.metadata.mtime.min(rules.context_mtime.max(0));
        let content = if entry.kind.size() > 0 { spool(content, &scratch.join(spooled.to_string()))? } else { Content::None };
        spooled += 1;
        view.put(&entry, 0)?;
        merged.put(LayerItem { entry, content, policy: ConflictPolicy::Replace })
    })?;
    let folder = rules.new_folder(&CopyTarget { exists: tree.lookup(&base).is_some(), path: base.clone() });
    Ok(SourceItems { target: base, items: Box::new(folder.into_iter().chain(merged.into_items()).map(Ok)) })
}

fn spool(content: &mut dyn Read, path: &Path) -> Result<Content> {
    let mut file = File::create(path).map_err(|error| Error::io("create", path, error))?;
    std::io::copy(content, &mut file).map_err(|error| Error::io("write", path, error))?;
    Ok(Content::Disk(path.to_owned()))
}
