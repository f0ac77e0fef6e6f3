//! The index of a layer: what it holds, without the content. With it, the tree of a stage is known
//! without a byte of the layer being fetched or unpacked, and ownership stays known where it cannot
//! be set on files.
//!
//! Only a cache: it is made again from the layer whenever it is missing or damaged.

use serde::{Deserialize, Serialize};

use super::{Entry, LayerPath};
use crate::error::{ErrorKind, Result, ResultExt as _};

/// What a layer holds, in the order of its tar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerIndex {
    bytes: Vec<u8>,
    /// The last record's path.
    last: LayerPath,
    /// Whether there is a whiteout: most layers have none, and a tree looks for them first.
    removes: bool,
    /// Whether the content of a file is kept.
    has_content: bool,
}

/// Stored with its path shortened by what the path of the record before begins with, and how many
/// bytes that is: so the index of a tree of a million files takes a third less memory.
#[derive(Serialize, Deserialize)]
enum IndexRecord {
    Entry(Entry),
    /// The content of a small file that builds ask for: users and groups.
    Content(LayerPath, Vec<u8>),
}

impl IndexRecord {
    fn path_mut(&mut self) -> &mut LayerPath {
        match self {
            Self::Entry(entry) => &mut entry.path,
            Self::Content(path, _) => path,
        }
    }
}

/// Format of the stored bytes: a new number makes old ones a miss.
const MAGIC: &[u8; 8] = b"mpimgx02";

/// Files whose content is kept in the index, because `--chown` and `USER` look names up in them.
const KEPT: [&[u8]; 2] = [b"etc/passwd", b"etc/group"];

/// Of those, the part that is kept at most.
pub(super) const KEPT_SIZE: u64 = 1 << 20;

impl LayerIndex {
    /// Whether the content of `path` belongs into the index.
    pub(super) fn keeps(path: &LayerPath) -> bool {
        KEPT.contains(&path.as_bytes())
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, entry: &Entry) -> Result<()> {
        self.push_record(IndexRecord::Entry(entry.clone()))
    }

    /// Adds the content of an entry.
    pub(super) fn push_content(&mut self, path: &LayerPath, content: Vec<u8>) -> Result<()> {
        self.push_record(IndexRecord::Content(path.clone(), content))
    }

    fn push_record(&mut self, mut record: IndexRecord) -> Result<()> {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(MAGIC);
        }
        self.note(&record);
        let path = record.path_mut();
        let (same, rest) = path.shortened(&self.last);
        self.last = std::mem::replace(path, rest);
        self.bytes = postcard::to_extend(&(same, record), std::mem::take(&mut self.bytes))
            .context(ErrorKind::Io, || "cannot index a layer".into())?;
        Ok(())
    }

    /// The bytes to store.
    pub fn to_bytes(&self) -> &[u8] {
        if self.bytes.is_empty() { MAGIC } else { &self.bytes }
    }

    /// Takes stored bytes; `None` if they are of another version or damaged.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        if !bytes.starts_with(MAGIC) {
            return None;
        }
        let mut index = Self::default();
        for record in records(&bytes) {
            let mut record = record?;
            index.note(&record);
            index.last = std::mem::take(record.path_mut());
        }
        Some(Self { bytes, ..index })
    }

    fn note(&mut self, record: &IndexRecord) {
        match record {
            IndexRecord::Content(..) => self.has_content = true,
            IndexRecord::Entry(entry) => self.removes |= entry.kind.is_whiteout(),
        }
    }

    /// The entries that remove something of lower layers.
    pub(super) fn removals(&self) -> impl Iterator<Item = Entry> {
        let entries = self.removes.then(|| self.entries()).into_iter().flatten();
        entries.filter(|entry| entry.kind.is_whiteout())
    }

    /// The entries, in the order of the tar.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        records(&self.bytes).flatten().filter_map(|record| match record {
            IndexRecord::Entry(entry) => Some(entry),
            IndexRecord::Content(..) => None,
        })
    }

    /// The files whose content the index holds.
    pub fn contents(&self) -> impl Iterator<Item = (LayerPath, Vec<u8>)> {
        let records = self.has_content.then(|| records(&self.bytes)).into_iter().flatten();
        records.flatten().filter_map(|record| match record {
            IndexRecord::Content(path, content) => Some((path, content)),
            IndexRecord::Entry(_) => None,
        })
    }
}

/// What stored bytes hold; `None` and the end where they are damaged.
fn records(bytes: &[u8]) -> impl Iterator<Item = Option<IndexRecord>> {
    let mut rest = bytes.get(MAGIC.len()..).unwrap_or_default();
    let mut last = LayerPath::root();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = postcard::take_from_bytes::<(usize, IndexRecord)>(rest).ok().and_then(|((same, mut record), tail)| {
            let path = record.path_mut();
            last = path.lengthened(same, &last)?;
            path.clone_from(&last);
            rest = tail;
            Some(record)
        });
        if next.is_none() {
            rest = &[];
        }
        Some(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Kind, Metadata};

    /// An index of files with these paths; the accounts have content.
    fn index(paths: &[&str]) -> (LayerIndex, Vec<LayerPath>) {
        let mut index = LayerIndex::default();
        let paths: Vec<LayerPath> = paths.iter().map(|path| LayerPath::parse(path).unwrap()).collect();
        for path in &paths {
            let entry = Entry { path: path.clone(), kind: Kind::File { size: 1 }, metadata: Metadata::default() };
            index.push(&entry).unwrap();
            if LayerIndex::keeps(path) {
                index.push_content(path, path.as_bytes().to_vec()).unwrap();
            }
        }
        (index, paths)
    }

    #[test]
    fn entries_come_back_with_their_whole_paths() {
        let (index, paths) = index(&["", "a/..b", "a/..c", "a.", "a..", "etc/passwd", "etc", "etc/passwd/b", "b", "bb", "b"]);
        let again = LayerIndex::from_bytes(index.to_bytes().to_vec()).unwrap();
        assert_eq!(again, index);
        assert_eq!(again.entries().map(|entry| entry.path).collect::<Vec<_>>(), paths);
        assert_eq!(again.contents().collect::<Vec<_>>(), [(paths[5].clone(), b"etc/passwd".to_vec())]);
    }

    #[test]
    fn what_a_path_has_in_common_with_the_one_before_is_stored_once() {
        let folder = "usr/lib/node_modules/a-name-that-is-long";
        let paths: Vec<String> = (0..100).map(|number| format!("{folder}/{number}")).collect();
        let (index, _) = index(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(index.to_bytes().len() < 100 * 20, "{}", index.to_bytes().len());
    }

    #[test]
    fn a_damaged_index_is_none() {
        let (index, _) = index(&["a", "ab", "abc"]);
        let bytes = index.to_bytes();
        for end in 0..bytes.len() {
            let whole = LayerIndex::from_bytes(bytes[..end].to_vec());
            assert!(whole.is_none_or(|part| part.entries().count() < 3), "{end}");
        }
        // The first record cannot share anything.
        let mut damaged = bytes.to_vec();
        damaged[MAGIC.len()] = 9;
        assert_eq!(LayerIndex::from_bytes(damaged), None);
    }
}
