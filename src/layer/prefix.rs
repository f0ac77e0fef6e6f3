//! How far the diff ID of a layer was at some of its blocks: a layer that begins with the same
//! blocks goes on from there, and unpacks and hashes none of them.
//!
//! Nothing is taken on trust: the bytes of the blocks must have the digest that they had, and the
//! state of the hash must be the one of the digest beside it.

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, Hasher};

/// The hash of the tar up to somewhere, to go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TarState {
    /// Bytes of tar.
    length: u64,
    /// Their digest.
    digest: Digest,
    state: Vec<u8>,
}

impl TarState {
    /// Bytes of tar from one to the next: what is unpacked in vain at most.
    pub(super) const LEAST: u64 = 8 << 20;

    pub(super) fn of(hasher: &Hasher) -> Option<Self> {
        Some(Self { length: hasher.length(), digest: hasher.clone().finish(), state: hasher.save()? })
    }
}

/// The beginning of a layer, up to one of its blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixRecord {
    /// The number of the block behind.
    pub(super) block: u64,
    tar: TarState,
    /// The digest of the compressed bytes.
    pub(super) bytes: Digest,
}

impl PrefixRecord {
    /// What comes before the block of this number.
    pub(super) fn new(block: u64, tar: TarState, bytes: Digest) -> Self {
        Self { block, tar, bytes }
    }

    /// The hash of the tar, to go on with.
    pub(super) fn hasher(&self) -> Option<Hasher> {
        let TarState { length, digest, state } = &self.tar;
        Hasher::restore(state, *length).filter(|hasher| hasher.clone().finish() == *digest)
    }
}
