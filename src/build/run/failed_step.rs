//! What a RUN that failed stood on, kept as an image: a shell in it shows what the command saw.

use crate::build::session::Session;
use crate::build::stage::StageState;
use crate::dockerfile::RunStep;
use crate::error::Result;
use crate::image::{Format, Image};
use crate::oci::Reference;
use crate::store::FAILED_STEP;

/// The command that opens a shell there; `None` of a step without one.
///
/// The name lasts a day, then pruning takes it away.
pub(super) fn shell(session: &Session<'_>, stage: &StageState, step: &RunStep) -> Option<String> {
    let shell = step.argv.first().filter(|program| program.ends_with("sh"))?;
    match keep(session, stage) {
        Ok(name) => {
            let shell = shell.rsplit('/').next().unwrap_or(shell);
            Some(format!("look around where it failed: `mpimg run -it --entrypoint {shell} {}`", name.familiar()))
        }
        Err(error) => {
            tracing::info!(error = error.in_one_line(), "cannot keep what the failed step stood on");
            None
        }
    }
}

fn keep(session: &Session<'_>, stage: &StageState) -> Result<Reference> {
    let layers = stage.filesystem.layers().to_vec();
    let image = Image::assemble(stage.config.clone(), layers, Default::default(), Format::Oci)?;
    let record = session.wait_for(image.write_to_store(session.store))?;
    let name = Reference::parse(&format!("{FAILED_STEP}:{}", image.descriptor().digest.short()))?;
    session.store.tag(&name, &record)?;
    Ok(name)
}
