//! A block of a tar: what it is looked for by, and where its compressed bytes are.

use serde::{Deserialize, Serialize};

/// What a block of a tar is looked for by: two different blocks may have one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockKey {
    pub(super) sums: (u32, u32),
    pub(super) length: u32,
}

impl BlockKey {
    pub(super) fn of(block: &[u8]) -> Self {
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        Self { sums: (libdeflater::crc32(block), libdeflater::adler32(block)), length }
    }

    /// How many bytes the block has.
    pub(super) fn length(&self) -> u32 {
        self.length
    }
}

/// Where a block's compressed bytes are in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRecord {
    /// What the block is.
    pub key: BlockKey,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub length: u32,
    /// Their CRC-32.
    pub sum: u32,
}

impl BlockRecord {
    /// Whether the bytes are fewer than the block's.
    pub fn is_shorter(&self) -> bool {
        self.length < self.key.length
    }

    /// Whether `bytes` are those that the record is about.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        libdeflater::crc32(bytes) == self.sum
    }
}
