//! The pipeline under a layer: a stream of tar bytes in, compressed bytes and both digests out, in
//! one pass.
//!
//! Blocks of the stream are compressed on all cores and written in order. Memory is bounded by the
//! number of blocks under way, whatever the layer's size. It knows nothing of what the bytes mean.
//!
//! The thread that produces the tar is one of the compressing threads: when enough blocks wait, it
//! compresses one instead of waiting. So two cores are both busy even though reading, hashing and
//! compressing take different times (measured on 311 MB of /usr: 1.9 times as fast as one thread;
//! with a thread a role it was 1.4).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::blocks::{BlockIndex, BlockSource};
use super::codec::{Codec, Encoder};
use super::cut::Cutter;
use super::segments::Segment;
use super::workers::{Job, JobInput, PipelineFailure, PipelineShared, StoredBlock};
use crate::error::{Error, Result};
use crate::oci::{Descriptor, DiffId, Hasher};

/// Initial buffer of a block, in bytes; the whole buffer when only hashing.
const FIRST_ROOM: usize = 64 << 10;

/// More threads than this gain nothing: the tar is read by one thread and hashed in order.
const MOST_THREADS: usize = 16;

/// Blocks of one segment whose bytes are kept from the look at them until they are written: a
/// second reading took 3 % of the build of a large tree in which one file has changed. Segments of
/// ordinary files have one to three.
pub(super) const MOST_KEPT: usize = 4;

/// The pipeline: write the tar into it, then [`finish`](Self::finish).
pub(super) struct Pipeline<W: Write + Send + 'static> {
    shared: Arc<PipelineShared<W>>,
    threads: usize,
    workers: Vec<JoinHandle<()>>,
    encoder: Option<Encoder>,
    cutter: Cutter,
    block: Vec<u8>,
    filled: usize,
    next: u64,
    /// How many bytes have come.
    position: u64,
    /// Borders that nobody has asked for: where they are, and the number of the block behind.
    borders: Vec<(u64, u64)>,
    /// Where only the diff ID is wanted.
    hash_only: Option<Hasher>,
    beginning: Beginning,
}

/// Whether the layer begins with the blocks of another one.
enum Beginning {
    /// It has no block yet.
    Empty,
    /// It is so far the source's layer of this number. Of its last blocks there is no record of how
    /// far the diff ID was: they wait for one.
    Of(usize, Vec<StoredBlock>),
    /// It is another layer.
    Other,
}

/// What a finished pipeline knows of the layer.
pub(super) struct Finished<W> {
    pub(super) descriptor: Descriptor,
    pub(super) diff_id: DiffId,
    /// Bytes of tar.
    pub(super) unpacked_size: u64,
    /// Which block became which bytes.
    pub(super) blocks: BlockIndex,
    pub(super) sink: W,
}

