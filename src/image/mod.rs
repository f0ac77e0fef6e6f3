//! Images: config, history and manifest over layers that may be anywhere.
//!
//! Refuses compression and transport.

use crate::oci::{Descriptor, DiffId};
use crate::store::BlobSource;

/// A complete layer: what it is and where its bytes are.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The digest, size and type of its stored bytes.
    pub descriptor: Descriptor,
    /// Its stored bytes.
    pub source: BlobSource,
}
