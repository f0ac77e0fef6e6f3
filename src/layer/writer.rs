//! Entries in, a layer out: writes the tar stream of a layer (image specification, layer.md;
//! POSIX.1-2001 pax for what ustar cannot hold) into the pipeline.
//!
//! Knows nothing of clocks, users and hosts: all that is in the tar comes from the entries.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::sync::Arc;

use ::tar;

use super::blocks::{BlockIndex, BlockSource};
use super::codec::Codec;
use super::entry_header::EntryHeader;
use super::index::{KEPT_SIZE, LayerIndex};
use super::pipeline::Pipeline;
use super::reuse::{LateContent, PendingEntry, Reuse};
use super::stamp::StampRule;
use super::{Entry, LayerPath};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, DiffId};

const TAR_BLOCK: u64 = 512;

/// Reads what goes into a layer while it is written.
pub trait LayerObserver: Send {
    /// The next entry, and its content, of which it may read as much as it wants; the few files
    /// that the index keeps come without content.
    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()>;

    /// The layer is complete.
    fn finished(self: Box<Self>, diff_id: &DiffId);
}

/// Writes one layer. Entries must come in the order of [`LayerPath`]; the caller keeps it, the
/// writer does not check it.
pub struct LayerWriter<W: io::Write + Send + 'static> {
    tar: tar::Builder<Pipeline<W>>,
    index: LayerIndex,
    entries: u64,
    observer: Option<Box<dyn LayerObserver>>,
    reuse: Option<Reuse>,
}

/// A finished layer.
pub struct FinishedLayer<W> {
    /// Digest, size and type of the compressed bytes.
    pub descriptor: Descriptor,
    /// Digest of the tar.
    pub diff_id: DiffId,
    /// Bytes of the tar.
    pub unpacked_size: u64,
    /// What is in it.
    pub index: LayerIndex,
    /// Which of its blocks became which bytes.
    pub blocks: BlockIndex,
    /// Where the compressed bytes went.
    pub sink: W,
}

