//! An image in memory: manifest and config with the bytes that they are stored and pushed as, and a
//! source for each layer.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Format, ImageConfig, Layer, Manifest};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, MediaType};
use crate::store::BlobSource;

/// An image: config, manifest and layers that belong together. It never changes.
#[derive(Debug, Clone)]
pub struct Image {
    pub(super) descriptor: Descriptor,
    pub(super) manifest: Manifest,
    pub(super) manifest_bytes: Bytes,
    pub(super) config: ImageConfig,
    pub(super) config_bytes: Bytes,
    pub(super) layers: Vec<Layer>,
}

impl Image {
    /// A new image of `layers`, lowest first. Their diff IDs become the config's; a history that
    /// tells too little is completed.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: the history tells of more layers than there are.
    /// [`ErrorKind::Unsupported`]: see [`Manifest::new`].
    pub fn assemble(
        mut config: ImageConfig,
        layers: Vec<Layer>,
        annotations: BTreeMap<String, String>,
        format: Format,
    ) -> Result<Self> {
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        let steps = config.history.iter().filter(|step| !step.empty_layer).count();
        if steps > layers.len() {
            let message = format!("the history tells of {steps} layers, but the image has {}", layers.len());
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        config.complete_history();
        let config_bytes = Bytes::from(config.to_bytes()?);
        let config_descriptor = Descriptor::of(MediaType::Config, &config_bytes);
        let descriptors = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let manifest = Manifest::new(format, config_descriptor, descriptors, annotations)?;
        let manifest_bytes = Bytes::from(manifest.to_bytes()?);
        let descriptor = Descriptor::of(manifest.media_type.clone(), &manifest_bytes);
        let typed = layers.into_iter().zip(&manifest.layers);
        let layers = typed.map(|(layer, typed)| Layer { descriptor: typed.clone(), ..layer }).collect();
        Ok(Self { descriptor, manifest, manifest_bytes, config, config_bytes, layers })
    }

    /// An image that exists: the bytes of its manifest and config, and a source for each layer in
    /// the manifest's order.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: the config is not the one that the manifest names, or tells of
    /// another number of layers. [`ErrorKind::Unsupported`]: an artifact that is not an image.
    pub fn from_parts(
        manifest_bytes: Bytes,
        media_type: Option<&MediaType>,
        config_bytes: Bytes,
        sources: Vec<BlobSource>,
    ) -> Result<Self> {
        let manifest = Manifest::parse(&manifest_bytes, media_type)?;
        let descriptor = Descriptor::of(manifest.media_type.clone(), &manifest_bytes);
        manifest.config.digest.verify(&config_bytes).map_err(|error| error.wrap("the image configuration is damaged"))?;
        if !manifest.config.media_type.may_be_config() {
            let message = format!("the manifest is of no image: its config is of type `{}`", manifest.config.media_type);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let config = ImageConfig::from_bytes(&config_bytes)?;
        let (diff_ids, layers) = (&config.rootfs.diff_ids, &manifest.layers);
        if diff_ids.len() != layers.len() || sources.len() != layers.len() {
            let message = format!("the manifest has {} layers, the configuration {}", layers.len(), diff_ids.len());
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let parts = diff_ids.iter().zip(layers).zip(sources);
        let layers = parts
            .map(|((diff_id, descriptor), source)| Layer { diff_id: *diff_id, descriptor: descriptor.clone(), source })
            .collect();
        Ok(Self { descriptor, manifest, manifest_bytes, config, config_bytes, layers })
    }

    /// Type, digest and size of the manifest: the image's identity.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest's bytes, as they are stored and pushed.
    pub fn manifest_bytes(&self) -> &Bytes {
        &self.manifest_bytes
    }

    /// The configuration.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The configuration's bytes, as they are stored and pushed.
    pub fn config_bytes(&self) -> &Bytes {
        &self.config_bytes
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }
}