impl<W: Write + Send + 'static> Pipeline<W> {
    /// A pipeline into `sink` on at most `threads` threads, the caller's included. Blocks that
    /// `source` has are not compressed.
    pub(super) fn new(codec: Codec, threads: usize, source: Option<Arc<dyn BlockSource>>, sink: W) -> Self {
        Self {
            shared: Arc::new(PipelineShared::new(codec, source, sink)),
            threads: threads.clamp(1, MOST_THREADS),
            workers: Vec::new(),
            encoder: None,
            cutter: Cutter::new(codec.block_bounds()),
            block: Vec::new(),
            filled: 0,
            next: 0,
            position: 0,
            borders: Vec::new(),
            hash_only: None,
            beginning: Beginning::Empty,
        }
    }

    /// A pipeline that finds the diff ID and drops the bytes; `sink` gets none.
    pub(super) fn hashing(sink: W) -> Self {
        let mut pipeline = Self::new(Codec::default(), 1, None, sink);
        pipeline.hash_only = Some(Hasher::new());
        pipeline
    }

    /// The diff ID of what has come.
    pub(super) fn finish_hash(mut self) -> DiffId {
        DiffId(self.hash_only.take().unwrap_or_default().finish())
    }

    /// Room for more bytes, never empty: fill a part of it, then call [`advance`](Self::advance).
    pub(super) fn room(&mut self) -> Result<&mut [u8]> {
        if self.hash_only.is_some() {
            self.filled = 0;
            self.block.resize(FIRST_ROOM, 0);
            return Ok(&mut self.block);
        }
        self.cut()?;
        let limit = self.cutter.limit();
        if self.filled == self.block.len() {
            // Most layers of a project are small: theirs shall not cost the memory of a large
            // one's.
            self.block.resize((2 * self.filled).max(FIRST_ROOM), 0);
        }
        let end = self.block.len().min(limit);
        Ok(&mut self.block[self.filled..end])
    }

    /// Hands in the blocks that are complete.
    fn cut(&mut self) -> Result<()> {
        while let Some(end) = self.cutter.find(&self.block[..self.filled]) {
            self.borders.push((self.position - (self.filled - end) as u64, self.number() + 1));
            self.hand_in(end)?;
        }
        Ok(())
    }

    /// Hands in the first `end` bytes as a block.
    fn hand_in(&mut self, end: usize) -> Result<()> {
        let mut next = self.shared.lock().spare.pop().unwrap_or_default();
        let rest = end..self.filled;
        self.filled = rest.len();
        if next.len() < self.filled {
            next.resize(self.filled.max(FIRST_ROOM), 0);
        }
        next[..self.filled].copy_from_slice(&self.block[rest]);
        let mut block = std::mem::replace(&mut self.block, next);
        block.truncate(end);
        self.end_beginning()?;
        self.submit(JobInput::Tar { block, alone: false })
    }

    /// Borders that have come since the last call: where they are in the tar, and the number of the
    /// block behind.
    pub(super) fn borders(&mut self) -> std::vec::Drain<'_, (u64, u64)> {
        self.borders.drain(..)
    }

    /// Cuts here if there is a border before `header`, which comes next; the number of the block
    /// that begins here.
    pub(super) fn cut_before(&mut self, header: &[u8; 512]) -> Result<Option<u64>> {
        self.cut()?;
        if self.filled > 0 {
            if !self.cutter.cuts_before(header) {
                return Ok(None);
            }
            self.hand_in(self.filled)?;
        }
        self.cutter.begin();
        Ok(Some(self.number()))
    }

    /// The number of the next block.
    fn number(&self) -> u64 {
        let waiting = if let Beginning::Of(_, waiting) = &self.beginning { waiting.len() } else { 0 };
        self.next + waiting as u64
    }

    /// Takes the blocks of a segment that begins here; the number of the block behind. `None`, and
    /// nothing is taken: one is not as it was recorded.
    pub(super) fn take(&mut self, segment: &Segment) -> Result<Option<u64>> {
        let Some(source) = self.shared.source.clone() else { return Ok(None) };
        let mut blocks = Vec::with_capacity(segment.blocks.len());
        for record in &segment.blocks {
            let mut bytes = self.shared.lock().spare.pop().unwrap_or_default();
            if !source.read_of(segment.layer, record, &mut bytes) {
                return Ok(None);
            }
            let mut block = StoredBlock { layer: segment.layer, record: *record, bytes: Some(bytes) };
            // Of the many of a large file only the first, which may not fit into memory.
            if blocks.len() >= MOST_KEPT {
                self.shared.lock().spare.extend(block.bytes.take());
            }
            blocks.push(block);
        }
        if matches!(self.beginning, Beginning::Empty) {
            self.beginning = Beginning::Of(segment.layer, Vec::new());
        }
        if !matches!(self.beginning, Beginning::Of(layer, _) if layer == segment.layer) || segment.block() != self.number() {
            self.end_beginning()?;
        }
        for block in blocks {
            self.position += u64::from(block.record.key.length());
            let next = self.number() + 1;
            let Beginning::Of(layer, waiting) = &mut self.beginning else {
                self.submit(JobInput::Stored(block))?;
                continue;
            };
            waiting.push(block);
            if let Some(prefix) = source.prefix(*layer, next) {
                let same = std::mem::take(waiting);
                let (last, mut prefix) = (same.len() - 1, Some(Box::new(prefix)));
                for (at, block) in same.into_iter().enumerate() {
                    self.submit(JobInput::Same(block, prefix.take_if(|_| at == last)))?;
                }
            }
        }
        Ok(Some(self.number()))
    }

    /// What comes next is not what the other layer has. The blocks that wait are taken with their
    /// bytes of tar.
    fn end_beginning(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.beginning, Beginning::Other) {
            Beginning::Of(_, waiting) => waiting.into_iter().try_for_each(|block| self.submit(JobInput::Stored(block))),
            Beginning::Empty | Beginning::Other => Ok(()),
        }
    }

    /// `length` bytes of the room are filled.
    pub(super) fn advance(&mut self, length: usize) {
        if let Some(hasher) = &mut self.hash_only {
            hasher.update(&self.block[self.filled..self.filled + length]);
        }
        self.position += length as u64;
        self.filled += length;
    }

    /// The last `length` bytes that have come, of those that came since [`room`](Self::room).
    pub(super) fn newest(&self, length: usize) -> &[u8] {
        &self.block[self.filled - length..self.filled]
    }

    /// Where blocks are looked for.
    pub(super) fn source(&self) -> Option<Arc<dyn BlockSource>> {
        self.shared.source.clone()
    }

    /// How many bytes have come so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    fn submit(&mut self, from: JobInput) -> Result<()> {
        if self.threads > 1 && self.workers.is_empty() {
            self.start_workers();
        }
        let number = self.next;
        self.next += 1;
        let mut state = self.shared.lock();
        state.waiting.push_back(Job { number, from });
        state.under_way += 1;
        drop(state);
        self.shared.changed.notify_one();
        // One block in each thread's hands and one waiting for each: enough that nobody idles.
        let limit = if self.threads == 1 { 0 } else { 2 * self.threads - 1 };
        self.help_until(limit)
    }

    /// A small layer never gets here, and so starts no thread. Where none can be started, this one
    /// does all.
    fn start_workers(&mut self) {
        for _ in 1..self.threads {
            let shared = Arc::clone(&self.shared);
            self.workers.extend(std::thread::Builder::new().spawn(move || shared.work()));
        }
    }

    /// Compresses blocks itself until at most `limit` are under way.
    fn help_until(&mut self, limit: usize) -> Result<()> {
        loop {
            let mut state = self.shared.lock();
            let job = loop {
                match state.failure.replace(PipelineFailure::Reported) {
                    Some(PipelineFailure::New(error)) => return Err(error),
                    Some(PipelineFailure::Reported) => {
                        return Err(Error::io("write", "layer", io::Error::other("it failed before")));
                    }
                    None => state.failure = None,
                }
                if state.under_way <= limit {
                    return Ok(());
                }
                match state.waiting.pop_front() {
                    Some(job) => break job,
                    None => state = self.shared.wait(state),
                }
            };
            drop(state);
            if self.encoder.is_none() {
                self.encoder = Some(Encoder::new(self.shared.codec)?);
            }
            if let Some(encoder) = &mut self.encoder {
                self.shared.run(encoder, job);
            }
        }
    }

    /// Compresses what is left and ends the workers.
    pub(super) fn finish(mut self) -> Result<Finished<W>> {
        self.cut()?;
        self.end_beginning()?;
        let mut block = std::mem::take(&mut self.block);
        block.truncate(self.filled);
        if !block.is_empty() || self.next == 0 {
            let state = &mut *self.shared.lock();
            let from = JobInput::Tar { block, alone: self.next == 0 };
            state.waiting.push_back(Job { number: self.next, from });
            state.under_way += 1;
        }
        self.help_until(0)?;
        let output = self.shared.lock().output.take();
        let Some(mut output) = output else {
            return Err(Error::io("write", "layer", io::Error::other("the writer was lost")));
        };
        output.sink.flush().map_err(|error| Error::io("write", "layer", error))?;
        tracing::debug!(blocks = output.next, copied = self.shared.copied.load(Ordering::Relaxed), "a layer was compressed");
        let size = output.digest.length();
        let media_type = self.shared.codec.compression().layer_media_type();
        let (diff_id, unpacked_size) = self.shared.tar.finish()?;
        let descriptor = Descriptor::new(media_type, output.digest.finish(), size);
        Ok(Finished { descriptor, diff_id, unpacked_size, blocks: output.blocks, sink: output.sink })
    }
}