impl<W: io::Write + Send + 'static> LayerWriter<W> {
    /// A layer compressed by `codec` on `threads` threads, the caller's included, into `sink`.
    pub fn new(codec: Codec, threads: usize, sink: W) -> Self {
        Self::over(Pipeline::new(codec, threads, None, sink))
    }

    /// As `new`; blocks of the tar that `blocks` has are copied from there.
    pub fn with_blocks(codec: Codec, threads: usize, blocks: Arc<dyn BlockSource>, sink: W) -> Self {
        Self::over(Pipeline::new(codec, threads, Some(blocks), sink))
    }

    fn over(pipeline: Pipeline<W>) -> Self {
        Self { tar: tar::Builder::new(pipeline), index: LayerIndex::default(), entries: 0, observer: None, reuse: None }
    }

    /// The same layer; entries whose stamps prove that they are those of a layer of the store take
    /// their blocks from there, and no file of theirs is opened. `is_small`: it is known that there
    /// is nothing to gain by a look at the layers of the store.
    #[must_use]
    pub fn trusting(mut self, rule: StampRule, is_small: bool) -> Self {
        self.reuse = Some(Reuse::new(self.tar.get_ref().source().filter(|_| !is_small), rule));
        self
    }

    /// The same layer, and `observer` sees what goes into it, which is all read then.
    #[must_use]
    pub fn observed_by(self, observer: Box<dyn LayerObserver>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// A layer of which only the diff ID is wanted: nothing is compressed, and `sink` gets nothing.
    pub fn hashing(sink: W) -> Self {
        Self::over(Pipeline::hashing(sink))
    }

    /// Ends the tar; its digest.
    pub fn finish_hash(self) -> Result<DiffId> {
        Ok(self.tar.into_inner().map_err(unwrap_io)?.finish_hash())
    }

    /// How many entries were written, or wait to be.
    pub fn entries(&self) -> u64 {
        self.entries + self.reuse.iter().map(|reuse| reuse.waiting_entries() as u64).sum::<u64>()
    }

    /// How many bytes of tar were written, or wait to be.
    pub fn position(&self) -> u64 {
        self.tar.get_ref().position() + self.reuse.iter().map(Reuse::waiting_bytes).sum::<u64>()
    }

    /// Adds an entry that has no content: anything but a file of more than 0 bytes.
    pub fn append(&mut self, entry: &Entry) -> Result<()> {
        match self.reuse {
            Some(_) => self.offer(PendingEntry::new(entry, None)?),
            None => self.write_entry(entry, &EntryHeader::of(entry)?, &mut io::empty()),
        }
    }

    /// Adds a file whose content may not be needed.
    pub fn append_late(&mut self, entry: &Entry, content: Box<dyn LateContent>) -> Result<()> {
        match self.reuse {
            Some(_) => self.offer(PendingEntry::new(entry, Some(content))?),
            None => self.write_late(entry, &EntryHeader::of(entry)?, &*content),
        }
    }

    /// Adds a file with its content, which must be exactly as long as the entry says.
    pub fn append_file(&mut self, entry: &Entry, content: &mut impl Read) -> Result<()> {
        self.write_waiting()?;
        let header = EntryHeader::of(entry)?;
        if let Some(reuse) = &mut self.reuse {
            let pipeline = self.tar.get_mut();
            reuse.recorder.borders(pipeline.borders());
            reuse.recorder.entry(pipeline.position(), header.clone(), None);
        }
        self.write_entry(entry, &header, content)
    }

    /// Takes an entry whose content may not be needed: it waits where it may belong to a segment.
    fn offer(&mut self, entry: PendingEntry) -> Result<()> {
        let waiting = self.reuse.as_mut().and_then(|reuse| reuse.waiting.as_mut());
        let entry = match waiting {
            Some(waiting) => waiting.take(entry),
            None => Some(entry),
        };
        let Some(entry) = entry else { return Ok(()) };
        self.end_waiting(&entry)?;
        let pipeline = self.tar.get_mut();
        // An observer sees only what is written.
        if let (Some(reuse), None) = (&mut self.reuse, &self.observer)
            && let candidates = reuse.find(&entry)
            && !candidates.is_empty()
            && let Some(block) = pipeline.cut_before(entry.header.header.as_bytes())?
        {
            reuse.recorder.borders(pipeline.borders());
            reuse.recorder.border_before(&entry.header, block);
            reuse.wait_for(candidates, entry);
            return Ok(());
        }
        self.write_pending(entry)
    }

    /// No further entry waits: takes the segment that they are if `next` comes behind.
    fn end_waiting(&mut self, next: &PendingEntry) -> Result<()> {
        let Some(reuse) = &mut self.reuse else { return Ok(()) };
        let segment = reuse.waiting.as_ref().and_then(|waiting| waiting.segment_before(next)).cloned();
        let Some(segment) = segment else { return self.write_waiting() };
        let Some(block) = self.tar.get_mut().take(&segment)? else { return self.write_waiting() };
        reuse.recorder.known(&segment, block);
        let entries = reuse.waiting.take().map(|waiting| waiting.entries).unwrap_or_default();
        let count = entries.len() as u64;
        (self.entries, reuse.taken) = (self.entries + count, reuse.taken + count);
        entries.iter().try_for_each(|entry| self.index.push(&entry.entry))
    }

    /// Writes the entries that wait: they are no segment.
    fn write_waiting(&mut self) -> Result<()> {
        let waiting = self.reuse.as_mut().and_then(|reuse| reuse.waiting.take());
        waiting.into_iter().flat_map(|waiting| waiting.entries).try_for_each(|entry| self.write_pending(entry))
    }

    fn write_pending(&mut self, pending: PendingEntry) -> Result<()> {
        if let Some(reuse) = &mut self.reuse {
            let pipeline = self.tar.get_mut();
            reuse.recorder.borders(pipeline.borders());
            reuse.note(pipeline.position(), &pending);
        }
        match &pending.content {
            None => self.write_entry(&pending.entry, &pending.header, &mut io::empty()),
            Some(content) => self.write_late(&pending.entry, &pending.header, &**content),
        }
    }

    fn write_late(&mut self, entry: &Entry, header: &EntryHeader, content: &dyn LateContent) -> Result<()> {
        if entry.kind.size() == 0 {
            return self.write_entry(entry, header, &mut io::empty());
        }
        let mut file = content.open()?;
        self.write_entry(entry, header, &mut file)?;
        content.check_unchanged(&file)
    }

    fn write_entry(&mut self, entry: &Entry, header: &EntryHeader, content: &mut impl Read) -> Result<()> {
        self.write_header(header)?;
        self.index.push(entry)?;
        self.entries += 1;
        let size = entry.kind.size();
        if LayerIndex::keeps(&entry.path) && (1..=KEPT_SIZE).contains(&size) {
            let mut kept = Vec::new();
            content.take(size + 1).read_to_end(&mut kept).map_err(|error| Error::io("read", entry.path.as_path(), error))?;
            self.observe(entry, &mut io::empty())?;
            self.write_content(&entry.path, size, &mut &kept[..], None)?;
            return self.index.push_content(&entry.path, kept);
        }
        if size == 0 {
            return self.observe(entry, &mut io::empty());
        }
        self.write_content(&entry.path, size, content, Some(entry))
    }

    /// Adds the file that `open` opens.
    pub fn append_opened(&mut self, entry: &Entry, open: impl FnOnce() -> Result<File>) -> Result<()> {
        if entry.kind.size() == 0 {
            return self.append(entry);
        }
        self.append_file(entry, &mut open()?)
    }

    fn observe(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        self.observer.as_mut().map_or(Ok(()), |observer| observer.entry(entry, content))
    }

    /// Writes the content of a file; of the entry `seen` the observer sees it.
    fn write_content(&mut self, path: &LayerPath, size: u64, content: &mut impl Read, seen: Option<&Entry>) -> Result<()> {
        let mut passing = Passing { pipeline: self.tar.get_mut(), path, content, rest: size, unseen: 0, failure: None };
        if let (Some(observer), Some(entry)) = (&mut self.observer, seen) {
            let observed = observer.entry(entry, &mut passing);
            // What went wrong on the way into the tar is not the observer's to tell.
            passing.failure.take().map_or(observed, Err)?;
        }
        while passing.rest > 0 {
            passing.pass()?;
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        let padding = (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
        self.write(&[0; TAR_BLOCK as usize][..padding as usize])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.tar.get_mut().write_all(bytes).map_err(unwrap_io)
    }

    fn write_header(&mut self, EntryHeader { header, pax }: &EntryHeader) -> Result<()> {
        if !pax.is_empty() {
            let records = pax.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            self.tar.append_pax_extensions(records).map_err(unwrap_io)?;
        }
        self.write(header.as_bytes())
    }

    /// Ends the tar and waits for the pipeline.
    pub fn finish(mut self) -> Result<FinishedLayer<W>> {
        self.write_waiting()?;
        let pipeline = self.tar.into_inner().map_err(unwrap_io)?;
        let mut finished = pipeline.finish()?;
        if let Some(reuse) = self.reuse {
            tracing::debug!(taken = reuse.taken, of = self.entries, "entries were taken with their blocks");
            finished.blocks.set_segments(reuse.recorder.finish());
        }
        if let Some(observer) = self.observer {
            observer.finished(&finished.diff_id);
        }
        Ok(FinishedLayer {
            descriptor: finished.descriptor,
            diff_id: finished.diff_id,
            unpacked_size: finished.unpacked_size,
            index: self.index,
            blocks: finished.blocks,
            sink: finished.sink,
        })
    }
}

/// The content of a file on its way into the tar: what is read here goes there.
struct Passing<'a, W: io::Write + Send + 'static, R> {
    pipeline: &'a mut Pipeline<W>,
    path: &'a LayerPath,
    content: &'a mut R,
    /// Bytes that are not in the tar yet.
    rest: u64,
    /// How many of the newest bytes of the tar the reader has not got.
    unseen: usize,
    failure: Option<Error>,
}

impl<W: io::Write + Send + 'static, R: Read> Passing<'_, W, R> {
    /// Takes what one call reads; how many bytes.
    fn pass(&mut self) -> Result<usize> {
        let changed = |how: &str| {
            Error::new(ErrorKind::Context, format!("`{}` {how} while it was read", self.path))
                .with_hint("wait until nothing writes to it, then run the same command again")
        };
        let room = self.pipeline.room()?;
        // One byte more than is wanted, where there is room: a file that grew shows itself without
        // a further call.
        let want = room.len().min(usize::try_from(self.rest + 1).unwrap_or(usize::MAX));
        let read = loop {
            match self.content.read(&mut room[..want]) {
                Ok(0) => return Err(changed("became shorter")),
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", self.path.as_path(), error)),
            }
        };
        self.rest = self.rest.checked_sub(read as u64).ok_or_else(|| changed("became longer"))?;
        self.pipeline.advance(read);
        Ok(read)
    }
}

impl<W: io::Write + Send + 'static, R: Read> Read for Passing<'_, W, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unseen == 0 && self.rest > 0 && !buffer.is_empty() {
            self.unseen = self.pass().map_err(|error| {
                self.failure.get_or_insert(error);
                io::ErrorKind::BrokenPipe
            })?;
        }
        let read = (&mut self.pipeline.newest(self.unseen)).read(buffer)?;
        self.unseen -= read;
        Ok(read)
    }
}

