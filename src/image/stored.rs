//! Images in the local store.
//!
//! Does not fetch a remote layer when an image is read or kept: it stays where it is until somebody
//! needs its content.

use std::path::PathBuf;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{CONFIG_LIMIT, Image, Layer, MANIFEST_LIMIT};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Repository};
use crate::store::{BlobSource, ImageRecord, LayerLocation, LayerRecord, Store};

/// How many layers are copied at once.
const PARALLEL: usize = 4;

impl Image {
    /// An image of the store. `remote` makes the source of a layer that is not here, given the
    /// repository that has it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: a blob that should be here is missing. [`ErrorKind::Corrupt`]: it
    /// is damaged.
    pub fn read_from_store(
        store: &Store,
        record: &ImageRecord,
        remote: impl Fn(&Repository, &Descriptor) -> Result<BlobSource>,
    ) -> Result<Self> {
        let manifest = store.read_small(&record.manifest.digest, MANIFEST_LIMIT)?;
        let config = store.read_small(&record.config.digest, CONFIG_LIMIT)?;
        let source = |layer: &LayerRecord| match &layer.location {
            _ if store.has(&layer.descriptor.digest, layer.descriptor.size)? => {
                Ok(BlobSource::File(store.blob_path(&layer.descriptor.digest)))
            }
            LayerLocation::Remote(repository) => remote(repository, &layer.descriptor),
            LayerLocation::Local => {
                let message = format!("layer `{}` is not in the local store", layer.descriptor.digest);
                Err(Error::new(ErrorKind::NotFound, message).with_hint("pull or build the image again"))
            }
        };
        let sources = record.layers.iter().map(source).collect::<Result<_>>()?;
        let image = Self::from_parts(manifest.into(), Some(&record.manifest.media_type), config.into(), sources)?;
        let same = |(layer, record): (&Layer, &LayerRecord)| {
            layer.diff_id == record.diff_id && layer.descriptor.digest == record.descriptor.digest
        };
        match image.layers.iter().zip(&record.layers).all(same) {
            true => Ok(image),
            false => Err(Error::new(ErrorKind::Corrupt, "the image's record and manifest name different layers")),
        }
    }

    /// Puts manifest, config and all layers that are on this machine into the store; remote layers
    /// stay remote. The record says where everything is; [`Store::tag`] keeps it.
    pub async fn write_to_store(&self, store: &Store) -> Result<ImageRecord> {
        let manifest = store.put(self.descriptor.media_type.clone(), &self.manifest_bytes)?;
        let config = store.put(self.manifest.config.media_type.clone(), &self.config_bytes)?;
        let layers = self.layers.iter().cloned().map(|layer| write_layer(store.clone(), layer));
        let layers = stream::iter(layers).buffered(PARALLEL).try_collect().await?;
        Ok(ImageRecord { manifest, config, platform: self.config.platform(), layers })
    }

    /// Writes manifest and config to the store; the layers are what `repository` has.
    pub(crate) fn record_in(&self, store: &Store, repository: &Repository) -> Result<ImageRecord> {
        let manifest = store.put(self.descriptor.media_type.clone(), &self.manifest_bytes)?;
        let config = store.put(self.manifest.config.media_type.clone(), &self.config_bytes)?;
        let location = LayerLocation::Remote(repository.clone());
        let layer = |layer: &Layer| LayerRecord {
            diff_id: layer.diff_id,
            descriptor: layer.descriptor.clone(),
            location: location.clone(),
        };
        let layers = self.layers.iter().map(layer).collect();
        Ok(ImageRecord { manifest, config, platform: self.config.platform(), layers })
    }

    /// The files that hold the layers' bytes, fetched into the store where there is none yet.
    pub(crate) async fn layer_files(&self, store: &Store) -> Result<Vec<PathBuf>> {
        fetch_layers(store, &self.layers).await
    }
}

/// As `layer_files`, of some layers.
pub(crate) async fn fetch_layers(store: &Store, layers: &[Layer]) -> Result<Vec<PathBuf>> {
    let files = layers.iter().cloned().map(|layer| layer_file(store.clone(), layer));
    stream::iter(files).buffered(PARALLEL).try_collect().await
}

async fn layer_file(store: Store, layer: Layer) -> Result<PathBuf> {
    match &layer.source {
        BlobSource::File(path) => Ok(path.clone()),
        source => fetch(&store, source, &layer.descriptor).await,
    }
}

async fn write_layer(store: Store, layer: Layer) -> Result<LayerRecord> {
    let location = match &layer.source {
        BlobSource::Remote(remote) if !store.has(&layer.descriptor.digest, layer.descriptor.size)? => {
            LayerLocation::Remote(remote.repository().clone())
        }
        source => fetch(&store, source, &layer.descriptor).await.map(|_| LayerLocation::Local)?,
    };
    Ok(LayerRecord { diff_id: layer.diff_id, descriptor: layer.descriptor, location })
}

async fn fetch(store: &Store, source: &BlobSource, descriptor: &Descriptor) -> Result<PathBuf> {
    // What is being written into this store need not be copied when it is complete.
    if let BlobSource::Growing(growing) = source {
        growing.clone().complete().await?;
    }
    store.fetch(source, descriptor).await
}
