//! The chosen isolation: runs a command in it, unpacks layers for it, and says what a step changed.
//!
//! The choice is made once: a stage is never built with two kinds of isolation.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::layer::LayerPath;
use crate::layer::diff::{self, Baseline, Originals, TreeChanges};
use crate::layer::unpack::{Identity, Limits, UnpackOptions, UnpackStats, Whiteouts, unpack};
use crate::threads;

use super::wire::{Reply, Request};
use super::{
    Emit, IsolationKind, IsolationMode, Report, RootSpec, RunOutcome, RunSpec, Running, Streams, User, chroot_hint, detect,
    launch, tasks,
};

impl IsolationKind {
    /// Removes a folder that was unpacked or changed on this isolation, whatever owners its files
    /// have. One that is not there is not an error.
    pub fn remove_tree(self, path: &Path) -> Result<()> {
        if self.has_user_namespace() {
            return tasks::remove(self, path);
        }
        super::init::remove_tree(path).map_err(|errno| Error::io("remove", path, errno.into()))
    }
}

/// State of a root file system before a step, to tell afterwards what the step changed.
#[derive(Debug)]
pub struct Snapshot(Option<Arc<Baseline>>);

impl Snapshot {
    /// Of a tree that has been scanned already, and not been changed since.
    pub(crate) fn of_tree(baseline: Arc<Baseline>) -> Self {
        Self(Some(baseline))
    }

    /// The scan of a [`RootSpec::Tree`].
    pub(crate) fn baseline(&self) -> Option<&Arc<Baseline>> {
        self.0.as_ref()
    }
}

/// What is known of a step's changes when they have been handed over.
#[derive(Debug, Default)]
pub struct Changed {
    /// What the next step will be compared with, where that is known.
    pub after: Option<Snapshot>,
    /// In a [`RootSpec::Tree`], a name of a file of several names from below that the step changed,
    /// and with it all its names. With an overlay the name by which it was changed would have
    /// become a file of its own: what the step changed is not what root would have changed.
    pub of_several_names: Option<LayerPath>,
}

/// The isolation that this machine gives, chosen by [`Isolation::detect`].
#[derive(Debug, Clone)]
pub struct Isolation {
    kind: IsolationKind,
    report: Report,
    /// Of trees that a command has run in: paths that this program has moved away and back.
    touched: Arc<Mutex<HashMap<PathBuf, HashSet<LayerPath>>>>,
}

