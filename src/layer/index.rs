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
    /// Whether there is a whiteout: most layers have none, and a tree looks for them first.
    removes: bool,
    /// Whether the content of a file is kept.
    has_content: bool,
}

#[derive(Serialize, Deserialize)]
enum IndexRecord {
    Entry(Entry),
    /// The content of a small file that builds ask for: users and groups.
    Content(LayerPath, Vec<u8>),
}

/// Format of the stored bytes: a new number makes old ones a miss.
const MAGIC: &[u8; 8] = b"mpimgx01";

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
        self.push_record(&IndexRecord::Entry(entry.clone()))
    }

    /// Adds the content of an entry.
    pub(super) fn push_content(&mut self, path: &LayerPath, content: Vec<u8>) -> Result<()> {
        self.push_record(&IndexRecord::Content(path.clone(), content))
    }

    fn push_record(&mut self, record: &IndexRecord) -> Result<()> {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(MAGIC);
        }
        self.note(record);
        self.bytes = postcard::to_extend(record, std::mem::take(&mut self.bytes))
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
            index.note(&record?);
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
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match postcard::take_from_bytes(rest) {
            Ok((record, tail)) => {
                rest = tail;
                Some(Some(record))
            }
            Err(_) => {
                rest = &[];
                Some(None)
            }
        }
    })
}
