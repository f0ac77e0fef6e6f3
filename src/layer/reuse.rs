//! Waits with entries that may be those of a segment that a layer of the store has: their files are
//! opened only if they turn out not to be.

use std::fs::File;
use std::sync::Arc;

use super::Entry;
use super::blocks::BlockSource;
use super::entry_header::EntryHeader;
use super::index::LayerIndex;
use super::segments::{EntryMark, Segment, SegmentMark, SegmentRecorder};
use super::stamp::{Stamp, StampRule};
use crate::error::Result;

/// Content of a file that is opened only if it is needed.
pub trait LateContent: Send {
    /// What changes when the content does; `None` where nothing tells.
    fn stamp(&self) -> Option<Stamp>;

    /// Opens the file, which is still the one of the stamp.
    ///
    /// # Errors
    /// Also if it is another one.
    fn open(&self) -> Result<File>;

    /// Holds no descriptor from now on.
    fn close(&mut self);

    /// Checks, after the last byte was read, that `file` is still as the stamp says.
    ///
    /// # Errors
    /// If it is not.
    fn check_unchanged(&self, file: &File) -> Result<()>;
}

/// An entry that is to be written.
pub(super) struct PendingEntry {
    pub(super) entry: Entry,
    pub(super) header: EntryHeader,
    /// `None`: nothing tells whether the entry is the same another time, or its content is needed.
    mark: Option<EntryMark>,
    /// `None`: it has no content.
    pub(super) content: Option<Box<dyn LateContent>>,
}

impl PendingEntry {
    pub(super) fn new(entry: &Entry, content: Option<Box<dyn LateContent>>) -> Result<Self> {
        let header = EntryHeader::of(entry)?;
        let mark = match (entry.kind.size(), &content) {
            (0, _) => Some(EntryMark::of(&header, None)),
            (_, Some(content)) if !LayerIndex::keeps(&entry.path) => {
                content.stamp().map(|stamp| EntryMark::of(&header, Some(&stamp)))
            }
            _ => None,
        };
        Ok(Self { entry: entry.clone(), header, mark, content })
    }
}

/// Entries with content that wait and hold their folders open; the others are closed. Most segments
/// have fewer.
const MOST_OPEN: usize = 100;

/// Entries that may be those of a segment.
pub(super) struct Waiting {
    /// Which segments they may be, the newest layer's first.
    candidates: Vec<Segment>,
    pub(super) entries: Vec<PendingEntry>,
    marks: SegmentMark,
    /// How many of them have content.
    with_content: usize,
}

impl Waiting {
    /// Takes the next entry, unless a segment is complete, all would be, or nothing tells of the
    /// entry.
    pub(super) fn take(&mut self, mut entry: PendingEntry) -> Option<PendingEntry> {
        let has_room = self.candidates.iter().any(|segment| self.entries.len() < segment.entries());
        let Some(mark) = entry.mark.filter(|_| has_room && self.segment_before(&entry).is_none()) else {
            return Some(entry);
        };
        if let Some(content) = &mut entry.content {
            self.with_content += 1;
            if self.with_content > MOST_OPEN {
                content.close();
            }
        }
        self.marks.add(&mark);
        self.entries.push(entry);
        None
    }

    /// The segment that the entries are if `next` comes behind.
    pub(super) fn segment_before(&self, next: &PendingEntry) -> Option<&Segment> {
        let is_complete = |segment: &&Segment| segment.entries() == self.entries.len();
        self.candidates.iter().filter(is_complete).find(|segment| segment.is_of(&self.marks, &next.header))
    }
}

/// The segments of one layer: those of other layers that come again, and its own.
pub(super) struct Reuse {
    source: Option<Arc<dyn BlockSource>>,
    rule: StampRule,
    pub(super) recorder: SegmentRecorder,
    pub(super) waiting: Option<Waiting>,
    /// How many entries were taken with their blocks.
    pub(super) taken: u64,
}

impl Reuse {
    pub(super) fn new(source: Option<Arc<dyn BlockSource>>, rule: StampRule) -> Self {
        Self { source, rule, recorder: SegmentRecorder::default(), waiting: None, taken: 0 }
    }

    /// The segments that may begin with `entry`.
    pub(super) fn find(&self, entry: &PendingEntry) -> Vec<Segment> {
        let source = self.source.as_ref().filter(|_| entry.header.begins_with_header());
        source.zip(entry.mark).map(|(source, mark)| source.segments(mark.first())).unwrap_or_default()
    }

