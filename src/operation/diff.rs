//! What differs between two images: configuration, history, layers, packages and files.
//!
//! Files are compared as a container would see them, by what the lists of the layers say; only
//! content that may differ is read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::page::{Page, page};
use super::{Mpimg, blocking};
use crate::error::{ErrorKind, Result, ResultExt as _};
use crate::image::{Image, Layer, Transport, fetch_layers};
use crate::layer::{Kind, LayerPath, Node, Origin, Tree, read_entries};
use crate::oci::{DiffId, Digest, Hasher, Platform, hex};
use crate::sbom::Package;

/// The largest file whose change is shown line by line, in bytes.
const LARGEST_TEXT: u64 = 64 * 1024;
/// So much of the changed files of an image is kept for that.
const MOST_TEXT: u64 = 16 << 20;

/// Which side of a comparison has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// The new image alone.
    Added,
    /// The old image alone.
    Removed,
    /// Both, but not the same.
    Changed,
}

/// One of the two images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffedImage {
    /// As it was named.
    pub name: String,
    /// Of its manifest.
    pub digest: Digest,
}

/// A value of the configuration that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigChange {
    /// Which: `config.Env.PATH`, `architecture`.
    pub field: String,
    /// In the old image; null where it is not set.
    pub old: Value,
    /// In the new one.
    pub new: Value,
}

/// A step or layer that one of the images has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepChange {
    /// Which image has it.
    pub change: Change,
    /// Of a step, what it did; of a layer, its digest.
    pub text: String,
    /// Of a layer, its bytes as stored.
    pub size: Option<u64>,
}

/// A package whose versions differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Whose it is, as [`PackageKind::name`](crate::PackageKind::name) says it.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its versions in the old image.
    pub old: BTreeSet<String>,
    /// Its versions in the new one.
    pub new: BTreeSet<String>,
}

/// A file or folder that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Where it is.
    pub path: String,
    /// Which image has it.
    pub change: Change,
    /// What it is: `file`, `directory`, …
    pub kind: &'static str,
    /// Bytes, of a file; of a folder that one image has, of all files in it.
    pub size: u64,
    /// How many files and folders are in a folder that one image has; they are not listed one by
    /// one.
    pub entries: u64,
    /// What differs.
    pub differs: Vec<Aspect>,
    /// The change of a small text, as a unified diff.
    pub text: Option<String>,
}

/// What differs of a file that both images have: `kind`, `mode`, `owner`, `size`, `content`,
/// `time`, `link`, `attributes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Aspect {
    /// Which.
    pub what: &'static str,
    /// In the old image; of content, a digest.
    pub old: String,
    /// In the new one.
    pub new: String,
}

/// What differs between two images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImageDiff {
    /// The first.
    pub old: DiffedImage,
    /// The second.
    pub new: DiffedImage,
    /// Values of the configuration.
    pub config: Vec<ConfigChange>,
    /// Steps that one of them has, in order.
    pub history: Vec<StepChange>,
    /// Layers that one of them has, in order.
    pub layers: Vec<StepChange>,
    /// Packages, sorted.
    pub packages: Vec<PackageChange>,
    /// Files, sorted by path.
    pub files: Vec<FileChange>,
}

impl ImageDiff {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        let Self { old: _, new: _, config, history, layers, packages, files } = self;
        config.is_empty() && history.is_empty() && layers.is_empty() && packages.is_empty() && files.is_empty()
    }

    /// All of it, and `same`, as `mpimg diff --json` prints it.
    pub fn to_json(&self) -> Value {
        let mut json = serde_json::json!(self);
        json["same"] = self.is_same().into();
        json
    }

    /// All of it as one page for a browser, which needs nothing else.
    pub fn to_html(&self) -> String {
        page(Page::Diff, &self.to_json())
    }
}

/// An image with its files.
struct Side {
    image: Image,
    tree: Tree,
    packages: Vec<Package>,
}

