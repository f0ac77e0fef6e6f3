//! A stage's file system as one folder of its own: what RUN works in where nothing can be mounted
//! (isolations `chroot` and `emulated`).
//!
//! Unpacking an image takes longer than most steps, and ext4 makes the next unpacking some ten
//! times slower where as many files were removed in the minutes before (it leaves the inodes of
//! removed files alone for a while, and looks at each of them for every new file). So the store has
//! a pool of such folders: one is checked out for a stage, what steps of the build before have
//! changed is restored, and when the stage is done, the folder is checked in for the next build.
//!
//! A folder of the pool is used only if nobody has touched it there, and if it then scans as it did
//! when it was unpacked.

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::filesystem::Filesystem;
use super::selection::Selection;
use super::session::Session;
use crate::error::{Error, Result};
use crate::image::Layer;
use crate::layer::diff::{Baseline, RestorePlan, RestorePoint};
use crate::layer::{Codec, Entry, LayerWriter};
use crate::oci::ChainId;
use crate::sandbox::{Isolation, Snapshot, User};
use crate::store::ScratchDir;
use crate::threads;

/// So many bytes that steps have written wait in the pool.
const MOST_LEFT: u64 = 512 << 20;

/// Not the name that a layer's own tree has in the store: nobody else may read this one.
const ROOT: &str = "root";

/// The root file system of a stage.
pub(super) struct StageTree {
    scratch: ScratchDir,
    /// How many of the stage's layers are in it.
    layers: usize,
    /// What it was made of and is restored to.
    base: Option<Base>,
    /// A scan since which nothing has changed.
    scanned: Option<Arc<Baseline>>,
}

struct Base {
    layers: Vec<Layer>,
    restore_point: RestorePoint,
}

impl StageTree {
    /// The root file system of an image's layers: one of the pool, or a new one.
    pub(super) fn checkout(session: &Session<'_>, layers: &[Layer]) -> Result<Self> {
        if let Some(pooled) = from_pool(session, layers)? {
            return Ok(pooled);
        }
        let root = Self { scratch: session.store.scratch()?, layers: layers.len(), base: None, scanned: None };
        let path = root.path();
        std::fs::create_dir_all(&path).map_err(|error| Error::io("create", &path, error))?;
        if layers.is_empty() {
            return Ok(root);
        }
        Filesystem::new(layers.to_vec()).unpack_over(session, 0, &path)?;
        let baseline = Arc::new(root.scan()?);
        Ok(root.based_on(layers, baseline))
    }

    fn based_on(self, layers: &[Layer], baseline: Arc<Baseline>) -> Self {
        let base = Base { layers: layers.to_vec(), restore_point: RestorePoint::new(Arc::clone(&baseline)) };
        Self { base: Some(base), scanned: Some(baseline), ..self }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.scratch.path().join(ROOT)
    }

    fn scan(&self) -> Result<Baseline> {
        Baseline::scan(&self.path(), threads::available())
    }

    /// Unpacks those of the stage's layers that are not in it yet.
    pub(super) fn complete(&mut self, session: &Session<'_>, filesystem: &Filesystem) -> Result<()> {
        if self.layers < filesystem.layers().len() {
            self.scanned = None;
            filesystem.unpack_over(session, self.layers, &self.path())?;
            self.layers = filesystem.layers().len();
        }
        Ok(())
    }

    /// Notes that the newest layer, which was made of its changes, is in it.
    pub(super) fn note_complete(&mut self, filesystem: &Filesystem) {
        self.layers = filesystem.layers().len();
    }

    /// What the next step will be compared with.
    pub(super) fn snapshot(&mut self) -> Result<Snapshot> {
        match self.scanned.take() {
            Some(baseline) => Ok(Snapshot::of_tree(baseline)),
            None => {
                let baseline = self.scan()?;
                baseline.forget_missing_owners(&self.path())?;
                Ok(Snapshot::of_tree(Arc::new(baseline)))
            }
        }
    }

    /// Notes what a scan since the last step has seen.
    pub(super) fn note_scan(&mut self, after: Option<Snapshot>) {
        self.scanned = after.and_then(|after| after.baseline().cloned());
    }

    /// Notes that a step has run; call it also for one that failed.
    pub(super) fn step_ended(&mut self, isolation: &Isolation, before: &Snapshot) -> Result<()> {
        let path = self.path();
        match (&mut self.base, before.baseline()) {
            (Some(base), Some(before)) => base.restore_point.accept_touched(&path, before, &isolation.touched(&path)),
            _ => Ok(()),
        }
    }

