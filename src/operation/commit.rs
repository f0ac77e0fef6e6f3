//! An image of what a container is now: its image, what was copied into it and what its command has
//! written, with its configuration.

use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use super::import::created;
use super::{Mpimg, blocking};
use crate::container::{ChangesOver, Container, ContainerInfo, ContainerState};
use crate::error::{Error, Result};
use crate::image::{Format, History, Image, Layer, rfc3339};
use crate::layer::{Codec, LayerWriter};
use crate::store::Store;

/// What an image of a container is told to say of itself.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CommitRequest {
    /// Who made it.
    pub author: Option<String>,
    /// What for.
    pub message: Option<String>,
    /// The image's time, seconds since 1970; now without it.
    pub source_date_epoch: Option<String>,
}

impl CommitRequest {
    /// Takes `SOURCE_DATE_EPOCH` of this process.
    #[must_use]
    pub fn with_environment(mut self) -> Self {
        self.source_date_epoch = std::env::var("SOURCE_DATE_EPOCH").ok();
        self
    }
}

impl Mpimg {
    /// Makes an image of a container, which has no name yet: see [`Mpimg::keep_unnamed`]. What
    /// volumes hold is not part of it, and a command that runs may change files meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: what it has written was not kept; [`ErrorKind::Usage`]:
    /// `source_date_epoch` is not a number.
    pub async fn commit(&self, container: &Container, request: CommitRequest) -> Result<Image> {
        let image = self.image_of(container).await?;
        let (container, store) = (container.clone(), self.store()?.clone());
        blocking(move || commit(&store, &container, &image, request)).await
    }
}

fn commit(store: &Store, container: &Container, image: &Image, request: CommitRequest) -> Result<Image> {
    let info = container.info()?;
    let created = created(request.source_date_epoch.as_deref(), || Ok(SystemTime::now()))?;
    let mut config = image.config().clone();
    let mut layers = container.layers(image)?;
    let copied = layers.len() - image.layers().len();
    let words = |text: String| History {
        created: Some(rfc3339(created)),
        created_by: Some(text),
        author: request.author.clone(),
        comment: request.message.clone().filter(|message| !message.is_empty()),
        ..History::default()
    };
    config.complete_history();
    config.history.extend((0..copied).map(|_| words("docker cp".into())));
    if info.state != ContainerState::Created {
        let scratch = store.scratch()?;
        let path = scratch.path().join("written");
        let (layer, over) = written(store, container, image, &path)?;
        if over == ChangesOver::Nothing {
            layers.clear();
            config.history.clear();
        }
        layers.push(layer);
        config.history.push(words(command(&info)));
    } else {
        config.history.push(History { empty_layer: true, ..words(command(&info)) });
    }
    config.config = info.spec.over(&config.config);
    config.created = Some(rfc3339(created));
    config.author = request.author.or(config.author);
    Image::assemble(config, layers, image.manifest().annotations.clone(), Format::Oci)
}

/// What its command has written, as a layer of the store.
fn written(store: &Store, container: &Container, image: &Image, path: &Path) -> Result<(Layer, ChangesOver)> {
    let file = File::create(path).map_err(|error| Error::io("create", path, error))?;
    let mut writer = LayerWriter::new(Codec::parse("none")?, 1, file);
    let over = container.changes(store, image, &mut |entry, content| match content {
        Some(mut content) => writer.append_file(entry, &mut content),
        None => writer.append(entry),
    })?;
    writer.finish()?;
    let mut tar = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let threads = crate::threads::available();
    Ok((Layer::pack(store, &mut tar, Codec::default(), threads)?, over))
}

fn command(info: &ContainerInfo) -> String {
    info.command.join(" ")
}