impl Mpimg {
    /// Compares two images. Layers that are elsewhere are fetched.
    ///
    /// # Errors
    /// Those of [`Mpimg::find`] and [`Mpimg::inventory`].
    pub async fn diff(&self, old: Transport, new: Transport, platform: &Platform) -> Result<ImageDiff> {
        let named = [old.to_string(), new.to_string()];
        let [old, new] = [self.side(old, platform).await?, self.side(new, platform).await?];
        let store = self.open_store().await?;
        let [old_name, new_name] = named;
        let described = |name: String, side: &Side| DiffedImage { name, digest: side.image.descriptor().digest };
        let mut diff = ImageDiff {
            old: described(old_name, &old),
            new: described(new_name, &new),
            config: config(&old.image, &new.image)?,
            history: steps(&history(&old.image), &history(&new.image)),
            layers: layers(&old.image, &new.image),
            packages: packages(&old.packages, &new.packages),
            files: Vec::new(),
        };
        let paths = [fetch_layers(&store, old.image.layers()).await?, fetch_layers(&store, new.image.layers()).await?];
        diff.files = blocking(move || files(&old, &new, paths)).await?;
        Ok(diff)
    }

    async fn side(&self, name: Transport, platform: &Platform) -> Result<Side> {
        let (image, indexes) = self.look_into(name, platform, true).await?;
        let mut tree = Tree::default();
        for (number, index) in indexes.iter().flatten().enumerate() {
            tree.apply(index, number)?;
        }
        let packages = self.packages(&image).await?;
        Ok(Side { image, tree, packages })
    }
}

/// The configuration as single values. Variables are told apart by their names.
fn values(image: &Image) -> Result<BTreeMap<String, Value>> {
    let mut whole =
        serde_json::to_value(image.config()).context(ErrorKind::Corrupt, || "cannot read the configuration".into())?;
    if let Some(whole) = whole.as_object_mut() {
        // These are compared on their own.
        whole.remove("history");
        whole.remove("rootfs");
    }
    if let Some(env) = whole.pointer_mut("/config/Env") {
        let pair = |pair: &Value| {
            let (name, value) = pair.as_str()?.split_once('=')?;
            Some((name.to_owned(), Value::from(value)))
        };
        *env = env.as_array().into_iter().flatten().filter_map(pair).collect::<serde_json::Map<_, _>>().into();
    }
    let mut found = BTreeMap::new();
    let mut next = vec![(String::new(), whole)];
    while let Some((name, value)) = next.pop() {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                let below = |key: String| if name.is_empty() { key } else { format!("{name}.{key}") };
                next.extend(fields.into_iter().map(|(key, value)| (below(key), value)));
            }
            Value::Null => {}
            value => drop(found.insert(name, value)),
        }
    }
    Ok(found)
}

fn config(old: &Image, new: &Image) -> Result<Vec<ConfigChange>> {
    let (old, new) = (values(old)?, values(new)?);
    let fields: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let value = |values: &BTreeMap<String, Value>, field: &String| values.get(field).cloned().unwrap_or_default();
    let change = |field: &String| ConfigChange { field: field.clone(), old: value(&old, field), new: value(&new, field) };
    Ok(fields.into_iter().map(change).filter(|change| change.old != change.new).collect())
}

fn history(image: &Image) -> Vec<String> {
    let steps = image.config().history.iter().map(|step| step.created_by.as_deref().unwrap_or("-"));
    steps.map(|step| step.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What only one of two lists has, in order.
fn steps(old: &[String], new: &[String]) -> Vec<StepChange> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.iter().map(String::as_str).collect(), new.iter().map(String::as_str).collect());
    let diff = TextDiff::from_slices(&old, &new);
    let change = |tag| match tag {
        ChangeTag::Insert => Some(Change::Added),
        ChangeTag::Delete => Some(Change::Removed),
        ChangeTag::Equal => None,
    };
    let changes = diff.iter_all_changes().filter_map(|one| Some((change(one.tag())?, one.value().to_owned())));
    changes.map(|(change, text)| StepChange { change, text, size: None }).collect()
}

fn layers(old: &Image, new: &Image) -> Vec<StepChange> {
    let digests = |image: &Image| image.layers().iter().map(|layer| layer.descriptor.digest.to_string()).collect::<Vec<_>>();
    let all = || old.layers().iter().chain(new.layers());
    let size =
        |digest: &str| all().find(|layer| layer.descriptor.digest.to_string() == digest).map(|layer| layer.descriptor.size);
    let changes = steps(&digests(old), &digests(new)).into_iter();
    changes.map(|change| StepChange { size: size(&change.text), ..change }).collect()
}

