//! A stage's file system as one folder of its own: what RUN works in where nothing can be mounted
//! (isolations `chroot` and `emulated`).
//!
//! Unpacking an image takes longer than most steps, and ext4 makes the next unpacking some ten
//! times slower where as many files were removed in the minutes before (it leaves the inodes of
//! removed files alone for a while, and looks at each of them for every new file). So the store has
//! a pool of such folders: one is checked out for a stage, and when the stage is done, what its
//! steps have changed is restored, and the folder is checked in for the next build.
//!
//! A folder goes back into the pool only if it scans as it did when it was unpacked, and is used
//! only if nobody has touched it since.

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
        let baseline = Arc::new(Baseline::scan(&path)?);
        Ok(root.based_on(layers, baseline))
    }

    fn based_on(self, layers: &[Layer], baseline: Arc<Baseline>) -> Self {
        let base = Base { layers: layers.to_vec(), restore_point: RestorePoint::new(Arc::clone(&baseline)) };
        Self { base: Some(base), scanned: Some(baseline), ..self }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.scratch.path().join(ROOT)
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
                let baseline = Baseline::scan(&self.path())?;
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

    /// Restores it and puts it into the pool for later builds. One that cannot be restored is
    /// deleted.
    pub(super) fn checkin(self, session: &Session<'_>) -> Result<()> {
        let path = self.path();
        let Some(Base { layers, restore_point }) = &self.base else { return Ok(()) };
        let Some((top, name)) = pool_name(session, layers)? else { return Ok(()) };
        let now = match self.scanned {
            Some(scanned) => scanned,
            None => Arc::new(Baseline::scan(&path)?),
        };
        let Some(todo) = restore_point.plan(&now) else { return Ok(()) };
        let mut after = now;
        if !todo.is_empty() {
            let lost = lost_entries(session, layers, &todo, self.scratch.path())?;
            restore_point.restore(&path, &todo, lost)?;
            after = Arc::new(Baseline::scan(&path)?);
        }
        // The tree, and what is recorded of its owners.
        let kept = if session.isolation()?.kind().has_owner_table() { 2 } else { 1 };
        let alone =
            std::fs::read_dir(self.scratch.path()).map_err(|error| Error::io("read", self.scratch.path(), error))?.count()
                == kept;
        if !alone || !restore_point.is_restored(&path, &todo, &after)? {
            return Ok(());
        }
        after.forget_missing_owners(&path)?;
        session.store.checkin_root(&top.diff_id, &name, self.scratch, &after.fingerprint_with_owners(&path)?)
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
    // A root file system whose fingerprint differs is deleted on drop; try the next.
    while let Some((scratch, fingerprint)) = session.store.checkout_root(&top.diff_id, &name)? {
        let root = StageTree { scratch, layers: layers.len(), base: None, scanned: None };
        let Ok(baseline) = Baseline::scan(&root.path()) else { continue };
        if baseline.fingerprint_with_owners(&root.path())? == fingerprint {
            return Ok(Some(root.based_on(layers, Arc::new(baseline))));
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
