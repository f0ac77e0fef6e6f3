//! Images by the names that users give them.
//!
//! An image that is not in the local store is taken from a registry only where `docker://` says so.

use super::{Mpimg, blocking};
use crate::build::stored_image;
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::{Image, Transport};
use crate::oci::{Digest, Platform, Reference};
use crate::registry::{Client, PulledManifest};
use crate::store::{ImageRecord, Store};

impl Mpimg {
    /// The image that `name` names. Layers of a registry's image are not fetched.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: it is not there, or for another platform; and what the place itself
    /// gives.
    pub async fn find(&self, name: Transport, platform: &Platform) -> Result<Image> {
        find_image(name, platform, &self.open_store().await?, self.client()).await
    }
}

/// The image that `transport` names. Layers of a registry's image are not fetched.
///
/// # Errors
/// See [`Mpimg::find`].
pub async fn find_image(transport: Transport, platform: &Platform, store: &Store, client: &Client) -> Result<Image> {
    match transport {
        Transport::Registry(reference) => Ok(pull(&reference, platform, client).await?.0),
        Transport::Store(reference) => {
            stored_image(store, client, &reference, platform)?.ok_or_else(|| not_stored(store, &reference, platform))
        }
        archive => {
            let (store, platform) = (store.clone(), platform.clone());
            blocking(move || archive.read(&store, &platform, None)).await
        }
    }
}

/// The image that `text` means: one of [`Transport`]'s forms, or the digest of a manifest or
/// configuration in the local store.
///
/// # Errors
/// See [`Mpimg::find`].
pub async fn find_local_image(text: &str, platform: &Platform, store: &Store, client: &Client) -> Result<Image> {
    let Ok(digest) = Digest::parse(text) else {
        return find_image(Transport::parse(text)?, platform, store, client).await;
    };
    let same = |record: &ImageRecord| record.manifest.digest == digest || record.config.digest == digest;
    match store.list()?.into_iter().find(|(_, record)| same(record)) {
        Some((_, record)) => Image::read_from_store(store, &record, |repository, blob| client.blob(repository, blob)),
        None => Err(Error::new(ErrorKind::NotFound, format!("there is no image `{text}` in the local store"))
            .with_hint("`mpimg images` lists what is there")),
    }
}

/// The image that `reference` names in a registry, and the index that has it, if there is one.
pub(super) async fn pull(reference: &Reference, platform: &Platform, client: &Client) -> Result<(Image, Option<PulledManifest>)> {
    let pulled = client.pull_image(reference, platform).await?;
    let sources = pulled.layers.into_iter().map(|layer| layer.source).collect();
    let image = Image::from_parts(pulled.manifest, Some(&pulled.media_type), pulled.config, sources)?;
    Ok((image, pulled.index))
}

/// The error of an image that the store does not have for `platform`.
pub fn not_stored(store: &Store, reference: &Reference, platform: &Platform) -> Error {
    let name = reference.familiar();
    let other = store.resolve(reference).ok().flatten().map(|record| record.platform);
    match other {
        Some(other) => Error::new(ErrorKind::NotFound, format!("`{name}` in the local store is for {other}, not for {platform}"))
            .with_hint(format!("choose that one with {}", Setting::Platform.with(&other))),
        None => Error::new(ErrorKind::NotFound, format!("there is no image `{name}` in the local store"))
            .with_hint(format!("`mpimg images` lists what is there; one in a registry is named `docker://{name}`")),
    }
}

/// The bytes that the image takes in a registry: manifest, config and layers as they are stored.
pub fn image_size(image: &Image) -> u64 {
    let layers: u64 = image.layers().iter().map(|layer| layer.descriptor.size).sum();
    image.descriptor().size + image.manifest().config.size + layers
}
