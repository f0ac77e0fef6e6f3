//! Images by the names that users give them, and how an image is told in JSON.
//!
//! Refuses to guess: what is not in the local store is taken from a registry only where `docker://` says so.

use serde_json::{Value, json};

use super::blocking;
use super::size::Size;
use crate::build::stored_image;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Transport};
use crate::oci::{Digest, Platform, Reference};
use crate::registry::Client;
use crate::store::{ImageRecord, Store};

/// Forms in which an image can be named, for help texts.
pub(super) const FORMS: &str = "\
Images are named as:
  NAME[:TAG]                     an image of the local store
  docker://NAME[:TAG|@DIGEST]    an image in a registry
  oci:DIR[:TAG]                  an OCI layout
  oci-archive:FILE[:TAG]         a tar of an OCI layout
  docker-archive:FILE[:NAME]     what `docker save` writes";

/// Reads a name of one of these forms.
pub(super) fn named(text: &str) -> Result<Transport, String> {
    Transport::parse(text).map_err(|error| error.hint().map_or_else(|| error.to_string(), str::to_owned))
}

/// The image that `transport` names. Layers of a registry's image are not fetched.
pub(super) async fn find(transport: Transport, platform: &Platform, store: &Store, client: &Client) -> Result<Image> {
    match transport {
        Transport::Registry(reference) => pull(&reference, platform, client).await,
        Transport::Store(reference) => {
            stored_image(store, client, &reference, platform)?.ok_or_else(|| not_stored(store, &reference, platform))
        }
        archive => {
            let (store, platform) = (store.clone(), platform.clone());
            blocking(move || archive.read(&store, &platform, None)).await
        }
    }
}

/// The image that `text` means: one of the forms, or the digest of a manifest or configuration in the local store.
pub(super) async fn find_local(text: &str, platform: &Platform, store: &Store, client: &Client) -> Result<Image> {
    if let Ok(digest) = Digest::parse(text) {
        let same = |record: &ImageRecord| record.manifest.digest == digest || record.config.digest == digest;
        let found = store.list()?.into_iter().find(|(_, record)| same(record));
        let Some((_, record)) = found else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no image `{text}` in the local store"))
                .with_hint("`mpimg images` lists what is there"));
        };
        return Image::read_from_store(store, &record, |repository, descriptor| client.blob(repository, descriptor));
    }
    find(Transport::parse(text)?, platform, store, client).await
}

async fn pull(reference: &Reference, platform: &Platform, client: &Client) -> Result<Image> {
    let pulled = client.pull_image(reference, platform).await?;
    let sources = pulled.layers.into_iter().map(|layer| layer.source).collect();
    Image::from_parts(pulled.manifest, Some(&pulled.media_type), pulled.config, sources)
}

fn not_stored(store: &Store, reference: &Reference, platform: &Platform) -> Error {
    let name = reference.familiar();
    let other = store.resolve(reference).ok().flatten().map(|record| record.platform);
    match other {
        Some(other) => Error::new(ErrorKind::NotFound, format!("`{name}` in the local store is for {other}, not for {platform}"))
            .with_hint(format!("add `--platform {other}`")),
        None => Error::new(ErrorKind::NotFound, format!("there is no image `{name}` in the local store"))
            .with_hint(format!("`mpimg images` lists what is there; one in a registry is named `docker://{name}`")),
    }
}

/// The bytes that the image takes in a registry: manifest, config and layers as they are stored.
pub(super) fn size(image: &Image) -> u64 {
    let layers: u64 = image.layers().iter().map(|layer| layer.descriptor.size).sum();
    image.descriptor().size + image.manifest().config.size + layers
}

/// `3 layers, 311MB`
pub(super) fn extent(image: &Image) -> String {
    let layers = image.layers().len();
    format!("{layers} layer{}, {}", if layers == 1 { "" } else { "s" }, Size(size(image)))
}

/// The layers as every `--json` tells them, lowest first.
pub(super) fn layers_json(image: &Image) -> Value {
    let steps = image.config().layer_steps();
    let layer = |(layer, step): (&crate::image::Layer, &Option<&crate::image::History>)| {
        json!({
            "digest": layer.descriptor.digest,
            "diff_id": layer.diff_id,
            "size": layer.descriptor.size,
            "created_by": step.and_then(|step| step.created_by.as_deref()),
        })
    };
    image.layers().iter().zip(&steps).map(layer).collect()
}
