//! What one COPY or ADD does to everything that it copies: owner, mode, what is left out, where it goes.

use super::copier::CopyTarget;
use crate::build::inputs::StepInputs;
use crate::build::item::{Content, LayerItem};
use crate::build::stage::Stage;
use crate::context::Patterns;
use crate::dockerfile::{AddStep, Chmod, CopyStep, Destination};
use crate::error::Result;
use crate::layer::{Entry, Kind, Metadata, Tree};
use crate::sandbox::User;

/// The rules of one step.
pub(super) struct Rules<'a> {
    pub(super) owner: Option<User>,
    pub(super) chmod: Option<&'a Chmod>,
    /// Time of files from the build context; the latest time of files from an archive.
    pub(super) context_mtime: i64,
    pub(super) exclude: Patterns,
    pub(super) destination: &'a str,
    /// Whether the destination must be a folder because there is more than one source.
    pub(super) several: bool,
}

impl<'a> Rules<'a> {
    /// The rules of a COPY of so many sources.
    pub(super) fn of_copy(step: &'a CopyStep, sources: usize, stage: &mut Stage, inputs: &StepInputs<'_>) -> Result<Self> {
        let owner = owner(step.chown.as_deref(), stage, inputs)?;
        Self::new(owner, step.chmod.as_ref(), &step.exclude, &step.destination, sources, inputs)
    }

    /// The rules of an ADD of so many sources.
    pub(super) fn of_add(step: &'a AddStep, sources: usize, stage: &mut Stage, inputs: &StepInputs<'_>) -> Result<Self> {
        let owner = owner(step.chown.as_deref(), stage, inputs)?;
        Self::new(owner, step.chmod.as_ref(), &step.exclude, &step.destination, sources, inputs)
    }

    fn new(
        owner: Option<User>,
        chmod: Option<&'a Chmod>,
        exclude: &[String],
        destination: &'a Destination,
        sources: usize,
        inputs: &StepInputs<'_>,
    ) -> Result<Self> {
        let exclude = Patterns::parse(exclude.iter().map(String::as_str))?;
        let context_mtime = inputs.session.times.context;
        Ok(Self { owner, chmod, context_mtime, exclude, destination: &destination.path, several: sources > 1 })
    }

    /// Gives an entry its owner and mode.
    pub(super) fn apply(&self, entry: &mut Entry) {
        if let Some(owner) = &self.owner {
            (entry.metadata.uid, entry.metadata.gid) = (owner.uid, owner.gid);
        }
        if let Some(chmod) = self.chmod
            && !matches!(entry.kind, Kind::Symlink { .. })
        {
            entry.metadata.mode = chmod.apply(entry.metadata.mode, entry.kind == Kind::Directory);
        }
    }

    /// Where a source goes: the entries of a folder into the destination, a file into it or in its place.
    pub(super) fn target(&self, tree: &Tree, kind: &Kind, name: Option<&[u8]>) -> Result<CopyTarget> {
        let name = name.filter(|_| *kind != Kind::Directory);
        CopyTarget::find(tree, self.destination, self.several, name)
    }

    /// The folder that a source's entries go into, if it is new.
    pub(super) fn new_folder(&self, target: &CopyTarget) -> Option<LayerItem> {
        let (uid, gid) = self.owner.as_ref().map_or((0, 0), |owner| (owner.uid, owner.gid));
        let metadata = Metadata::new(0o755, uid, gid, self.context_mtime);
        let entry = Entry { path: target.path.clone(), kind: Kind::Directory, metadata };
        (!target.exists).then(|| LayerItem::new(entry, Content::None))
    }
}

fn owner(chown: Option<&str>, stage: &mut Stage, inputs: &StepInputs<'_>) -> Result<Option<User>> {
    chown.map(|spec| stage.owner(inputs.session, spec)).transpose()
}

/// Warns of a pattern that matches nothing. That is no error for one with wildcards, as in `COPY yarn.lock* .` (BuildKit's
/// `AllowEmptyWildcard`).
pub(super) fn warn_if_empty<T>(inputs: &StepInputs<'_>, pattern: &str, matched: Vec<T>) -> Vec<T> {
    if matched.is_empty() {
        inputs.session.progress.warn(&format!("`{pattern}` matches nothing"), None);
    }
    matched
}
