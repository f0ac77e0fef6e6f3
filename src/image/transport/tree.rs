//! Whole indexes and what refers to them, in layouts and archives.
//!
//! Refuses several images for the store and for docker's archives: they hold one platform under a
//! name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::attachment::{COSIGN, cosign_tag, list_tag, may_be_joined, with_attachments_of};
use super::super::{Index, MANIFEST_LIMIT, ManifestTree, Names, media_type_of};
use super::layout::{self, LayoutFiles, LayoutFolder, NESTING, blob_name, folder_source};
use super::tar_index::TarIndex;
use super::{Transport, write, write_archive};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest, MediaType, Platform, Tag};
use crate::store::{BlobSource, Store, blocking, write_stream};

/// What is read of a document that belongs to an image, in bytes: a signed one has a few hundred,
/// an SBOM a few MiB.
pub(crate) const DOCUMENT_LIMIT: u64 = 32 << 20;

/// How many blobs are fetched at once.
const PARALLEL: usize = 4;

type Source<'a> = &'a dyn Fn(&Descriptor) -> Result<BlobSource>;

impl Transport {
    /// Reads a manifest or index with everything below it, and with `referrers` also the manifests
    /// that refer to any of these. With `platform` only the image for it. Layouts are read in
    /// place, archives into the store.
    ///
    /// Blocks; call it off the async threads.
    ///
    /// # Errors
    /// As [`Transport::read`].
    pub fn read_tree(
        &self,
        store: &Store,
        platform: Option<&Platform>,
        referrers: bool,
    ) -> Result<(ManifestTree, Vec<ManifestTree>)> {
        let read = || match self {
            Self::OciLayout { folder, tag } => {
                read(&LayoutFolder(folder), tag.as_deref(), platform, referrers, &|blob| folder_source(folder, blob))
            }
            Self::OciArchive { file, tag } => {
                let archive = TarIndex::open(store, file)?;
                let source = |blob: &Descriptor| {
                    let mut reader = archive.open(&blob_name(&blob.digest))?;
                    store.import(&mut reader, blob).map(BlobSource::File)
                };
                read(&archive, tag.as_deref(), platform, referrers, &source)
            }
            Self::Store(_) | Self::DockerArchive { .. } | Self::Registry(_) => {
                let image = self.read(store, platform.unwrap_or(&Platform::default()), None)?;
                Ok((ManifestTree::of_image(&image), Vec::new()))
            }
        };
        read().map_err(|error: Error| error.wrap(format!("cannot read image `{self}`")))
    }

    /// As `read_tree` with what refers to the image, for a look at it: nothing goes into the store,
    /// the layers of an archive stay in it, and what is damaged beside the image is no error.
    ///
    /// # Errors
    /// As [`Transport::read`]; [`ErrorKind::Usage`]: neither a layout nor an OCI archive.
    pub fn read_attached(&self, store: &Store) -> Result<(ManifestTree, AttachedTrees)> {
        let read = || match self {
            Self::OciLayout { folder, tag } => {
                // Whether it is there, and right, is told when it is read.
                let source = |blob: &Descriptor| Ok(BlobSource::File(folder.join(blob_name(&blob.digest))));
                read_with_attached(&LayoutFolder(folder), tag.as_deref(), &source)
            }
            Self::OciArchive { file, tag } => {
                let archive = TarIndex::open(store, file)?;
                let source = |blob: &Descriptor| {
                    let is_read = blob.media_type.layer_compression().is_none() && blob.size <= DOCUMENT_LIMIT;
                    let name = blob_name(&blob.digest);
                    // What is missing has no bytes, and so another digest.
                    let bytes = is_read.then(|| archive.read_small(&name, DOCUMENT_LIMIT).unwrap_or_default());
                    Ok(BlobSource::Memory(bytes.unwrap_or_default()))
                };
                read_with_attached(&archive, tag.as_deref(), &source)
            }
            other => Err(Error::new(ErrorKind::Usage, format!("`{other}` is neither a layout nor an OCI archive"))),
        };
        read().map_err(|error: Error| error.wrap(format!("cannot read image `{self}`")))
    }

    /// As `read_tree`, without the blobs: what an archive holds stays in it.
    ///
    /// # Errors
    /// As [`Transport::read`]; [`ErrorKind::Usage`]: neither a layout nor an OCI archive.
    pub(crate) fn read_manifests(&self, store: &Store) -> Result<ManifestTree> {
        let nowhere = |_: &Descriptor| Ok(BlobSource::Memory(Bytes::new()));
        let read = || match self {
            Self::OciLayout { folder, tag } => read(&LayoutFolder(folder), tag.as_deref(), None, false, &nowhere),
            Self::OciArchive { file, tag } => read(&TarIndex::open(store, file)?, tag.as_deref(), None, false, &nowhere),
            other => Err(Error::new(ErrorKind::Usage, format!("`{other}` has no index"))),
        };
        let (mut tree, _) = read().map_err(|error: Error| error.wrap(format!("cannot read image `{self}`")))?;
        forget_blobs(&mut tree);
        Ok(tree)
    }

