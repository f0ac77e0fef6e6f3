//! What one COPY or ADD does to everything that it copies: owner, mode, what is left out.

use super::copier::NewFolders;
use crate::build::inputs::StepInputs;
use crate::build::stage::StageState;
use crate::context::Patterns;
use crate::dockerfile::{AddStep, Chmod, CopyStep};
use crate::error::Result;
use crate::layer::{Entry, Kind};
use crate::sandbox::User;

/// The rules of one step.
pub(super) struct Rules<'a> {
    pub(super) owner: Option<User>,
    pub(super) chmod: Option<&'a Chmod>,
    /// Time of files from the build context; the latest time of files from an archive.
    pub(super) context_mtime: i64,
    pub(super) exclude: Patterns,
}

impl<'a> Rules<'a> {
    /// The rules of a COPY.
    pub(super) fn of_copy(step: &'a CopyStep, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<Self> {
        let owner = owner(step.chown.as_deref(), stage, inputs)?;
        Self::new(owner, step.chmod.as_ref(), &step.exclude, inputs)
    }

    /// The rules of an ADD.
    pub(super) fn of_add(step: &'a AddStep, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<Self> {
        let owner = owner(step.chown.as_deref(), stage, inputs)?;
        Self::new(owner, step.chmod.as_ref(), &step.exclude, inputs)
    }

    fn new(owner: Option<User>, chmod: Option<&'a Chmod>, exclude: &[String], inputs: &StepInputs<'_>) -> Result<Self> {
        let exclude = Patterns::parse(exclude.iter().map(String::as_str))?;
        Ok(Self { owner, chmod, context_mtime: inputs.session.times.context, exclude })
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

    /// How folders are made that are missing on the way to the destination.
    pub(super) fn new_folders(&self) -> NewFolders {
        NewFolders::new(self.owner.as_ref(), self.context_mtime).with_mode(self.chmod.and_then(Chmod::octal))
    }
}

fn owner(chown: Option<&str>, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<Option<User>> {
    chown.map(|spec| stage.owner(inputs.session, spec)).transpose()
}

/// Warns of a pattern that matches nothing. That is not an error for one with wildcards, as in
/// `COPY yarn.lock* .` (BuildKit's `AllowEmptyWildcard`).
pub(super) fn warn_no_match(inputs: &StepInputs<'_>, pattern: &str) {
    inputs.session.progress.warn(&format!("`{pattern}` matches nothing"), None);
}
