//! Removing what is not needed any more, and counting what is there.
//!
//! Never removes what a name means (its blobs, its layers' side data) or what a living process has
//! pinned.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::io::Errno;

use super::cache::{CacheRecord, Stored};
use super::layout::{GATE, TMP, failed};
use super::lock::lock_exclusive;
use super::{Store, blobs, layers, mounts, process_session};
use crate::error::{Error, Result};
use crate::layer::owner_table::OwnerTable;
use crate::layer::remove_tree;
use crate::oci::Digest;

/// What [`Store::prune`] removes besides what nothing refers to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Removes build cache records, folders of cache mounts and unpacked layers, those unused for
    /// longest first, until the store takes no more than this many bytes or there are none left.
    pub keep_storage: Option<u64>,
    /// As `keep_storage`, until the build cache takes no more than this many bytes: what named
    /// images need does not count.
    pub keep_cache: Option<u64>,
    /// Removes the whole build cache, folders of cache mounts among it, and all unpacked layers.
    pub all: bool,
}

/// What [`Store::prune`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneReport {
    /// Blobs.
    pub blobs: usize,
    /// Build cache records.
    pub cache_records: usize,
    /// Unpacked layers.
    pub unpacked: usize,
    /// Folders of cache mounts.
    pub mounts: usize,
    /// Bytes on disk that became free.
    pub freed: u64,
}

/// What the store takes, in bytes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskUsage {
    /// Blobs.
    pub blobs: u64,
    /// Build cache records, folders of cache mounts and side data of layers, without the blobs they
    /// mean.
    pub cache: u64,
    /// Unpacked layers.
    pub unpacked: u64,
    /// What running processes are working on, and unfinished uploads.
    pub scratch: u64,
}

impl DiskUsage {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.blobs + self.cache + self.unpacked + self.scratch
    }
}

impl Store {
    /// What the store takes now. What other processes remove meanwhile counts as gone.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let sum = |names: &[&str]| {
            let mut seen = HashSet::new();
            names.iter().try_fold(0, |sum, name| Ok::<u64, Error>(sum + size_on_disk(&self.root().join(name), &mut seen)?))
        };
        Ok(DiskUsage {
            blobs: sum(&["blobs"])?,
            cache: sum(&["cache", "layers", "mounts"])?,
            unpacked: sum(&["unpacked"])?,
            scratch: sum(&[TMP, "uploads"])?,
        })
    }

    /// Removes what is unused (neither a name nor a build cache record refers to it), damaged
    /// blobs, and what `options` say. Other processes wait at their next use of the store until
    /// this is done.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport> {
        self.prune_with(options, &|path| Err(failed("remove", path, io::ErrorKind::PermissionDenied.into())))
    }

    /// As `prune`, also of what this user may not remove: for such a folder `foreign` is called.
    /// Trees that were unpacked in a user namespace belong to ids that are only there the user's
    /// own.
    pub fn prune_with(&self, options: &PruneOptions, foreign: &dyn Fn(&Path) -> Result<()>) -> Result<PruneReport> {
        let remove = &|path: &Path| match remove_tree(path) {
            Err(Errno::ACCESS | Errno::PERM) => foreign(path),
            removed => removed.map_err(|errno| failed("remove", path, errno.into())),
        };
        self.settle_all()?;
        let gate_path = self.root().join(GATE);
        let gate = File::open(&gate_path).and_then(|gate| lock_exclusive(&gate).map(|()| gate));
        let gate = gate.map_err(|error| failed("lock", &gate_path, error))?;
        process_session::sweep(&self.root().join(TMP), &|path| remove(path).is_ok());
        self.forget_transient()?;
        let total = match options.keep_storage {
            Some(_) => self.disk_usage()?.total(),
            None => 0,
        };
        let mut pruning = Pruning::new(self, remove)?;
        pruning.remove_damaged_records()?;
        if options.all {
            pruning.remove_cache_until(|_| false)?;
        }
        pruning.remove_unused()?;
        if let Some(keep) = options.keep_storage {
            pruning.remove_cache_until(|freed| total.saturating_sub(freed) <= keep)?;
        }
        if let Some(keep) = options.keep_cache {
            let (used, before) = (pruning.cache_usage()?, pruning.report.freed);
            pruning.remove_cache_until(|freed| used.saturating_sub(freed - before) <= keep)?;
        }
        drop(gate);
        pruning.finish()
    }

    /// The bytes on disk that the build cache takes: records with what they alone hold, folders of
    /// cache mounts, unpacked layers.
    pub(super) fn cache_usage(&self) -> Result<u64> {
        Pruning::new(self, &|_| Ok(()))?.cache_usage()
    }
}

