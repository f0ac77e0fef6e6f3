//! Files of this machine into a container.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::{FoundFile, ImageFiles, Mpimg, blocking};
use crate::container::{Container, ContainerState};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Entry, Kind, LayerPath, LayerWriter, Metadata, read_archive};

/// What is copied into a container.
pub enum CopyIntoSource {
    /// A file or folder of this machine, or with a `/.` at its end what a folder holds.
    Path {
        /// Where it is.
        path: PathBuf,
        /// Copy what a link at its end leads to, not the link.
        follow: bool,
    },
    /// What is in this tar, into a folder that is there.
    Tar(Box<dyn Read + Send>),
}

impl Mpimg {
    /// Copies into a container at `target`, by docker's rules: what is copied gets the name of a
    /// folder that is there, or the last part of the path itself; owners and permissions stay.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: the folder it would be in is not there. [`ErrorKind::Usage`]: a
    /// folder over a file, or the other way round; a container that has ended; a place in a volume.
    /// [`ErrorKind::Unsupported`]: see [`Container`](crate::container::Container).
    pub async fn copy_into_container(&self, container: &Container, source: CopyIntoSource, target: &str) -> Result<()> {
        let files = self.container_files(container).await?;
        let (container, store, target) = (container.clone(), self.store()?.clone(), target.to_owned());
        blocking(move || {
            let place = Place::find(&files, &source, &target)?;
            let info = container.info()?;
            // The namespaces of a container that runs have its volumes; the layers of one that does
            // not would be under them.
            let volume = info
                .spec
                .volumes
                .iter()
                .find(|volume| LayerPath::clean(&volume.target).is_ok_and(|volume| place.path.starts_with(&volume)));
            if let Some(volume) = volume {
                return Err(Error::new(ErrorKind::Usage, format!("`{}` is in a volume of the container", place.path))
                    .with_hint(format!("copy into `{}`, which it shows there", volume.source.display())));
            }
            let created = info.state == ContainerState::Created;
            container.copy_in(&store, |writer| {
                if created {
                    // A layer names the folders on the way, so that they stay as they are.
                    for (path, metadata) in files.folders_above(&place.path, place.content_only) {
                        writer.append(&Entry { path, kind: Kind::Directory, metadata })?;
                    }
                }
                match source {
                    CopyIntoSource::Path { path, follow } => append(writer, &path, follow, place),
                    CopyIntoSource::Tar(tar) => append_tar(writer, tar, &place.path),
                }
            })
        })
        .await
    }
}

/// Where something is copied to.
struct Place {
    path: LayerPath,
    /// It is a folder that stays as it is and gets what the source holds.
    content_only: bool,
}

impl Place {
    fn find(files: &ImageFiles, source: &CopyIntoSource, target: &str) -> Result<Self> {
        let usage = |message: &str| Error::new(ErrorKind::Usage, message);
        let there = match files.find(target, true) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let CopyIntoSource::Path { path, follow } = source else {
            return match there {
                Some(FoundFile { path, is_folder: true, .. }) => Ok(Self { path, content_only: true }),
                _ => Err(usage("the destination must be a directory")),
            };
        };
        let metadata = if *follow { path.metadata() } else { path.symlink_metadata() };
        let metadata = metadata.map_err(|error| Error::io("look at", path, error))?;
        let content_only = path.as_os_str().as_bytes().ends_with(b"/.") || path == Path::new(".");
        match there {
            Some(found) if found.is_folder && metadata.is_dir() && content_only => Ok(Self { path: found.path, content_only }),
            Some(found) if found.is_folder => {
                let name = path.canonicalize().ok().filter(|_| *follow || metadata.is_dir());
                let name = path.file_name().map(OsStr::to_owned).or_else(|| Some(name?.file_name()?.to_owned()));
                let name = name.ok_or_else(|| usage("the source has no name"))?;
                Ok(Self { path: found.path.child(name.as_bytes())?, content_only: false })
            }
            Some(_) if metadata.is_dir() => Err(usage("cannot copy directory")),
            Some(found) => Ok(Self { path: found.path, content_only: false }),
            None if target.ends_with('/') && !metadata.is_dir() => Err(usage("no such directory")),
            None => {
                let target = target.trim_end_matches('/');
                let (parent, name) = target.rsplit_once('/').unwrap_or(("", target));
                let parent = files.find(&format!("{parent}/"), true)?;
                if !parent.is_folder {
                    return Err(usage("no such directory"));
                }
                Ok(Self { path: parent.path.child(name.as_bytes())?, content_only: false })
            }
        }
    }
}

/// Appends what is at `from`, and what is below it, as `to`.
fn append(writer: &mut LayerWriter<File>, from: &Path, follow: bool, place: Place) -> Result<()> {
    let Place { path: to, content_only } = place;
    let metadata = if follow { from.metadata() } else { from.symlink_metadata() };
    let metadata = metadata.map_err(|error| Error::io("look at", from, error))?;
    let kind = metadata.file_type();
    let numbers = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let entry = |kind: Kind| Entry {
        path: to.clone(),
        kind,
        metadata: Metadata::new(metadata.mode() & 0o7777, metadata.uid(), metadata.gid(), metadata.mtime()),
    };
    if to.name().is_some_and(|name| name.starts_with(b".wh.")) {
        return Err(Error::new(ErrorKind::Unsupported, format!("`{}` cannot be copied", from.display()))
            .with_hint("rename it: names that begin with `.wh.` stand for removed files in layers"));
    }
    if kind.is_dir() {
        if !content_only {
            writer.append(&entry(Kind::Directory))?;
        }
        let read = || std::fs::read_dir(from)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>();
        let mut names = read().map_err(|error| Error::io("read", from, error))?;
        names.sort();
        for name in names {
            let place = Place { path: to.child(name.as_bytes())?, content_only: false };
            append(writer, &from.join(&name), false, place)?;
        }
        return Ok(());
    }
    if kind.is_file() {
        let mut file = File::open(from).map_err(|error| Error::io("open", from, error))?;
        return writer.append_file(&entry(Kind::File { size: metadata.len() }), &mut file);
    }
    if kind.is_symlink() {
        let target = std::fs::read_link(from).map_err(|error| Error::io("read", from, error))?;
        return writer.append(&entry(Kind::Symlink { target: target.as_os_str().as_bytes().to_vec() }));
    }
    let (major, minor) = numbers;
    match () {
        () if kind.is_fifo() => writer.append(&entry(Kind::Fifo)),
        () if kind.is_char_device() => writer.append(&entry(Kind::CharDevice { major, minor })),
        () if kind.is_block_device() => writer.append(&entry(Kind::BlockDevice { major, minor })),
        // A socket is nothing without who listens on it.
        () => Ok(()),
    }
}

/// Appends what is in a tar, below `to`.
fn append_tar(writer: &mut LayerWriter<File>, tar: Box<dyn Read + Send>, to: &LayerPath) -> Result<()> {
    read_archive(tar, |mut entry, mut content| {
        // The folder itself is there, and stays as it is.
        if entry.path.is_root() {
            return Ok(());
        }
        entry.path = to.join(&entry.path);
        match &mut entry.kind {
            Kind::File { .. } => return writer.append_file(&entry, &mut content),
            Kind::Hardlink { target } => *target = to.join(target),
            Kind::Whiteout | Kind::OpaqueWhiteout => {
                return Err(Error::new(ErrorKind::Unsupported, format!("`{}` cannot be copied", entry.path))
                    .with_hint("leave it out: names that begin with `.wh.` stand for removed files in layers"));
            }
            _ => {}
        }
        writer.append(&entry)
    })
}