impl Isolation {
    /// Finds the best isolation (or tries the one that `mode` forces) by going through it in a
    /// child, with `state` as the place of upper folders. Nothing is left behind.
    ///
    /// # Errors
    /// [`ErrorKind::Sandbox`] where no isolation works; the message lists each with its error
    /// number, the hint says what helps most.
    pub fn detect(state: &Path, mode: IsolationMode) -> Result<Self> {
        let report = detect::try_isolations(state, mode, true);
        match report.selected {
            Some(kind) => {
                tracing::info!(isolation = %kind, "isolation chosen");
                Ok(Self { kind, report, touched: Arc::default() })
            }
            None => Err(detect::no_isolation(&report)),
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> IsolationKind {
        self.kind
    }

    /// What was tried to find it.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Notes what a step will be compared with. Call it after the root file system is complete and
    /// before [`Self::run`].
    pub fn snapshot(&self, root: &RootSpec) -> Result<Snapshot> {
        match root {
            RootSpec::Overlay { .. } => Ok(Snapshot(None)),
            RootSpec::Tree { path } => {
                Baseline::scan(path, threads::available()).map(|baseline| Snapshot(Some(Arc::new(baseline))))
            }
        }
    }

    /// Runs one command. `output` gets both its streams as they come. Returns when the command has
    /// ended and all that it left running is killed and unmounted.
    ///
    /// # Errors
    /// [`ErrorKind::Sandbox`] where the command could not be started because of this machine,
    /// [`ErrorKind::Interrupted`] after [`CancellationToken::cancel`]. A command that fails is no
    /// error: see [`RunOutcome::exit`].
    pub fn run(&self, spec: &RunSpec, output: &mut dyn FnMut(&[u8]), cancel: &CancellationToken) -> Result<RunOutcome> {
        let request =
            Request::Run { isolation: self.kind, spec: Box::new(spec.with_absolute_paths()?), probe: false, stdin: false };
        let mut hint = chroot_hint::ChrootHint::new(self.kind);
        let reply = launch::carry_out(
            &request,
            &mut |bytes| {
                hint.look_at(bytes);
                output(bytes);
            },
            cancel,
        )?;
        if let Reply::Ended(exit, _) | Reply::EndedInTree(exit, _) = &reply
            && let Some(line) = hint.line(*exit)
        {
            output(line.as_bytes());
        }
        match reply {
            Reply::Ended(exit, pretended) => Ok(RunOutcome { exit, pretended }),
            Reply::EndedInTree(exit, touched) => {
                if let (RootSpec::Tree { path }, Ok(mut all)) = (&spec.root, self.touched.lock()) {
                    all.insert(path.clone(), touched.into_iter().collect());
                }
                Ok(RunOutcome { exit, pretended: false })
            }
            other => Err(launch::unexpected(other)),
        }
    }

    /// Starts one command that the caller attends: with streams of its own, signals, and a way to
    /// its ports. `prepare` gets the number of the process that the command will descend from,
    /// before anything is done in it (to put it into a control group).
    ///
    /// # Errors
    /// Those of [`run`](Self::run), and those of `prepare`. A sandbox that cannot be set up is told
    /// by [`Running::wait`].
    pub fn start(&self, spec: &RunSpec, streams: Streams, prepare: impl FnOnce(u32) -> Result<()>) -> Result<Running> {
        Running::start(self.kind, spec.with_absolute_paths()?, streams, prepare)
    }

    /// Of a [`RootSpec::Tree`] that a step has run in: paths that this program has moved away and
    /// back, until [`Self::changes`] is called.
    pub(crate) fn touched(&self, tree: &Path) -> HashSet<LayerPath> {
        self.touched.lock().ok().and_then(|all| all.get(tree).cloned()).unwrap_or_default()
    }

    /// Hands over what a step changed, in the order of a layer, owners as seen inside. `originals`
    /// finds what files of a [`RootSpec::Tree`] were; with an overlay it is not asked.
    pub fn changes(
        &self,
        root: &RootSpec,
        before: &Snapshot,
        originals: &mut Originals<'_>,
        emit: &mut Emit<'_>,
    ) -> Result<Changed> {
        let (changes, changed) = match (root, &before.0) {
            (RootSpec::Overlay { lower, upper, .. }, _) if self.kind.has_user_namespace() => {
                return tasks::changes(self.kind, upper, lower, emit).map(|()| Changed::default());
            }
            (RootSpec::Overlay { lower, upper, .. }, _) => (diff::changes(upper, lower)?, Changed::default()),
            (RootSpec::Tree { path }, Some(baseline)) => {
                let touched = self.touched.lock().ok().and_then(|mut all| all.remove(path)).unwrap_or_default();
                let TreeChanges { changes, after, of_several_names } =
                    baseline.changes(path, threads::available(), &touched, originals)?;
                (changes, Changed { after: Some(Snapshot::of_tree(Arc::new(after))), of_several_names })
            }
            (RootSpec::Tree { .. }, None) => {
                return Err(Error::new(ErrorKind::Usage, "the snapshot is that of another root file system"));
            }
        };
        for change in changes {
            match change.open()? {
                Some(mut file) => emit(&change.entry, Some(&mut file))?,
                None => emit(&change.entry, None)?,
            }
        }
        Ok(changed)
    }

    /// Unpacks one layer (an uncompressed tar) into the new folder `into`, so that it can be one of
    /// [`RootSpec::Overlay`]'s lower folders; `lower` are the layers below, topmost first.
    ///
    /// Where steps need a tree ([`IsolationKind::needs_tree`]) the layers of an image are unpacked
    /// one after the other into one folder, [`RootSpec::Tree`]'s.
    pub fn unpack(&self, tar: &mut (dyn Read + Send), into: &Path, lower: &[PathBuf], limits: &Limits) -> Result<UnpackStats> {
        self.unpack_for(&User::default(), tar, into, lower, limits)
    }

    /// As `unpack`, for steps of `user`. A folder serves all users of one [`Self::ownership`] and
    /// no others.
    pub fn unpack_for(
        &self,
        user: &User,
        tar: &mut (dyn Read + Send),
        into: &Path,
        lower: &[PathBuf],
        limits: &Limits,
    ) -> Result<UnpackStats> {
        let whiteouts = match self.kind {
            IsolationKind::Root => Whiteouts::Overlay,
            IsolationKind::UserNamespace | IsolationKind::SingleId => Whiteouts::UserOverlay,
            IsolationKind::Chroot | IsolationKind::Emulated => Whiteouts::Apply,
        };
        let recorded = self.kind.records_owners_in_xattrs().then(|| Identity::from(user));
        let options = UnpackOptions {
            whiteouts,
            lower: lower.to_vec(),
            limits: limits.clone(),
            recorded,
            owner_table: self.kind.has_owner_table(),
        };
        if self.kind.has_user_namespace() {
            return tasks::unpack(self.kind, tar, into, options);
        }
        unpack(tar, into, &options)
    }

    /// Names what unpacked files have in common whose owners, modes and marks on disk are of one
    /// kind: files of one such name must not be used under another. Letters, digits, `-` and `.`.
    pub fn ownership(&self, user: &User) -> String {
        match self.kind {
            IsolationKind::Root => "root".into(),
            IsolationKind::UserNamespace => super::init::name_of_map(),
            IsolationKind::SingleId if (user.uid, user.gid) == (0, 0) => "single".into(),
            IsolationKind::SingleId => {
                let groups: String = user.groups.iter().map(|group| format!("-{group}")).collect();
                format!("single.{}-{}{groups}", user.uid, user.gid)
            }
            IsolationKind::Chroot => "chroot".into(),
            // What another user has unpacked cannot be changed.
            IsolationKind::Emulated => format!("emulated.{}", rustix::process::geteuid().as_raw()),
        }
    }

    /// Removes a folder of unpacked or changed files, whatever owners they have. One that is not
    /// there is not an error.
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        self.kind.remove_tree(path)
    }
}