/// One pruning, while the gate is held.
struct Pruning<'a> {
    store: &'a Store,
    /// Digests and diff IDs that are named or pinned.
    kept: HashSet<Digest>,
    /// Digests of pinned blobs and layers alone: unpacked trees of named images can be made again.
    pinned: HashSet<Digest>,
    records: Vec<Stored>,
    /// How many records refer to a digest or diff ID.
    cached: BTreeMap<Digest, usize>,
    /// Unpacked trees moved out of the way, removed after the gate is open again.
    trash: Vec<PathBuf>,
    remove: &'a dyn Fn(&Path) -> Result<()>,
    report: PruneReport,
}

impl<'a> Pruning<'a> {
    fn new(store: &'a Store, remove: &'a dyn Fn(&Path) -> Result<()>) -> Result<Self> {
        let tmp = store.root().join(TMP);
        let pinned = process_session::pinned(&tmp).map_err(|error| failed("read", &tmp, error))?;
        let mut kept = pinned.clone();
        for (_, image) in store.list()? {
            kept.extend([image.manifest.digest, image.config.digest]);
            // A remote layer may be here as well, since it was used: it is kept as long as the
            // image.
            kept.extend(image.layers.iter().flat_map(|layer| [layer.descriptor.digest, layer.diff_id.0]));
        }
        let records = store.cache_list()?;
        let mut cached = BTreeMap::new();
        for digest in records.iter().flat_map(|stored| digests(stored.record.as_ref())) {
            *cached.entry(digest).or_insert(0) += 1;
        }
        Ok(Self { store, kept, pinned, records, cached, trash: Vec::new(), remove, report: PruneReport::default() })
    }

    fn is_used(&self, digest: &Digest) -> bool {
        self.kept.contains(digest) || self.cached.contains_key(digest)
    }

    fn cache_usage(&self) -> Result<u64> {
        let DiskUsage { cache, unpacked, .. } = self.store.disk_usage()?;
        let blobs = self.cached.keys().filter(|digest| !self.kept.contains(digest));
        let size = |digest: &Digest| self.store.blob_path(digest).symlink_metadata().map_or(0, |metadata| on_disk(&metadata));
        Ok(cache + unpacked + blobs.map(size).sum::<u64>())
    }

    /// Records that cannot be read, or whose layer is gone.
    fn remove_damaged_records(&mut self) -> Result<()> {
        let store = self.store;
        let is_whole = |stored: &Stored| match &stored.record {
            Some(CacheRecord { layer: Some(layer), .. }) => store.blob_path(&layer.descriptor.digest).exists(),
            Some(CacheRecord { layer: None, .. }) => true,
            None => false,
        };
        let (whole, damaged) = std::mem::take(&mut self.records).into_iter().partition(is_whole);
        self.records = whole;
        for stored in damaged {
            self.remove_record(&stored)?;
        }
        Ok(())
    }