    /// Writes a manifest or index with everything below it, and `referrers` beside it. What was
    /// complete need not come again after an interruption: remote blobs go straight into a layout,
    /// and for an archive into the store first.
    ///
    /// # Errors
    /// As [`Transport::write`]; [`ErrorKind::Usage`]: several images for what holds one.
    pub async fn write_tree(&self, store: &Store, tree: &ManifestTree, referrers: &[ManifestTree]) -> Result<()> {
        if !matches!(self, Self::OciLayout { .. } | Self::OciArchive { .. }) {
            return self.write(store, &tree.image().await?).await;
        }
        let write = async {
            let mut trees: Vec<ManifestTree> = std::iter::once(tree).chain(referrers).cloned().collect();
            let layout = match self {
                Self::OciLayout { folder, .. } => Some(folder.clone()),
                _ => None,
            };
            if let Some(folder) = layout.clone().filter(|folder| folder.join(layout::INDEX_FILE).exists()) {
                trees = blocking(move || beside_what_is_there(&folder, trees)).await?;
            }
            if let Some(folder) = layout.clone() {
                blocking(move || write::prepare(&folder).map(drop)).await?;
            }
            let blobs = blobs(store, &trees, layout.as_deref()).await?;
            let this = self.clone();
            blocking(move || this.write_trees(&trees, &blobs)).await
        };
        write.await.map_err(|error: Error| error.wrap(format!("cannot write image `{self}`")))
    }

    fn write_trees(&self, trees: &[ManifestTree], blobs: &[(Descriptor, BlobSource)]) -> Result<()> {
        let documents = trees.iter().flat_map(ManifestTree::manifests).map(|tree| (&tree.descriptor, &tree.bytes));
        let mut written = documents.map(|(descriptor, bytes)| write::Blob::memory(descriptor, bytes)).collect::<Vec<_>>();
        for (descriptor, source) in blobs {
            written.extend(match source {
                BlobSource::File(path) => Some(write::Blob::file(descriptor, path)),
                BlobSource::Memory(bytes) => Some(write::Blob::memory(descriptor, bytes)),
                // `blobs` leaves none of these.
                BlobSource::Growing(_) | BlobSource::Remote(_) => None,
            });
        }
        let written = write::sorted(written);
        match self {
            Self::OciLayout { folder, tag } => write::add(folder, &written, &entries(trees, tag.as_deref())),
            Self::OciArchive { file, tag } => write_archive::of_layout(file, &written, &entries(trees, tag.as_deref())),
            Self::Store(_) | Self::DockerArchive { .. } | Self::Registry(_) => Ok(()),
        }
    }
}

/// What comes under cosign's tags, with what a layout has there: other people's signatures stay.
fn beside_what_is_there(folder: &Path, mut trees: Vec<ManifestTree>) -> Result<Vec<ManifestTree>> {
    let files = LayoutFolder(folder);
    let index = layout::read_checked_index(&files)?;
    for tree in &mut trees {
        let Some(tag) = tree.tag.as_ref().map(Tag::as_str).filter(|tag| may_be_joined(tag)) else { continue };
        let is_it = |entry: &&Descriptor| entry.annotations.get(layout::REF_NAME).is_some_and(|name| name == tag);
        if let Some(entry) = index.manifests.iter().find(is_it) {
            let there = read_tree(&files, entry, None, &|blob| folder_source(folder, blob), 0)?;
            *tree = with_attachments_of(&there, tree)?;
        }
    }
    Ok(trees)
}

/// The first tree's root under its tag, those that belong to it under theirs, or without a name.
/// Other annotations of the entries are dropped.
fn entries(trees: &[ManifestTree], tag: Option<&str>) -> Vec<Descriptor> {
    let mut entries: Vec<Descriptor> = trees.iter().map(|tree| tree.descriptor.clone()).collect();
    for (at, (entry, tree)) in entries.iter_mut().zip(trees).enumerate() {
        let own = tree.tag.as_ref().map(Tag::as_str);
        let name = if at == 0 { tag } else { own };
        entry.annotations = name.map(|name| (layout::REF_NAME.to_owned(), name.to_owned())).into_iter().collect();
    }
    entries
}

