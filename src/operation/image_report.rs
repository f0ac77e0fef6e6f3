//! What takes the room in an image: sizes by layer and folder, what a layer above hides, and files
//! with the same content.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::page::{Page, page};
use super::reproducible;
use super::{Mpimg, blocking, image_size};
use crate::error::Result;
use crate::image::{Image, Layer, Transport, fetch_layers};
use crate::layer::{Kind, LayerIndex, LayerPath, Tree, read_entries};
use crate::oci::{Digest, Platform};

/// Folders below this are summed up: an image decides how deep they are nested.
const DEEPEST: usize = 24;
/// Files and folders smaller than this part of the image are summed up, too.
const SMALLEST: u64 = 4000;
/// The most hidden files, and the most groups of duplicates, that are listed: the largest.
const MOST_LISTED: usize = 500;
/// Files smaller than this, in bytes, are not compared with others.
const SMALLEST_DUPLICATE: u64 = 1024;

/// What takes the room in an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ImageReport {
    /// As it was named.
    pub name: String,
    /// Of its manifest.
    pub digest: Digest,
    /// What it runs on.
    pub platform: String,
    /// When it was made, as its configuration says.
    pub created: Option<String>,
    /// Bytes in a registry.
    pub size: u64,
    /// Configuration of containers, as it is in the image.
    pub config: Value,
    /// Its layers, lowest first.
    pub layers: Vec<LayerReport>,
    /// The largest files of lower layers that a container does not see, largest first.
    pub hidden: Vec<HiddenFile>,
    /// How many such files there are.
    pub hidden_files: u64,
    /// The groups of files with the same content that take the most room, largest first.
    pub duplicates: Vec<DuplicateFiles>,
    /// How many such groups there are.
    pub duplicate_groups: u64,
}

/// What takes the room in a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LayerReport {
    /// Of its bytes as stored.
    pub digest: Digest,
    /// The step that made it.
    pub step: String,
    /// Bytes as stored.
    pub size: u64,
    /// Its files, by folder.
    pub root: FolderReport,
}

/// Sizes of the files at and below a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FolderReport {
    /// The last part of the path; of the root none.
    pub name: String,
    /// Bytes of files that a container sees.
    pub shown: u64,
    /// Bytes of files that a layer above replaces or removes.
    pub hidden: u64,
    /// How many files.
    pub files: u64,
    /// What is in it, without what is too small to be told by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Self>,
}

/// A file that takes room in its layer although a container does not see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HiddenFile {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Its layer, from 0.
    pub layer: usize,
    /// The layer that hides it, from 0.
    pub by: usize,
    /// Whether that layer has something else in its place.
    pub replaced: bool,
    /// Whether what a container sees there has the same content, so that only mode, owner or time
    /// changed.
    pub same_content: bool,
}

/// Files with the same content; links are one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DuplicateFiles {
    /// Bytes of each.
    pub size: u64,
    /// Where they are, sorted.
    pub paths: Vec<String>,
}

impl ImageReport {
    /// All of it as one page for a browser, which needs nothing else.
    pub fn to_html(&self) -> String {
        page(Page::Image, &json!(self))
    }
}

impl Mpimg {
    /// What takes the room in an image. All layers are read; those that are elsewhere are fetched.
    ///
    /// # Errors
    /// Those of [`Mpimg::inspect`].
    pub async fn report(&self, name: Transport, platform: &Platform) -> Result<ImageReport> {
        let named = name.to_string();
        let (image, indexes) = self.look_into(name, platform, true).await?;
        let store = self.open_store().await?;
        let paths = fetch_layers(&store, image.layers()).await?;
        blocking(move || report(named, &image, &indexes.into_iter().flatten().collect::<Vec<_>>(), &paths)).await
    }
}

/// An entry of a layer: the layer's number, and the path.
type Place = (usize, LayerPath);

