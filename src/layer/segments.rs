//! Entries of a layer whose tar need not be made again: a segment is the entries between two
//! borders of blocks that are both before an entry, with the blocks that they became.
//!
//! Where the entries come again, with the headers and the stamps of content that they had, the tar
//! is the same bytes, and so are its blocks: no file is opened. The second border is chosen by the
//! name of the entry behind it ([`Cutter`](super::cut::Cutter)), so that this name must be the
//! same, too.

use std::collections::VecDeque;
use std::vec::Drain;

use serde::{Deserialize, Serialize};

use super::block::BlockRecord;
use super::entry_header::EntryHeader;
use super::stamp::Stamp;
use crate::oci::Hasher;

/// Bytes of a digest that are kept.
const MARK: usize = 16;

/// What an entry is in a tar: header, records, and the stamp of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryMark([u8; MARK]);

impl EntryMark {
    pub(super) fn of(header: &EntryHeader, content: Option<&Stamp>) -> Self {
        let mut hasher = Hasher::new();
        header.update(&mut hasher);
        content.iter().for_each(|stamp| stamp.update(&mut hasher));
        Self(hasher.finish_prefix())
    }

    /// What a segment is looked for by.
    pub(super) fn first(&self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|at| self.0[at]))
    }
}

/// The marks of a segment's entries, one after the other.
#[derive(Debug, Default)]
pub(super) struct SegmentMark {
    hasher: Hasher,
}

impl SegmentMark {
    pub(super) fn add(&mut self, mark: &EntryMark) {
        self.hasher.update(&mark.0);
    }

    /// Before the entry of this header.
    fn finish(&self, next: &EntryHeader) -> [u8; MARK] {
        let mut hasher = self.hasher.clone();
        next.border_name().iter().for_each(|part| hasher.update_field(part));
        hasher.finish_prefix()
    }
}

/// A segment of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRecord {
    /// What it is looked for by: of its first entry.
    pub first: u64,
    /// What its entries are, and the name behind.
    pub(super) mark: [u8; MARK],
    /// How many entries.
    pub(super) entries: u32,
    /// The first block, by its number in the layer.
    pub(super) block: u32,
    /// How many blocks.
    pub(super) blocks: u32,
}

/// A segment that a layer of the store has.
#[derive(Debug, Clone)]
pub struct Segment {
    record: SegmentRecord,
    /// The layer, by its number in the [`BlockSource`](super::BlockSource).
    pub(super) layer: usize,
    /// Its blocks.
    pub(super) blocks: Vec<BlockRecord>,
}

impl Segment {
    /// The segment of `record`, in the layer of this number, with its blocks.
    pub fn new(record: SegmentRecord, layer: usize, blocks: Vec<BlockRecord>) -> Self {
        Self { record, layer, blocks }
    }

    pub(super) fn entries(&self) -> usize {
        self.record.entries as usize
    }

    /// The number of its first block in the layer.
    pub(super) fn block(&self) -> u64 {
        self.record.block.into()
    }

    /// Whether entries with these marks, and the entry behind, are those of the segment.
    pub(super) fn is_of(&self, marks: &SegmentMark, next: &EntryHeader) -> bool {
        self.record.mark == marks.finish(next)
    }
}

/// Finds the segments of a layer while it is written.
#[derive(Debug, Default)]
pub(super) struct SegmentRecorder {
    /// Entries behind the last border, with where they begin.
    entries: VecDeque<(u64, NotedEntry)>,
    open: OpenSegment,
    done: Vec<SegmentRecord>,
}

#[derive(Debug)]
struct NotedEntry {
    /// `None`: nothing proves that its content is the same another time.
    mark: Option<EntryMark>,
    header: EntryHeader,
}

/// A segment whose second border has not come.
#[derive(Debug, Default)]
struct OpenSegment {
    block: u64,
    first: Option<u64>,
    marks: SegmentMark,
    entries: u32,
    /// An entry has no mark.
    unknown: bool,
}

impl SegmentRecorder {
    /// An entry begins at byte `position` of the tar.
    pub(super) fn entry(&mut self, position: u64, header: EntryHeader, mark: Option<EntryMark>) {
        self.entries.push_back((position, NotedEntry { mark, header }));
    }

    /// Takes in borders: where they are in the tar, and the number of the block behind.
    pub(super) fn borders(&mut self, borders: Drain<'_, (u64, u64)>) {
        for (position, block) in borders {
            let ended = self.entries.iter().take_while(|(begin, _)| *begin < position).count();
            self.entries.drain(..ended).for_each(|(_, entry)| self.open.add(&entry));
            if let Some((_, next)) = self.entries.front().filter(|(begin, _)| *begin == position) {
                self.done.extend(self.open.close(&next.header, block));
            }
        }
    }

    /// There is a border before an entry that is not noted, of this header, at the end of all that
    /// is; `block` is the number of the block behind.
    pub(super) fn border_before(&mut self, header: &EntryHeader, block: u64) {
        self.entries.drain(..).for_each(|(_, entry)| self.open.add(&entry));
        self.done.extend(self.open.close(header, block));
    }

    /// After a border, a segment of another layer has come. `block` is the number of the block
    /// behind.
    pub(super) fn known(&mut self, segment: &Segment, block: u64) {
        let begin = std::mem::replace(&mut self.open, OpenSegment { block, ..OpenSegment::default() }).block;
        self.done.extend(u32::try_from(begin).map(|block| SegmentRecord { block, ..segment.record }));
    }

    /// The segments that have come.
    pub(super) fn finish(self) -> Vec<SegmentRecord> {
        self.done
    }
}

impl OpenSegment {
    fn add(&mut self, NotedEntry { mark, header }: &NotedEntry) {
        self.entries += 1;
        match mark {
            Some(mark) => self.marks.add(mark),
            None => self.unknown = true,
        }
        // Where an entry begins with a record, there is no telling whether a border comes before.
        if self.entries == 1 && header.begins_with_header() {
            self.first = mark.map(|mark| mark.first());
        }
    }

    /// Ends at the border before `next`; the next segment begins with the block `end`.
    fn close(&mut self, next: &EntryHeader, end: u64) -> Option<SegmentRecord> {
        let ended = std::mem::replace(self, Self { block: end, ..Self::default() });
        let first = ended.first.filter(|_| !ended.unknown)?;
        let (block, blocks) = (u32::try_from(ended.block).ok()?, u32::try_from(end - ended.block).ok()?);
        Some(SegmentRecord { first, mark: ended.marks.finish(next), entries: ended.entries, block, blocks })
    }
}
