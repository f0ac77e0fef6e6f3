//! What is installed in an image: what its layers tell, as it is after the last one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::facts::LayerFacts;
use super::license;
use super::package::{Distribution, Package, PackageKind, PackagePlace, PackageRecord};
use super::readers::Fact;
use crate::error::Result;
use crate::layer::{Kind, LayerPath, Node, Origin, Tree};

/// Where package managers keep what they know: theirs, although no package lists it.
const DATABASES: [&str; 6] =
    ["var/lib/dpkg/", "lib/apk/db/", "usr/lib/apk/db/", "var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/"];

/// What is installed in an image.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The packages, sorted, each once.
    pub packages: Vec<Package>,
    /// How many regular files the image has.
    pub files: u64,
    /// How many of these belong to no package that was found.
    pub files_without_package: u64,
    /// What could not be read.
    pub notices: Vec<String>,
}

/// What a file says that is still there after the last layer.
struct RemainingFact<'a> {
    path: LayerPath,
    origin: &'a Origin,
    fact: &'a Fact,
}

impl Inventory {
    /// What is installed in an image of these layers, lowest first.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt): a layer is not a layer over those below
    /// it.
    pub fn of(layers: &[LayerFacts]) -> Result<Self> {
        let mut tree = Tree::default();
        let mut facts: HashMap<(usize, &LayerPath), &Fact> = HashMap::new();
        for (number, layer) in layers.iter().enumerate() {
            tree.apply(&layer.index, number)?;
            facts.extend(layer.facts.files.iter().map(|(path, fact)| ((number, path), fact)));
        }
        let mut remaining: Vec<RemainingFact<'_>> = Vec::new();
        for_each_file(&tree, &Nodes::new(), |folder, name, node, _| {
            if let Some(origin) = &node.origin
                && let Some(fact) = facts.get(&(origin.layer, &origin.path))
                && let Ok(path) = folder.child(name)
            {
                remaining.push(RemainingFact { path, origin, fact });
            }
        });
        let fact_at = |path: &str| {
            let origin = tree.resolve(path, true).ok()?.node?.origin.as_ref()?;
            facts.get(&(origin.layer, &origin.path)).copied()
        };
        let distribution = ["etc/os-release", "usr/lib/os-release"].iter().find_map(|path| match fact_at(path)? {
            Fact::Release(distribution) => Some(distribution),
            _ => None,
        });
        let mut packages: BTreeMap<String, Package> = BTreeMap::new();
        let mut normal = HashMap::new();
        for RemainingFact { path, origin, fact } in &remaining {
            let Fact::Packages(found) = fact else { continue };
            let brought = Brought { facts: &facts, origin, layers: layers.len() };
            let first = brought.first_layers(found);
            for (one, layer) in found.iter().zip(first) {
                let copyright = || fact_at(&format!("usr/share/doc/{}/copyright", one.name));
                let of_debian = match (one.kind == PackageKind::Debian).then(copyright).flatten() {
                    Some(Fact::Licenses(licenses)) => licenses.as_slice(),
                    _ => &[],
                };
                let place = PackagePlace { path: format!("{path}{}", one.inside), layer };
                add(&mut packages, &mut normal, one, of_debian, distribution, place);
            }
        }
        let (files, files_without_package) = count(&tree, &remaining);
        let mut packages: Vec<Package> = packages.into_values().collect();
        packages.sort();
        let notices: BTreeSet<String> = layers.iter().flat_map(|layer| layer.facts.notices.iter().cloned()).collect();
        Ok(Self { packages, files, files_without_package, notices: notices.into_iter().collect() })
    }
}

/// Puts a package in. One that is there already is at one more place. `normal` keeps what words of
/// packages are as licences: thousands of packages share a few.
fn add<'a>(
    packages: &mut BTreeMap<String, Package>,
    normal: &mut HashMap<&'a str, String>,
    found: &'a PackageRecord,
    licenses: &'a [String],
    distribution: Option<&Distribution>,
    place: PackagePlace,
) {
    let purl = found.purl(distribution);
    let package = packages.entry(purl.clone()).or_insert_with(|| Package {
        kind: found.kind,
        name: full_name(found),
        version: found.version.clone(),
        purl,
        licenses: Vec::new(),
        checksum: None,
        places: Vec::new(),
    });
    let all: BTreeSet<String> = package
        .licenses
        .drain(..)
        .chain(
            found
                .licenses
                .iter()
                .chain(licenses)
                .map(|words| normal.entry(words).or_insert_with(|| license::normal(words)).clone()),
        )
        .filter(|license| !license.is_empty())
        .collect();
    package.licenses = all.into_iter().collect();
    if package.checksum.is_none() {
        package.checksum.clone_from(&found.checksum);
    }
    if let Err(at) = package.places.binary_search(&place) {
        package.places.insert(at, place);
    }
}

