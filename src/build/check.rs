//! What can be told of a build before it is done: whether the Dockerfile can be read and planned,
//! whether its base images are there, whether the files that it copies are. Nothing is built, and
//! no layer is fetched.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::base;
use super::builder::Builder;
use super::request::BuildRequest;
use super::session::Session;
use super::stage::StageState;
use super::step::located;
use crate::dockerfile::{AddSource, Base, Plan, PlannedStage, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Image;

/// What was found out about a build.
#[derive(Debug)]
#[non_exhaustive]
pub struct BuildCheck {
    /// How many stages the target needs, and how many steps these have.
    pub extent: (usize, usize),
    /// Each image that is built on or copied from, by its name, in the Dockerfile's order.
    pub bases: Vec<(String, Result<BaseFound>)>,
    /// How many files and folders of the build context are named; or the first that is missing.
    pub sources: Result<usize>,
    /// Whether a command runs: then an isolation is needed.
    pub runs_commands: bool,
}

/// How a base image can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseFound {
    /// It is in the local store, in a file or in a registry, for the platform that is wanted.
    There,
    /// It is the SDK's own, and would be built from the installed SDK.
    BuiltFromSdk,
}

impl Builder {
    /// Finds out what can be told before a build.
    ///
    /// Blocks its thread, as [`Builder::build`] does.
    ///
    /// # Errors
    /// [`ErrorKind::Dockerfile`], [`ErrorKind::Context`]: the Dockerfile cannot be read or planned,
    /// or there is none.
    pub fn check(&self, request: &BuildRequest) -> Result<BuildCheck> {
        let (session, dockerfile, options) = self.prepare(request, None)?;
        let plan = dockerfile.plan(&options)?;
        let steps = || plan.stages.iter().flat_map(|stage| &stage.steps);
        let runs_commands = steps().any(|step| step.value().name() == "RUN");
        let (mut bases, mut images) = (Vec::new(), BTreeMap::new());
        for planned in &plan.stages {
            let own = match &planned.base {
                Base::Image(name) => Some((name, &planned.platform)),
                Base::Scratch | Base::Stage(_) => None,
            };
            for (name, platform) in own.into_iter().chain(planned.images.iter().map(|name| (name, &plan.platform))) {
                let key = (name.clone(), platform.to_string());
                if images.contains_key(&key) {
                    continue;
                }
                let would_build = Cell::new(false);
                let build = |_: &BuildRequest, _: &str| {
                    would_build.set(true);
                    Err(Error::new(ErrorKind::Interrupted, "only looked for"))
                };
                let found = base::find(&session, name, platform, &build);
                let image = found.as_ref().ok().cloned();
                let found = match found {
                    Ok(_) => Ok(BaseFound::There),
                    Err(_) if would_build.get() => Ok(BaseFound::BuiltFromSdk),
                    Err(error) => Err(error),
                };
                bases.push((name.clone(), found));
                images.insert(key, image);
            }
        }
        let sources = sources(&session, &plan, &images);
        Ok(BuildCheck { extent: (plan.stages.len(), steps().count()), bases, sources, runs_commands })
    }
}

type Images = BTreeMap<(String, String), Option<Image>>;

/// Looks for every file of the build context that COPY and ADD name, with the variables that they
/// have there.
fn sources(session: &Session<'_>, plan: &Plan, images: &Images) -> Result<usize> {
    let (mut stages, mut found) = (BTreeMap::new(), 0);
    for planned in &plan.stages {
        let mut stage = begin(plan, planned, images, &stages);
        for step in &planned.steps {
            found += match stage.scope.expand(step)? {
                Step::Copy(copy) if copy.from.is_none() => look_for(session, &copy.sources, copy.parents),
                Step::Add(add) => {
                    let paths = add.sources.iter().filter_map(|source| match source {
                        AddSource::Path(path) => Some(path.clone()),
                        _ => None,
                    });
                    look_for(session, &paths.collect::<Vec<_>>(), false)
                }
                _ => Ok(0),
            }
            .map_err(|error| located(error, step))?;
        }
        stages.insert(planned.index, stage);
    }
    Ok(found)
}

fn begin(
    plan: &Plan,
    planned: &PlannedStage,
    images: &Images,
    stages: &BTreeMap<crate::dockerfile::StageIndex, StageState>,
) -> StageState {
    match &planned.base {
        Base::Stage(index) => match stages.get(index) {
            Some(stage) => StageState::on_stage(plan, planned, stage),
            None => StageState::on_image(plan, planned, None),
        },
        Base::Image(name) => {
            let image = images.get(&(name.clone(), planned.platform.to_string())).and_then(Option::as_ref);
            StageState::on_image(plan, planned, image)
        }
        Base::Scratch => StageState::on_image(plan, planned, None),
    }
}

fn look_for(session: &Session<'_>, patterns: &[String], parents: bool) -> Result<usize> {
    let mut found = 0;
    for pattern in patterns {
        found += match parents {
            true => session.context.sources_with_parents(pattern)?.len(),
            false => session.context.sources(pattern)?.len(),
        };
    }
    Ok(found)
}
