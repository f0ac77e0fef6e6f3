//! The instructions that change nothing but the image's config.
//!
//! All have the shape of the table's functions, although none can fail.

use crate::build::inputs::StepInputs;
use crate::build::outcome::StepOutcome;
use crate::build::stage::StageState;
use crate::dockerfile::{Healthcheck, Port};
use crate::error::Result;
use crate::image;

const DONE: Result<StepOutcome> = Ok(StepOutcome::Done);

/// ARG: the stage's scope has taken it in.
pub(super) fn arg(_: &[(String, Option<String>)], _: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    DONE
}

pub(super) fn cmd(command: &[String], stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    stage.config.config.cmd = Some(command.to_vec());
    stage.own_cmd = true;
    DONE
}

/// ENTRYPOINT drops a CMD that was inherited, but not one of this stage.
pub(super) fn entrypoint(command: &[String], stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    stage.config.config.entrypoint = Some(command.to_vec());
    if !stage.own_cmd {
        stage.config.config.cmd = None;
    }
    DONE
}

/// ENV: the config gets the scope's variables after each step.
pub(super) fn env(_: &[(String, String)], _: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    DONE
}

pub(super) fn expose(ports: &[Port], stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    stage.config.config.exposed_ports.extend(ports.iter().map(ToString::to_string));
    DONE
}

pub(super) fn healthcheck(check: &Healthcheck, stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    stage.config.config.healthcheck = Some(image::Healthcheck {
        test: check.test.clone(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries.into(),
        ..image::Healthcheck::default()
    });
    DONE
}

pub(super) fn label(labels: &[(String, String)], stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    stage.config.config.labels.extend(labels.iter().cloned());
    DONE
}

pub(super) fn maintainer(name: &str, stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    stage.config.author = Some(name.to_owned());
    DONE
}

pub(super) fn onbuild(trigger: &str, stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    stage.config.config.on_build.push(trigger.to_owned());
    DONE
}

pub(super) fn shell(shell: &[String], stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    stage.config.config.shell = Some(shell.to_vec());
    DONE
}

pub(super) fn stop_signal(signal: &str, stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    stage.config.config.stop_signal = Some(signal.to_owned());
    DONE
}

pub(super) fn user(user: &str, stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    user.clone_into(&mut stage.config.config.user);
    DONE
}

pub(super) fn volume(folders: &[String], stage: &mut StageState, _: &StepInputs<'_>) -> Result<StepOutcome> {
    stage.config.config.volumes.extend(folders.iter().cloned());
    DONE
}