impl<W: Write + Send + 'static> Drop for Pipeline<W> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        // A thread may wait for a block that was cleared, or that this one had when it panicked.
        self.shared.tar.fail();
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so; its layer never completes.
            let _ = worker.join();
        }
    }
}

/// tar's builder writes headers through this; content goes through `room` without a copy.
impl<W: Write + Send + 'static> Write for Pipeline<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room().map_err(io::Error::other)?;
        let length = room.len().min(bytes.len());
        room[..length].copy_from_slice(&bytes[..length]);
        self.advance(length);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Seen, letters};
    use super::super::{BlockKey, BlockRecord, PrefixRecord};
    use super::*;
    use crate::error::ErrorKind;
    use crate::oci::Digest;

    /// The blocks of one layer, as the store has them.
    struct Known(BlockIndex, Vec<u8>);

    impl BlockSource for Known {
        fn read(&self, key: &BlockKey, out: &mut Vec<u8>) -> bool {
            self.0.records().iter().find(|record| record.key == *key).is_some_and(|record| self.read_of(0, record, out))
        }

        fn segments(&self, _: u64) -> Vec<Segment> {
            Vec::new()
        }

        fn prefix(&self, _: usize, _: u64) -> Option<PrefixRecord> {
            None
        }

        fn read_of(&self, _: usize, record: &BlockRecord, out: &mut Vec<u8>) -> bool {
            let from = record.offset as usize;
            out.clear();
            out.extend_from_slice(&self.1[from..from + record.length as usize]);
            record.matches(out)
        }
    }

    /// Packs `input` where `bytes`, the layer of `blocks`, is known; also how many blocks were
    /// copied.
    fn run_with(codec: &str, input: &[u8], blocks: &BlockIndex, bytes: &[u8]) -> (Vec<u8>, u64) {
        let records = BlockIndex::from_bytes(&blocks.to_bytes(""), "").unwrap();
        let (known, seen) = (Arc::new(Known(records, bytes.to_vec())), Seen::default());
        let mut pipeline = Pipeline::new(Codec::parse(codec).unwrap(), 2, Some(known), seen.clone());
        pipeline.write_all(input).unwrap();
        let shared = Arc::clone(&pipeline.shared);
        let finished = pipeline.finish().unwrap();
        let bytes = seen.bytes();
        assert_eq!(finished.descriptor.digest, Digest::of(&bytes));
        (bytes, shared.copied.load(Ordering::Relaxed))
    }

    #[test]
    fn known_blocks_are_copied_and_the_bytes_are_those_of_a_fresh_layer() {
        let mut input = letters(9_000_001);
        for codec in ["gzip", "zstd"] {
            let (fresh, mut bytes) = run(codec, 1, &input);
            let count = input.len().div_ceil(Codec::parse(codec).unwrap().block_bounds().max) as u64;
            let (none, copied) = run_with(codec, &input, &BlockIndex::default(), b"");
            assert!(none == bytes && copied == 0, "{codec}: {copied} copied");
            // What is not recorded without somebody who looks: run once more.
            let known = Arc::new(Known(BlockIndex::default(), Vec::new()));
            let mut pipeline = Pipeline::new(Codec::parse(codec).unwrap(), 2, Some(known), Seen::default());
            pipeline.write_all(&input).unwrap();
            let blocks = pipeline.finish().unwrap().blocks;
            assert!(fresh.blocks.is_empty());

            let (again, copied) = run_with(codec, &input, &blocks, &bytes);
            assert!(again == bytes && copied == count, "{codec}: {copied} of {count} copied");
            input[2_500_000] ^= 1;
            let (expected, (changed, copied)) = (run(codec, 1, &input).1, run_with(codec, &input, &blocks, &bytes));
            assert!(changed == expected && copied == count - 1, "{codec}: one block has changed, {copied} copied");
            input[2_500_000] ^= 1;
            // Whatever is damaged is not used.
            for at in [0, 12, bytes.len() / 2, bytes.len() - 1] {
                bytes[at] ^= 4;
                let (again, copied) = run_with(codec, &input, &blocks, &bytes);
                bytes[at] ^= 4;
                assert!(again == bytes && copied == count - 1, "{codec}: byte {at}, {copied} of {count} copied");
            }
        }
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i / 7 % 251) as u8 ^ (i / 4099) as u8).collect()
    }

    fn run(codec: &str, threads: usize, input: &[u8]) -> (Finished<Seen>, Vec<u8>) {
        let seen = Seen::default();
        let mut pipeline = Pipeline::new(Codec::parse(codec).unwrap(), threads, None, seen.clone());
        pipeline.write_all(input).unwrap();
        let finished = pipeline.finish().unwrap();
        let bytes = seen.bytes();
        (finished, bytes)
    }

    #[test]
    fn the_bytes_are_the_same_for_any_number_of_threads() {
        let input = text(9_000_001);
        for codec in ["gzip", "zstd", "none"] {
            let (one, expected) = run(codec, 1, &input);
            for threads in [2, 3, 8] {
                let (many, bytes) = run(codec, threads, &input);
                assert_eq!(many.descriptor, one.descriptor);
                assert!(bytes == expected, "{codec} on {threads} threads");
            }
            assert_eq!(one.descriptor.digest, Digest::of(&expected));
            assert_eq!(one.descriptor.size, expected.len() as u64);
            assert_eq!(one.diff_id, DiffId(Digest::of(&input)));
            assert_eq!(one.unpacked_size, 9_000_001);
        }
    }

    #[test]
    fn an_empty_stream_is_one_empty_block() {
        let (finished, bytes) = run("gzip", 2, b"");
        assert_eq!(finished.diff_id, DiffId(Digest::of(b"")));
        assert!(bytes.starts_with(&[0x1f, 0x8b]));
    }

    /// Panics in every thread but the one that made it.
    struct PanicsElsewhere(std::thread::ThreadId);

    impl Write for PanicsElsewhere {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert_eq!(std::thread::current().id(), self.0, "a worker writes");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_in_a_worker_ends_the_pipeline_with_an_error() {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let sink = PanicsElsewhere(std::thread::current().id());
            let mut pipeline = Pipeline::new(Codec::default(), 4, None, sink);
            let block = text(1 << 20);
            // Which thread writes a block is chance, so that the first ones may succeed.
            let error = (0..10_000).find_map(|_| pipeline.write_all(&block).err());
            send.send(error.map(|error| error.downcast::<Error>().unwrap().causes().join(": "))).unwrap();
        });
        let error = receive.recv_timeout(std::time::Duration::from_secs(60)).expect("the producer waits for ever");
        assert!(error.unwrap().contains("panicked"));
    }

    #[test]
    fn a_full_disk_ends_the_pipeline_with_its_error() {
        for threads in [1, 2] {
            let mut pipeline = Pipeline::new(Codec::default(), threads, None, Full);
            let outcome = pipeline.write_all(&text(40 << 20)).map_err(|error| error.downcast::<Error>().unwrap());
            let error = match outcome {
                Err(error) => error,
                Ok(()) => panic!("nothing was refused"),
            };
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.hint().unwrap().contains("free some space"));
        }
    }
}