fn report(name: String, image: &Image, indexes: &[LayerIndex], paths: &[PathBuf]) -> Result<ImageReport> {
    let mut tree = Tree::default();
    indexes.iter().enumerate().try_for_each(|(number, index)| tree.apply(index, number))?;
    let shown = Shown::of(&tree)?;
    let covers: Vec<Cover> = indexes.iter().map(Cover::of).collect();
    let total: u64 = indexes.iter().flat_map(LayerIndex::entries).map(|entry| entry.kind.size()).sum();
    let mut hidden: Vec<(HiddenFile, Place, Option<Place>)> = Vec::new();
    let mut layers = Vec::new();
    let steps = image.config().layer_steps();
    for (number, (layer, index)) in image.layers().iter().zip(indexes).enumerate() {
        let mut root = Folder::default();
        for entry in index.entries().filter(|entry| entry.kind.size() > 0) {
            let (size, place) = (entry.kind.size(), (number, entry.path.clone()));
            let is_hidden = !shown.places.contains(&place);
            root.add(&entry.path, size, is_hidden);
            if is_hidden {
                let (by, replaced) = hidden_by(&covers, number, &entry.path);
                let now = shown.files.get(&entry.path).filter(|(_, now)| *now == size).map(|(place, _)| place.clone());
                let path = entry.path.to_string();
                hidden.push((HiddenFile { path, size, layer: number, by, replaced, same_content: false }, place, now));
            }
        }
        let step = steps.get(number).copied().flatten().and_then(|step| step.created_by.as_deref()).unwrap_or_default();
        layers.push(LayerReport {
            digest: layer.descriptor.digest,
            step: step.split_whitespace().collect::<Vec<_>>().join(" "),
            size: layer.descriptor.size,
            root: root.report(String::new(), total / SMALLEST),
        });
    }
    let hidden_files = hidden.len() as u64;
    hidden.sort_by(|(a, ..), (b, ..)| b.size.cmp(&a.size).then_with(|| (&a.path, a.layer).cmp(&(&b.path, b.layer))));
    hidden.truncate(MOST_LISTED);
    let same_size = shown.same_size();
    let compared = hidden.iter().filter_map(|(_, place, now)| Some([place.clone(), now.clone()?])).flatten();
    let wanted = same_size.iter().flat_map(|places| places.keys().cloned()).chain(compared).collect();
    let digests = digests(image, paths, &wanted)?;
    for (file, place, now) in &mut hidden {
        file.same_content = now.as_ref().is_some_and(|now| digests.contains_key(now) && digests.get(now) == digests.get(place));
    }
    let mut duplicates = Vec::new();
    for places in same_size {
        let mut groups: BTreeMap<Digest, DuplicateFiles> = BTreeMap::new();
        for (place, (path, size)) in places {
            let Some(digest) = digests.get(&place) else { continue };
            let group = groups.entry(*digest).or_insert(DuplicateFiles { size, paths: Vec::new() });
            group.paths.push(path.to_string());
        }
        duplicates.extend(groups.into_values().filter(|group| group.paths.len() > 1));
    }
    duplicates.iter_mut().for_each(|group| group.paths.sort());
    let wasted = |group: &DuplicateFiles| group.size * (group.paths.len() as u64 - 1);
    duplicates.sort_by(|a, b| wasted(b).cmp(&wasted(a)).then_with(|| a.paths.cmp(&b.paths)));
    let duplicate_groups = duplicates.len() as u64;
    duplicates.truncate(MOST_LISTED);
    Ok(ImageReport {
        name,
        digest: image.descriptor().digest,
        platform: image.config().platform().to_string(),
        created: image.config().created.clone(),
        size: image_size(image),
        config: json!(image.config().config),
        layers,
        hidden: hidden.into_iter().map(|(file, ..)| file).collect(),
        hidden_files,
        duplicates,
        duplicate_groups,
    })
}

/// What a container sees.
struct Shown {
    /// Where the bytes of its files are.
    places: HashSet<Place>,
    /// Where the bytes of each path are, and how many.
    files: BTreeMap<LayerPath, (Place, u64)>,
}

impl Shown {
    fn of(tree: &Tree) -> Result<Self> {
        let mut shown = Self { places: HashSet::new(), files: BTreeMap::new() };
        let mut next = vec![(LayerPath::root(), tree.root())];
        while let Some((path, node)) = next.pop() {
            for (name, child) in node.children() {
                next.push((path.child(name)?, child));
            }
            if let Some(origin) = &node.origin {
                let place = (origin.layer, origin.path.clone());
                shown.places.insert(place.clone());
                shown.files.insert(path, (place, node.kind.size()));
            }
        }
        Ok(shown)
    }