    /// Waits with `entry`, which comes behind a border, for the rest of one of the segments.
    pub(super) fn wait_for(&mut self, candidates: Vec<Segment>, entry: PendingEntry) {
        let mut waiting = Waiting { candidates, entries: Vec::new(), marks: SegmentMark::default(), with_content: 0 };
        waiting.take(entry);
        self.waiting = Some(waiting);
    }

    pub(super) fn waiting_entries(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.entries.len())
    }

    /// Bytes of tar that wait, without the records of long names.
    pub(super) fn waiting_bytes(&self) -> u64 {
        let bytes = |entry: &PendingEntry| 512 + entry.entry.kind.size().next_multiple_of(512);
        self.waiting.iter().flat_map(|waiting| &waiting.entries).map(bytes).sum()
    }

    /// Notes that the entry is written at `position` of the tar.
    pub(super) fn note(&mut self, position: u64, entry: &PendingEntry) {
        let stamp = entry.content.as_ref().and_then(|content| content.stamp());
        let mark = entry.mark.filter(|_| entry.content.is_none() || stamp.is_some_and(|stamp| self.rule.proves(&stamp)));
        self.recorder.entry(position, entry.header.clone(), mark);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::{self, Seek as _, Write};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{LazyLock, Mutex};

    use proptest::prelude::*;

    use super::super::fixture::{Seen, letters};
    use super::super::pipeline::MOST_KEPT;
    use super::super::{
        BlockIndex, BlockKey, BlockRecord, Codec, Kind, LayerObserver, LayerPath, LayerWriter, Metadata, PrefixRecord,
    };
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::oci::DiffId;

    /// A file of the tree: its number, bytes, and how often it was changed.
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct TestFile {
        number: u64,
        size: u64,
        version: u64,
    }

    /// Another part of the same text for each file.
    fn content(file: &TestFile) -> Vec<u8> {
        static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| letters(1_000_003));
        let from = (file.number * 7919 + file.version * 104_729) as usize % TEXT.len();
        let mut content = TEXT[from..].to_vec();
        while content.len() < file.size as usize {
            content.extend_from_slice(&TEXT);
        }
        content.truncate(file.size as usize);
        content
    }

    struct Late(TestFile, Arc<AtomicUsize>);

    impl LateContent for Late {
        fn stamp(&self) -> Option<Stamp> {
            let TestFile { number, size, version } = self.0;
            let time = (version as i64, 0);
            Some(Stamp { device: 1, inode: number, size, mtime: time, ctime: time })
        }

        fn open(&self) -> Result<File> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let cannot = |error| Error::io("write", "content", error);
            let mut file = tempfile::tempfile().map_err(cannot)?;
            file.write_all(&content(&self.0)).and_then(|()| file.rewind()).map_err(cannot)?;
            Ok(file)
        }

        fn close(&mut self) {}

        fn check_unchanged(&self, _: &File) -> Result<()> {
            Ok(())
        }
    }

    /// One layer, as the store has it.
    #[derive(Clone, Default, PartialEq)]
    struct Layer {
        index: BlockIndex,
        bytes: Vec<u8>,
        diff_id: String,
    }

    impl BlockSource for Layer {
        fn read(&self, key: &BlockKey, out: &mut Vec<u8>) -> bool {
            let record = self.index.records().iter().find(|record| record.key == *key);
            record.is_some_and(|record| self.read_of(0, record, out))
        }

        fn segments(&self, first: u64) -> Vec<Segment> {
            let records = self.index.segments().iter().filter(|segment| segment.first == first);
            records.map(|record| Segment::new(*record, 0, self.index.blocks_of(record).unwrap().to_vec())).collect()
        }

        fn prefix(&self, _: usize, block: u64) -> Option<PrefixRecord> {
            self.index.prefix(block).cloned()
        }

        fn read_of(&self, _: usize, record: &BlockRecord, out: &mut Vec<u8>) -> bool {
            let from = record.offset as usize;
            out.clear();
            out.extend_from_slice(&self.bytes[from..from + record.length as usize]);
            record.matches(out)
        }
    }

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry { path: LayerPath::parse(path).unwrap(), kind, metadata: Metadata::new(0o644, 0, 0, 0) }
    }

    /// Writes the tree where `known` is in the store, and looks at it at this time; the layer, and
    /// how many files were opened.
    fn write(codec: &str, files: &[TestFile], known: impl BlockSource + 'static, since: i64) -> (Layer, usize) {
        let (seen, codec) = (Seen::default(), Codec::parse(codec).unwrap());
        let rule = StampRule { device: Some(1), since };
        write_to(LayerWriter::with_blocks(codec, 2, Arc::new(known), seen.clone()).trusting(rule, false), &seen, files)
    }

    fn write_to(mut writer: LayerWriter<Seen>, seen: &Seen, files: &[TestFile]) -> (Layer, usize) {
        let opened = Arc::new(AtomicUsize::new(0));
        for file in files {
            if file.number % 16 == 0 {
                writer.append(&entry(&format!("folder-{:05}", file.number / 16), Kind::Directory)).unwrap();
            }
            let path = format!("folder-{:05}/file-{:02}", file.number / 16, file.number % 16);
            let content = Box::new(Late(*file, Arc::clone(&opened)));
            writer.append_late(&entry(&path, Kind::File { size: file.size }), content).unwrap();
        }
        let finished = writer.finish().unwrap();
        let index = BlockIndex::from_bytes(&finished.blocks.to_bytes(""), "").unwrap();
        let bytes = seen.bytes();
        assert_eq!(finished.descriptor.digest, crate::oci::Digest::of(&bytes));
        (Layer { index, bytes, diff_id: finished.diff_id.to_string() }, opened.load(Ordering::Relaxed))
    }

    /// So late that all stamps prove what they say.
    const LATER: i64 = 1000;

    fn fresh(codec: &str, files: &[TestFile]) -> Layer {
        write(codec, files, Layer::default(), LATER).0
    }

    fn tree(sizes: &[u64]) -> Vec<TestFile> {
        std::iter::zip(0.., sizes).map(|(number, size)| TestFile { number, size: *size, version: 1 }).collect()
    }

    /// What happens to a tree between two builds.
    #[derive(Debug, Clone)]
    enum Edit {
        Change(prop::sample::Index, u64),
        Touch(prop::sample::Index),
        Remove(prop::sample::Index),
        Add(u64, u64),
    }

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let index = any::<prop::sample::Index>;
        let edit = prop_oneof![
            (index(), 0..90_000_u64).prop_map(|(at, size)| Edit::Change(at, size)),
            index().prop_map(Edit::Touch),
            index().prop_map(Edit::Remove),
            (0..4000_u64, 0..90_000_u64).prop_map(|(number, size)| Edit::Add(number, size)),
        ];
        prop::collection::vec(edit, 0..4)
    }

    fn edited(files: &[TestFile], edits: &[Edit]) -> Vec<TestFile> {
        let mut files = files.to_vec();
        for edit in edits {
            match edit {
                Edit::Add(number, size) => files.push(TestFile { number: *number, size: *size, version: 5 }),
                _ if files.is_empty() => {}
                Edit::Change(at, size) => {
                    let at = at.index(files.len());
                    (files[at].size, files[at].version) = (*size, files[at].version + 1);
                }
                Edit::Touch(at) => {
                    let at = at.index(files.len());
                    files[at].version += 1;
                }
                Edit::Remove(at) => drop(files.remove(at.index(files.len()))),
            }
        }
        files.sort_by_key(|file| file.number);
        files.dedup_by_key(|file| file.number);
        files
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_layer_from_segments_is_the_layer_that_is_made_anew(
            sizes in prop::collection::vec(prop_oneof![40 => 0..60_000_u64, 1 => 0..5_000_000_u64], 0..500),
            edits in prop::collection::vec(edits(), 1..4),
            codec in prop_oneof![Just("gzip"), Just("zstd"), Just("none")],
        ) {
            let mut files = tree(&sizes);
            let mut known = fresh(codec, &files);
            for edits in &edits {
                files = edited(&files, edits);
                let (again, _) = write(codec, &files, known, LATER);
                let anew = fresh(codec, &files);
                prop_assert!(again.bytes == anew.bytes && again.diff_id == anew.diff_id, "{} differs", codec);
                prop_assert_eq!(&again.index, &anew.index, "what the next build finds");
                known = again;
            }
        }
    }

    /// About 10 MB, with one file of several blocks.
    fn large() -> Vec<TestFile> {
        let sizes: Vec<u64> = (0..400).map(|number| if number == 200 { 5_000_000 } else { number * 97 % 30_000 }).collect();
        tree(&sizes)
    }

    #[test]
    fn files_of_known_segments_are_not_opened() {
        let mut files = large();
        let with_content = files.iter().filter(|file| file.size > 0).count();
        let (known, opened) = write("gzip", &files, Layer::default(), LATER);
        assert_eq!(opened, with_content);
        assert!(known.index.segments().len() >= 4, "{:?}", known.index.segments());
        let (again, opened) = write("gzip", &files, known.clone(), LATER);
        // The last blocks end with the tar and are no segment.
        assert!(again == known && opened < 150, "{opened} opened");
        files[100].version += 1;
        let (changed, opened) = write("gzip", &files, known, LATER);
        assert!(changed == fresh("gzip", &files) && opened < 300, "{opened} opened");
    }

    /// Several layers, the newest first.
    struct Several(Vec<Layer>);

    impl BlockSource for Several {
        fn read(&self, key: &BlockKey, out: &mut Vec<u8>) -> bool {
            self.0.iter().any(|layer| layer.read(key, out))
        }

        fn segments(&self, first: u64) -> Vec<Segment> {
            let of_layer = |(number, layer): (usize, &Layer)| {
                let mut segments = layer.segments(first);
                segments.iter_mut().for_each(|segment| segment.layer = number);
                segments
            };
            self.0.iter().enumerate().flat_map(of_layer).collect()
        }

        fn prefix(&self, layer: usize, block: u64) -> Option<PrefixRecord> {
            self.0[layer].prefix(0, block)
        }

        fn read_of(&self, layer: usize, record: &BlockRecord, out: &mut Vec<u8>) -> bool {
            self.0[layer].read_of(0, record, out)
        }
    }

    #[test]
    fn a_layer_that_begins_with_the_same_folder_hides_none() {
        let mut files = tree(&[30_000; 900]);
        let mut others = files.clone();
        others.iter_mut().for_each(|file| file.version = 2);
        let (known, other) = (fresh("gzip", &files), fresh("gzip", &others[..300]));
        files[899].version = 3;
        let alone = write("gzip", &files, known.clone(), LATER);
        for layers in [vec![other.clone(), known.clone()], vec![known, other]] {
            let beside = write("gzip", &files, Several(layers), LATER);
            assert!(beside == alone && alone.1 < 150, "{} and {} opened", beside.1, alone.1);
        }
    }

    struct Counts(Arc<AtomicUsize>);

    impl LayerObserver for Counts {
        fn entry(&mut self, _: &Entry, content: &mut dyn io::Read) -> Result<()> {
            let mut read = Vec::new();
            content.read_to_end(&mut read).map_err(|error| Error::io("read", "content", error))?;
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        fn finished(self: Box<Self>, _: &DiffId) {}
    }

    #[test]
    fn an_observer_sees_what_is_known_too() {
        let files = large();
        let known = fresh("gzip", &files);
        let entries = files.len() + files.len().div_ceil(16);
        let rule = StampRule { device: Some(1), since: LATER };
        for observed_first in [true, false] {
            let (seen, count) = (Seen::default(), Arc::new(AtomicUsize::new(0)));
            let observer = Box::new(Counts(Arc::clone(&count)));
            let writer = LayerWriter::with_blocks(Codec::default(), 2, Arc::new(known.clone()), seen.clone());
            let writer = match observed_first {
                true => writer.observed_by(observer).trusting(rule, false),
                false => writer.trusting(rule, false).observed_by(observer),
            };
            let (layer, _) = write_to(writer, &seen, &files);
            assert!(layer == known, "observed first: {observed_first}");
            assert_eq!(count.load(Ordering::Relaxed), entries);
        }
    }

    #[test]
    fn entries_that_wait_hold_few_folders_open() {
        /// Counts how many were closed.
        struct Closes(TestFile, Arc<AtomicUsize>);

        impl LateContent for Closes {
            fn stamp(&self) -> Option<Stamp> {
                Late(self.0, Arc::default()).stamp()
            }

            fn open(&self) -> Result<File> {
                Late(self.0, Arc::default()).open()
            }

            fn close(&mut self) {
                self.1.fetch_add(1, Ordering::Relaxed);
            }

            fn check_unchanged(&self, _: &File) -> Result<()> {
                Ok(())
            }
        }

        // Of 3,000 small files, of which many are in one segment.
        let sizes = [1; 3000];
        let (known, closed) = (fresh("none", &tree(&sizes)), Arc::new(AtomicUsize::new(0)));
        let most = known.index.segments().iter().map(|segment| segment.entries as usize).max().unwrap();
        assert!(most > 2 * MOST_OPEN, "{most}");
        let rule = StampRule { device: Some(1), since: LATER };
        let mut writer =
            LayerWriter::with_blocks(Codec::parse("none").unwrap(), 1, Arc::new(known), io::sink()).trusting(rule, false);
        for file in tree(&sizes) {
            if file.number % 16 == 0 {
                writer.append(&entry(&format!("folder-{:05}", file.number / 16), Kind::Directory)).unwrap();
            }
            let path = format!("folder-{:05}/file-{:02}", file.number / 16, file.number % 16);
            let content = Box::new(Closes(file, Arc::clone(&closed)));
            writer.append_late(&entry(&path, Kind::File { size: file.size }), content).unwrap();
        }
        writer.finish().unwrap();
        assert!(closed.load(Ordering::Relaxed) > most / 2);
    }

    #[test]
    fn the_diff_id_goes_on_from_where_the_same_blocks_end() {
        let mut files = tree(&[30_000; 900]);
        let known = fresh("gzip", &files);
        let recorded: Vec<u64> = (0..100).filter(|block| known.index.prefix(*block).is_some()).collect();
        assert!((2..4).contains(&recorded.len()), "{recorded:?}");
        for at in [899, 500, 0] {
            files[at].version += 1;
            let (changed, _) = write("gzip", &files, known.clone(), LATER);
            assert!(changed == fresh("gzip", &files), "a change in file {at}");
        }
    }

    #[test]
    fn what_changed_a_moment_ago_is_read_again() {
        let files = large();
        let (young, _) = write("gzip", &files, Layer::default(), 3);
        assert_eq!(young.index.segments(), []);
        let (_, opened) = write("gzip", &files, young, LATER);
        assert_eq!(opened, files.iter().filter(|file| file.size > 0).count());
    }

    #[test]
    fn a_damaged_block_is_made_anew() {
        let files = large();
        let known = fresh("gzip", &files);
        let positions: Vec<u64> = known.index.records().iter().map(|record| record.offset + 20).collect();
        for at in positions {
            let mut damaged = known.clone();
            damaged.bytes[at as usize] ^= 4;
            let (again, _) = write("gzip", &files, damaged, LATER);
            assert!(again == known, "byte {at}");
        }
    }

    #[test]
    fn a_block_that_changes_while_it_is_read_is_an_error() {
        /// Good when it is looked at, and damaged afterwards.
        struct Changes(Layer, Mutex<HashSet<u64>>);

        impl BlockSource for Changes {
            fn read(&self, _: &BlockKey, _: &mut Vec<u8>) -> bool {
                false
            }

            fn segments(&self, first: u64) -> Vec<Segment> {
                self.0.segments(first).into_iter().filter(|segment| segment.blocks.len() > MOST_KEPT).collect()
            }

            fn prefix(&self, _: usize, _: u64) -> Option<PrefixRecord> {
                None
            }

            fn read_of(&self, layer: usize, record: &BlockRecord, out: &mut Vec<u8>) -> bool {
                self.1.lock().unwrap().insert(record.offset) && self.0.read_of(layer, record, out)
            }
        }

        let mut files = large();
        files[200].size = 12_000_000;
        let source = Arc::new(Changes(fresh("gzip", &files), Mutex::default()));
        let rule = StampRule { device: Some(1), since: LATER };
        let mut writer = LayerWriter::with_blocks(Codec::default(), 1, source, io::sink()).trusting(rule, false);
        let mut done = Ok(());
        for file in &files {
            if file.number % 16 == 0 {
                done = done.and_then(|()| writer.append(&entry(&format!("folder-{:05}", file.number / 16), Kind::Directory)));
            }
            let path = format!("folder-{:05}/file-{:02}", file.number / 16, file.number % 16);
            let content = Box::new(Late(*file, Arc::default()));
            done = done.and_then(|()| writer.append_late(&entry(&path, Kind::File { size: file.size }), content));
        }
        let error = done.and_then(|()| writer.finish().map(drop)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
