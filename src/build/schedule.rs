//! All stages of a build: independent ones run side by side, each waits for those it needs.
//!
//! The first error is the build's; other stages stop at their next step.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::base::Bases;
use super::cache::BuildCache;
use super::filesystem::Filesystem;
use super::session::Session;
use super::sources::{Sources, StageFiles};
use super::stage::StageState;
use super::step;
use crate::dockerfile::{Base, Plan, PlannedStage, StageIndex};
use crate::error::{Error, ErrorKind, Result};
use crate::threads::spawn_scoped;

/// The stages of one build, finished or not.
pub(super) struct Schedule<'a> {
    session: &'a Session<'a>,
    cache: &'a BuildCache<'a>,
    plan: &'a Plan,
    bases: &'a Bases,
    /// The images that steps copy from or mount.
    images: Arc<BTreeMap<String, StageFiles>>,
    /// `None`: the stage has failed.
    finished: Mutex<BTreeMap<StageIndex, Option<Arc<Finished>>>>,
    changed: Condvar,
}

struct Finished {
    stage: StageState,
    source: StageFiles,
}

impl<'a> Schedule<'a> {
    pub(super) fn new(session: &'a Session<'a>, cache: &'a BuildCache<'a>, plan: &'a Plan, bases: &'a Bases) -> Result<Self> {
        let mut images = BTreeMap::new();
        for name in plan.stages.iter().flat_map(|stage| &stage.images) {
            let layers = bases.image(name, &plan.platform)?.layers().to_vec();
            images.insert(name.clone(), StageFiles::new(name, Filesystem::new(layers)));
        }
        let images = Arc::new(images);
        Ok(Self { session, cache, plan, bases, images, finished: Mutex::default(), changed: Condvar::new() })
    }

    /// Builds all stages and returns the target.
    pub(super) fn build(self) -> Result<StageState> {
        if let [only] = &self.plan.stages[..] {
            return self.build_stage(only);
        }
        let mut outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
            let schedule = &self;
            let start = schedule.plan.stages.iter().map(|planned| {
                let lost = |_: &_| drop(Announcement { schedule, index: planned.index, finished: None });
                spawn_scoped(scope, move || schedule.run_stage(planned)).inspect_err(lost)
            });
            let threads: Vec<_> = start.collect();
            let panicked = |_| Err(Error::new(ErrorKind::Io, "a stage's thread panicked"));
            threads.into_iter().map(|thread| thread?.join().unwrap_or_else(panicked)).collect()
        });
        // Stages that stopped because another failed say so; the failure itself is what the user
        // needs.
        outcomes.sort_by_key(|outcome| outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted));
        outcomes.into_iter().collect::<Result<()>>()?;
        let mut finished = self.finished.into_inner().unwrap_or_else(PoisonError::into_inner);
        let target = finished.remove(&self.plan.target).flatten().and_then(Arc::into_inner);
        target.map(|target| target.stage).ok_or_else(|| Error::new(ErrorKind::NotFound, "the plan has no target stage"))
    }

    fn run_stage(&self, planned: &PlannedStage) -> Result<()> {
        // Dropped whatever happens, a panic included: others may be waiting for this stage.
        let mut announcement = Announcement { schedule: self, index: planned.index, finished: None };
        let stage = self.build_stage(planned)?;
        let source = StageFiles::new(display_name(planned), stage.filesystem.clone());
        announcement.finished = Some(Arc::new(Finished { stage, source }));
        Ok(())
    }

    fn build_stage(&self, planned: &PlannedStage) -> Result<StageState> {
        let span = tracing::info_span!("stage", index = planned.index.0, stage = planned.name);
        let _entered = span.enter();
        let mut stages = BTreeMap::new();
        for dependency in &planned.dependencies {
            stages.insert(*dependency, self.wait_for(*dependency)?.source.clone());
        }
        let sources = Sources::new(Arc::clone(&self.images), stages);
        let mut stage = match &planned.base {
            Base::Scratch => StageState::on_image(self.plan, planned, None),
            Base::Image(name) => StageState::on_image(self.plan, planned, Some(self.bases.image(name, &planned.platform)?)),
            Base::Stage(index) => StageState::on_stage(self.plan, planned, &self.wait_for(*index)?.stage),
        };
        let cache = self.cache.of_stage(planned.name.as_deref(), planned.index.0);
        let total = planned.steps.len();
        let done = planned.steps.iter().enumerate().try_for_each(|(number, step)| {
            let heading = self.session.heading.map(|heading| format!("{heading} ")).unwrap_or_default();
            let stage_name = match (&planned.name, self.plan.stages.len()) {
                (_, 1) => String::new(),
                (Some(name), _) => format!("{name} "),
                (None, _) => format!("stage-{} ", planned.index.0),
            };
            let prefix = heading + &stage_name;
            stage.runs_later = planned.runs_from(number + 1);
            let name = format!("[{prefix}{}/{total}] {}", number + 1, step.text());
            step::execute(self.session, &cache, &sources, &mut stage, step, &name)
        });
        stage.checkin_stage_tree(self.session, done.is_err());
        done.map(|()| stage)
    }

    fn wait_for(&self, index: StageIndex) -> Result<Arc<Finished>> {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = false;
        loop {
            match finished.get(&index) {
                Some(Some(stage)) => return Ok(Arc::clone(stage)),
                Some(None) => return Err(Error::new(ErrorKind::Interrupted, "a stage that this one needs failed")),
                None => {
                    if !std::mem::replace(&mut waiting, true) {
                        tracing::debug!(stage = index.0, "waiting for a stage");
                    }
                    finished = self.changed.wait(finished).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// Tells the other stages on drop how one has ended.
struct Announcement<'s, 'a> {
    schedule: &'s Schedule<'a>,
    index: StageIndex,
    finished: Option<Arc<Finished>>,
}

impl Drop for Announcement<'_, '_> {
    fn drop(&mut self) {
        let finished = self.finished.take();
        if finished.is_none() {
            self.schedule.session.stopped.cancel();
        }
        self.schedule.finished.lock().unwrap_or_else(PoisonError::into_inner).insert(self.index, finished);
        self.schedule.changed.notify_all();
    }
}

/// What messages call a stage.
fn display_name(planned: &PlannedStage) -> String {
    planned.name.clone().unwrap_or_else(|| format!("stage {}", planned.index.0))
}
