//! What all stages of one build share: request, store, registry client, isolation, progress.
//!
//! Refuses to build anything itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

use super::request::BuildRequest;
use super::sink::LayerSink;
use super::times::Times;
use crate::context::{BuildContext, SecretGuard};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::LayerWriter;
use crate::progress::Progress;
use crate::registry::Client;
use crate::sandbox::Isolation;
use crate::store::{Growing, Store};

/// Called with each layer of the target image that begins to be written, so that its upload can begin, too.
pub type OnLayer = Arc<dyn Fn(Growing) + Send + Sync>;

/// One build.
pub(super) struct Session<'a> {
    pub(super) request: &'a BuildRequest,
    pub(super) store: &'a Store,
    pub(super) client: &'a Client,
    pub(super) runtime: Handle,
    pub(super) progress: &'a Progress,
    pub(super) context: BuildContext,
    pub(super) guard: SecretGuard,
    pub(super) times: Times,
    pub(super) on_layer: Option<OnLayer>,
    pub(super) isolation: OnceLock<Isolation>,
    /// Another stage has failed: the others stop at their next step.
    pub(super) failed: AtomicBool,
}

impl Session<'_> {
    /// The isolation of RUN steps, found out at the first of them.
    pub(super) fn isolation(&self) -> Result<&Isolation> {
        if let Some(isolation) = self.isolation.get() {
            return Ok(isolation);
        }
        let found = Isolation::detect(self.store.root(), self.request.isolation)?;
        let isolation = self.isolation.get_or_init(|| {
            if !found.rung().is_boundary() {
                let message = format!("the isolation `{}` is no security boundary: RUN can do what this user can", found.rung());
                self.progress.warn(
                    &message,
                    Some("`mpimg doctor` shows why there is no better one; build only Dockerfiles that you trust"),
                );
            }
            found
        });
        Ok(isolation)
    }

    /// A new layer; `target` says whether it belongs to the image that is wanted.
    pub(super) fn layer_writer(&self, target: bool) -> Result<LayerWriter<LayerSink>> {
        let sink = LayerSink::new(self.store, self.on_layer.clone().filter(|_| target))?;
        Ok(LayerWriter::new(self.request.codec, self.request.threads, sink))
    }

    /// An error if the build is to stop.
    pub(super) fn check_running(&self) -> Result<()> {
        if self.request.cancel.is_cancelled() {
            return Err(Error::new(ErrorKind::Interrupted, "the build was interrupted"));
        }
        if self.failed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Interrupted, "another stage failed"));
        }
        Ok(())
    }
}