/// The pipeline's own error, out of the wrapping that `io::Write` demands.
fn unwrap_io(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io("write", "layer", error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::Seen;
    use super::super::{Kind, Metadata, read_entries};
    use super::*;

    /// An uncompressed layer of these entries; files are full of `x`.
    fn layer(entries: &[Entry]) -> (Vec<u8>, FinishedLayer<Seen>) {
        let seen = Seen::default();
        let mut writer = LayerWriter::new(Codec::parse("none").unwrap(), 1, seen.clone());
        for entry in entries {
            writer.append_file(entry, &mut io::repeat(b'x').take(entry.kind.size())).unwrap();
        }
        let finished = writer.finish().unwrap();
        let bytes = seen.bytes();
        (bytes, finished)
    }

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry { path: LayerPath::parse(path).unwrap(), kind, metadata: Metadata::new(0o644, 1000, 50, 1_700_000_000) }
    }

    fn read(bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        read_entries(bytes, |entry, content| {
            let size = io::copy(content, &mut io::sink()).unwrap();
            assert_eq!(size, entry.kind.size(), "{}", entry.path);
            entries.push(entry);
            Ok(())
        })
        .unwrap();
        entries
    }

    #[test]
    fn entries_of_every_kind_come_back_from_the_tar() {
        let mut odd = entry("odd", Kind::File { size: 3 });
        odd.metadata = Metadata::new(0o6755, 3_000_000, 4_000_000, -5);
        odd.metadata.xattrs.insert(b"security.capability".to_vec(), vec![1, 0, 0, 2, 0, 0xff, b'\n', b'=']);
        let long = "d".repeat(90);
        let mut entries = vec![
            entry("dev", Kind::Directory),
            entry("dev/null", Kind::CharDevice { major: 1, minor: 3 }),
            entry("dev/loop0", Kind::BlockDevice { major: 7, minor: 0 }),
            entry("fifo", Kind::Fifo),
            entry("file", Kind::File { size: 1025 }),
            entry("hard", Kind::Hardlink { target: LayerPath::parse("file").unwrap() }),
            odd,
            entry("symlink", Kind::Symlink { target: b"../../etc/passwd".to_vec() }),
            entry("long-link", Kind::Symlink { target: vec![b't'; 300] }),
            entry(&format!("{long}/{long}"), Kind::Directory),
            entry(&format!("{long}/{long}/{long}/{long}"), Kind::File { size: 1 }),
            entry(&"n".repeat(255), Kind::File { size: 0 }),
            entry("umlaut-\u{fc}", Kind::File { size: 0 }),
        ];
        let (bytes, finished) = layer(&entries);
        assert_eq!(read(&bytes), entries);
        assert_eq!(finished.index.entries().collect::<Vec<_>>(), entries);
        assert_eq!(bytes.len() % 512, 0);

        entries = vec![entry("gone", Kind::Whiteout), entry("dir", Kind::OpaqueWhiteout)];
        let (bytes, _) = layer(&entries);
        let back = read(&bytes);
        assert_eq!(
            back.iter().map(|e| (&e.path, &e.kind)).collect::<Vec<_>>(),
            entries.iter().map(|e| (&e.path, &e.kind)).collect::<Vec<_>>()
        );
        assert_eq!(back[0].metadata, Metadata::default());
    }

    #[test]
    fn a_tar_may_end_without_padding_and_end_marks_but_not_inside_a_file() {
        let file = entry("f", Kind::File { size: 700 });
        let (bytes, _) = layer(std::slice::from_ref(&file));
        assert_eq!(read(&bytes[..512 + 700]), [file]);
        assert!(read_entries(&bytes[..512 + 699], |_, _| Ok(())).is_err());
        assert!(read_entries(&bytes[..500], |_, _| Ok(())).is_err());
    }

    #[test]
    fn users_and_groups_are_kept_in_the_index() {
        let (_, finished) = layer(&[entry("etc/group", Kind::File { size: 2 }), entry("etc/hosts", Kind::File { size: 2 })]);
        let index = LayerIndex::from_bytes(finished.index.to_bytes().to_vec()).unwrap();
        let kept: Vec<_> = index.contents().collect();
        assert_eq!(kept, [(LayerPath::parse("etc/group").unwrap(), b"xx".to_vec())]);
        assert_eq!(LayerIndex::from_bytes(b"mpimgx00".to_vec()), None);
    }

    #[test]
    fn a_file_that_changes_its_length_is_an_error() {
        for (length, word) in [(4, "shorter"), (6, "longer")] {
            let mut writer = LayerWriter::new(Codec::default(), 1, io::sink());
            let error = writer.append_file(&entry("f", Kind::File { size: 5 }), &mut io::repeat(0).take(length)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Context);
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn a_file_that_would_read_as_a_whiteout_is_refused() {
        let mut writer = LayerWriter::new(Codec::default(), 1, io::sink());
        assert!(writer.append(&entry("a/.wh.b", Kind::File { size: 0 })).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_path_and_owner_come_back(path in "[a-zé\u{1F600}=\n ]{1,120}(/[a-z]{1,110}){0,4}", mode in 0u32..0o10000, uid: u32, gid: u32, mtime: i64, size in 0u64..3000) {
            let mut entry = entry(&path, Kind::File { size });
            entry.metadata = Metadata::new(mode, uid, gid, mtime);
            let (bytes, _) = layer(std::slice::from_ref(&entry));
            prop_assert_eq!(read(&bytes), vec![entry]);
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let _ = read_entries(&bytes[..], |_, _| Ok(()));
        }

        #[test]
        fn reading_a_damaged_tar_never_panics(at in 0usize..2048, value: u8) {
            let (mut bytes, _) = layer(&[entry("a/b", Kind::File { size: 700 }), entry("s", Kind::Symlink { target: vec![b't'; 200] })]);
            bytes[at] = value;
            let _ = read_entries(&bytes[..], |_, content| { let _ = io::copy(content, &mut io::sink()); Ok(()) });
        }
    }
}
