//! The state of one stage: its config, its file system, its variables, and who its users are. Knows
//! no step.

use std::path::PathBuf;
use std::sync::Arc;

use super::filesystem::Filesystem;
use super::session::Session;
use super::sink::LayerSink;
use super::stage_tree::StageTree;
use crate::dockerfile::{InheritedConfig, Plan, PlannedStage, StageScope};
use crate::error::Result;
use crate::image::{History, Image, ImageConfig, Layer, rfc3339};
use crate::layer::{LayerWriter, Tree};
use crate::sandbox::{User, lookup_owner, lookup_user};

/// Marks entries of the history as steps of a Dockerfile; the text is BuildKit's, which tools know.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// A stage as far as it is built.
pub(super) struct StageState {
    pub(super) config: ImageConfig,
    pub(super) filesystem: Filesystem,
    pub(super) scope: StageScope,
    /// Whether this stage has a CMD of its own.
    pub(super) own_cmd: bool,
    /// Whether its layers belong to the image that is wanted.
    pub(super) target: bool,
    /// Whether one of its steps after the one at hand is a RUN.
    pub(super) runs_later: bool,
    /// How many of its layers are those of an image.
    base_layers: usize,
    /// Where steps need a tree (chroot, emulated): all its layers in one folder, as far as a RUN
    /// has needed them.
    stage_tree: Option<StageTree>,
}

impl StageState {
    /// A stage on an image, or on nothing.
    pub(super) fn on_image(plan: &Plan, planned: &PlannedStage, base: Option<&Image>) -> Self {
        let mut config = base.map_or_else(|| ImageConfig::scratch(&planned.platform), |image| image.config().derive());
        // A base image that does not tell what it is for becomes one for what is built.
        config.set_platform(config.platform().or(&planned.platform));
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
        // BuildKit gives each image a PATH, also one without instructions.
        config.config.env = image_env(&scope);
        Self {
            base_layers: layers.len(),
            config,
            filesystem: Filesystem::of_stage(layers, plan.will_run(planned.index)),
            scope,
            own_cmd: false,
            target: planned.index == plan.target,
            runs_later: false,
            stage_tree: None,
        }
    }

    /// A stage on an earlier stage.
    pub(super) fn on_stage(plan: &Plan, planned: &PlannedStage, base: &Self) -> Self {
        let mut config = base.config.clone();
        // As for an image: its triggers were steps of this stage.
        config.config.on_build.clear();
        Self {
            config,
            filesystem: base.filesystem.clone(),
            scope: base.scope.child(),
            own_cmd: false,
            target: planned.index == plan.target,
            runs_later: false,
            base_layers: base.base_layers,
            stage_tree: None,
        }
    }

    /// Brings config and history up to date after a step. `created_by`: what the history calls it;
    /// `layers`: how many there were before.
    pub(super) fn finish_step(&mut self, created_by: Option<String>, layers: usize) {
        self.config.config.env = image_env(&self.scope);
        if created_by.is_some() {
            self.config.history.push(History {
                created_by,
                comment: Some(HISTORY_COMMENT.into()),
                empty_layer: self.filesystem.layers().len() == layers,
                ..History::default()
            });
        }
    }

    /// Replaces the layers of its own steps by one; the history tells of the steps, and of the
    /// layer at their end.
    pub(super) fn squash(&mut self, session: &Session<'_>) -> Result<()> {
        let layers = super::squash::squash(session, &self.filesystem, self.base_layers)?;
        if layers.len() == self.filesystem.layers().len() {
            return Ok(());
        }
        let is_own = |step: &&mut History| step.created.is_none() && step.comment.as_deref() == Some(HISTORY_COMMENT);
        let own = self.config.history.iter_mut().filter(is_own);
        own.for_each(|step| step.empty_layer = true);
        if layers.len() > self.base_layers {
            self.config.history.push(History {
                created_by: Some("squash".into()),
                comment: Some(HISTORY_COMMENT.into()),
                ..History::default()
            });
        }
        self.filesystem = Filesystem::new(layers);
        Ok(())
    }

    /// The config and the layers of the image; `epoch` is its time, and that of its own steps.
    pub(super) fn into_image(self, epoch: i64) -> (ImageConfig, Vec<Layer>) {
        let mut config = self.config;
        let created = rfc3339(epoch);
        let own = config.history.iter_mut().filter(|step| step.created.is_none());
        own.filter(|step| step.comment.as_deref() == Some(HISTORY_COMMENT)).for_each(|step| step.created = Some(created.clone()));
        config.created = Some(created);
        (config, self.filesystem.layers().to_vec())
    }

