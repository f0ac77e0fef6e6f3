//! Files that are copied into a container: before it starts as layers over those of its image,
//! while it runs into its root.
//!
//! Refuses containers that have ended, which nothing would read any more, and kinds of isolation
//! whose files have owners that only the container's own process knows.

use std::fs::File;
use std::path::PathBuf;

use super::copied::{keep, read};
use super::monitor_protocol::LayerFile;
use super::{Container, ContainerState};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Layer};
use crate::layer::unpack::{UnpackOptions, Whiteouts, unpack};
use crate::layer::{Codec, LayerWriter};
use crate::sandbox::IsolationKind;
use crate::store::{BlobSource, Store};

impl Container {
    /// The layers of its image, `image`, and over them those of what was copied into it before it
    /// started.
    pub(crate) fn layers(&self, image: &Image) -> Result<Vec<Layer>> {
        let copied = read(self.folder())?.into_iter().map(|file| Layer {
            diff_id: file.diff_id,
            descriptor: file.descriptor,
            source: BlobSource::File(file.file),
        });
        Ok(image.layers().iter().cloned().chain(copied).collect())
    }

    /// Puts the files that `write` hands over into the container: over its image where it was
    /// created and not started, into its root while it runs. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: it has ended. [`ErrorKind::Unsupported`]: it runs with an isolation
    /// that takes no files from outside.
    pub(crate) fn copy_in(&self, store: &Store, write: impl FnOnce(&mut LayerWriter<File>) -> Result<()>) -> Result<()> {
        let scratch = store.scratch()?;
        let path = scratch.path().join("copied");
        let file = File::create(&path).map_err(|error| Error::io("create", &path, error))?;
        let mut writer = LayerWriter::new(Codec::parse("none")?, 1, file);
        write(&mut writer)?;
        let finished = writer.finish()?;
        let layer = LayerFile { diff_id: finished.diff_id, descriptor: finished.descriptor, file: path };
        let info = self.info()?;
        match (info.state, info.pid, info.isolation) {
            (ContainerState::Created, ..) => keep(self.folder(), layer),
            (ContainerState::Running, Some(pid), Some(isolation)) => {
                let (root, whiteouts) = match isolation {
                    // Owners are those of this machine there, and a volume is where the container
                    // sees it.
                    IsolationKind::Root => (PathBuf::from(format!("/proc/{pid}/root/.")), Whiteouts::Overlay),
                    IsolationKind::Chroot => (self.scratch().join("tree"), Whiteouts::Apply),
                    IsolationKind::UserNamespace | IsolationKind::SingleId | IsolationKind::Emulated => {
                        let message = format!("a running container with isolation `{isolation}` takes no files from outside");
                        return Err(Error::new(ErrorKind::Unsupported, message).with_hint(
                            "copy before it starts: `docker create`, `docker cp`, `docker start`; or give it a volume: `-v HOST:CONTAINER`",
                        ));
                    }
                };
                let tar = File::open(&layer.file).map_err(|error| Error::io("open", &layer.file, error))?;
                unpack(tar, &root, &UnpackOptions { whiteouts, ..UnpackOptions::default() }).map(drop)
            }
            _ => Err(Error::new(ErrorKind::Usage, format!("container `{}` has ended, and is not started again", info.id))
                .with_hint("copy into a new one: `docker create`, `docker cp`, `docker start`")),
        }
    }
}