fn packages(old: &[Package], new: &[Package]) -> Vec<PackageChange> {
    let mut all: BTreeMap<_, [BTreeSet<String>; 2]> = BTreeMap::new();
    for (side, packages) in [old, new].into_iter().enumerate() {
        for package in packages {
            // The same version for other platforms, or of another distribution, has another package
            // URL.
            let versions = all.entry((package.kind, &package.name)).or_default();
            versions[side].insert(package.version.clone());
        }
    }
    let differing = all.into_iter().filter(|(_, [old, new])| old != new);
    differing.map(|((kind, name), [old, new])| PackageChange { kind: kind.name(), name: name.clone(), old, new }).collect()
}

/// Where the content of a file is: on which side, in which layer, at which path.
type Place = (usize, usize, LayerPath);

/// What was read of a file.
struct Content {
    digest: Digest,
    bytes: Option<Vec<u8>>,
}

fn files(old: &Side, new: &Side, paths: [Vec<std::path::PathBuf>; 2]) -> Result<Vec<FileChange>> {
    let sides = [old, new];
    let mut pairs = Vec::new();
    let mut next = vec![(LayerPath::root(), Some(old.tree.root()), Some(new.tree.root()))];
    while let Some((path, old, new)) = next.pop() {
        if let (Some(old), Some(new)) = (old, new) {
            let names: BTreeSet<&[u8]> = old.children().chain(new.children()).map(|(name, _)| name).collect();
            for name in names.into_iter().rev() {
                next.push((path.child(name)?, old.child(name), new.child(name)));
            }
        }
        pairs.push((path, old, new));
    }
    // Content is read where the lists cannot tell: another layer, the same size; or a text whose
    // change can be shown.
    let mut wanted: BTreeMap<Place, bool> = BTreeMap::new();
    let mut kept = 0;
    for (_, old, new) in &pairs {
        let Some((first, second)) = origins(*old, *new).filter(|(first, second)| !same_place(sides, first, second)) else {
            continue;
        };
        let (old_size, new_size) = (old.map_or(0, |node| node.kind.size()), new.map_or(0, |node| node.kind.size()));
        let shown = old_size.max(new_size) <= LARGEST_TEXT && kept + old_size + new_size <= MOST_TEXT;
        if shown {
            kept += old_size + new_size;
        }
        if shown || old_size == new_size {
            wanted.insert((0, first.layer, first.path.clone()), shown);
            wanted.insert((1, second.layer, second.path.clone()), shown);
        }
    }
    let contents = read(sides, &paths, &wanted)?;
    let mut changes = Vec::new();
    for (path, old, new) in pairs {
        let change = match (old, new) {
            (Some(old), Some(new)) => compared(sides, &path, old, new, &contents),
            (Some(old), None) => Some(alone(&path, Change::Removed, old)),
            (None, Some(new)) => Some(alone(&path, Change::Added, new)),
            (None, None) => None,
        };
        changes.extend(change);
    }
    Ok(changes)
}

fn origins<'a>(old: Option<&'a Node>, new: Option<&'a Node>) -> Option<(&'a Origin, &'a Origin)> {
    Some((old?.origin.as_ref()?, new?.origin.as_ref()?))
}

/// Whether two files are the same entry of the same layer.
fn same_place(sides: [&Side; 2], old: &Origin, new: &Origin) -> bool {
    let diff_id =
        |side: usize, origin: &Origin| -> Option<DiffId> { Some(sides[side].image.layers().get(origin.layer)?.diff_id) };
    old.path == new.path && diff_id(0, old) == diff_id(1, new)
}

