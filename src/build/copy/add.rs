//! ADD: what COPY does, and local archives unpacked, and files and git repositories from the web.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive;
use super::context_source::{from_context, from_heredoc};
use super::copier::{Copier, SourceItems};
use super::destination::ResolvedDestination;
use super::download;
use super::repository::Repository;
use super::rules::{Rules, warn_no_match};
use crate::build::cache::{ContextAttempt, Listing, keys};
use crate::build::guarded_walk::GuardedWalk;
use crate::build::inputs::StepInputs;
use crate::build::item::{Content, LayerItem};
use crate::build::outcome::StepOutcome;
use crate::build::session::Session;
use crate::build::stage::StageState;
use crate::context::{Patterns, Source};
use crate::dockerfile::{AddSource, AddStep};
use crate::error::{Error, Result};
use crate::layer::{Entry, Kind, Metadata, Tree};
use crate::oci::Digest;

/// Mode of a file from the web (Dockerfile reference, "ADD").
const DOWNLOADED: u32 = 0o600;

/// Does one ADD.
pub(in crate::build) fn add(step: &AddStep, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<StepOutcome> {
    let session = inputs.session;
    let mut attempt = ContextAttempt::new(keys::add(session, stage, step));
    let scratch = session.store.scratch()?;
    let mut found = Vec::new();
    for source in &step.sources {
        find(step, source, scratch.path(), &mut found, inputs)?;
    }
    // What a file from the web holds is known beforehand only by a checksum.
    for download in found.iter().filter_map(FoundSource::download).filter(|_| step.checksum.is_none()) {
        attempt.depends_on(&download.fetch(session)?.to_string());
    }
    let exclude = Patterns::parse(step.exclude.iter().map(String::as_str))?;
    let walk = GuardedWalk { session, instruction: inputs.text, exclude: &exclude };
    let sources: Vec<&Source> = found.iter().filter_map(FoundSource::context).collect();
    for repository in found.iter().filter_map(FoundSource::repository) {
        attempt.depends_on(&repository.commit);
    }
    attempt.take_or_make(inputs.cache, stage, &walk, &sources, &mut |stage, writer, listings| {
        let tree = if step.link { Arc::new(Tree::default()) } else { stage.tree(session)?.clone() };
        let rules = Rules::of_add(step, stage, inputs)?;
        let mut made = rules.new_folders();
        let mut destination = ResolvedDestination::find(&tree, &step.destination.path);
        let scratch = session.store.scratch()?;
        let mut listings = listings.iter();
        let mut all = Vec::new();
        for (number, source) in found.iter().enumerate() {
            let scratch = scratch.path().join(number.to_string());
            let archive = match source {
                FoundSource::Context(source) => {
                    let Some(listing) = listings.next() else { continue };
                    let archive = if step.unpack == Some(false) { None } else { archive::open(source, &walk, listing)? };
                    if archive.is_none() {
                        all.push(from_context(&mut destination, source, &rules, |walked| Listing::note(listing, &walk, walked))?);
                    }
                    archive
                }
                // The guard against secrets is for the project's own files.
                FoundSource::Repository(repository) => {
                    all.push(from_context(&mut destination, &repository.files, &rules, |_| Ok(()))?);
                    None
                }
                FoundSource::Download(download) => {
                    if step.checksum.is_some() {
                        download.fetch(session)?;
                    }
                    let unpack = step.unpack == Some(true);
                    if !unpack {
                        all.push(from_download(&mut destination, download, &rules)?);
                    }
                    let open = || std::fs::File::open(&download.file).map_err(|error| Error::io("open", &download.file, error));
                    unpack.then(open).transpose()?
                }
            };
            if let Some(file) = archive {
                // An archive is unpacked, not copied: `--chmod` says nothing about it or the folder
                // that is made for it.
                if number == 0 {
                    made = made.with_mode(None);
                }
                all.push(archive::from_archive(&tree, &mut destination, &file, &rules, &scratch)?);
            }
        }
        for file in &step.inline_files {
            all.push(from_heredoc(&mut destination, file, &rules)?);
        }
        destination.warn(inputs);
        let mut copier = Copier::new(&tree, writer, made);
        copier.copy_all(all)?;
        Ok(copier.finish())
    })
}

/// A source of ADD that was found.
enum FoundSource<'a> {
    Context(Source),
    Download(Download<'a>),
    Repository(Repository),
}

impl FoundSource<'_> {
    fn context(&self) -> Option<&Source> {
        if let Self::Context(source) = self { Some(source) } else { None }
    }

    fn repository(&self) -> Option<&Repository> {
        if let Self::Repository(repository) = self { Some(repository) } else { None }
    }

    fn download(&self) -> Option<&Download<'_>> {
        if let Self::Download(download) = self { Some(download) } else { None }
    }
}

/// A file from the web, and where it is put on this machine.
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

fn find<'a>(
    step: &'a AddStep,
    source: &'a AddSource,
    scratch: &Path,
    found: &mut Vec<FoundSource<'a>>,
    inputs: &StepInputs<'_>,
) -> Result<()> {
    match source {
        AddSource::Path(pattern) => {
            let sources = inputs.session.context.sources(pattern)?;
            if sources.is_empty() {
                warn_no_match(inputs, pattern);
            }
            found.extend(sources.into_iter().map(FoundSource::Context));
        }
        AddSource::Url { url, file_name } => {
            let file = scratch.join(format!("download-{}", found.len()));
            found.push(FoundSource::Download(Download { url, name: file_name, checksum: step.checksum.as_deref(), file }));
        }
        AddSource::Git(address) => {
            let folder = scratch.join(format!("repository-{}", found.len()));
            found.push(FoundSource::Repository(Repository::fetch(step, address, &folder, inputs.session)?));
        }
    }
    Ok(())
}

fn from_download<'a>(
    destination: &mut ResolvedDestination,
    download: &Download<'_>,
    rules: &Rules<'_>,
) -> Result<SourceItems<'a>> {
    let file = &download.file;
    let size = file.metadata().map_err(|error| Error::io("read", file, error))?.len();
    let kind = Kind::File { size };
    let target = destination.target(&kind, Some(download.name.as_bytes()))?;
    let mut entry = Entry { path: target.path, kind, metadata: Metadata::new(DOWNLOADED, 0, 0, rules.context_mtime) };
    rules.apply(&mut entry);
    let content = if size > 0 { Content::Disk(file.to_owned()) } else { Content::None };
    Ok(SourceItems::one(LayerItem::new(entry, content)))
}
