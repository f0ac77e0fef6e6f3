//! What to build: the stages that the target needs, in an order in which each comes after those it
//! uses.

use std::sync::Arc;

use crate::oci::Platform;

use super::expand::Shared;
use super::suggest::suggest;
use super::{Base, Instruction, Located, StageIndex, Warning};

/// What to build.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The stages that the target needs, each after those it depends on.
    pub stages: Vec<PlannedStage>,
    /// The stage whose image is wanted.
    pub target: StageIndex,
    /// What the image is for; images of `COPY --from` and `RUN --mount=from` are of this platform,
    /// too.
    pub platform: Platform,
    /// Warnings found while planning; those found while parsing are in
    /// [`Dockerfile::warnings`](super::Dockerfile::warnings).
    pub warnings: Vec<Warning>,
    pub(super) shared: Arc<Shared>,
}

/// A stage to build.
#[derive(Debug, Clone)]
pub struct PlannedStage {
    /// Its number in the Dockerfile.
    pub index: StageIndex,
    /// Its name in lower case, where it has one.
    pub name: Option<String>,
    /// What it is built on.
    pub base: Base,
    /// The FROM, to point errors at.
    pub from: Located<String>,
    /// What its base is looked up for.
    pub platform: Platform,
    /// Triggers of its base, then its own instructions. Where there are triggers, the base's
    /// `OnBuild` is not inherited.
    pub steps: Vec<Located<Instruction>>,
    /// The stages that must be built before, in order, each once.
    pub dependencies: Vec<StageIndex>,
    /// The images that `COPY --from` and `RUN --mount=from` use, each once, in order of first use.
    pub images: Vec<String>,
}

impl PlannedStage {
    /// Whether there is a RUN from this step on.
    pub fn runs_from(&self, step: usize) -> bool {
        self.steps.iter().skip(step).any(|step| matches!(step.value(), Instruction::Run(_)))
    }
}

impl Plan {
    /// Whether the stage, or one that is built on it, has a RUN.
    pub fn will_run(&self, index: StageIndex) -> bool {
        let on_it = |stage: &&PlannedStage| stage.base == Base::Stage(index);
        self.stages.iter().any(|stage| stage.index == index && stage.runs_from(0))
            || self.stages.iter().filter(on_it).any(|stage| self.will_run(stage.index))
    }

    /// The stage that was probably meant by the name of an image that does not exist.
    pub fn similar_stage(&self, image: &str) -> Option<&str> {
        suggest(image, self.shared.names.keys().map(String::as_str))
    }
}
