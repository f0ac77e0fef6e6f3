//! The table of instructions: which function does which.

use super::{settings, workdir};
use crate::build::inputs::StepInputs;
use crate::build::outcome::StepOutcome;
use crate::build::stage::StageState;
use crate::build::{copy, run};
use crate::dockerfile::Step;
use crate::error::Result;

/// Writes `execute`, which hands each instruction to its function. The compiler finds an
/// instruction that has no line.
macro_rules! instructions {
    ($($instruction:ident => $function:path,)*) => {
        /// Does what an instruction says to `stage`.
        pub(super) fn execute(expanded: &Step, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<StepOutcome> {
            match expanded {
                $(Step::$instruction(step) => $function(step, stage, inputs),)*
            }
        }
    };
}

instructions! {
    Add => copy::add,
    Arg => settings::arg,
    Cmd => settings::cmd,
    Copy => copy::copy,
    Entrypoint => settings::entrypoint,
    Env => settings::env,
    Expose => settings::expose,
    Healthcheck => settings::healthcheck,
    Label => settings::label,
    Maintainer => settings::maintainer,
    Onbuild => settings::onbuild,
    Run => run::run,
    Shell => settings::shell,
    StopSignal => settings::stop_signal,
    User => settings::user,
    Volume => settings::volume,
    Workdir => workdir::workdir,
}
