//! ADD: what COPY does, and local archives unpacked, and files from the web.
//!
//! Refuses git sources, and archives whose entries would leave the destination.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache;
use super::download;
use super::merge::Merged;
use super::place::{Content, Item, Manner, Placement, Stream, Target, target};
use super::reuse::{Attempt, Listing, Look};
use super::session::Session;
use super::sources::{self, Rules};
use super::stage::Stage;
use crate::context::{Patterns, Source};
use crate::dockerfile::{AddSource, AddStep};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Entry, Kind, LayerPath, Metadata, TarReader, Tree, read_entries, unwrap_tar};
use crate::oci::Digest;

/// Mode of a file from the web (Dockerfile reference, "ADD").
const DOWNLOADED: u32 = 0o600;

/// Does one ADD; `instruction` is its text, for messages. Whether the build cache had it.
pub(super) fn add(session: &Session<'_>, stage: &mut Stage, step: &AddStep, instruction: &str) -> Result<bool> {
    let mut attempt = Attempt::new(cache::add_key(session, stage, step));
    let scratch = session.store.scratch()?;
    let mut wanted = Vec::new();
    for source in &step.sources {
        find(session, step, source, scratch.path(), &mut wanted)?;
    }
    // What a file from the web holds is known beforehand only by a checksum.
    for download in wanted.iter().filter_map(Wanted::download).filter(|_| step.checksum.is_none()) {
        attempt.depends_on(&download.fetch(session)?.to_string());
    }
    let exclude = Patterns::parse(step.exclude.iter().map(String::as_str))?;
    let look = Look { session, instruction, exclude: &exclude };
    let sources: Vec<&Source> = wanted.iter().filter_map(Wanted::source).collect();
    attempt.take_or_make(stage, &look, &sources, |stage, writer, listings| {
        let tree = if step.link { Arc::new(Tree::default()) } else { stage.filesystem.tree(session)?.clone() };
        let rules = Rules {
            owner: step.chown.as_deref().map(|spec| stage.owner(session, spec)).transpose()?,
            chmod: step.chmod.as_ref(),
            context_mtime: session.times.context,
            exclude: exclude.clone(),
            destination: &step.destination.path,
            several: wanted.len() + step.inline_files.len() > 1,
        };
        let scratch = session.store.scratch()?;
        let mut listings = listings.iter();
        let mut streams = Vec::new();
        for (number, wanted) in wanted.iter().enumerate() {
            let scratch = scratch.path().join(number.to_string());
            let archive = match wanted {
                Wanted::Context(source) => {
                    let Some(listing) = listings.next() else { continue };
                    let archive = if step.unpack == Some(false) { None } else { archive(source, &look, listing)? };
                    if archive.is_none() {
                        streams.push(sources::from_context(&tree, source, &rules, &look, listing)?);
                    }
                    archive
                }
                Wanted::Download(download) => {
                    if step.checksum.is_some() {
                        download.fetch(session)?;
                    }
                    let unpack = step.unpack == Some(true);
                    if !unpack {
                        streams.push(downloaded(&tree, &download.file, download.name, &rules)?);
                    }
                    unpack.then(|| open(&download.file)).transpose()?
                }
            };
            if let Some(file) = archive {
                streams.push(unpack(&tree, &file, &rules, &scratch)?);
            }
        }
        for file in &step.inline_files {
            streams.push(sources::from_heredoc(&tree, file, &rules)?);
        }
        let mut placement = Placement::new(&tree, writer, rules.owner.as_ref(), session.times.context);
        placement.put_all(streams)?;
        Ok(placement.finish())
    })
}

/// What ADD was told to add.
enum Wanted<'a> {
    Context(Source),
    Download(Download<'a>),
}

impl Wanted<'_> {
    fn source(&self) -> Option<&Source> {
        if let Self::Context(source) = self { Some(source) } else { None }
    }

    fn download(&self) -> Option<&Download<'_>> {
        if let Self::Download(download) = self { Some(download) } else { None }
    }
}

/// A file from the web, and where it is put.
struct Download<'a> {
    url: &'a str,
    name: &'a str,
    checksum: Option<&'a str>,
    file: PathBuf,
}

