//! All stages of a build: independent ones run side by side, each waits for those it needs.
//!
//! Refuses to go on after a failure: the first error is the build's.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::base::Bases;
use super::filesystem::Filesystem;
use super::session::Session;
use super::stage::Stage;
use crate::dockerfile::{Base, Plan, PlannedStage, StageIndex};
use crate::error::{Error, ErrorKind, Result};

/// The stages of one build, finished or not.
pub(super) struct Stages<'a> {
    plan: &'a Plan,
    bases: &'a Bases,
    finished: Mutex<BTreeMap<StageIndex, Option<Finished>>>,
    changed: Condvar,
    images: Mutex<BTreeMap<String, Source>>,
}

#[derive(Clone)]
struct Finished {
    stage: Arc<Stage>,
    source: Source,
}

/// The file system of a finished stage or an image, for `COPY --from` and bind mounts.
#[derive(Clone)]
pub(super) struct Source(Arc<Mutex<Filesystem>>);

impl Source {
    fn new(filesystem: Filesystem) -> Self {
        Self(Arc::new(Mutex::new(filesystem)))
    }

    /// One at a time: what is found out about layers is found out once.
    pub(super) fn lock(&self) -> MutexGuard<'_, Filesystem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Stages<'a> {
    pub(super) fn new(plan: &'a Plan, bases: &'a Bases) -> Self {
        Self { plan, bases, finished: Mutex::default(), changed: Condvar::new(), images: Mutex::default() }
    }

    /// Builds all stages and returns the target.
    pub(super) fn build(&self, session: &Session<'_>) -> Result<Stage> {
        if let [only] = &self.plan.stages[..] {
            return self.build_stage(session, only);
        }
        let mut outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                self.plan.stages.iter().map(|planned| scope.spawn(|| self.run_stage(session, planned))).collect();
            let panicked = |_| Err(Error::new(ErrorKind::Io, "a stage's thread ended unexpectedly"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
        });
        // Stages that stopped because another failed say so; the failure itself is what the user needs.
        outcomes.sort_by_key(|outcome| outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted));
        outcomes.into_iter().collect::<Result<()>>()?;
        let target = self.wait_for(self.plan.target)?;
        drop(target.source);
        Ok(Arc::unwrap_or_clone(target.stage))
    }

    fn run_stage(&self, session: &Session<'_>, planned: &PlannedStage) -> Result<()> {
        let built = self.build_stage(session, planned);
        let finished = built.map(|stage| {
            let source = Source::new(stage.filesystem.clone());
            Finished { stage: Arc::new(stage), source }
        });
        let (entry, outcome) = match finished {
            Ok(finished) => (Some(finished), Ok(())),
            Err(error) => {
                session.failed.store(true, Ordering::Release);
                (None, Err(error))
            }
        };
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).insert(planned.index, entry);
        self.changed.notify_all();
        outcome
    }

    fn build_stage(&self, session: &Session<'_>, planned: &PlannedStage) -> Result<Stage> {
        for dependency in &planned.dependencies {
            self.wait_for(*dependency)?;
        }
        let mut stage = match &planned.base {
            Base::Scratch => Stage::on_image(self.plan, planned, None),
            Base::Image(name) => Stage::on_image(self.plan, planned, Some(self.bases.image(name, &planned.platform)?)),
            Base::Stage(index) => Stage::on_stage(self.plan, planned, &self.wait_for(*index)?.stage),
        };
        let total = planned.steps.len();
        let done = planned.steps.iter().enumerate().try_for_each(|(number, step)| {
            let prefix = match (&planned.name, self.plan.stages.len()) {
                (_, 1) => String::new(),
                (Some(name), _) => format!("{name} "),
                (None, _) => format!("stage-{} ", planned.index.0),
            };
            let name = format!("[{prefix}{}/{total}] {}", number + 1, step.text());
            stage.step(session, self, step, &name)
        });
        stage.release_tree(session);
        done.map(|()| stage)
    }

    fn wait_for(&self, index: StageIndex) -> Result<Finished> {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match finished.get(&index) {
                Some(Some(stage)) => return Ok(stage.clone()),
                Some(None) => return Err(Error::new(ErrorKind::Interrupted, "a stage that this one needs failed")),
                None => finished = self.changed.wait(finished).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// The file system that `from` names.
    pub(super) fn source(&self, _session: &Session<'_>, from: &Base) -> Result<Source> {
        match from {
            Base::Stage(index) => Ok(self.wait_for(*index)?.source),
            Base::Scratch => Ok(Source::new(Filesystem::default())),
            Base::Image(name) => {
                let image = self.bases.image(name, &self.plan.platform)?;
                let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
                let source = images.entry(name.clone()).or_insert_with(|| Source::new(Filesystem::new(image.layers().to_vec())));
                Ok(source.clone())
            }
        }
    }

    /// The error of a path that is not there.
    pub(super) fn not_in(&self, from: &Base, path: &str) -> Error {
        Error::new(ErrorKind::Context, format!("`{path}` is not in `{}`", self.describe(from)))
            .with_hint("check the path; it is relative to the root of that stage or image")
    }

    /// How the user names it.
    fn describe(&self, from: &Base) -> String {
        match from {
            Base::Scratch => "scratch".into(),
            Base::Image(name) => name.clone(),
            Base::Stage(index) => {
                let stage = self.plan.stages.iter().find(|stage| stage.index == *index);
                stage.and_then(|stage| stage.name.clone()).unwrap_or_else(|| format!("stage {}", index.0))
            }
        }
    }
}