/// All blobs, with sources on this machine: in the store, or in the layout that they are for.
async fn blobs(store: &Store, trees: &[ManifestTree], layout: Option<&Path>) -> Result<Vec<(Descriptor, BlobSource)>> {
    let mut seen = BTreeSet::new();
    let blobs = trees.iter().flat_map(ManifestTree::all_blobs).filter(|(descriptor, _)| seen.insert(descriptor.digest));
    let fetch = |(descriptor, source): (Descriptor, BlobSource)| async move {
        let source = match (&source, layout) {
            (BlobSource::File(_) | BlobSource::Memory(_), _) => source,
            (BlobSource::Remote(_), Some(folder)) => BlobSource::File(download(store, folder, &source, &descriptor).await?),
            (BlobSource::Growing(_) | BlobSource::Remote(_), _) => BlobSource::File(store.fetch(&source, &descriptor).await?),
        };
        Ok((descriptor, source))
    };
    let blobs: Vec<_> = blobs.cloned().map(fetch).collect();
    stream::iter(blobs).buffered(PARALLEL).try_collect().await
}

/// Writes a blob into a layout, unless that or the store has it. The file that has it.
async fn download(store: &Store, folder: &Path, source: &BlobSource, blob: &Descriptor) -> Result<PathBuf> {
    let path = folder.join(blob_name(&blob.digest));
    let (own, store_of, wanted) = (path.clone(), store.clone(), blob.clone());
    let here = move || Ok((write::has_blob(&own, &wanted), store_of.has(&wanted.digest, wanted.size)?));
    match blocking(here).await? {
        (true, _) => return Ok(path),
        (false, true) => return Ok(store.blob_path(&blob.digest)),
        (false, false) => {}
    }
    let own = path.clone();
    write_stream(source, move |parts| write::write_parts(&own, parts)).await?;
    Ok(path)
}

fn forget_blobs(tree: &mut ManifestTree) {
    tree.blobs.clear();
    tree.children.iter_mut().for_each(forget_blobs);
}

fn read(
    files: &impl LayoutFiles,
    tag: Option<&str>,
    platform: Option<&Platform>,
    referrers: bool,
    source: Source<'_>,
) -> Result<(ManifestTree, Vec<ManifestTree>)> {
    let index = layout::read_checked_index(files)?;
    // What refers to something else is only meant where it is named.
    let named = if tag.is_some() { index.clone() } else { without_referrers(files, &index)? };
    let meant = layout::select(files, &named, tag, platform.unwrap_or(&Platform::default()))?;
    let tree = read_tree(files, &meant, platform, source, 0)?;
    let found = if referrers { read_attached(files, &index, &tree, source, None)? } else { Vec::new() };
    Ok((tree, found))
}

/// What belongs to an image in a layout or archive.
#[derive(Debug, Clone, Default)]
pub struct AttachedTrees {
    /// Manifests that belong to it, to these, and so on.
    pub trees: Vec<ManifestTree>,
    /// Those that cannot be read, and why. What they belong to is not known.
    pub unreadable: Vec<(Digest, String)>,
}

fn read_with_attached(files: &impl LayoutFiles, tag: Option<&str>, source: Source<'_>) -> Result<(ManifestTree, AttachedTrees)> {
    let mut index = layout::read_checked_index(files)?;
    let mut unreadable = Vec::new();
    let whole = index.clone();
    index.manifests.retain(|entry| match files.read_blob(entry, MANIFEST_LIMIT).and_then(|bytes| Names::parse(&bytes)) {
        Ok(_) => true,
        Err(error) => {
            unreadable.push((entry.digest, error.in_one_line()));
            false
        }
    });
    let named = if tag.is_some() { index.clone() } else { without_referrers(files, &index)? };
    let meant = layout::select(files, &named, tag, &Platform::default()).or_else(|missing| {
        // The image itself must be whole: it is said what is wrong with it.
        match unreadable.is_empty() {
            true => Err(missing),
            false => layout::select(files, &whole, tag, &Platform::default()),
        }
    })?;
    let tree = read_tree(files, &meant, None, source, 0)?;
    let trees = read_attached(files, &index, &tree, source, Some(&mut unreadable))?;
    Ok((tree, AttachedTrees { trees, unreadable }))
}

