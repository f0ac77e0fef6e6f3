//! What all stages of one build share: request, store, registry client, isolation, progress.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::chosen_isolation::ChosenIsolation;
use super::materials::Downloads;
use super::request::BuildRequest;
use super::sink::{LayerSink, OnLayer};
use super::times::Times;
use crate::context::{BuildContext, SecretGuard};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::LayerWriter;
use crate::oci::Digest;
use crate::progress::Progress;
use crate::registry::Client;
use crate::sandbox::{Isolation, IsolationKind};
use crate::sbom::PackageObserver;
use crate::store::Store;

/// One build.
pub(super) struct Session<'a> {
    pub(super) request: &'a BuildRequest,
    /// What its steps are shown under, where it is part of another build.
    pub(super) heading: Option<&'a str>,
    pub(super) store: &'a Store,
    pub(super) client: &'a Client,
    pub(super) runtime: Handle,
    pub(super) progress: &'a Progress,
    pub(super) context: BuildContext,
    pub(super) guard: SecretGuard,
    pub(super) times: Times,
    pub(super) on_layer: Option<OnLayer>,
    pub(super) isolation: ChosenIsolation,
    /// Cancelled when another stage has failed, and with [`Self::cancel`]: no step begins after
    /// that.
    pub(super) stopped: CancellationToken,
    /// Of a build without the build cache: the cache mounts that it has emptied.
    pub(super) reset_caches: Mutex<BTreeSet<String>>,
    /// The Dockerfile's path in the build context, and the digest of its bytes.
    pub(super) dockerfile: (String, Digest),
    pub(super) downloads: Downloads,
    /// Warnings about sources that were given.
    pub(super) warned: Mutex<BTreeSet<String>>,
}

impl Session<'_> {
    /// Cancelled when the caller stops its work: one token for the build and the client.
    pub(super) fn cancel(&self) -> &CancellationToken {
        &self.client.options().cancel
    }

    /// The isolation of RUN steps, tried out at the first of them at the latest.
    pub(super) fn isolation(&self) -> Result<&Isolation> {
        let (isolation, is_first) = self.isolation.get(self.store, self.request.isolation)?;
        if is_first && !isolation.kind().is_boundary() {
            self.warn_of(isolation);
        }
        Ok(isolation)
    }

    /// A RUN is certain to come: its isolation is tried meanwhile.
    pub(super) fn expect_run(&self) {
        self.isolation.begin(self.store, self.request.isolation);
    }

    /// Says that commands can do what this program can, and what kept the next better isolation
    /// from working.
    fn warn_of(&self, isolation: &Isolation) {
        let kind = isolation.kind();
        let better = |kind: IsolationKind| kind.is_boundary() && !kind.needs_root();
        let tried = isolation.report().attempts.iter().find(|attempt| better(attempt.isolation));
        let failure = tried.and_then(|attempt| Some((attempt.isolation, attempt.failure.as_ref()?)));
        let why = failure.map(|(better, failure)| format!(" ({better}: {failure})")).unwrap_or_default();
        let message = format!("RUN uses `{kind}`, which is not a security boundary: build only Dockerfiles that you trust{why}");
        self.progress.warn(&message, failure.map(|(_, failure)| failure.remedy.as_str()));
    }

    /// A new layer; `target` says whether it belongs to the image that is wanted.
    pub(super) fn layer_writer(&self, target: bool) -> Result<LayerWriter<LayerSink>> {
        let sink = LayerSink::new(self.store, self.on_layer.clone().filter(|_| target))?;
        let codec = self.request.codec;
        let writer = LayerWriter::with_blocks(codec, self.request.threads, self.store.blocks(codec), sink);
        Ok(match self.request.list_packages {
            true => writer.observed_by(Box::new(PackageObserver::new(self.store.clone()))),
            false => writer,
        })
    }

    /// Whether a layer is uploaded while it is made.
    pub(super) fn uploads_early(&self, target: bool) -> bool {
        target && self.on_layer.is_some()
    }

    /// A layer of which only the diff ID is wanted.
    pub(super) fn hashing_writer(&self) -> LayerWriter<LayerSink> {
        LayerWriter::hashing(LayerSink::closed())
    }

    /// Warns, but never twice of the same: a step may look at its sources more than once.
    pub(super) fn warn_once(&self, warning: &Error) {
        let message = warning.to_string();
        if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(message.clone()) {
            self.progress.warn(&message, warning.hint());
        }
    }

    /// An error if the build is to stop.
    pub(super) fn check_running(&self) -> Result<()> {
        match self.stopped.is_cancelled() {
            true => Err(self.interrupted()),
            false => Ok(()),
        }
    }

    /// Waits for what another step or process will give up, as long as the build goes on.
    pub(super) fn wait_for<T>(&self, wanted: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(self.stopped.run_until_cancelled(wanted)).unwrap_or_else(|| Err(self.interrupted()))
    }

    fn interrupted(&self) -> Error {
        let why = if self.cancel().is_cancelled() { "the build was interrupted" } else { "another stage failed" };
        Error::new(ErrorKind::Interrupted, why)
    }
}
