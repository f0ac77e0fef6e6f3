//! One layer in place of all that the steps of a stage made: what differs between its base image
//! and its end.

use super::filesystem::Filesystem;
use super::selection::Selection;
use super::session::Session;
use crate::error::Result;
use crate::image::Layer;
use crate::layer::{Entry, Kind, LayerPath, Metadata, Node};

/// Replaces the layers from number `base` on by one; none where nothing is left of them.
pub(super) fn squash(session: &Session<'_>, filesystem: &Filesystem, base: usize) -> Result<Vec<Layer>> {
    let (below, own) = filesystem.layers().split_at(base);
    if own.len() < 2 {
        return Ok(filesystem.layers().to_vec());
    }
    let mut whole = filesystem.clone();
    let mut bottom = Filesystem::new(below.to_vec());
    let (before, after) = (bottom.tree(session)?.clone(), whole.tree(session)?.clone());
    let mut changes = Changes::default();
    let root = LayerPath::root();
    if let Some(after) = after.lookup(&root) {
        changes.compare(&root, before.lookup(&root), after)?;
    }
    let scratch = session.store.scratch()?;
    let mut writer = session.layer_writer(true)?;
    for item in changes.0.into_items(session, &whole, scratch.path())?.into_iter().flat_map(|source| source.items) {
        item.append(&mut writer)?;
    }
    if writer.entries() > 0 {
        bottom.push_finished(session, writer.finish()?)?;
    }
    Ok(bottom.layers().to_vec())
}

/// What is in the new layer.
#[derive(Default)]
struct Changes(Selection);

impl Changes {
    /// Adds what a folder holds that is not as it was, and what it no longer holds; whether there
    /// was anything.
    fn compare(&mut self, path: &LayerPath, before: Option<&Node>, after: &Node) -> Result<bool> {
        let before = before.filter(|before| before.is_dir());
        let mut changed = false;
        for (name, _) in before.iter().flat_map(|before| before.children()).filter(|(name, _)| after.child(name).is_none()) {
            let entry = Entry { path: path.child(name)?, kind: Kind::Whiteout, metadata: Metadata::default() };
            // A folder has no bytes, and nor has what says that something is gone.
            self.0.push(entry, after);
            changed = true;
        }
        for (name, node) in after.children() {
            changed |= self.add(path.child(name)?, before.and_then(|before| before.child(name)), node)?;
        }
        Ok(changed)
    }

    /// Adds one thing if it is not as it was. A folder with a change in it is repeated as it is, as
    /// COPY repeats it.
    fn add(&mut self, path: LayerPath, before: Option<&Node>, after: &Node) -> Result<bool> {
        let place = |node: &Node| node.origin.as_ref().map(|origin| (origin.layer, origin.path.clone()));
        let same = before.is_some_and(|before| {
            before.kind == after.kind && before.metadata == after.metadata && place(before) == place(after)
        });
        let inside = after.is_dir() && self.compare(&path, before, after)?;
        if same && !inside {
            return Ok(false);
        }
        self.0.push(Entry { path, kind: after.kind.clone(), metadata: after.metadata.clone() }, after);
        Ok(true)
    }
}