/// What belongs to any manifest of `tree`, what belongs to that, and so on.
///
/// With `unreadable`, what is damaged goes there and is no error.
fn read_attached(
    files: &impl LayoutFiles,
    index: &Index,
    tree: &ManifestTree,
    source: Source<'_>,
    mut unreadable: Option<&mut Vec<(Digest, String)>>,
) -> Result<Vec<ManifestTree>> {
    let root = tree.descriptor.digest;
    let mut digests: BTreeSet<Digest> = tree.manifests().iter().map(|tree| tree.descriptor.digest).collect();
    let mut found: Vec<ManifestTree> = Vec::new();
    // One manifest may stand under several tags.
    let mut seen: BTreeSet<(Digest, Option<Tag>)> = BTreeSet::new();
    loop {
        let before = found.len();
        for (entry, tag) in attached(files, index, &digests, &root)? {
            if seen.contains(&(entry.digest, tag.clone())) || tag.is_none() && digests.contains(&entry.digest) {
                continue;
            }
            // What it is, its own bytes say.
            let unsaid = Descriptor { media_type: MediaType::from(String::new()), ..entry.clone() };
            let mut tree = match (read_tree(files, &unsaid, None, source, 0), &mut unreadable) {
                (Ok(tree), _) => tree,
                (Err(error), None) => return Err(error),
                (Err(error), Some(unreadable)) => {
                    seen.insert((entry.digest, tag));
                    unreadable.push((entry.digest, error.in_one_line()));
                    continue;
                }
            };
            // A list may name anything, and in any order.
            if tag.is_none() && !tree.subject.is_some_and(|subject| digests.contains(&subject)) {
                continue;
            }
            seen.insert((entry.digest, tag.clone()));
            tree.tag = tag;
            digests.extend(tree.manifests().iter().map(|manifest| manifest.descriptor.digest));
            found.push(tree);
        }
        if found.len() == before {
            return Ok(found);
        }
    }
}

/// The entries that belong to any of these manifests, and their tags in a registry.
fn attached(
    files: &impl LayoutFiles,
    index: &Index,
    digests: &BTreeSet<Digest>,
    root: &Digest,
) -> Result<Vec<(Descriptor, Option<Tag>)>> {
    let tags: BTreeSet<String> = digests.iter().flat_map(|digest| COSIGN.map(|suffix| cosign_tag(digest, suffix))).collect();
    let lists: BTreeSet<String> = digests.iter().map(list_tag).collect();
    let mut found = Vec::new();
    for entry in &index.manifests {
        let name = entry.annotations.get(layout::REF_NAME);
        let saved = layout::attached_as(entry).map(|suffix| cosign_tag(root, suffix));
        if let Some(tag) = saved.as_ref().or(name.filter(|name| tags.contains(*name))) {
            found.push((entry.clone(), Some(Tag::parse(tag)?)));
            continue;
        }
        let names = Names::parse(&files.read_blob(entry, MANIFEST_LIMIT)?)?;
        if name.is_some_and(|name| lists.contains(name)) {
            // regctl keeps the list of a registry that makes none.
            found.extend(names.manifests.into_iter().map(|listed| (listed, None)));
        } else if names.subject.is_some_and(|subject| digests.contains(&subject.digest)) {
            found.push((entry.clone(), None));
        }
    }
    Ok(found)
}

fn without_referrers(files: &impl LayoutFiles, index: &Index) -> Result<Index> {
    let mut manifests = Vec::new();
    for entry in &index.manifests {
        let unnamed = !entry.annotations.contains_key(layout::REF_NAME);
        if !(unnamed && Names::parse(&files.read_blob(entry, MANIFEST_LIMIT)?)?.subject.is_some()) {
            manifests.push(entry.clone());
        }
    }
    Ok(Index { manifests })
}

fn read_tree(
    files: &impl LayoutFiles,
    descriptor: &Descriptor,
    platform: Option<&Platform>,
    source: Source<'_>,
    depth: usize,
) -> Result<ManifestTree> {
    if depth == NESTING {
        return Err(Error::new(ErrorKind::Corrupt, format!("indexes lie more than {NESTING} deep in indexes")));
    }
    let bytes = files.read_blob(descriptor, MANIFEST_LIMIT)?;
    let mut descriptor = descriptor.clone();
    if descriptor.media_type.is_unspecified() {
        descriptor.media_type = media_type_of(&bytes, descriptor.media_type)?;
    }
    if !descriptor.media_type.is_index() {
        return ManifestTree::manifest(descriptor, bytes, source);
    }
    let index = Index { manifests: Names::parse(&bytes)?.manifests };
    if let Some(wanted) = platform {
        return read_tree(files, &layout::choose(files, &index, wanted, depth)?, platform, source, depth + 1);
    }
    let children = index.manifests.iter().map(|child| read_tree(files, child, None, source, depth + 1));
    ManifestTree::index(descriptor, bytes, children.collect::<Result<_>>()?)
}