/// Reads the wanted files, each layer once.
fn read(
    sides: [&Side; 2],
    paths: &[Vec<std::path::PathBuf>; 2],
    wanted: &BTreeMap<Place, bool>,
) -> Result<BTreeMap<Place, Content>> {
    let mut contents = BTreeMap::new();
    let layers: BTreeSet<(usize, usize)> = wanted.keys().map(|(side, layer, _)| (*side, *layer)).collect();
    for (side, number) in layers {
        let (Some(layer), Some(path)) = (sides[side].image.layers().get(number), paths[side].get(number)) else { continue };
        read_entries(Layer::open_tar(layer, path)?, |entry, content| {
            let place = (side, number, entry.path.clone());
            let Some(keep) = wanted.get(&place).filter(|_| matches!(entry.kind, Kind::File { .. })) else { return Ok(()) };
            let (mut hasher, mut bytes, mut buffer) = (Hasher::new(), Vec::new(), vec![0; 64 * 1024]);
            loop {
                let length = content.read(&mut buffer).context(ErrorKind::Corrupt, || format!("cannot read `{}`", entry.path))?;
                if length == 0 {
                    break;
                }
                hasher.update(&buffer[..length]);
                if *keep {
                    bytes.extend_from_slice(&buffer[..length]);
                }
            }
            contents.insert(place, Content { digest: hasher.finish(), bytes: keep.then_some(bytes) });
            Ok(())
        })?;
    }
    Ok(contents)
}

/// A file or folder that one image has.
fn alone(path: &LayerPath, change: Change, node: &Node) -> FileChange {
    let (mut entries, mut size) = (0, 0);
    let mut next = vec![node];
    while let Some(node) = next.pop() {
        size += node.kind.size();
        next.extend(node.children().map(|(_, node)| node));
        entries += 1;
    }
    let kind = node.kind.describe().0;
    FileChange { path: path.to_string(), change, kind, size, entries: entries - 1, differs: Vec::new(), text: None }
}

fn compared(
    sides: [&Side; 2],
    path: &LayerPath,
    old: &Node,
    new: &Node,
    contents: &BTreeMap<Place, Content>,
) -> Option<FileChange> {
    let mut differs = Vec::new();
    let mut note = |what, old: String, new: String| {
        if old != new {
            differs.push(Aspect { what, old, new });
        }
    };
    let ((old_kind, old_link), (new_kind, new_link)) = (old.kind.describe(), new.kind.describe());
    note("kind", old_kind.into(), new_kind.into());
    note("link", old_link.unwrap_or_default(), new_link.unwrap_or_default());
    let (before, after) = (&old.metadata, &new.metadata);
    note("mode", format!("{:04o}", before.mode), format!("{:04o}", after.mode));
    note("owner", format!("{}:{}", before.uid, before.gid), format!("{}:{}", after.uid, after.gid));
    note("attributes", attributes(old), attributes(new));
    note("size", old.kind.size().to_string(), new.kind.size().to_string());
    let mut text = None;
    if let Some((first, second)) = origins(Some(old), Some(new)).filter(|(first, second)| !same_place(sides, first, second)) {
        let content = |side: usize, origin: &Origin| contents.get(&(side, origin.layer, origin.path.clone()));
        if let (Some(old), Some(new)) = (content(0, first), content(1, second)) {
            note("content", old.digest.to_string(), new.digest.to_string());
            text = unified(path, old, new);
        }
    }
    note("time", before.mtime.to_string(), after.mtime.to_string());
    let size = new.kind.size();
    let change = FileChange { path: path.to_string(), change: Change::Changed, kind: new_kind, size, entries: 0, differs, text };
    (!change.differs.is_empty()).then_some(change)
}

/// Extended attributes, and the numbers of a device.
fn attributes(node: &Node) -> String {
    let mut text: Vec<String> = Vec::new();
    if let Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } = node.kind {
        text.push(format!("{major}:{minor}"));
    }
    text.extend(node.metadata.xattrs.iter().map(|(name, value)| format!("{}={}", String::from_utf8_lossy(name), hex(value))));
    text.join(" ")
}

fn unified(path: &LayerPath, old: &Content, new: &Content) -> Option<String> {
    let text = |content: &Content| {
        let text = String::from_utf8(content.bytes.clone()?).ok()?;
        (!text.contains('\0')).then_some(text)
    };
    let (old_text, new_text) = (text(old)?, text(new)?);
    if old.digest == new.digest {
        return None;
    }
    let diff = TextDiff::from_lines(&old_text, &new_text);
    Some(diff.unified_diff().context_radius(3).header(&format!("a{path}"), &format!("b{path}")).to_string())
}
