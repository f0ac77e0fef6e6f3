//! Pulling: manifest and config now, layers when they are needed.
//!
//! Refuses bytes that do not have their digest, and manifests or configs over 4 MiB.

use bytes::Bytes;

use crate::image::Layer;
use crate::oci::{Descriptor, Digest, MediaType};

/// An image in a registry: checked manifest and config; the layers' bytes are still there.
#[derive(Debug, Clone)]
pub struct PulledImage {
    /// The manifest's bytes, as they came.
    pub manifest: Bytes,
    /// The manifest's type.
    pub media_type: MediaType,
    /// The manifest's digest.
    pub digest: Digest,
    /// The config's descriptor.
    pub config_descriptor: Descriptor,
    /// The config's bytes, as they came.
    pub config: Bytes,
    /// The layers, lowest first, with remote sources.
    pub layers: Vec<Layer>,
}
