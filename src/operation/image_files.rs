//! Files of an image or a container, taken out without running anything.
//!
//! Folders, files and symbolic links are written; devices and pipes only into a tar. Nothing is
//! written through a link of the image.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Mpimg;
#[cfg(feature = "run")]
use crate::container::{ChangesOver, Container};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Layer};
#[cfg(feature = "run")]
use crate::layer::{Codec, FinishedLayer, LayerWriter, Metadata};
use crate::layer::{Kind, LayerPath, Node, Tree, read_entries};
#[cfg(feature = "run")]
use crate::store::BlobSource;
use crate::store::{ScratchDir, Store};

/// The files of an image.
#[derive(Debug)]
pub struct ImageFiles {
    store: Store,
    tree: Tree,
    layers: Vec<(Layer, PathBuf)>,
    /// Holds the layer of what a container has written.
    #[cfg(feature = "run")]
    written: Option<ScratchDir>,
}

/// A file or folder in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundFile {
    /// Where it is, links followed.
    pub path: LayerPath,
    /// Whether it is a folder.
    pub is_folder: bool,
}

impl Mpimg {
    /// The files of an image. Its layers are fetched.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: a layer is damaged; and what fetching gives.
    pub async fn image_files(&self, image: &Image) -> Result<ImageFiles> {
        let paths = image.layer_files(self.store()?).await?;
        self.files_of(image.layers().iter().cloned().zip(paths).collect()).await
    }

    /// As `image_files`, of layers, each with the file that has its bytes, lowest first.
    pub(super) async fn files_of(&self, layers: Vec<(Layer, PathBuf)>) -> Result<ImageFiles> {
        let store = self.store()?.clone();
        super::blocking(move || {
            let mut tree = Tree::default();
            for (number, (layer, path)) in layers.iter().enumerate() {
                let index = match layer.stored_index(&store)? {
                    Some(index) => index,
                    None => layer.read_index(&store, layer.open_tar(path)?)?,
                };
                tree.apply(&index, number)?;
            }
            Ok(ImageFiles {
                store,
                tree,
                layers,
                #[cfg(feature = "run")]
                written: None,
            })
        })
        .await
    }
}

impl ImageFiles {
    /// These files with what a container has written on top, or with that alone. Blocks.
    #[cfg(feature = "run")]
    pub(super) fn with_container(mut self, container: &Container, image: &Image) -> Result<Self> {
        let scratch = self.store.scratch()?;
        let path = scratch.path().join("written");
        let file = File::create(&path).map_err(|error| Error::io("create", &path, error))?;
        let mut writer = LayerWriter::new(Codec::parse("none")?, 1, file);
        let over = container.changes(&self.store, image, &mut |entry, content| match content {
            Some(mut content) => writer.append_file(entry, &mut content),
            None => writer.append(entry),
        })?;
        let FinishedLayer { descriptor, diff_id, index, .. } = writer.finish()?;
        if over == ChangesOver::Nothing {
            (self.tree, self.layers) = (Tree::default(), Vec::new());
        }
        self.tree.apply(&index, self.layers.len())?;
        self.layers.push((Layer { diff_id, descriptor, source: BlobSource::File(path.clone()) }, path));
        self.written = Some(scratch);
        Ok(self)
    }

    /// What is at `path`: links on the way are followed, one at its end if `follow` says so.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: nothing.
    pub fn find(&self, path: &str, follow: bool) -> Result<FoundFile> {
        let resolved = self.tree.resolve(path, follow)?;
        match resolved.node {
            Some(node) => Ok(FoundFile { is_folder: node.is_dir(), path: resolved.path }),
            None => Err(Error::new(ErrorKind::NotFound, format!("there is no `{path}` in the image"))),
        }
    }

