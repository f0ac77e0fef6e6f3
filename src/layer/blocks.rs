//! Which block of a tar became which bytes of a compressed layer: with that, a block that a layer
//! of the store holds is copied, not compressed again.
//!
//! Nothing is taken on trust: bytes that are found by the check sums of a block must have the check
//! sum that they were written with, and are unpacked and compared with the block before they are
//! used. So damage, and anything else that stands in the way, is a miss.

use serde::{Deserialize, Serialize};

/// Blocks that take fewer bytes than this are not recorded: they are compressed in no time, and all
/// records together take at most 0.2 % of the bytes that they are about.
const LEAST: usize = 16 << 10;

/// Format of the stored bytes: a new number makes old ones a miss.
const MAGIC: &[u8; 8] = b"mpimgb01";

/// What a block of a tar is looked for by: two different blocks may have one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockKey {
    sums: (u32, u32),
    length: u32,
}

impl BlockKey {
    pub(super) fn of(block: &[u8]) -> Self {
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        Self { sums: (libdeflater::crc32(block), libdeflater::adler32(block)), length }
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
    /// Whether `bytes` are those that the record is about.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        libdeflater::crc32(bytes) == self.sum
    }
}

/// Finds the compressed bytes of a block.
pub trait BlockSource: Send + Sync {
    /// Reads into `out`, which it replaces, what a block with this key became. `false`: there is
    /// nothing.
    fn read(&self, key: &BlockKey, out: &mut Vec<u8>) -> bool;
}

/// The blocks of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockIndex {
    records: Vec<BlockRecord>,
}

impl BlockIndex {
    /// Takes in a block that became `bytes`, which are at `offset`.
    pub(super) fn push(&mut self, key: BlockKey, offset: u64, bytes: &[u8]) {
        // What did not become shorter is as soon made as copied.
        if (LEAST..key.length as usize).contains(&bytes.len()) {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.records.push(BlockRecord { key, offset, length, sum: libdeflater::crc32(bytes) });
        }
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes to store; `maker` names what they depend on besides the block.
    pub fn to_bytes(&self, maker: &str) -> Vec<u8> {
        postcard::to_extend(&(maker, &self.records), MAGIC.to_vec()).unwrap_or_default()
    }

    /// The blocks in stored bytes, if `maker` made them.
    pub fn from_bytes(bytes: &[u8], maker: &str) -> Option<Vec<BlockRecord>> {
        let (made_by, records): (&str, Vec<BlockRecord>) = postcard::from_bytes(bytes.strip_prefix(MAGIC)?).ok()?;
        (made_by == maker).then_some(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_for_the_codec_that_made_them() {
        let mut index = BlockIndex::default();
        let (key, stored) = (BlockKey::of(&[1; 100_000]), [2; 20_000]);
        index.push(key, 7, &stored);
        index.push(key, 8, &stored[..LEAST - 1]);
        index.push(key, 9, &[3; 100_000]);
        let bytes = index.to_bytes("gzip");
        let record = BlockRecord { key, offset: 7, length: 20_000, sum: libdeflater::crc32(&stored) };
        assert_eq!(BlockIndex::from_bytes(&bytes, "gzip"), Some(vec![record]));
        assert!(record.matches(&stored) && !record.matches(&stored[1..]));
        for (bytes, maker) in [(&bytes[..], "zstd"), (&bytes[..bytes.len() - 1], "gzip"), (b"", "gzip")] {
            assert_eq!(BlockIndex::from_bytes(bytes, maker), None);
        }
        assert!(bytes.len() - MAGIC.len() < LEAST / 500, "{} bytes", bytes.len());
    }
}
