//! Blocks of the layers that the store holds, compressed: a new layer copies those that it has in
//! common with them.
//!
//! Never fails a build: records that are damaged, and blobs that are gone, are misses.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::Store;
use super::layers::{LAYERS, list_data, read_sealed};
use crate::error::Result;
use crate::layer::{BlockIndex, BlockKey, BlockRecord, BlockSource, Codec, PrefixRecord, Segment, SegmentRecord};
use crate::oci::Digest;

const EXTENSION: &str = "blocks";

/// Bytes of records that are looked through at most, the newest first: those of more than 100 GB of
/// tars.
const MOST: u64 = 4 << 20;

impl Store {
    /// The blocks of all layers that `codec` made, as they are when the first one is looked for.
    pub(crate) fn blocks(&self, codec: Codec) -> Arc<dyn BlockSource> {
        Arc::new(StoredBlocks { store: self.clone(), codec, known: OnceLock::new() })
    }

    /// Keeps which blocks are in the blob `digest`, which `codec` made.
    pub(crate) fn write_blocks(&self, digest: &Digest, codec: Codec, blocks: &BlockIndex) -> Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        self.write_sealed(&self.blocks_path(digest), &blocks.to_bytes(&codec.maker()))
    }

    fn blocks_path(&self, digest: &Digest) -> PathBuf {
        self.root().join(LAYERS).join(format!("{}.{EXTENSION}", digest.hex()))
    }
}

/// Segments with one first entry that are looked at: the layers of `COPY a /app/a`, `COPY b /app/b`
/// and so on all begin with /app.
const MOST_OF_ONE_FIRST: usize = 8;

struct StoredBlocks {
    store: Store,
    codec: Codec,
    known: OnceLock<Known>,
}

#[derive(Default)]
struct Known {
    /// Each in the newest layer that has it, by number.
    blocks: HashMap<BlockKey, (usize, BlockRecord)>,
    /// By their first entry, those of the newest layers first.
    segments: HashMap<u64, Vec<(usize, SegmentRecord)>>,
    layers: Vec<KnownLayer>,
}

struct KnownLayer {
    digest: Digest,
    index: BlockIndex,
    /// `None`: the blob is gone.
    file: OnceLock<Option<File>>,
}

impl BlockSource for StoredBlocks {
    fn read(&self, key: &BlockKey, out: &mut Vec<u8>) -> bool {
        match self.known().blocks.get(key) {
            Some((layer, record)) => self.read_of(*layer, record, out),
            None => false,
        }
    }

    fn segments(&self, first: u64) -> Vec<Segment> {
        let known = self.known();
        let found = known.segments.get(&first).into_iter().flatten().filter_map(|(layer, record)| {
            let blocks = known.layers[*layer].index.blocks_of(record)?;
            Some(Segment::new(*record, *layer, blocks.to_vec()))
        });
        found.collect()
    }

    fn prefix(&self, layer: usize, block: u64) -> Option<PrefixRecord> {
        self.known().layers.get(layer)?.index.prefix(block).cloned()
    }

    fn read_of(&self, layer: usize, record: &BlockRecord, out: &mut Vec<u8>) -> bool {
        let Some(layer) = self.known().layers.get(layer) else { return false };
        let Some(file) = layer.file.get_or_init(|| self.store.open_blob(&layer.digest).ok()) else { return false };
        out.resize(record.length as usize, 0);
        if file.read_exact_at(out, record.offset).is_err() {
            return false;
        }
        let matches = record.matches(out);
        if !matches {
            self.store.distrust(&layer.digest);
        }
        matches
    }
}

impl StoredBlocks {
    fn known(&self) -> &Known {
        self.known.get_or_init(|| self.load())
    }

    fn load(&self) -> Known {
        let mut found: Vec<(SystemTime, u64, Digest, PathBuf)> = list_data(self.store.root())
            .unwrap_or_default()
            .into_iter()
            .filter(|(_, path)| path.extension().is_some_and(|extension| extension == EXTENSION))
            .filter_map(|(digest, path)| {
                // Those of a blob that is gone would stand before an older layer's.
                self.store.blob_path(&digest).symlink_metadata().ok()?;
                let metadata = path.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), digest, path))
            })
            .collect();
        found.sort();
        let (mut known, mut rest, maker) = (Known::default(), MOST, self.codec.maker());
        for (_, size, digest, path) in found.into_iter().rev() {
            let Some(less) = rest.checked_sub(size) else { break };
            rest = less;
            let index = read_sealed(&path).ok().flatten().and_then(|bytes| BlockIndex::from_bytes(&bytes, &maker));
            let Some(index) = index else { continue };
            let layer = known.layers.len();
            // What did not become shorter is as soon made as copied.
            for record in index.records().iter().filter(|record| record.is_shorter()) {
                known.blocks.entry(record.key).or_insert((layer, *record));
            }
            for segment in index.segments() {
                let same = known.segments.entry(segment.first).or_default();
                if same.len() < MOST_OF_ONE_FIRST {
                    same.push((layer, *segment));
                }
            }
            known.layers.push(KnownLayer { digest, index, file: OnceLock::new() });
        }
        tracing::debug!(blocks = known.blocks.len(), layers = known.layers.len(), "blocks of layers in the store");
        known
    }
}
