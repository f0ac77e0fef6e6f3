//! What a plan starts from: its options, the number of a stage, and what a stage is built on.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::Platform;

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