    fn remove_record(&mut self, stored: &Stored) -> Result<()> {
        self.remove_file(&stored.path)?;
        self.report.cache_records += 1;
        for digest in digests(stored.record.as_ref()) {
            if let Some(count) = self.cached.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    self.cached.remove(&digest);
                }
            }
        }
        Ok(())
    }

    /// Removes what is unused, as [`prune`](super::Store::prune) defines it.
    fn remove_unused(&mut self) -> Result<()> {
        for (digest, path) in blobs::list(self.store.root())? {
            if !self.is_used(&digest) {
                self.remove_file(&path)?;
                self.report.blobs += 1;
            }
        }
        for (digest, path) in layers::list_data(self.store.root())? {
            if !self.is_used(&digest) {
                self.remove_file(&path)?;
            }
        }
        for (digest, path) in layers::list_unpacked(self.store.root())? {
            if !self.is_used(&digest) {
                self.remove_unpacked(&path)?;
            }
        }
        Ok(())
    }

    /// Removes build cache records with what they alone hold, cache mounts and unpacked layers,
    /// oldest use first, until `enough` of the bytes freed so far.
    fn remove_cache_until(&mut self, enough: impl Fn(u64) -> bool) -> Result<()> {
        #[expect(clippy::large_enum_variant, reason = "nearly all are the large one")]
        enum Old {
            Record(Stored),
            Unpacked(PathBuf),
            Mount(PathBuf),
        }
        let records = std::mem::take(&mut self.records);
        let mut candidates: Vec<(SystemTime, Old)> =
            records.into_iter().map(|stored| (stored.used, Old::Record(stored))).collect();
        let used = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        for (digest, path) in layers::list_unpacked(self.store.root())? {
            if !self.pinned.contains(&digest) {
                candidates.push((used(&path), Old::Unpacked(path)));
            }
        }
        for (digest, path) in mounts::list(self.store.root())? {
            if !self.pinned.contains(&digest) {
                candidates.push((used(&path), Old::Mount(path)));
            }
        }
        candidates.sort_by_key(|(used, _)| *used);
        for (_, candidate) in candidates {
            if enough(self.report.freed) {
                break;
            }
            match candidate {
                Old::Unpacked(path) => self.remove_unpacked(&path)?,
                Old::Mount(path) => {
                    self.report.mounts += 1;
                    self.remove_folder(&path)?;
                    self.remove_file(&OwnerTable::path_of(&path))?;
                }
                Old::Record(stored) => {
                    self.remove_record(&stored)?;
                    self.remove_left_by(&stored)?;
                }
            }
        }
        Ok(())
    }

    /// What only the record that was just removed referred to.
    fn remove_left_by(&mut self, stored: &Stored) -> Result<()> {
        let Some(layer) = stored.record.as_ref().and_then(|record| record.layer.as_ref()) else { return Ok(()) };
        let path = self.store.blob_path(&layer.descriptor.digest);
        if !self.is_used(&layer.descriptor.digest) && path.exists() {
            self.remove_file(&path)?;
            self.report.blobs += 1;
        }
        Ok(())
    }

    fn remove_file(&mut self, path: &Path) -> Result<()> {
        self.report.freed += path.symlink_metadata().map(|metadata| on_disk(&metadata)).unwrap_or(0);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
            _ => Ok(()),
        }
    }

    fn remove_unpacked(&mut self, path: &Path) -> Result<()> {
        self.report.unpacked += 1;
        self.remove_folder(path)
    }

    fn remove_folder(&mut self, path: &Path) -> Result<()> {
        self.report.freed += size_on_disk(path, &mut HashSet::new())?;
        // On a full disk there may be no session: then the others wait a little longer.
        let trash = self.store.session().map(|session| session.fresh_path());
        let Ok(trash) = trash else {
            return (self.remove)(path);
        };
        std::fs::rename(path, &trash).map_err(|error| failed("remove", path, error))?;
        self.trash.push(trash);
        Ok(())
    }

    fn finish(self) -> Result<PruneReport> {
        self.trash.iter().try_for_each(|path| (self.remove)(path))?;
        Ok(self.report)
    }
}

/// The digest and diff ID that a record refers to.
fn digests(record: Option<&CacheRecord>) -> impl Iterator<Item = Digest> {
    let layer = record.and_then(|record| record.layer.as_ref());
    layer.into_iter().flat_map(|layer| [layer.descriptor.digest, layer.diff_id.0])
}

/// The bytes that a tree takes, hard links counted once; 0 of what is not there or in a folder that
/// this user may not read. Links are not followed.
fn size_on_disk(path: &Path, seen: &mut HashSet<(u64, u64)>) -> Result<u64> {
    let mut sum = 0;
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let measured = measure(&path, &mut waiting);
        match measured {
            Ok(metadata) if metadata.nlink() > 1 && !metadata.is_dir() => {
                if seen.insert((metadata.dev(), metadata.ino())) {
                    sum += on_disk(&metadata);
                }
            }
            Ok(metadata) => sum += on_disk(&metadata),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
            Err(error) => return Err(failed("read", &path, error)),
        }
    }
    Ok(sum)
}

fn measure(path: &Path, waiting: &mut Vec<PathBuf>) -> io::Result<std::fs::Metadata> {
    let metadata = path.symlink_metadata()?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            waiting.push(entry?.path());
        }
    }
    Ok(metadata)
}

fn on_disk(metadata: &std::fs::Metadata) -> u64 {
    // POSIX leaves the unit of st_blocks open; Linux always counts 512 bytes.
    metadata.blocks() * 512
}
