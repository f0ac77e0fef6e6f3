//! Looking into an image: its configuration, its layers, and the files in them.
//!
//! Layers are fetched only if their files are asked for.

use super::image::pull;
use super::{ImageAttestation, Mpimg, blocking};
use crate::error::Result;
use crate::image::{Image, Layer, Transport};
use crate::layer::LayerIndex;
use crate::oci::Platform;
use crate::store::{BlobSource, Store};

/// An image that was looked into.
#[derive(Debug)]
#[non_exhaustive]
pub struct InspectedImage {
    /// The image.
    pub image: Image,
    /// What each layer holds, lowest first; `None` of a layer that is elsewhere and whose files
    /// were not asked for.
    pub indexes: Vec<Option<LayerIndex>>,
    /// What its index says of it, as BuildKit puts it there.
    pub attestations: Vec<ImageAttestation>,
}

impl Mpimg {
    /// Looks into an image. With `files`, layers that are in a registry are fetched.
    ///
    /// # Errors
    /// Those of [`Mpimg::find`]; [`ErrorKind::Corrupt`]: a layer is damaged.
    pub async fn inspect(&self, name: Transport, platform: &Platform, files: bool) -> Result<InspectedImage> {
        let (image, attestations) = match &name {
            Transport::Registry(reference) => {
                let (image, index) = pull(reference, platform, self.client()).await?;
                let digest = image.descriptor().digest;
                let attestations = match index {
                    Some(index) => self.attestations_in_registry(reference.repository(), &index, &digest).await?,
                    None => Vec::new(),
                };
                (image, attestations)
            }
            place => {
                let image = self.find(place.clone(), platform).await?;
                let attestations = self.attestations_in_layout(place, &image.descriptor().digest).await?;
                (image, attestations)
            }
        };
        let indexes = self.layer_indexes(&image, files).await?;
        Ok(InspectedImage { image, indexes, attestations })
    }

    /// The image, and what each layer holds.
    pub(super) async fn look_into(
        &self,
        name: Transport,
        platform: &Platform,
        files: bool,
    ) -> Result<(Image, Vec<Option<LayerIndex>>)> {
        let image = self.find(name, platform).await?;
        let indexes = self.layer_indexes(&image, files).await?;
        Ok((image, indexes))
    }

    /// What each layer holds.
    async fn layer_indexes(&self, image: &Image, files: bool) -> Result<Vec<Option<LayerIndex>>> {
        let (layers, store) = (image.layers().to_vec(), self.open_store().await?);
        blocking(move || layers.iter().map(|layer| index(&store, layer, files)).collect()).await
    }
}

/// The index of a layer, made if it is missing. A layer that is elsewhere is fetched if `fetch`
/// says so, else there is `None`.
///
/// Blocks; to be called off the network's threads, on a runtime.
fn index(store: &Store, layer: &Layer, fetch: bool) -> Result<Option<LayerIndex>> {
    if let Some(index) = layer.stored_index(store)? {
        return Ok(Some(index));
    }
    let path = match &layer.source {
        BlobSource::File(path) => path.clone(),
        source if fetch => tokio::runtime::Handle::current().block_on(store.fetch(source, &layer.descriptor))?,
        _ => return Ok(None),
    };
    layer.read_index(store, layer.open_tar(&path)?).map(Some)
}
