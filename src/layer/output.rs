//! The end of the pipeline: blocks in their order, written and hashed.

use std::io::Write;

use super::block::BlockKey;
use super::blocks::BlockIndex;
use super::prefix::{PrefixRecord, PrefixRecorder};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Hasher;

/// A block as it will be written.
pub(super) struct Ready {
    /// `None`: nobody looks for it.
    pub(super) key: Option<BlockKey>,
    pub(super) tar: ReadyTar,
    pub(super) bytes: Vec<u8>,
}

/// The bytes of tar of a block.
pub(super) enum ReadyTar {
    Block(Vec<u8>),
    /// So many, which are not needed; how far the diff ID is behind them, if that is known.
    Skipped(u32, Option<Box<PrefixRecord>>),
}

/// What was written so far.
pub(super) struct Output<W> {
    pub(super) sink: W,
    pub(super) digest: Hasher,
    pub(super) diff_id: Hasher,
    /// The last blocks were skipped: the diff ID's hash has not taken them in.
    is_behind: bool,
    /// Bytes of tar so far.
    position: u64,
    pub(super) blocks: BlockIndex,
    prefixes: PrefixRecorder,
    /// The number of the block that is written next.
    pub(super) next: u64,
}

impl<W: Write> Output<W> {
    pub(super) fn new(sink: W) -> Self {
        let (digest, diff_id) = (Hasher::new(), Hasher::new());
        Self {
            sink,
            digest,
            diff_id,
            is_behind: false,
            position: 0,
            blocks: BlockIndex::default(),
            prefixes: PrefixRecorder::default(),
            next: 0,
        }
    }

    /// Writes the next block; buffers to use again.
    pub(super) fn write(&mut self, Ready { key, tar, bytes }: Ready) -> Result<impl Iterator<Item = Vec<u8>> + use<W>> {
        key.iter().for_each(|key| self.blocks.push(*key, self.digest.length(), &bytes));
        self.digest.update(&bytes);
        let (length, block) = match tar {
            // Blocks are skipped only up to where it is known how far the hash is: this would be a
            // mistake of the pipeline, and must not become a wrong diff ID.
            ReadyTar::Block(_) if self.is_behind => return Err(changed_layer()),
            ReadyTar::Block(block) => {
                self.diff_id.update(&block);
                self.position += block.len() as u64;
                (block.len() as u64, Some(block))
            }
            ReadyTar::Skipped(length, prefix) => {
                self.position += u64::from(length);
                self.is_behind = prefix.is_none();
                if let Some(prefix) = prefix {
                    let hasher = prefix.hasher(&self.digest).filter(|hasher| hasher.length() == self.position);
                    self.diff_id = hasher.ok_or_else(changed_layer)?;
                }
                (length.into(), None)
            }
        };
        self.sink.write_all(&bytes).map_err(|error| Error::io("write", "layer", error))?;
        self.next += 1;
        if key.is_some() && self.prefixes.block(length, bytes.len() as u64) && !self.is_behind {
            let prefix = PrefixRecord::before(self.next, &self.diff_id, &self.digest);
            prefix.into_iter().for_each(|prefix| self.blocks.push_prefix(prefix));
        }
        Ok(block.into_iter().chain([bytes]))
    }
}

/// A layer was good when a segment of it was taken: the disk or another program is at fault.
pub(super) fn changed_layer() -> Error {
    Error::new(ErrorKind::Corrupt, "a layer of the store changed while it was read")
        .with_hint("run `mpimg prune` to drop damaged blobs, then run the same command again")
}