    /// The folders on the way to `path`, outermost first, as far as they are there; with `itself`
    /// that path, too.
    #[cfg(feature = "run")]
    pub(super) fn folders_above(&self, path: &LayerPath, itself: bool) -> Vec<(LayerPath, Metadata)> {
        let own = Some(path.clone()).filter(|path| itself && !path.is_root());
        let node = |folder: LayerPath| self.tree.lookup(&folder).map(|node| (folder, node.metadata.clone()));
        path.ancestors().chain(own).filter_map(node).collect()
    }

    /// Writes what [`find`](Self::find) has found to the path `to`: a folder is made where it is
    /// missing, and what it holds is put into it; a file is replaced. Owners are those of this
    /// process. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: it cannot be written.
    pub fn write_to(&self, found: &FoundFile, to: &Path) -> Result<()> {
        let entries = self.entries(found)?;
        let (files, _scratch) = self.contents(&entries)?;
        for (relative, node) in &entries {
            let path = if relative.as_os_str().is_empty() { to.to_owned() } else { to.join(relative) };
            let cannot = |error| Error::io("write", &path, error);
            match &node.kind {
                Kind::Directory if path.is_dir() => {}
                Kind::Directory => std::fs::create_dir(&path).map_err(cannot)?,
                Kind::File { .. } => {
                    // A link that is there is not followed.
                    remove_other(&path).map_err(cannot)?;
                    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(cannot)?;
                    copy(node, &files, &mut file).map_err(cannot)?;
                    file.set_permissions(Permissions::from_mode(node.metadata.mode & 0o7777)).map_err(cannot)?;
                    // A time before 1970 stays that of now.
                    if let Ok(seconds) = u64::try_from(node.metadata.mtime) {
                        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).map_err(cannot)?;
                    }
                }
                Kind::Symlink { target } => {
                    remove_other(&path).map_err(cannot)?;
                    std::os::unix::fs::symlink(OsStr::from_bytes(target), &path).map_err(cannot)?;
                }
                _ => tracing::info!(path = %path.display(), "a device or pipe is left out"),
            }
        }
        // Last: a folder that nobody may write to gets its files first.
        for (relative, node) in entries.iter().rev().filter(|(_, node)| node.is_dir()) {
            let path = if relative.as_os_str().is_empty() { to.to_owned() } else { to.join(relative) };
            let permissions = Permissions::from_mode(node.metadata.mode & 0o7777);
            std::fs::set_permissions(&path, permissions).map_err(|error| Error::io("change", &path, error))?;
        }
        Ok(())
    }

    /// Writes what [`find`](Self::find) has found as a tar, in which it is called `name`; with an
    /// empty name a folder's content stands at the top. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: `writer` fails.
    pub fn write_tar(&self, found: &FoundFile, name: &str, writer: &mut dyn Write) -> Result<()> {
        let entries = self.entries(found)?;
        let (files, _scratch) = self.contents(&entries)?;
        let cannot = |error: io::Error| Error::new(ErrorKind::Io, "cannot write the tar").with_source(error);
        let mut tar = tar::Builder::new(writer);
        for (relative, node) in &entries {
            let path = if relative.as_os_str().is_empty() { PathBuf::from(name) } else { Path::new(name).join(relative) };
            if path.as_os_str().is_empty() {
                continue;
            }
            // Tars call folders by a slash at the end.
            let path = if node.is_dir() { path.join("") } else { path };
            let mut header = tar::Header::new_gnu();
            header.set_mode(node.metadata.mode & 0o7777);
            header.set_uid(node.metadata.uid.into());
            header.set_gid(node.metadata.gid.into());
            header.set_mtime(u64::try_from(node.metadata.mtime).unwrap_or(0));
            header.set_size(node.kind.size());
            header.set_entry_type(match &node.kind {
                Kind::Directory => tar::EntryType::Directory,
                Kind::Symlink { .. } => tar::EntryType::Symlink,
                Kind::CharDevice { .. } => tar::EntryType::Char,
                Kind::BlockDevice { .. } => tar::EntryType::Block,
                Kind::Fifo => tar::EntryType::Fifo,
                _ => tar::EntryType::Regular,
            });
            match &node.kind {
                Kind::Symlink { target } => tar.append_link(&mut header, &path, OsStr::from_bytes(target)).map_err(cannot)?,
                Kind::File { .. } => {
                    let mut content = content(node, &files).map_err(cannot)?;
                    tar.append_data(&mut header, &path, &mut content).map_err(cannot)?;
                }
                Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                    header.set_device_major(*major).and_then(|()| header.set_device_minor(*minor)).map_err(cannot)?;
                    tar.append_data(&mut header, &path, io::empty()).map_err(cannot)?;
                }
                _ => tar.append_data(&mut header, &path, io::empty()).map_err(cannot)?,
            }
        }
        tar.finish().map_err(cannot)
    }

    /// What is at and below a place, each with its path from there, folders before what they hold.
    fn entries(&self, found: &FoundFile) -> Result<Vec<(PathBuf, &Node)>> {
        let root = self.tree.lookup(&found.path);
        let root = root.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no `{}` in the image", found.path)))?;
        let (mut entries, mut next) = (Vec::new(), vec![(PathBuf::new(), root)]);
        while let Some((path, node)) = next.pop() {
            let below: Vec<_> = node.children().map(|(name, node)| (path.join(OsStr::from_bytes(name)), node)).collect();
            next.extend(below.into_iter().rev());
            entries.push((path, node));
        }
        Ok(entries)
    }

    /// Files of this machine with the bytes of the entries, by the file's number. They live as long
    /// as the folder.
    fn contents(&self, entries: &[(PathBuf, &Node)]) -> Result<(BTreeMap<u64, PathBuf>, ScratchDir)> {
        let scratch = self.store.scratch()?;
        let mut wanted: BTreeMap<usize, BTreeMap<&LayerPath, u64>> = BTreeMap::new();
        for origin in entries.iter().filter_map(|(_, node)| node.origin.as_ref()).filter(|origin| origin.content.is_none()) {
            wanted.entry(origin.layer).or_default().insert(&origin.path, origin.file);
        }
        let mut files = BTreeMap::new();
        for (number, wanted) in wanted {
            let (layer, path) = &self.layers[number];
            let mut missing: BTreeSet<u64> = wanted.values().copied().collect();
            read_entries(layer.open_tar(path)?, |entry, content| {
                let Some(file) = wanted.get(&entry.path).filter(|_| matches!(entry.kind, Kind::File { .. })) else {
                    return Ok(());
                };
                let path = scratch.path().join(file.to_string());
                let mut target = File::create(&path).map_err(|error| Error::io("create", &path, error))?;
                io::copy(content, &mut target).map_err(|error| Error::io("write", &path, error))?;
                missing.remove(file);
                files.insert(*file, path);
                Ok(())
            })?;
            if !missing.is_empty() {
                let message = format!("layer `{}` lacks files that its index names", layer.descriptor.digest);
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        }
        Ok((files, scratch))
    }
}

/// The bytes of a file.
fn content<'n>(node: &'n Node, files: &BTreeMap<u64, PathBuf>) -> io::Result<Box<dyn io::Read + 'n>> {
    let Some(origin) = &node.origin else { return Ok(Box::new(io::empty())) };
    match (&origin.content, files.get(&origin.file)) {
        (Some(bytes), _) => Ok(Box::new(&bytes[..])),
        (None, Some(path)) => Ok(Box::new(File::open(path)?)),
        (None, None) => Ok(Box::new(io::empty())),
    }
}

fn copy(node: &Node, files: &BTreeMap<u64, PathBuf>, file: &mut File) -> io::Result<()> {
    io::copy(&mut content(node, files)?, file).map(drop)
}

/// Removes a file or link that stands in the way of a new one; a folder does not go.
fn remove_other(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.is_dir() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}
