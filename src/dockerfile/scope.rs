//! The variables of a stage while it is built, and the expansion of its instructions one after the other.
//!
//! Refuses to guess: a variable that is not set is empty, with a warning.

use crate::error::{Error, ErrorKind, Result};

use super::{Expanded, Instruction, Located, Plan, StageIndex, Warning};

/// What a stage inherits from its base image's config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InheritedConfig {
    /// `Env`, in order, split at the first `=`.
    pub env: Vec<(String, String)>,
    /// `WorkingDir`; empty is `/`.
    pub working_dir: String,
    /// `Shell`; empty is `/bin/sh -c`.
    pub shell: Vec<String>,
}

/// The variables of a stage at one of its steps.
#[derive(Debug, Clone)]
pub struct StageScope {
    warnings: Vec<Warning>,
}

impl StageScope {
    /// The scope of a stage that stands on an image or on scratch.
    pub fn new(_plan: &Plan, _stage: StageIndex, _inherited: InheritedConfig) -> Self {
        Self { warnings: Vec::new() }
    }

    /// The scope of a stage that stands on another stage, whose scope at its end is `self`. ARGs are inherited, too.
    #[must_use]
    pub fn child(&self, _plan: &Plan, _stage: StageIndex) -> Self {
        Self { warnings: Vec::new() }
    }

    /// Expands the next step and takes in what it changes: ENV, ARG, WORKDIR and SHELL hold for the steps after it.
    ///
    /// Steps must come in order, each once.
    pub fn expand(&mut self, step: &Located<Instruction>) -> Result<Expanded> {
        Err(step.error("not there yet").wrap("expand")).map_err(|error: Error| {
            debug_assert_eq!(error.kind(), ErrorKind::Dockerfile);
            error
        })
    }

    /// The image config's `Env` as it is now: ENV without ARG, `PATH` always among it.
    pub fn image_env(&self) -> &[(String, String)] {
        &[]
    }

    /// The working directory as it is now, absolute.
    pub fn working_dir(&self) -> &str {
        "/"
    }

    /// What was odd since the last call.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }
}
