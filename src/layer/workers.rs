//! The threads of the pipeline: what they share, and what each of them does.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::block::{BlockKey, BlockRecord};
use super::blocks::BlockSource;
use super::codec::{Codec, Encoder};
use super::output::{Output, Ready};
use super::prefix::PrefixRecord;
use super::tar_hash::{TarHash, changed_layer};
use crate::error::{Error, Result};

/// What the threads of a pipeline share.
pub(super) struct PipelineShared<W> {
    pub(super) codec: Codec,
    /// Blocks that need not be compressed.
    pub(super) source: Option<Arc<dyn BlockSource>>,
    /// How many were not.
    pub(super) copied: AtomicU64,
    /// The diff ID so far.
    pub(super) tar: TarHash,
    pub(super) state: Mutex<PipelineState<W>>,
    /// Work has come, room has come, or the end.
    pub(super) changed: Condvar,
}

pub(super) struct PipelineState<W> {
    pub(super) waiting: VecDeque<Job>,
    /// Compressed, not yet written, by number.
    pub(super) ready: BTreeMap<u64, Ready>,
    /// Blocks handed in and not yet written.
    pub(super) under_way: usize,
    /// Taken out by the one thread that writes.
    pub(super) output: Option<Output<W>>,
    pub(super) spare: Vec<Vec<u8>>,
    /// The first failure; none is compressed or written after it.
    pub(super) failure: Option<PipelineFailure>,
    pub(super) closed: bool,
}

/// A block to make.
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) from: JobInput,
}

/// What it is made of.
pub(super) enum JobInput {
    /// Its bytes of tar.
    Tar {
        block: Vec<u8>,
        /// It is all of a small layer: nobody looks for it or keeps a record of it.
        alone: bool,
    },
    /// A block of a layer of the source.
    Stored(StoredBlock),
    /// As `Stored`, of the beginning that the layers have in common. At its end it is known how far
    /// the diff ID is.
    Same(StoredBlock, Option<Box<PrefixRecord>>),
}

/// A block of the source's layer of this number.
pub(super) struct StoredBlock {
    pub(super) layer: usize,
    pub(super) record: BlockRecord,
    /// What it became, where that was kept when it was looked at.
    pub(super) bytes: Option<Vec<u8>>,
}

pub(super) enum PipelineFailure {
    New(Error),
    /// The caller has the error; should it go on all the same, it gets another.
    Reported,
}

impl<W: Write> PipelineShared<W> {
    pub(super) fn new(codec: Codec, source: Option<Arc<dyn BlockSource>>, sink: W) -> Self {
        let state = PipelineState {
            waiting: VecDeque::new(),
            ready: BTreeMap::new(),
            under_way: 0,
            output: Some(Output::new(sink)),
            spare: Vec::new(),
            failure: None,
            closed: false,
        };
        Self {
            codec,
            source,
            copied: AtomicU64::new(0),
            tar: TarHash::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, PipelineState<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, PipelineState<W>>) -> MutexGuard<'a, PipelineState<W>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's life.
    pub(super) fn work(&self) {
        let mut encoder = match Encoder::new(self.codec) {
            Ok(encoder) => encoder,
            // The producer, which compresses too, meets the same error and returns it.
            Err(_) => return,
        };
        let _guard = WorkerGuard(self);
        loop {
            let mut state = self.lock();
            let job = loop {
                match state.waiting.pop_front() {
                    Some(job) => break job,
                    None if state.closed => return,
                    None => state = self.wait(state),
                }
            };
            drop(state);
            self.run(&mut encoder, job);
        }
    }

    /// Makes the bytes of a block: those that a layer of the store has, or new ones.
    fn make(&self, encoder: &mut Encoder, Job { number, from }: Job, spare: &mut Vec<Vec<u8>>) -> Result<Ready> {
        let (stored, prefix) = match from {
            JobInput::Tar { block, alone } => {
                let mut bytes = spare.pop().unwrap_or_default();
                let tar = self.tar.block(number, &block)?;
                let key = self.make_from_tar(encoder, &block, alone, &mut bytes)?;
                spare.push(block);
                return Ok(Ready { key, bytes, tar, expected: None });
            }
            JobInput::Stored(stored) => (stored, None),
            JobInput::Same(stored, prefix) => (stored, Some(prefix)),
        };
        let StoredBlock { layer, record, bytes } = stored;
        let is_read = bytes.is_some();
        let mut bytes = bytes.or_else(|| spare.pop()).unwrap_or_default();
        if !is_read && !self.source.as_ref().is_some_and(|source| source.read_of(layer, &record, &mut bytes)) {
            return Err(changed_layer());
        }
        self.copied.fetch_add(1, Ordering::Relaxed);
        let (key, length) = (Some(record.key), record.key.length());
        if let Some(prefix) = prefix {
            let tar = self.tar.skip(number, length, prefix.as_deref())?;
            return Ok(Ready { key, bytes, tar, expected: prefix.map(|prefix| prefix.bytes) });
        }
        let mut block = spare.pop().unwrap_or_default();
        if !encoder.decode(&bytes, &record.key, &mut block) {
            return Err(changed_layer());
        }
        let tar = self.tar.block(number, &block)?;
        spare.push(block);
        Ok(Ready { key, bytes, tar, expected: None })
    }

    fn make_from_tar(&self, encoder: &mut Encoder, block: &[u8], alone: bool, bytes: &mut Vec<u8>) -> Result<Option<BlockKey>> {
        let source = match &self.source {
            Some(source) if !alone => source,
            _ => return encoder.encode(block, bytes).map(|()| None),
        };
        let key = BlockKey::of(block);
        match source.read(&key, bytes) && encoder.is_of(bytes, block) {
            true => drop(self.copied.fetch_add(1, Ordering::Relaxed)),
            false => encoder.encode(block, bytes)?,
        }
        Ok(Some(key))
    }

    /// Makes one block and writes whatever is next in order.
    pub(super) fn run(&self, encoder: &mut Encoder, job: Job) {
        let (number, mut spare) = (job.number, Vec::new());
        {
            let state = &mut *self.lock();
            let buffers = if matches!(job.from, JobInput::Stored(..)) { 2 } else { 1 };
            spare.extend(state.spare.drain(state.spare.len().saturating_sub(buffers)..));
        }
        let made = self.make(encoder, job, &mut spare);
        let mut state = self.lock();
        state.spare.append(&mut spare);
        match made {
            Ok(ready) => drop(state.ready.insert(number, ready)),
            Err(error) => {
                // The first one: the others come of it.
                state.failure.get_or_insert(PipelineFailure::New(error));
                self.tar.fail();
            }
        }
        // The thread that holds the output writes; the others leave their block for it and go on
        // compressing.
        if let Some(mut output) = state.output.take() {
            while state.failure.is_none()
                && let Some(ready) = state.ready.remove(&output.next)
            {
                drop(state);
                let written = output.write(ready);
                state = self.lock();
                state.under_way -= 1;
                match written {
                    Ok(spare) => state.spare.push(spare),
                    Err(error) => drop(state.failure.get_or_insert(PipelineFailure::New(error))),
                }
            }
            state.output = Some(output);
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// Ends the pipeline with an error where its thread panics: the producer would wait for that
/// thread's blocks for ever.
struct WorkerGuard<'a, W: Write>(&'a PipelineShared<W>);

impl<W: Write> Drop for WorkerGuard<'_, W> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let panicked = io::Error::other("a thread that compresses it panicked");
            self.0.lock().failure = Some(PipelineFailure::New(Error::io("write", "layer", panicked)));
            self.0.tar.fail();
            self.0.changed.notify_all();
        }
    }
}