impl Download<'_> {
    fn fetch(&self, session: &Session<'_>) -> Result<Digest> {
        session.runtime.block_on(download::download(session, self.url, self.checksum, &self.file))
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Error::io("open", path, error))
}

fn find<'a>(
    session: &Session<'_>,
    step: &'a AddStep,
    source: &'a AddSource,
    scratch: &Path,
    wanted: &mut Vec<Wanted<'a>>,
) -> Result<()> {
    match source {
        AddSource::Path(pattern) => {
            let found = sources::found(session, pattern, session.context.sources(pattern)?);
            wanted.extend(found.into_iter().map(Wanted::Context));
        }
        AddSource::Url { url, file_name } => {
            let file = scratch.join(format!("download-{}", wanted.len()));
            wanted.push(Wanted::Download(Download { url, name: file_name, checksum: step.checksum.as_deref(), file }));
        }
        AddSource::Git(address) => {
            return Err(Error::new(ErrorKind::Unsupported, format!("ADD cannot fetch the git repository `{address}`"))
                .with_hint("clone it into the build context before the build, and use COPY"));
        }
    }
    Ok(())
}

/// Opens a source that is an archive: a tar, plain or compressed, told by its content as docker does.
fn archive(source: &Source, look: &Look<'_>, listing: &RefCell<Listing>) -> Result<Option<File>> {
    if !matches!(source.kind(), Kind::File { size } if *size > 0) {
        return Ok(None);
    }
    let Some(walked) = source.walk(look.exclude)?.next().transpose()? else { return Ok(None) };
    let mut file = walked.open()?;
    // A compressed file that is no tar inside is copied as it is, as docker does.
    let Some((_, tar)) = unwrap_tar(&mut file)? else { return Ok(None) };
    if TarReader::new(tar).next_entry().is_err() {
        return Ok(None);
    }
    look.check(&walked)?;
    listing.borrow_mut().add(&walked);
    file.seek(SeekFrom::Start(0)).map_err(|error| Error::io("read", walked.context_path().as_path(), error))?;
    Ok(Some(file))
}

fn downloaded<'a>(tree: &Tree, file: &Path, name: &str, rules: &Rules<'_>) -> Result<Stream<'a>> {
    let size = file.metadata().map_err(|error| Error::io("read", file, error))?.len();
    let target = target(tree, rules.destination, rules.several, Some(name.as_bytes()))?;
    let metadata = Metadata::new(DOWNLOADED, 0, 0, rules.context_mtime);
    let mut entry = Entry { path: target.path.clone(), kind: Kind::File { size }, metadata };
    rules.apply(&mut entry);
    let content = if size > 0 { Content::Disk(file.to_owned()) } else { Content::None };
    let item = Item { entry, content, manner: Manner::Copy };
    Ok(Stream { target: target.path, items: Box::new(std::iter::once(Ok(item))) })
}

/// Unpacks an archive as docker does: links that are there are followed on the way to an entry, and whatever is in its place
/// is removed. Owners and modes are the archive's own; only a new destination folder gets `--chown`'s.
fn unpack<'a>(tree: &Tree, file: &File, rules: &Rules<'_>, scratch: &Path) -> Result<Stream<'a>> {
    std::fs::create_dir(scratch).map_err(|error| Error::io("create", scratch, error))?;
    let base = tree.resolve(rules.destination, true)?.path;
    let mut view = tree.clone();
    let mut merged = Merged::default();
    let mut spooled = 0_u64;
    let Some((_, tar)) = unwrap_tar(file)? else {
        return Err(Error::new(ErrorKind::Context, "the file is no archive").with_hint("leave out --unpack"));
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
        merged.put(Item { entry, content, manner: Manner::Unpack })
    })?;
    let folder = rules.new_folder(&Target { exists: tree.lookup(&base).is_some(), path: base.clone() });
    Ok(Stream { target: base, items: Box::new(folder.into_iter().chain(merged.into_items()).map(Ok)) })
}

fn spool(content: &mut dyn Read, path: &Path) -> Result<Content> {
    let mut file = File::create(path).map_err(|error| Error::io("create", path, error))?;
    std::io::copy(content, &mut file).map_err(|error| Error::io("write", path, error))?;
    Ok(Content::Disk(path.to_owned()))
}
