//! What a container would find: the files of an image, applied by umoci, and the configuration that
//! skopeo reads from it.
//!
//! Modification times are left out: two builds of one Dockerfile at two moments differ in them.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::{judge, run};

/// One file, with all that two images must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// As `ls -l` shows it, such as `drwxr-xr-x`.
    mode: String,
    uid: u32,
    gid: u32,
    content: Content,
    /// `security.capability`, in hexadecimal.
    capability: Option<String>,
    /// The first path, in order, of the files that share this inode.
    linked_with: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    None,
    Text(String),
    Bytes { size: u64, sha256: String },
    Target(String),
    Device(u64),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.mode, self.uid, self.gid)?;
        match &self.content {
            Content::None => {}
            Content::Text(text) => write!(f, " = {text:?}")?,
            Content::Bytes { size, sha256 } => write!(f, " {size} bytes, sha256 {}", &sha256[..16])?,
            Content::Target(target) => write!(f, " -> {target}")?,
            Content::Device(device) => write!(f, " device {device:#x}")?,
        }
        if let Some(capability) = &self.capability {
            write!(f, " capability {capability}")?;
        }
        self.linked_with.iter().try_for_each(|first| write!(f, " same file as {first}"))
    }
}

/// All files of an image by path, `/` first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// Applies all layers of the image `tag` in an OCI layout to an empty folder and reads that.
    pub(crate) fn of_layout(layout: &Path, tag: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        unpack(layout, tag, &root);
        Self::read(&root)
    }

    /// Reads the files in `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        let mut inodes = BTreeMap::new();
        tree.add(root, root, &mut inodes);
        let shared: BTreeMap<_, _> =
            inodes.into_values().filter(|paths: &Vec<String>| paths.len() > 1).fold(BTreeMap::new(), |mut shared, mut paths| {
                paths.sort();
                let first = paths[0].clone();
                shared.extend(paths.into_iter().map(|path| (path, first.clone())));
                shared
            });
        for (path, first) in shared {
            tree.0.get_mut(&path).unwrap().linked_with = (path != first).then_some(first);
        }
        tree
    }

    fn add(&mut self, root: &Path, path: &Path, inodes: &mut BTreeMap<u64, Vec<String>>) {
        let metadata = path.symlink_metadata().unwrap();
        let name = format!("/{}", path.strip_prefix(root).unwrap().display());
        if !metadata.is_dir() && metadata.nlink() > 1 {
            inodes.entry(metadata.ino()).or_default().push(name.clone());
        }
        let node = Node {
            mode: mode(&metadata),
            uid: metadata.uid(),
            gid: metadata.gid(),
            content: content(path, &metadata),
            capability: capability(path),
            linked_with: None,
        };
        self.0.insert(name, node);
        if metadata.is_dir() {
            std::fs::read_dir(path).unwrap().for_each(|entry| self.add(root, &entry.unwrap().path(), inodes));
        }
    }

    /// Leaves out these paths and what is below them.
    pub(crate) fn without(mut self, paths: &[&str]) -> Self {
        self.0.retain(|path, _| {
            !paths.iter().any(|left_out| path.strip_prefix(left_out).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        });
        self
    }

    /// Leaves out the content of these files and of those below these folders.
    pub(crate) fn without_content(mut self, paths: &[&str]) -> Self {
        let below =
            |path: &str, folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let named = self.0.iter_mut().filter(|(path, _)| paths.iter().any(|left_out| below(path, left_out)));
        named.for_each(|(_, node)| node.content = Content::None);
        self
    }

    /// Leaves out the paths of which `matching` is true.
    pub(crate) fn without_matching(mut self, matching: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|path, _| !matching(path));
        self
    }

    /// All paths, in order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> + '_ {
        self.0.keys().cloned()
    }

    /// The differences of two trees as lines to read, each tree under its name.
    pub(crate) fn differences(&self, name: &str, other: &Self, other_name: &str) -> Vec<String> {
        let mut paths: Vec<&String> = self.0.keys().chain(other.0.keys()).collect();
        paths.sort();
        paths.dedup();
        let show = |node: Option<&Node>| node.map_or("missing".to_owned(), ToString::to_string);
        paths
            .into_iter()
            .filter(|path| self.0.get(*path) != other.0.get(*path))
            .map(|path| format!("{path}\n  {name}: {}\n  {other_name}: {}", show(self.0.get(path)), show(other.0.get(path))))
            .collect()
    }
}

/// umoci applies the image `tag` of an OCI layout to the new folder `root`.
pub(crate) fn unpack(layout: &Path, tag: &str, root: &Path) {
    let image = format!("{}:{tag}", layout.display());
    run(judge("umoci").args(["raw", "unpack", "--image", &image]).arg(root));
}

/// The image configuration, as skopeo finds it in an image that it checks.
pub(crate) fn config_of_layout(layout: &Path, tag: &str) -> serde_json::Value {
    let image = format!("oci:{}:{tag}", layout.display());
    let config = run(judge("skopeo").args(["--insecure-policy", "inspect", "--config", "--raw", &image]));
    serde_json::from_str(&config).unwrap()
}

fn mode(metadata: &std::fs::Metadata) -> String {
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_fifo() => 'p',
        kind if kind.is_char_device() => 'c',
        kind if kind.is_block_device() => 'b',
        kind if kind.is_socket() => 's',
        _ => '-',
    };
    let bits = metadata.mode();
    let triple = |shift: u32, special: u32, lower: char| {
        let bit = |mask: u32, letter: char| if bits >> shift & mask != 0 { letter } else { '-' };
        let execute = match (bits & special != 0, bits >> shift & 1 != 0) {
            (true, true) => lower,
            (true, false) => lower.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        };
        [bit(4, 'r'), bit(2, 'w'), execute]
    };
    let triples = [triple(6, 0o4000, 's'), triple(3, 0o2000, 's'), triple(0, 0o1000, 't')];
    std::iter::once(kind).chain(triples.into_iter().flatten()).collect()
}

fn content(path: &Path, metadata: &std::fs::Metadata) -> Content {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return Content::Target(path.read_link().unwrap().display().to_string());
    }
    if kind.is_char_device() || kind.is_block_device() {
        return Content::Device(metadata.rdev());
    }
    if !kind.is_file() {
        return Content::None;
    }
    let bytes = std::fs::read(path).unwrap();
    match String::from_utf8(bytes) {
        Ok(text) if text.len() <= 80 => Content::Text(text),
        text => {
            let bytes = text.map_or_else(std::string::FromUtf8Error::into_bytes, String::into_bytes);
            Content::Bytes { size: bytes.len() as u64, sha256: hex(&Sha256::digest(&bytes)) }
        }
    }
}

fn capability(path: &Path) -> Option<String> {
    let mut value = [0; 64];
    let length = rustix::fs::lgetxattr(path.as_os_str().as_bytes(), "security.capability", &mut value).ok()?;
    Some(hex(&value[..length]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
