//! A stage's file system as one folder of its own: what RUN stands on where nothing can be mounted.
//!
//! Unpacking an image takes longer than most steps, and ext4 makes the next unpacking some ten times slower where as many files
//! were removed in the minutes before (it leaves the inodes of removed files alone for a while, and looks at each of them for every
//! new file). So what the steps have changed is undone when the stage is done, and the tree of the base image waits in the store for
//! the next build.
//!
//! Refuses to put back a tree that does not scan as it did when it was unpacked, and to take one that was touched since.

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::filesystem::Filesystem;
use super::session::Session;
use super::sources::Collected;
use crate::error::{Error, Result};
use crate::image::Layer;
use crate::layer::diff::{Baseline, Pristine, Restoration};
use crate::layer::{Codec, Entry, LayerWriter};
use crate::oci::ChainId;
use crate::sandbox::{Isolation, Snapshot, User};
use crate::store::ScratchDir;

/// Not the name that a layer's own tree has in the store: nobody else may read this one.
const TREE: &str = "whole";

/// The tree of a stage.
pub(super) struct WholeTree {
    scratch: ScratchDir,
    /// How many of the stage's layers are in it.
    layers: usize,
    /// What it was made of and is to become again.
    base: Option<Base>,
    /// A scan since which nothing has changed.
    scanned: Option<Arc<Baseline>>,
}

struct Base {
    layers: Vec<Layer>,
    pristine: Pristine,
}

impl WholeTree {
    /// The tree of the lowest `base` layers: one that an earlier build has left, or a new one.
    pub(super) fn new(session: &Session<'_>, layers: &[Layer], base: usize) -> Result<Self> {
        let layers = &layers[..base];
        if let Some(kept) = take(session, layers)? {
            return Ok(kept);
        }
        let tree = Self { scratch: session.store.scratch()?, layers: base, base: None, scanned: None };
        let path = tree.path();
        std::fs::create_dir_all(&path).map_err(|error| Error::io("create", &path, error))?;
        if layers.is_empty() {
            return Ok(tree);
        }
        Filesystem::new(layers.to_vec()).unpack_over(session, 0, &path)?;
        let baseline = Arc::new(Baseline::scan(&path)?);
        Ok(tree.on(layers, baseline))
    }

    fn on(self, layers: &[Layer], baseline: Arc<Baseline>) -> Self {
        let base = Base { layers: layers.to_vec(), pristine: Pristine::new(Arc::clone(&baseline)) };
        Self { base: Some(base), scanned: Some(baseline), ..self }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.scratch.path().join(TREE)
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

    /// The layer that was just made of the tree's changes is in it.
    pub(super) fn has_all(&mut self, filesystem: &Filesystem) {
        self.layers = filesystem.layers().len();
    }

    /// What the next step will be compared with.
    pub(super) fn snapshot(&mut self) -> Result<Snapshot> {
        match self.scanned.take() {
            Some(baseline) => Ok(Snapshot::of_tree(baseline)),
            None => Baseline::scan(&self.path()).map(|baseline| Snapshot::of_tree(Arc::new(baseline))),
        }
    }

    /// What a scan since the last step has seen.
    pub(super) fn is_now(&mut self, after: Option<Snapshot>) {
        self.scanned = after.and_then(|after| after.baseline().cloned());
    }

    /// To be called when a step has run, whatever came of it.
    pub(super) fn step_ended(&mut self, isolation: &Isolation, before: &Snapshot) -> Result<()> {
        let path = self.path();
        match (&mut self.base, before.baseline()) {
            (Some(base), Some(before)) => base.pristine.forgive(&path, before, &isolation.touched(&path)),
            _ => Ok(()),
        }
    }

    /// Leaves the base's tree for later builds, or nothing.
    pub(super) fn release(self, session: &Session<'_>) -> Result<()> {
        let path = self.path();
        let Some(Base { layers, pristine }) = &self.base else { return Ok(()) };
        let Some((top, name)) = name(session, layers)? else { return Ok(()) };
        let now = match self.scanned {
            Some(scanned) => scanned,
            None => Arc::new(Baseline::scan(&path)?),
        };
        let Some(todo) = pristine.restoration(&now) else { return Ok(()) };
        let mut after = now;
        if !todo.is_empty() {
            let lost = lost(session, layers, &todo, self.scratch.path())?;
            pristine.undo(&path, &todo, lost)?;
            after = Arc::new(Baseline::scan(&path)?);
        }
        let alone =
            std::fs::read_dir(self.scratch.path()).map_err(|error| Error::io("read", self.scratch.path(), error))?.count() == 1;
        if !alone || !pristine.is_back(&path, &todo, &after)? {
            return Ok(());
        }
        session.store.keep_tree(&top.diff_id, &name, self.scratch, &after.fingerprint().to_string())
    }
}

/// Under what the tree of these layers is kept: the topmost one, and a name.
fn name<'l>(session: &Session<'_>, layers: &'l [Layer]) -> Result<Option<(&'l Layer, String)>> {
    let chain = ChainId::of(layers.iter().map(|layer| layer.diff_id));
    let (Some(top), Some(chain)) = (layers.last(), chain) else { return Ok(None) };
    let ownership = session.isolation()?.ownership(&User::default());
    Ok(Some((top, format!("{ownership}-{}", chain.0.hex()))))
}

fn take(session: &Session<'_>, layers: &[Layer]) -> Result<Option<WholeTree>> {
    let Some((top, name)) = name(session, layers)? else { return Ok(None) };
    // Each that fails the test is gone then.
    while let Some((scratch, proof)) = session.store.take_tree(&top.diff_id, &name)? {
        let tree = WholeTree { scratch, layers: layers.len(), base: None, scanned: None };
        let Ok(baseline) = Baseline::scan(&tree.path()) else { continue };
        if baseline.fingerprint().to_string() == proof {
            return Ok(Some(tree.on(layers, Arc::new(baseline))));
        }
    }
    Ok(None)
}

/// A tar of what the tree has lost of its layers, made with `scratch` as room for it.
fn lost(session: &Session<'_>, layers: &[Layer], todo: &Restoration, scratch: &Path) -> Result<Option<BufReader<File>>> {
    if todo.lost().is_empty() {
        return Ok(None);
    }
    let mut filesystem = Filesystem::new(layers.to_vec());
    let tree = Arc::clone(filesystem.tree(session)?);
    let mut collected = Collected::default();
    for path in todo.lost() {
        if let Some(node) = tree.lookup(path) {
            let entry = Entry { path: path.clone(), kind: node.kind.clone(), metadata: node.metadata.clone() };
            collected.push(entry, node.origin.clone());
        }
    }
    let folder = scratch.join("lost");
    std::fs::create_dir(&folder).map_err(|error| Error::io("create", &folder, error))?;
    let room = tempfile::tempfile_in(scratch).map_err(|error| Error::io("write in", scratch, error))?;
    let mut writer = LayerWriter::new(Codec::parse("none")?, 1, room);
    let items = collected.into_items(session, &filesystem, &folder)?;
    items.into_iter().try_for_each(|item| item.append(&mut writer))?;
    let mut tar = writer.finish()?.sink;
    tar.rewind().map_err(|error| Error::io("read in", scratch, error))?;
    std::fs::remove_dir_all(&folder).map_err(|error| Error::io("remove", &folder, error))?;
    Ok(Some(BufReader::new(tar)))
}
