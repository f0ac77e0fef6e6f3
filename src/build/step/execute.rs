//! Does one step: expands it, looks up its instruction in the table, and brings config and history
//! up to date.

use super::table;
use crate::build::cache::BuildCache;
use crate::build::inputs::StepInputs;
use crate::build::outcome::StepOutcome;
use crate::build::session::Session;
use crate::build::sources::Sources;
use crate::build::stage::StageState;
use crate::dockerfile::{Instruction, Located};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::TaskKind;

/// Does one step of `stage`; `name` is what progress shows. An error names the instruction and its
/// place in the Dockerfile.
pub(in crate::build) fn execute(
    session: &Session<'_>,
    cache: &BuildCache<'_>,
    sources: &Sources,
    stage: &mut StageState,
    step: &Located<Instruction>,
    name: &str,
) -> Result<()> {
    session.check_running()?;
    let span = tracing::info_span!("step", instruction = name);
    let _entered = span.enter();
    let task = session.progress.task(TaskKind::Step, name, None);
    let expanded = stage.scope.expand(step)?;
    for warning in stage.scope.take_warnings() {
        session.progress.warn(&warning.message, None);
    }
    let layers = stage.filesystem.layers().len();
    let text = step.text();
    let inputs = StepInputs { session, cache, sources, text: &text, task: &task };
    let outcome = table::execute(&expanded, stage, &inputs).map_err(|error| located(error, step))?;
    stage.finish_step(expanded.history_text(), layers);
    tracing::info!(?outcome, new_layers = stage.filesystem.layers().len() - layers, "step ended");
    match outcome {
        StepOutcome::Cached => task.cached(),
        StepOutcome::Done => task.done(),
    }
    Ok(())
}

pub(in crate::build) fn located(error: Error, step: &Located<Instruction>) -> Error {
    if error.kind() == ErrorKind::Interrupted || error.snippet().is_some() {
        return error;
    }
    error.wrap(format!("{} failed", step.value().name())).with_snippet(step.snippet())
}