/// As its users write it: with scope or path where these are part of the name.
fn full_name(found: &PackageRecord) -> String {
    match found.kind {
        PackageKind::Npm | PackageKind::Go if !found.namespace.is_empty() => format!("{}/{}", found.namespace, found.name),
        _ => found.name.clone(),
    }
}

/// Which layer brought the packages of a database, which is written again whenever one is added.
struct Brought<'a> {
    facts: &'a HashMap<(usize, &'a LayerPath), &'a Fact>,
    origin: &'a Origin,
    layers: usize,
}

impl Brought<'_> {
    /// For each package the lowest layer since which the database has listed it.
    fn first_layers(&self, found: &[PackageRecord]) -> Vec<usize> {
        let mut first = vec![self.origin.layer; found.len()];
        if !found.iter().any(|one| one.kind.of_distribution()) {
            return first;
        }
        let mut listed: Vec<bool> = vec![true; found.len()];
        for layer in (0..self.origin.layer.min(self.layers)).rev() {
            let Some(Fact::Packages(older)) = self.facts.get(&(layer, &self.origin.path)) else { continue };
            let older: HashSet<(&str, &str)> = older.iter().map(|one| (&*one.name, &*one.version)).collect();
            for (number, one) in found.iter().enumerate() {
                listed[number] &= older.contains(&(&*one.name, &*one.version));
                if listed[number] {
                    first[number] = layer;
                }
            }
        }
        first
    }
}

/// Calls `each` with every regular file of an image: its folder, its name, and whether it is below
/// one of `folders`.
fn for_each_file<'t>(tree: &'t Tree, folders: &Nodes, mut each: impl FnMut(&LayerPath, &[u8], &'t Node, bool)) {
    let mut next = vec![(LayerPath::root(), tree.root(), false)];
    while let Some((path, folder, is_below)) = next.pop() {
        let is_below = is_below || folders.contains(&std::ptr::from_ref(folder));
        for (name, node) in folder.children() {
            match &node.kind {
                Kind::Directory => next.extend(path.child(name).ok().map(|path| (path, node, is_below))),
                Kind::File { .. } => each(&path, name, node, is_below),
                _ => {}
            }
        }
    }
}

/// Nodes of a tree that is not changed meanwhile.
type Nodes = HashSet<*const Node>;

/// Finds what is at the paths that packages list, as they were before /bin became a link to
/// usr/bin. Packages list some 100,000 paths in few folders: with each followed from the root, and
/// all kept as paths, this took twice as long as the rest of an inventory.
struct ListedPaths<'t, 'p> {
    tree: &'t Tree,
    folders: HashMap<&'p [u8], Option<&'t Node>>,
}

impl<'t, 'p> ListedPaths<'t, 'p> {
    /// What is there; a link at the end is not followed.
    fn find(&mut self, path: &'p [u8]) -> Option<&'t Node> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let (folder, name) = match memchr::memrchr(b'/', path) {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        let at = |path, follow_last| self.tree.resolve(path, follow_last).ok().and_then(|resolved| resolved.node);
        if matches!(name, b"" | b"." | b"..") {
            return at(path, false);
        }
        (*self.folders.entry(folder).or_insert_with(|| at(folder, true)))?.child(name)
    }
}

/// How many files there are, and how many belong to no package.
fn count<'p>(tree: &Tree, remaining: &'p [RemainingFact<'p>]) -> (u64, u64) {
    let (mut owned, mut folders) = (Nodes::new(), Nodes::new());
    let mut listed = ListedPaths { tree, folders: HashMap::new() };
    let mut own = |path: &'p [u8]| {
        let of = if path.ends_with(b"/") { &mut folders } else { &mut owned };
        of.extend(listed.find(path).map(std::ptr::from_ref));
    };
    DATABASES.iter().for_each(|folder| own(folder.as_bytes()));
    for RemainingFact { path, fact, .. } in remaining {
        match fact {
            Fact::Owned(paths) => paths.iter().for_each(&mut own),
            Fact::Packages(found) => {
                own(path.as_bytes());
                found.iter().flat_map(|one| one.owns.iter()).for_each(&mut own);
            }
            _ => {}
        }
    }
    let (mut all, mut without) = (0, 0);
    for_each_file(tree, &folders, |_, _, node, is_below| {
        all += 1;
        without += u64::from(!is_below && !owned.contains(&std::ptr::from_ref(node)));
    });
    (all, without)
}