    /// The user of RUN and WORKDIR.
    pub(super) fn user(&mut self, session: &Session<'_>) -> Result<User> {
        let mut spec = self.config.config.user.clone();
        if spec.is_empty() {
            // Root, with the groups that list it.
            spec.push('0');
        }
        let (passwd, group) = self.accounts(session, &spec)?;
        lookup_user(&passwd, &group, &spec)
    }

    /// The owner that `--chown` names.
    pub(super) fn owner(&mut self, session: &Session<'_>, spec: &str) -> Result<User> {
        let (passwd, group) = self.accounts(session, spec)?;
        lookup_owner(&passwd, &group, spec)
    }

    /// The stage's /etc/passwd and /etc/group. Numbers for both need neither, so a base image is
    /// not fetched for them.
    fn accounts(&mut self, session: &Session<'_>, spec: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        if !Self::needs_accounts(spec) {
            return Ok(Default::default());
        }
        self.unpack_early(session);
        Ok((self.filesystem.account_file(session, "/etc/passwd")?, self.filesystem.account_file(session, "/etc/group")?))
    }

    /// What the stage looks like.
    pub(super) fn tree(&mut self, session: &Session<'_>) -> Result<&Arc<Tree>> {
        self.unpack_early(session);
        self.filesystem.tree(session)
    }

    /// Unpacks the image's layers before the RUN that will want them, for the sake of their
    /// indexes: so they are read once. What fails here fails again where it is needed.
    fn unpack_early(&mut self, session: &Session<'_>) {
        let request = session.request;
        // What another machine has run need not be run here.
        let elsewhere = request.cache_repo.is_some() || !request.cache_from.is_empty();
        if elsewhere || !self.filesystem.will_be_read_twice(session, self.base_layers) {
            return;
        }
        let Ok(isolation) = session.isolation() else { return };
        if isolation.kind().needs_tree() {
            self.stage_tree = self.take_stage_tree(session).ok();
        } else if !isolation.kind().records_owners_in_xattrs() {
            // The others ask for what a step's user may see.
            let _ = self.filesystem.unpacked(session, &User::default());
        }
    }

    /// Whether who `spec` is depends on the stage's /etc/passwd and /etc/group.
    pub(super) fn needs_accounts(spec: &str) -> bool {
        let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        !spec.is_empty() && !spec.split_once(':').is_some_and(|(user, group)| number(user) && number(group))
    }

    /// Stores the layer that was written, if there is one, and puts it on top.
    pub(super) fn push_written(
        &mut self,
        session: &Session<'_>,
        written: Option<LayerWriter<LayerSink>>,
    ) -> Result<Option<Layer>> {
        written.map(|writer| self.filesystem.push_finished(session, writer.finish()?)).transpose()
    }

    /// The stage's file system as one folder of its own, with all layers in it.
    pub(super) fn fill_stage_tree(&mut self, session: &Session<'_>) -> Result<PathBuf> {
        let root = self.take_stage_tree(session)?;
        let root = self.stage_tree.insert(root);
        root.complete(session, &self.filesystem)?;
        Ok(root.path())
    }

    /// The same folder as far as it is filled, at least with the image's layers.
    fn take_stage_tree(&mut self, session: &Session<'_>) -> Result<StageTree> {
        match self.stage_tree.take() {
            Some(root) => Ok(root),
            None => StageTree::checkout(session, &self.filesystem.layers()[..self.base_layers]),
        }
    }

    /// The same folder, if a RUN has needed it.
    pub(super) fn stage_tree(&mut self) -> Option<&mut StageTree> {
        self.stage_tree.as_mut()
    }

    /// Notes that the newest layer, made of the folder's changes, is in the folder.
    pub(super) fn note_stage_tree_filled(&mut self) {
        if let Some(root) = &mut self.stage_tree {
            root.note_complete(&self.filesystem);
        }
    }

    /// Gives the folder to later builds: no step of this stage needs it any more, or one has
    /// `failed`.
    pub(super) fn checkin_stage_tree(&mut self, session: &Session<'_>, failed: bool) {
        if let Some(root) = self.stage_tree.take().filter(|_| !session.cancel().is_cancelled()) {
            // What cannot be kept is made again.
            let _ = root.checkin(session, failed);
        }
    }
}

/// The image config's `Env`.
fn image_env(scope: &StageScope) -> Vec<String> {
    scope.image_env().iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn split_env(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name.to_owned(), value.to_owned())
}
