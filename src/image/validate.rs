//! Proof that an image is whole: everything is read again and every digest computed again.
//!
//! Believes nothing that was computed before.

use std::io;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::hashing::HashingReader;
use super::{Image, Layer};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Descriptor;
use crate::store::blocking;

/// Reads manifest, config and all layers again and recomputes every digest, size and diff ID,
/// several layers at a time.
///
/// # Errors
/// [`ErrorKind::Corrupt`]: the first part, in the image's order, that is not what it should be.
/// [`ErrorKind::Unsupported`]: a layer of a type that cannot be read.
pub async fn validate(image: &Image) -> Result<()> {
    let damaged = |error: Error| error.wrap(format!("image `{}` is damaged", image.descriptor().digest));
    validate_documents(image).map_err(damaged)?;
    let parallel = std::thread::available_parallelism().map_or(2, usize::from);
    let mut layers = stream::iter(image.layers().iter().cloned().map(validate_layer)).buffered(parallel);
    while let Some(result) = layers.next().await {
        result.map_err(damaged)?;
    }
    Ok(())
}

fn validate_documents(image: &Image) -> Result<()> {
    let same = |expected: &Descriptor, bytes: &[u8]| HashingReader::with(bytes, expected.digest.hasher()).expect(expected);
    same(image.descriptor(), image.manifest_bytes())?;
    same(&image.manifest().config, image.config_bytes())?;
    let sources = image.layers().iter().map(|layer| layer.source.clone()).collect();
    let again = Image::from_parts(
        image.manifest_bytes().clone(),
        Some(&image.descriptor().media_type),
        image.config_bytes().clone(),
        sources,
    )?;
    let parts =
        |image: &Image| -> Vec<_> { image.layers().iter().map(|layer| (layer.diff_id, layer.descriptor.clone())).collect() };
    if parts(&again) != parts(image) || again.manifest() != image.manifest() || again.config() != image.config() {
        return Err(Error::new(ErrorKind::Corrupt, "manifest or config say something else than their bytes"));
    }
    Ok(())
}

async fn validate_layer(layer: Layer) -> Result<()> {
    let stream = layer.source.read(0).map_err(io::Error::other);
    // Made here: the bridge needs the runtime, which the other thread does not know.
    let reader = SyncIoBridge::new(StreamReader::new(stream));
    blocking(move || check_layer(reader, &layer)).await
}

fn check_layer(reader: impl io::Read + Send, layer: &Layer) -> Result<()> {
    let Layer { diff_id, descriptor, .. } = layer;
    let unreadable = || format!("layer `{}` cannot be read", descriptor.digest);
    // One byte more than it should have is enough to see that it is too long.
    let mut stored = HashingReader::with(reader.take(descriptor.size.saturating_add(1)), descriptor.digest.hasher());
    let tar = layer.tar_in(&mut stored)?;
    let unpacked = HashingReader::with(tar, diff_id.0.hasher()).finish();
    stored.expect(descriptor)?;
    // Told last: damaged bytes seldom decompress, and that they are damaged says more.
    let (actual, _) = unpacked.map_err(|error| Error::new(ErrorKind::Corrupt, unreadable()).with_source(error))?;
    diff_id.0.expect(actual).map_err(|error| error.wrap(format!("layer `{}` has another diff ID", descriptor.digest)))
}