    /// Files that could have the same content: those of one size, each once whatever its names.
    fn same_size(&self) -> Vec<BTreeMap<Place, (&LayerPath, u64)>> {
        let mut sizes: BTreeMap<u64, BTreeMap<Place, (&LayerPath, u64)>> = BTreeMap::new();
        for (path, (place, size)) in self.files.iter().filter(|(_, (_, size))| *size >= SMALLEST_DUPLICATE) {
            sizes.entry(*size).or_default().entry(place.clone()).or_insert((path, *size));
        }
        sizes.into_values().filter(|places| places.len() > 1).collect()
    }
}

/// The paths by which a layer hides what is below it.
#[derive(Default)]
struct Cover {
    removed: HashSet<LayerPath>,
    emptied: HashSet<LayerPath>,
    /// Whether each is a folder.
    put: HashMap<LayerPath, bool>,
}

impl Cover {
    fn of(index: &LayerIndex) -> Self {
        let mut cover = Self::default();
        for entry in index.entries() {
            match entry.kind {
                Kind::Whiteout => drop(cover.removed.insert(entry.path)),
                Kind::OpaqueWhiteout => drop(cover.emptied.insert(entry.path)),
                kind => drop(cover.put.insert(entry.path, kind == Kind::Directory)),
            }
        }
        cover
    }
}

/// The layer that hides a path of the layer `number`, and whether it has something there.
fn hidden_by(covers: &[Cover], number: usize, path: &LayerPath) -> (usize, bool) {
    for (by, cover) in covers.iter().enumerate().skip(number + 1) {
        if cover.put.contains_key(path) {
            return (by, true);
        }
        let is_gone = |folder: &LayerPath| {
            cover.removed.contains(folder) || cover.emptied.contains(folder) || cover.put.get(folder) == Some(&false)
        };
        if cover.removed.contains(path) || is_gone(&LayerPath::root()) || path.ancestors().any(|folder| is_gone(&folder)) {
            return (by, false);
        }
    }
    // A tar that has one path twice.
    (number, true)
}

/// Sizes by folder while they are added up.
#[derive(Default)]
struct Folder {
    shown: u64,
    hidden: u64,
    files: u64,
    children: BTreeMap<String, Self>,
}

impl Folder {
    fn add(&mut self, path: &LayerPath, size: u64, is_hidden: bool) {
        let mut place = self;
        place.count(size, is_hidden);
        for name in path.components().take(DEEPEST) {
            place = place.children.entry(String::from_utf8_lossy(name).into_owned()).or_default();
            place.count(size, is_hidden);
        }
    }

    fn count(&mut self, size: u64, is_hidden: bool) {
        *(if is_hidden { &mut self.hidden } else { &mut self.shown }) += size;
        self.files += 1;
    }

    fn report(self, name: String, smallest: u64) -> FolderReport {
        let Self { shown, hidden, files, children } = self;
        let large = children.into_iter().filter(|(_, child)| child.shown + child.hidden > smallest);
        let mut children: Vec<FolderReport> = large.map(|(name, child)| child.report(name, smallest)).collect();
        children.sort_by(|a, b| (b.shown + b.hidden).cmp(&(a.shown + a.hidden)).then_with(|| a.name.cmp(&b.name)));
        FolderReport { name, shown, hidden, files, children }
    }
}

/// The digests of the content of files, each layer read once.
fn digests(image: &Image, paths: &[PathBuf], wanted: &BTreeSet<Place>) -> Result<HashMap<Place, Digest>> {
    let mut digests = HashMap::new();
    let numbers: BTreeSet<usize> = wanted.iter().map(|(number, _)| *number).collect();
    for number in numbers {
        let (Some(layer), Some(path)) = (image.layers().get(number), paths.get(number)) else { continue };
        read_entries(Layer::open_tar(layer, path)?, |entry, content| {
            let place = (number, entry.path);
            if matches!(entry.kind, Kind::File { .. }) && wanted.contains(&place) {
                let digest = reproducible::digest(content, &place.1)?;
                digests.insert(place, digest);
            }
            Ok(())
        })?;
    }
    Ok(digests)
}
