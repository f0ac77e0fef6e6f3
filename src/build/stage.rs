//! One stage: its config and file system, changed step by step.
//!
//! Refuses to know other stages but through `Stages`.

use std::path::PathBuf;
use std::sync::Arc;

use super::cache;
use super::copy;
use super::filesystem::Filesystem;
use super::place::Placement;
use super::reuse;
use super::run;
use super::session::Session;
use super::sink::LayerSink;
use super::stages::Stages;
use super::whole::WholeTree;
use crate::dockerfile::{Expanded, InheritedConfig, Instruction, Located, Plan, PlannedStage, StageScope};
use crate::error::{ErrorKind, Result};
use crate::image::{Healthcheck, History, Image, ImageConfig, Layer};
use crate::layer::{LayerPath, LayerWriter};
use crate::sandbox::{User, lookup_owner, lookup_user};

/// Marks steps of the history as those of a Dockerfile; the text is BuildKit's, which tools know.
pub(super) const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// A stage as far as it is built.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) config: ImageConfig,
    pub(super) filesystem: Filesystem,
    scope: StageScope,
    /// ENTRYPOINT drops a CMD that was inherited, but not one of this stage.
    own_cmd: bool,
    /// Whether its layers belong to the image that is wanted.
    pub(super) target: bool,
    /// How many of its layers are those of an image.
    base_layers: usize,
    /// On the isolation `chroot`: all its layers in one folder, as far as a RUN has needed them.
    tree: Option<Arc<WholeTree>>,
}

impl Stage {
    /// A stage on an image, or on nothing.
    pub(super) fn on_image(plan: &Plan, planned: &PlannedStage, base: Option<&Image>) -> Self {
        let mut config = base.map_or_else(|| ImageConfig::scratch(&planned.platform), |image| image.config().derive());
        let inherited = InheritedConfig {
            env: config.config.env.iter().map(|pair| split_env(pair)).collect(),
            working_dir: config.config.working_dir.clone(),
            shell: config.config.shell.clone().unwrap_or_default(),
        };
        if base.is_none() {
            // BuildKit's own (dockerfile2llb, `emptyImage`).
            config.config.working_dir = "/".into();
        }
        // They were steps of this stage: a child of this image does not see them again.
        config.config.on_build.clear();
        let layers = base.map(|image| image.layers().to_vec()).unwrap_or_default();
        let scope = StageScope::new(plan, inherited);
        Self {
            base_layers: layers.len(),
            config,
            filesystem: Filesystem::new(layers),
            scope,
            own_cmd: false,
            target: planned.index == plan.target,
            tree: None,
        }
    }

    /// A stage on an earlier stage.
    pub(super) fn on_stage(plan: &Plan, planned: &PlannedStage, base: &Stage) -> Self {
        let mut stage = base.clone();
        stage.scope = base.scope.child();
        stage.own_cmd = false;
        stage.target = planned.index == plan.target;
        stage.tree = None;
        // As for an image: its triggers were steps of this stage.
        stage.config.config.on_build.clear();
        stage
    }

    /// Does one step. An error names the instruction and its place in the Dockerfile.
    pub(super) fn step(
        &mut self,
        session: &Session<'_>,
        stages: &Stages<'_>,
        step: &Located<Instruction>,
        name: &str,
    ) -> Result<()> {
        session.check_running()?;
        let task = session.progress.task(crate::progress::TaskKind::Step, name, None);
        let place = |error: crate::Error| {
            if error.kind() == ErrorKind::Interrupted || error.snippet().is_some() {
                return error;
            }
            error.wrap(format!("{} failed", step.value().name())).with_snippet(step.snippet())
        };
        let expanded = self.scope.expand(step)?;
        for warning in self.scope.take_warnings() {
            session.progress.warn(&warning.message, None);
        }
        let layers = self.filesystem.layers().len();
        let cached = self.execute(session, stages, step, &expanded, &task).map_err(place)?;
        self.config.config.env = self.scope.image_env().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if let Some(created_by) = expanded.history_text() {
            self.config.history.push(History {
                created_by: Some(created_by),
                comment: Some(HISTORY_COMMENT.into()),
                empty_layer: self.filesystem.layers().len() == layers,
                ..History::default()
            });
        }
        if cached {
            task.cached()
        } else {
            task.done()
        }
        Ok(())
    }

    /// Whether the result was there already.
    fn execute(
        &mut self,
        session: &Session<'_>,
        stages: &Stages<'_>,
        step: &Located<Instruction>,
        expanded: &Expanded,
        task: &crate::progress::Task,
    ) -> Result<bool> {
        let config = &mut self.config.config;
        match expanded {
            Expanded::Copy(copy) => return copy::copy(session, stages, self, copy, step.text()),
            Expanded::Add(add) => return super::add::add(session, self, add, step.text()),
            Expanded::Run(run) => return run::run(session, stages, self, run, task),
            Expanded::Workdir(folder) => return self.make_working_dir(session, folder),
            Expanded::Arg(_) | Expanded::Env(_) => {}
            Expanded::Cmd(command) => {
                config.cmd = Some(command.clone());
                self.own_cmd = true;
            }
            Expanded::Entrypoint(command) => {
                config.entrypoint = Some(command.clone());
                if !self.own_cmd {
                    config.cmd = None;
                }
            }
            Expanded::Expose(ports) => config.exposed_ports.extend(ports.iter().map(ToString::to_string)),
            Expanded::Healthcheck(check) => config.healthcheck = Some(healthcheck(check)),
            Expanded::Label(labels) => config.labels.extend(labels.iter().cloned()),
            Expanded::Maintainer(name) => self.config.author = Some(name.clone()),
            Expanded::Onbuild(trigger) => config.on_build.push(trigger.clone()),
            Expanded::Shell(shell) => config.shell = Some(shell.clone()),
            Expanded::StopSignal(signal) => config.stop_signal = Some(signal.clone()),
            Expanded::User(user) => config.user = user.clone(),
            Expanded::Volume(folders) => config.volumes.extend(folders.iter().cloned()),
        }
        Ok(false)
    }

