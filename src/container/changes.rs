//! What a container has written, as the entries of a layer over its image.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Container;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Image;
use crate::layer::diff::Baseline;
use crate::sandbox::{Emit, Isolation, IsolationMode, RootSpec, Snapshot, User};
use crate::store::Store;

/// What [`Container::changes`] handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangesOver {
    /// What is new, changed and gone over the layers of the image.
    Image,
    /// Everything: where nothing can be mounted, a container has a copy of its image.
    Nothing,
}

impl Container {
    /// Hands over what its command has written so far, in the order of a layer, with owners as seen
    /// inside; what volumes hold is not part of it. A command that runs may change files meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: what it has written was not kept
    /// ([`ContainerSpec::keep_changes`](super::ContainerSpec::keep_changes)), or a layer below it
    /// is no longer unpacked.
    pub fn changes(&self, store: &Store, image: &Image, emit: &mut Emit<'_>) -> Result<ChangesOver> {
        let info = self.info()?;
        let scratch = self.scratch();
        let gone = || Error::new(ErrorKind::NotFound, format!("what container `{}` has written is gone", self.id()));
        let Some(kind) = info.isolation.filter(|_| scratch.is_dir()) else { return Err(gone()) };
        let isolation = Isolation::detect(store.root(), IsolationMode::Forced(kind))?;
        let (root, before, over) = match kind.needs_tree() {
            true => {
                let empty = store.scratch()?;
                let before = Snapshot::of_tree(Arc::new(Baseline::scan(empty.path(), 1)?));
                (RootSpec::Tree { path: scratch.join("tree") }, before, ChangesOver::Nothing)
            }
            false => {
                let ownership = isolation.ownership(&User::default());
                let unpacked = |layer: &crate::image::Layer| -> Result<PathBuf> {
                    let own = store.unpacked_path(&layer.diff_id, &ownership);
                    let found = if own.is_dir() { Some(own) } else { store.unpacked_paths(&layer.diff_id).into_iter().next() };
                    found.ok_or_else(gone)
                };
                // Topmost first.
                let lower = self.layers(image)?.iter().rev().map(unpacked).collect::<Result<Vec<_>>>()?;
                let root = RootSpec::Overlay { lower, upper: scratch.join("upper"), work: scratch.join("work") };
                let before = isolation.snapshot(&root)?;
                (root, before, ChangesOver::Image)
            }
        };
        isolation.changes(&root, &before, &mut |_| Ok(HashMap::new()), emit)?;
        Ok(over)
    }
}
