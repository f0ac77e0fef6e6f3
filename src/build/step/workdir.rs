//! WORKDIR: the working directory of the config, and its folder where it is missing.

use crate::build::cache::keys;
use crate::build::copy::{Copier, NewFolders};
use crate::build::inputs::StepInputs;
use crate::build::outcome::StepOutcome;
use crate::build::stage::StageState;
use crate::error::Result;
use crate::image::Layer;
use crate::layer::Node;

/// Does one WORKDIR: what is missing of the folder is made for the stage's user, as BuildKit does.
pub(super) fn workdir(folder: &str, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<StepOutcome> {
    folder.clone_into(&mut stage.config.config.working_dir);
    let key = keys::workdir(inputs.session, stage, folder);
    if inputs.cache.recall(stage, &key) {
        return Ok(StepOutcome::Cached);
    }
    let layer = make_folder(folder, stage, inputs)?;
    inputs.cache.remember(&key, layer.as_ref(), inputs.session.times.context)?;
    Ok(StepOutcome::Done)
}

fn make_folder(folder: &str, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<Option<Layer>> {
    let session = inputs.session;
    let tree = stage.tree(session)?.clone();
    let resolved = tree.resolve(folder, true)?;
    if resolved.node.is_some_and(Node::is_dir) {
        return Ok(None);
    }
    // Without USER nobody is given the folders, so that they inherit the group of a set-group-ID
    // folder.
    let user = stage.config.config.user.clone();
    let owner = if user.is_empty() { None } else { Some(stage.owner(session, &user)?) };
    let made = NewFolders::new(owner.as_ref(), session.times.context);
    let mut copier = Copier::new(&tree, session.layer_writer(stage.target)?, made);
    copier.make_folder(&resolved.path)?;
    stage.push_written(session, copier.finish())
}