    /// Puts it into the pool for later builds, as its steps have left it: what wants it restores
    /// it, and a machine that builds once does not wait for that. It is restored now where it would
    /// take much room, and after a step that failed, for want of room perhaps.
    pub(super) fn checkin(mut self, session: &Session<'_>, failed: bool) -> Result<()> {
        let path = self.path();
        let Some(base) = &self.base else { return Ok(()) };
        let Some((top, name)) = pool_name(session, &base.layers)? else { return Ok(()) };
        let mut now = match self.scanned.take() {
            Some(scanned) => scanned,
            None => Arc::new(self.scan()?),
        };
        let mut unpacked = base.restore_point.baseline();
        if failed || now.size() > unpacked.size().saturating_add(MOST_LEFT) {
            let Some(after) = self.restore(session, base, now)? else { return Ok(()) };
            (now, unpacked) = (Arc::clone(&after), after);
        } else if base.restore_point.plan(&now).is_none() {
            return Ok(());
        }
        // The tree, and what is recorded of its owners.
        let kept = if session.isolation()?.kind().has_owner_table() { 2 } else { 1 };
        let alone =
            std::fs::read_dir(self.scratch.path()).map_err(|error| Error::io("read", self.scratch.path(), error))?.count()
                == kept;
        if !alone {
            return Ok(());
        }
        now.forget_missing_owners(&path)?;
        let state = postcard::to_stdvec(&(now.fingerprint_with_owners(&path)?, &*unpacked));
        let state = state.map_err(|error| Error::io("keep", &path, std::io::Error::other(error)))?;
        session.store.checkin_root(&top.diff_id, &name, self.scratch, &state)
    }

    /// It as it was when it was unpacked, where it came out of the pool with `state`; `None` if it
    /// cannot be proved to be that.
    fn restored(self, session: &Session<'_>, layers: &[Layer], state: &[u8]) -> Result<Option<Self>> {
        let Ok((fingerprint, unpacked)) = postcard::from_bytes::<(String, Baseline)>(state) else { return Ok(None) };
        let path = self.path();
        let now = Arc::new(self.scan()?);
        if now.fingerprint_with_owners(&path)? != fingerprint || !unpacked.is_sound() {
            return Ok(None);
        }
        let base = Base { layers: layers.to_vec(), restore_point: RestorePoint::new(Arc::new(unpacked)) };
        let Some(after) = self.restore(session, &base, now)? else { return Ok(None) };
        after.forget_missing_owners(&path)?;
        Ok(Some(self.based_on(layers, after)))
    }

    /// Restores the folder, in which a scan has seen `now`. Returns what a scan sees in it then;
    /// `None` where it cannot be proved to be restored.
    fn restore(&self, session: &Session<'_>, base: &Base, now: Arc<Baseline>) -> Result<Option<Arc<Baseline>>> {
        let (path, Base { layers, restore_point }) = (self.path(), base);
        let Some(todo) = restore_point.plan(&now) else { return Ok(None) };
        let mut after = now;
        if !todo.is_empty() {
            let lost = lost_entries(session, layers, &todo, self.scratch.path())?;
            restore_point.restore(&path, &todo, lost)?;
            after = Arc::new(self.scan()?);
        }
        Ok(restore_point.is_restored(&path, &todo, &after)?.then_some(after))
    }
}

/// Where the pool keeps the root file systems of these layers: by the topmost one and a name.
fn pool_name<'l>(session: &Session<'_>, layers: &'l [Layer]) -> Result<Option<(&'l Layer, String)>> {
    let chain = ChainId::of(layers.iter().map(|layer| layer.diff_id));
    let (Some(top), Some(chain)) = (layers.last(), chain) else { return Ok(None) };
    let ownership = session.isolation()?.ownership(&User::default());
    Ok(Some((top, format!("{ownership}-{}", chain.0.hex()))))
}

fn from_pool(session: &Session<'_>, layers: &[Layer]) -> Result<Option<StageTree>> {
    let Some((top, name)) = pool_name(session, layers)? else { return Ok(None) };
    // One that cannot be restored is deleted on drop; try the next.
    while let Some((scratch, state)) = session.store.checkout_root(&top.diff_id, &name)? {
        let root = StageTree { scratch, layers: layers.len(), base: None, scanned: None };
        if let Ok(Some(root)) = root.restored(session, layers, &state) {
            return Ok(Some(root));
        }
    }
    Ok(None)
}

/// A tar of what the root file system has lost of its layers, made with `scratch` as room for it.
fn lost_entries(session: &Session<'_>, layers: &[Layer], todo: &RestorePlan, scratch: &Path) -> Result<Option<BufReader<File>>> {
    if todo.lost().is_empty() {
        return Ok(None);
    }
    let mut filesystem = Filesystem::new(layers.to_vec());
    let tree = Arc::clone(filesystem.tree(session)?);
    let mut selection = Selection::default();
    for path in todo.lost() {
        if let Some(node) = tree.lookup(path) {
            let entry = Entry { path: path.clone(), kind: node.kind.clone(), metadata: node.metadata.clone() };
            selection.push(entry, node);
        }
    }
    let folder = scratch.join("lost");
    std::fs::create_dir(&folder).map_err(|error| Error::io("create", &folder, error))?;
    let room = tempfile::tempfile_in(scratch).map_err(|error| Error::io("write in", scratch, error))?;
    let mut writer = LayerWriter::new(Codec::parse("none")?, 1, room);
    let items = selection.into_items(session, &filesystem, &folder)?;
    items.into_iter().flat_map(|source| source.items).try_for_each(|item| item.append(&mut writer))?;
    let mut tar = writer.finish()?.sink;
    tar.rewind().map_err(|error| Error::io("read in", scratch, error))?;
    std::fs::remove_dir_all(&folder).map_err(|error| Error::io("remove", &folder, error))?;
    Ok(Some(BufReader::new(tar)))
}