    /// WORKDIR creates what is missing for the stage's user, as BuildKit does.
    fn make_working_dir(&mut self, session: &Session<'_>, folder: &str) -> Result<bool> {
        self.config.config.working_dir = folder.to_owned();
        let key = cache::workdir_key(session, self, folder);
        if reuse::recall(session, self, &key)? {
            return Ok(true);
        }
        let layer = self.new_working_dir(session, folder)?;
        reuse::remember(session, &key, reuse::cached(layer.as_ref()), session.times.context)?;
        Ok(false)
    }

    fn new_working_dir(&mut self, session: &Session<'_>, folder: &str) -> Result<Option<Layer>> {
        let tree = self.filesystem.tree(session)?.clone();
        let resolved = tree.resolve(folder, true)?;
        if resolved.node.is_some_and(crate::layer::Node::is_dir) {
            return Ok(None);
        }
        let user = self.config.config.user.clone();
        let user = self.owner(session, &user)?;
        let path: LayerPath = resolved.path;
        let mut placement = Placement::new(&tree, session.layer_writer(self.target)?, Some(&user), session.times.context);
        placement.folder(&path)?;
        self.push_written(session, placement.finish())
    }

    /// The user that RUN and WORKDIR work as.
    pub(super) fn user(&mut self, session: &Session<'_>) -> Result<User> {
        let spec = self.config.config.user.clone();
        let (passwd, group) = self.accounts(session, &spec)?;
        lookup_user(&passwd, &group, &spec)
    }

    /// The owner that `--chown` names.
    pub(super) fn owner(&mut self, session: &Session<'_>, spec: &str) -> Result<User> {
        let (passwd, group) = self.accounts(session, spec)?;
        lookup_owner(&passwd, &group, spec)
    }

    /// The stage's own users and groups. Numbers for both need neither, so a base image is not fetched for them.
    fn accounts(&mut self, session: &Session<'_>, spec: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        if !Self::needs_accounts(spec) {
            return Ok(Default::default());
        }
        let tree = self.filesystem.tree(session)?;
        let read = |path| tree.kept_content(path).map(|bytes| bytes.to_vec()).unwrap_or_default();
        Ok((read("/etc/passwd"), read("/etc/group")))
    }

    /// Whether the stage's users and groups tell who `spec` is.
    pub(super) fn needs_accounts(spec: &str) -> bool {
        let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        !spec.is_empty() && !spec.split_once(':').is_some_and(|(user, group)| number(user) && number(group))
    }

    /// Stores the layer that a placement has written, if it has.
    pub(super) fn push_written(
        &mut self,
        session: &Session<'_>,
        written: Option<LayerWriter<LayerSink>>,
    ) -> Result<Option<Layer>> {
        written.map(|writer| self.filesystem.push_finished(session, writer.finish()?)).transpose()
    }

    /// The stage's file system as one folder of its own: what RUN stands on where nothing can be mounted.
    pub(super) fn whole_tree(&mut self, session: &Session<'_>) -> Result<PathBuf> {
        let mut tree = match self.tree.take().and_then(Arc::into_inner) {
            Some(tree) => tree,
            None => WholeTree::new(session, self.filesystem.layers(), self.base_layers)?,
        };
        tree.complete(session, &self.filesystem)?;
        let path = tree.path();
        self.tree = Some(Arc::new(tree));
        Ok(path)
    }

    /// The same folder, if there is one.
    pub(super) fn tree_mut(&mut self) -> Option<&mut WholeTree> {
        self.tree.as_mut().and_then(Arc::get_mut)
    }

    /// The layer that was just made of the folder's changes is in it.
    pub(super) fn whole_tree_has_all(&mut self) {
        if let Some(tree) = self.tree.as_mut().and_then(Arc::get_mut) {
            tree.has_all(&self.filesystem);
        }
    }

    /// No step needs the folder any more.
    pub(super) fn release_tree(&mut self, session: &Session<'_>) {
        if let Some(tree) = self.tree.take().and_then(Arc::into_inner).filter(|_| !session.request.cancel.is_cancelled()) {
            // What cannot be kept is made again.
            let _ = tree.release(session);
        }
    }
}

fn split_env(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name.to_owned(), value.to_owned())
}

fn healthcheck(check: &crate::dockerfile::Healthcheck) -> Healthcheck {
    Healthcheck {
        test: check.test.clone(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries.into(),
        ..Healthcheck::default()
    }
}
