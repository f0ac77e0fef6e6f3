//! How far the diff ID of a layer was at some of its blocks: a layer that begins with the same
//! blocks goes on from there, and unpacks and hashes none of them.
//!
//! Nothing is taken on trust: the bytes of the blocks must have the digest that they had, and the
//! state of the hash must be the one of the digest beside it.

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, Hasher};

/// Bytes of tar from one record to the next: what is unpacked in vain at most.
const LEAST_TAR: u64 = 8 << 20;
/// Compressed bytes from one record to the next, so that records take at most 0.2 % of them.
const LEAST_BYTES: u64 = 128 << 10;

/// The beginning of a layer, up to one of its blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixRecord {
    /// The number of the block behind.
    pub(super) block: u64,
    /// Bytes of tar.
    length: u64,
    /// Their digest.
    tar: Digest,
    /// The digest of the compressed bytes.
    bytes: Digest,
    /// The hash of the tar, to go on with.
    state: Vec<u8>,
}

impl PrefixRecord {
    /// What comes before the block of this number.
    pub(super) fn before(block: u64, tar: &Hasher, bytes: &Hasher) -> Option<Self> {
        let (length, state) = (tar.length(), tar.save()?);
        Some(Self { block, length, tar: tar.clone().finish(), bytes: bytes.clone().finish(), state })
    }

    /// The hash of the tar, to go on with, if `bytes` is that of the compressed bytes.
    pub(super) fn hasher(&self, bytes: &Hasher) -> Option<Hasher> {
        let hasher = Hasher::restore(&self.state, self.length).filter(|hasher| hasher.clone().finish() == self.tar)?;
        (bytes.clone().finish() == self.bytes).then_some(hasher)
    }
}

/// Finds the blocks at which a record is worth it.
#[derive(Debug, Default)]
pub(super) struct PrefixRecorder {
    tar: u64,
    bytes: u64,
}

impl PrefixRecorder {
    /// A block has come, with so many bytes of tar and compressed ones; whether to make a record
    /// behind it.
    pub(super) fn block(&mut self, tar: u64, bytes: u64) -> bool {
        (self.tar, self.bytes) = (self.tar + tar, self.bytes + bytes);
        let is_due = self.tar >= LEAST_TAR && self.bytes >= LEAST_BYTES;
        if is_due {
            *self = Self::default();
        }
        is_due
    }
}
