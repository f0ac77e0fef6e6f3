//! Which block of a tar became which bytes of a compressed layer: with that, a block that a layer
//! of the store holds is copied, not compressed again.
//!
//! Nothing is taken on trust: bytes that are found by the check sums of a block must have the check
//! sum that they were written with, and are unpacked and compared with the block before they are
//! used. Those of a segment, whose files are not read, must have it, too, and are unpacked: what
//! they become must have the check sums of the block, and is what the diff ID is computed from. So
//! damage, and anything else that stands in the way, is a miss.

use super::block::{BlockKey, BlockRecord};
use super::prefix::PrefixRecord;
use super::segments::{Segment, SegmentRecord};

/// Blocks that take fewer bytes than this are not recorded: they are compressed in no time, and all
/// records together take at most 0.2 % of the bytes that they are about.
const LEAST: usize = 16 << 10;

/// The same for segments, of all their blocks together.
const LEAST_OF_SEGMENT: u64 = 32 << 10;

/// Format of the stored bytes: a new number makes old ones a miss.
const MAGIC: &[u8; 8] = b"mpimgb02";

/// Finds the compressed bytes of a block.
pub trait BlockSource: Send + Sync {
    /// Reads into `out`, which it replaces, what a block with this key became. `false`: there is
    /// nothing.
    fn read(&self, key: &BlockKey, out: &mut Vec<u8>) -> bool;

    /// Segments whose first entry has this mark ([`SegmentRecord::first`]): several where that is a
    /// folder which different layers begin with.
    fn segments(&self, first: u64) -> Vec<Segment>;

    /// How far the diff ID of this layer was before its block of this number, if that was recorded.
    fn prefix(&self, layer: usize, block: u64) -> Option<PrefixRecord>;

    /// Reads into `out`, which it replaces, a block of a segment of this layer. `false`: it is not
    /// as it was recorded.
    fn read_of(&self, layer: usize, record: &BlockRecord, out: &mut Vec<u8>) -> bool;
}

/// The blocks of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockIndex {
    records: Vec<BlockRecord>,
    segments: Vec<SegmentRecord>,
    prefixes: Vec<PrefixRecord>,
}

impl BlockIndex {
    /// Takes in the next block, which became `bytes`, which are at `offset`.
    pub(super) fn push(&mut self, key: BlockKey, offset: u64, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.records.push(BlockRecord { key, offset, length, sum: libdeflater::crc32(bytes) });
    }

    /// Takes in how far the diff ID is behind the newest block.
    pub(super) fn push_prefix(&mut self, prefix: PrefixRecord) {
        self.prefixes.push(prefix);
    }

    /// Takes in the segments of the layer, once all blocks have come.
    pub(super) fn set_segments(&mut self, segments: Vec<SegmentRecord>) {
        self.segments = segments;
    }

    /// What is worth its record.
    fn worthy(&self) -> Self {
        let mut worthy = Self::default();
        // The new number of each block.
        let mut numbers = Vec::with_capacity(self.records.len());
        for record in &self.records {
            numbers.push(worthy.records.len());
            worthy.records.extend(Some(*record).filter(|record| record.length as usize >= LEAST));
        }
        // Blocks keep their numbers up to the first that is left out.
        let same = std::iter::zip(0.., &numbers).take_while(|(number, new)| number == *new).count() as u64;
        worthy.prefixes = self.prefixes.iter().filter(|prefix| prefix.block < same).cloned().collect();
        for segment in &self.segments {
            let blocks = self.blocks_of(segment).unwrap_or_default();
            let bytes: u64 = blocks.iter().map(|record| u64::from(record.length)).sum();
            let all = !blocks.is_empty() && blocks.iter().all(|record| record.length as usize >= LEAST);
            if all && bytes >= LEAST_OF_SEGMENT {
                let block = u32::try_from(numbers[segment.block as usize]).unwrap_or(u32::MAX);
                worthy.segments.push(SegmentRecord { block, ..*segment });
            }
        }
        worthy
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.records.iter().all(|record| (record.length as usize) < LEAST)
    }

    /// The bytes to store; `maker` names what they depend on besides the block.
    pub fn to_bytes(&self, maker: &str) -> Vec<u8> {
        let Self { records, segments, prefixes } = self.worthy();
        postcard::to_extend(&(maker, records, segments, prefixes), MAGIC.to_vec()).unwrap_or_default()
    }

    /// The index in stored bytes, if `maker` made it.
    pub fn from_bytes(bytes: &[u8], maker: &str) -> Option<Self> {
        let (made_by, records, segments, prefixes): (&str, _, _, _) = postcard::from_bytes(bytes.strip_prefix(MAGIC)?).ok()?;
        (made_by == maker).then_some(Self { records, segments, prefixes })
    }

    /// The blocks, in the order of the layer.
    pub fn records(&self) -> &[BlockRecord] {
        &self.records
    }

    /// The segments, in the order of the layer.
    pub fn segments(&self) -> &[SegmentRecord] {
        &self.segments
    }

    /// How far the diff ID was before the block of this number, if that was recorded.
    pub fn prefix(&self, block: u64) -> Option<&PrefixRecord> {
        let found = self.prefixes.binary_search_by_key(&block, |prefix| prefix.block).ok()?;
        self.prefixes.get(found)
    }

    /// The blocks of a segment.
    pub fn blocks_of(&self, segment: &SegmentRecord) -> Option<&[BlockRecord]> {
        let begin = segment.block as usize;
        self.records.get(begin..begin.checked_add(segment.blocks as usize)?)
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
        let bytes = index.to_bytes("gzip");
        let record = BlockRecord { key, offset: 7, length: 20_000, sum: libdeflater::crc32(&stored) };
        assert_eq!(BlockIndex::from_bytes(&bytes, "gzip").unwrap().records(), [record]);
        assert!(record.matches(&stored) && !record.matches(&stored[1..]));
        for (bytes, maker) in [(&bytes[..], "zstd"), (&bytes[..bytes.len() - 1], "gzip"), (b"", "gzip")] {
            assert_eq!(BlockIndex::from_bytes(bytes, maker), None);
        }
        assert!(bytes.len() - MAGIC.len() < LEAST / 500, "{} bytes", bytes.len());
    }
}
