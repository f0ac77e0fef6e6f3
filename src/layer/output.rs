//! The end of the pipeline: blocks in their order, written and hashed.

use std::io::Write;

use super::block::BlockKey;
use super::blocks::BlockIndex;
use super::prefix::{PrefixRecord, TarState};
use super::tar_hash::changed_layer;
use crate::error::{Error, Result};
use crate::oci::{Digest, Hasher};

/// Compressed bytes from one record of a prefix to the next, so that records take at most 0.2 % of
/// them.
const LEAST_OF_PREFIX: u64 = 128 << 10;

/// A block as it will be written.
pub(super) struct Ready {
    /// `None`: nobody looks for it.
    pub(super) key: Option<BlockKey>,
    pub(super) bytes: Vec<u8>,
    /// The hash of the tar behind the block, where that may be worth a record.
    pub(super) tar: Option<TarState>,
    /// The digest that all bytes up to here must have.
    pub(super) expected: Option<Digest>,
}

/// What was written so far.
pub(super) struct Output<W> {
    pub(super) sink: W,
    pub(super) digest: Hasher,
    pub(super) blocks: BlockIndex,
    /// Where the last record of a prefix is.
    recorded: u64,
    /// The number of the block that is written next.
    pub(super) next: u64,
}

impl<W: Write> Output<W> {
    pub(super) fn new(sink: W) -> Self {
        Self { sink, digest: Hasher::new(), blocks: BlockIndex::default(), recorded: 0, next: 0 }
    }

    /// Writes the next block; a buffer to use again.
    pub(super) fn write(&mut self, Ready { key, bytes, tar, expected }: Ready) -> Result<Vec<u8>> {
        key.iter().for_each(|key| self.blocks.push(*key, self.digest.length(), &bytes));
        self.digest.update(&bytes);
        if expected.is_some_and(|expected| self.digest.clone().finish() != expected) {
            return Err(changed_layer());
        }
        self.sink.write_all(&bytes).map_err(|error| Error::io("write", "layer", error))?;
        self.next += 1;
        if let Some(tar) = tar.filter(|_| key.is_some() && self.digest.length() - self.recorded >= LEAST_OF_PREFIX) {
            self.recorded = self.digest.length();
            self.blocks.push_prefix(PrefixRecord::new(self.next, tar, self.digest.clone().finish()));
        }
        Ok(bytes)
    }
}
