//! What to build: the stages that the target needs, in an order in which each comes after those it
//! uses.
//!
//! A target that does not exist is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::oci::Platform;

use super::expand::Shared;
use super::graph::needed;
use super::planner::Planner;
use super::suggest::suggest;
use super::warning::stop_on_warning;
use super::{Dockerfile, Instruction, Located, Warning};

/// The number of a stage in its Dockerfile, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageIndex(pub usize);

/// What the command line says about a build.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// `--target`: a stage's name or number; the last stage without it.
    pub target: Option<String>,
    /// The values of `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// What the image is for.
    pub platform: Platform,
    /// What this machine is.
    pub build_platform: Platform,
    /// Proxy variables of this machine, only for RUN: `HTTP_PROXY` and so on, in either case. A
    /// build argument of the same name wins.
    pub proxies: BTreeMap<String, String>,
    /// The epoch that the build has settled on: the value of `ARG SOURCE_DATE_EPOCH` before the
    /// first FROM in the stages that declare it.
    pub source_date_epoch: Option<i64>,
    /// Names of build contexts that were given by name (docker's `--build-context`), in their
    /// shortest form (see [`context_name`](super::context_name)): an image or a stage of such a
    /// name is not looked for, the name itself is an image of the plan.
    pub contexts: BTreeSet<String>,
    /// `OnBuild` of the base images, by the stage that is built on them. Plan without them, look
    /// the images up, then plan again with them: triggers may use stages and images that nothing
    /// else uses.
    pub triggers: BTreeMap<StageIndex, Vec<String>>,
}

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
    /// Warnings found while planning; those found while parsing are in [`Dockerfile::warnings`].
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

/// What a stage is built on, or files are copied from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing: no files, and a config with the working directory `/` and
    /// [`StageScope::image_env`](super::StageScope::image_env).
    Scratch,
    /// An earlier stage.
    Stage(StageIndex),
    /// An image, as written, variables expanded.
    Image(String),
}

impl Dockerfile {
    /// Plans a build.
    pub fn plan(&self, options: &PlanOptions) -> Result<Plan> {
        if self.stages.is_empty() {
            return Err(Error::new(ErrorKind::Dockerfile, "the Dockerfile has no stage to build"));
        }
        let mut planner = Planner::new(self, options)?;
        let stages: Vec<PlannedStage> =
            (0..self.stages.len()).map(|index| planner.stage(StageIndex(index))).collect::<Result<_>>()?;
        planner.check_order(&stages)?;
        let target = planner.target()?;
        let needed = needed(&planner.uses, target);
        planner.check_build_args(&stages);
        stop_on_warning(&self.check, &self.warnings)?;
        stop_on_warning(&self.check, planner.warnings.list())?;
        Ok(Plan {
            stages: stages.into_iter().filter(|stage| needed.contains(&stage.index)).collect(),
            target,
            platform: options.platform.clone(),
            warnings: planner.warnings.take(),
            shared: Arc::new(planner.shared),
        })
    }
}

impl Plan {
    /// The stage that was probably meant by the name of an image that does not exist.
    pub fn similar_stage(&self, image: &str) -> Option<&str> {
        suggest(image, self.shared.names.keys().map(String::as_str))
    }
}
