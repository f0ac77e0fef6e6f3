//! The first bytes of a growing blob, by which an upload knows that it may go on: its digest is not
//! known yet.

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::chunk::cut;
use crate::error::Result;
use crate::oci::{Digest, Hasher};
use crate::registry::transport::interrupted;
use crate::store::{BlobSource, Growth};

/// Whether a growing blob begins with the bytes that an earlier process sent: a different build
/// must not go on with its session.
pub(super) async fn prefix_fits(
    source: &BlobSource,
    (offset, expected): (u64, Digest),
    cancel: &CancellationToken,
) -> Result<bool> {
    if let BlobSource::Growing(growing) = source {
        let mut growing = growing.clone();
        let enough = tokio::select! {
            () = cancel.cancelled() => return Err(interrupted()),
            growth = growing.wait_for(offset) => growth,
        };
        if matches!(enough, Growth::Complete(descriptor, _) if descriptor.size < offset) {
            return Ok(false);
        }
    }
    Ok(hash_prefix(source, offset).await?.finish() == expected)
}

async fn hash_prefix(source: &BlobSource, length: u64) -> Result<Hasher> {
    let mut hasher = Hasher::new();
    let mut bytes = cut(source.read(0), length);
    while let Some(piece) = bytes.next().await {
        hasher.update(&piece?);
    }
    Ok(hasher)
}
