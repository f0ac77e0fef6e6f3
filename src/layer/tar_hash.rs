//! The diff ID of a layer in the making: blocks are hashed in their order, each by the thread that
//! makes it, before it is compressed. So no block is kept for its hash while others are under way.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::prefix::{PrefixRecord, TarState};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{DiffId, Hasher};

/// The hash of all blocks that had their turn.
#[derive(Default)]
pub(super) struct TarHash {
    turns: Mutex<Turns>,
    changed: Condvar,
}

#[derive(Default)]
struct Turns {
    hasher: Hasher,
    /// The block whose turn it is.
    next: u64,
    /// Bytes of tar so far.
    position: u64,
    /// The last blocks were skipped: the hash has not taken them in.
    is_behind: bool,
    /// Where a state was due last.
    due: u64,
    /// A block will never come.
    failed: bool,
}

impl TarHash {
    /// Takes in the block of this number; the hash behind it, if that is worth a record. Waits for
    /// the blocks before.
    pub(super) fn block(&self, number: u64, tar: &[u8]) -> Result<Option<TarState>> {
        let mut turns = self.turn(number)?;
        // Blocks are skipped only up to where it is known how far the hash is: this would be a
        // mistake of the pipeline, and must not become a wrong diff ID.
        if turns.is_behind {
            return Err(changed_layer());
        }
        turns.hasher.update(tar);
        Ok(self.end_turn(turns, tar.len() as u64))
    }

    /// Skips a block of so many bytes; `prefix` says how far the hash is behind it.
    pub(super) fn skip(&self, number: u64, length: u32, prefix: Option<&PrefixRecord>) -> Result<Option<TarState>> {
        let mut turns = self.turn(number)?;
        turns.is_behind = prefix.is_none();
        if let Some(prefix) = prefix {
            let position = turns.position + u64::from(length);
            turns.hasher = prefix.hasher().filter(|hasher| hasher.length() == position).ok_or_else(changed_layer)?;
        }
        Ok(self.end_turn(turns, length.into()))
    }

    fn turn(&self, number: u64) -> Result<MutexGuard<'_, Turns>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        while turns.next != number {
            if turns.failed {
                return Err(Error::io("write", "layer", io::Error::other("it failed before")));
            }
            turns = self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(turns)
    }

    fn end_turn(&self, mut turns: MutexGuard<'_, Turns>, length: u64) -> Option<TarState> {
        turns.next += 1;
        turns.position += length;
        let mut state = None;
        if turns.position - turns.due >= TarState::LEAST {
            turns.due = turns.position;
            state = TarState::of(&turns.hasher).filter(|_| !turns.is_behind);
        }
        drop(turns);
        self.changed.notify_all();
        state
    }

    /// Lets nobody wait for a block that will never come.
    pub(super) fn fail(&self) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).failed = true;
        self.changed.notify_all();
    }

    /// The diff ID of all blocks, and the bytes of their tar.
    pub(super) fn finish(&self) -> Result<(DiffId, u64)> {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        match turns.is_behind {
            false => Ok((DiffId(turns.hasher.clone().finish()), turns.position)),
            true => Err(changed_layer()),
        }
    }
}

/// A layer was good when a segment of it was taken: the disk or another program is at fault.
pub(super) fn changed_layer() -> Error {
    Error::new(ErrorKind::Corrupt, "a layer of the store changed while it was read")
        .with_hint("run `mpimg prune` to drop damaged blobs, then run the same command again")
}
