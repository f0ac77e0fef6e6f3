//! Build cache records: what a step with certain inputs made.
//!
//! Never fails a build: a record that is damaged, or whose layer is gone, is a miss.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Store;
use super::handle::Durability;
use super::layout::{failed, file_names};
use crate::error::Result;
use crate::oci::{Descriptor, DiffId, Digest};

const CACHE: &str = "cache";

/// Names all inputs of a build step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(pub Digest);

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why nothing was taken from the build cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissReason {
    /// There is no record under the key.
    NoRecord,
    /// There is none here, nor in the registry that other machines share.
    NoRecordAnywhere,
    /// The record's file is damaged.
    Damaged,
    /// The record names a layer that was pruned.
    LayerGone,
    /// The build was asked to look for nothing.
    Bypassed,
    /// The record is older than the build allows.
    TooOld,
    /// The sources of COPY or ADD differ in names, sizes or modes.
    FileListChanged,
    /// The sources of COPY or ADD differ in content alone.
    FileContentChanged,
    /// What a RUN mounts of the build context differs.
    MountedFileChanged,
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRecord => "no step has had exactly these inputs",
            Self::NoRecordAnywhere => "neither this machine nor the cache's repository has a result for exactly these inputs",
            Self::Damaged => "the record is damaged",
            Self::LayerGone => "its layer is no longer in the store",
            Self::Bypassed => "the build was asked not to use it",
            Self::TooOld => "the result is older than allowed",
            Self::FileListChanged => "a file is new or gone, or has another size or mode",
            Self::FileContentChanged => "a file has other content",
            Self::MountedFileChanged => "a mounted file is new or gone, or has other content or another mode",
        })
    }
}

/// What a build step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// The layer; `None` if the step changed no file.
    pub layer: Option<CachedLayer>,
    /// The time that it has in images, in seconds since 1970.
    pub created: i64,
    /// When the step was done, by the clock of the machine that did it, in seconds since 1970; 0
    /// where nobody knows.
    #[serde(default)]
    pub made: i64,
}

/// A layer in the build cache; its bytes are in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedLayer {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Its stored bytes.
    pub descriptor: Descriptor,
}

/// A record on disk.
pub(super) struct Stored {
    pub(super) path: PathBuf,
    /// `None` if the file is damaged.
    pub(super) record: Option<CacheRecord>,
    /// When it was last used.
    pub(super) used: SystemTime,
}

impl Store {
    /// What the step with these inputs made, if it is known and its layer is here. The layer then
    /// stays while this process lives.
    pub fn cache_lookup(&self, key: &CacheKey) -> Option<CacheRecord> {
        self.cache_find(key).ok()
    }

    /// As [`cache_lookup`](Self::cache_lookup); a miss says why it is one.
    pub(crate) fn cache_find(&self, key: &CacheKey) -> std::result::Result<CacheRecord, MissReason> {
        let path = self.cache_path(key);
        let missed = |reason: MissReason| {
            tracing::debug!(%key, %reason, "build cache has no record");
            Err(reason)
        };
        let Some(record) = read(&path) else {
            return missed(if path.exists() { MissReason::Damaged } else { MissReason::NoRecord });
        };
        if let Some(layer) = &record.layer
            && !self.has(&layer.descriptor.digest, layer.descriptor.size).is_ok_and(|has| has)
        {
            return missed(MissReason::LayerGone);
        }
        tracing::debug!(%key, "build cache has a record");
        // Pruning begins with what was not used for longest; a store that cannot be written to is
        // not pruned.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Ok(record)
    }

    /// Remembers what the step with these inputs made.
    pub fn cache_put(&self, key: &CacheKey, record: &CacheRecord) -> Result<()> {
        let path = self.cache_path(key);
        let json = serde_json::to_string(record).map_err(|error| failed("write", &path, std::io::Error::other(error)))?;
        let text = format!("{}\n{json}\n", Digest::of(&json));
        self.write_file(&path, &[text.as_bytes()], Durability::Whenever)
    }

    fn cache_path(&self, key: &CacheKey) -> PathBuf {
        let hex = key.0.hex();
        self.root().join(CACHE).join(&hex[..2]).join(&hex)
    }

    /// All records, damaged ones too, in a definite order.
    pub(super) fn cache_list(&self) -> Result<Vec<Stored>> {
        let folder = self.root().join(CACHE);
        let names = |folder: &Path| file_names(folder).map_err(|error| failed("read", folder, error));
        let mut records = Vec::new();
        for part in names(&folder)? {
            let part = folder.join(part);
            for name in names(&part)? {
                let path = part.join(name);
                let used = path.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                records.push(Stored { record: read(&path), path, used });
            }
        }
        Ok(records)
    }
}

/// The record, unless the file is missing or its first line is not the digest of its second.
fn read(path: &Path) -> Option<CacheRecord> {
    let text = std::fs::read_to_string(path).ok()?;
    let (digest, json) = text.strip_suffix('\n')?.split_once('\n')?;
    Digest::parse(digest).ok()?.verify(json.as_bytes()).ok()?;
    serde_json::from_str(json).ok()
}
