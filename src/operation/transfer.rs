//! Building and pushing at once: layers are sent while they are made.
//!
//! Invariant: no chunk is left half-sent when the build fails; some registries then forget all that
//! came before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{blocking, find_image};
use crate::build::{BuildMaterials, BuildRequest, Builder};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Transport};
use crate::oci::{Platform, Repository, Tag};
use crate::progress::Progress;
use crate::registry::{Client, PushSession, Pushed, UploadTrial};
use crate::store::{Growing, Growth, Store};

/// How long a chunk that is under way may take to arrive once the push is given up.
const GRACE: Duration = Duration::from_secs(10);

/// What one push works with.
pub(super) struct Transfer {
    pub(super) store: Store,
    pub(super) client: Client,
    /// Where it goes.
    pub(super) repository: Repository,
    /// Under which tags.
    pub(super) tags: Vec<Tag>,
    /// Whether the tags go to an index above the image, which is then pushed by its digest alone.
    pub(super) untagged: bool,
    /// Ctrl-C.
    pub(super) cancel: CancellationToken,
}

impl Transfer {
    /// Builds an image and pushes it.
    pub(super) async fn build_and_push(
        self,
        request: BuildRequest,
        progress: &Progress,
    ) -> Result<(Image, BuildMaterials, Pushed)> {
        let session = self.client.push(&self.repository)?;
        let stop = self.cancel.child_token();
        let builder = Builder::new(self.store.clone(), self.client.cancelled_by(stop.clone()), progress.clone());
        let context = request.context.canonicalize().unwrap_or_else(|_| request.context.clone()).display().to_string();
        let (announce, mut announced) = mpsc::unbounded_channel();
        let on_layer = Arc::new(move |layer: Growing| {
            // Sending fails only when the receiver has stopped waiting for the build.
            let _ = announce.send(layer);
        });
        // What would make the push fail at its end is told at its beginning. Nothing waits for
        // that.
        let (client, repository, tags) = (self.client.clone(), self.repository.clone(), self.tags.clone());
        // A task of its own: left in its middle, it would leave others to look up the credential
        // again.
        let trial = Arc::new(UploadTrial::default());
        let its = trial.clone();
        let mut preflight = tokio::spawn(async move { client.preflight(&repository, &tags, &its).await });
        let (built, offered) = {
            let offer = async {
                let mut offered = Vec::new();
                // Ends with the build, which then drops the other side.
                while let Some(layer) = announced.recv().await {
                    // Only a name to look for an upload that was cut off: whether it began with the
                    // same bytes is found out there.
                    session.offer_growing(layer.clone(), Some(format!("{context} layer {}", offered.len())));
                    offered.push(layer);
                }
                offered
            };
            let work = async { tokio::join!(blocking(move || builder.build(&request, Some(on_layer))), offer) };
            tokio::pin!(work);
            tokio::select! {
                biased;
                done = &mut work => done,
                verdict = &mut preflight => {
                    let refused = verdict.ok().and_then(Result::err).filter(|error| error.kind() != ErrorKind::Interrupted);
                    match refused {
                        Some(error) => {
                            stop.cancel();
                            // A step that does not end soon is left behind.
                            let _ = tokio::time::timeout(GRACE, work).await;
                            (Err(error.wrap(format!("cannot push `{}`", self.repository.familiar()))), Vec::new())
                        }
                        None => work.await,
                    }
                }
            }
        };
        trial.stop();
        let (image, materials) = match built {
            Ok(built) => built,
            Err(error) => {
                let ended = async { tokio::join!(session.abandon(), trial.stopped()) };
                // A registry that does not answer must not delay the error.
                let _ = tokio::time::timeout(GRACE, ended).await;
                return Err(error);
            }
        };
        let is_offered = |digest| {
            let complete =
                |layer: &Growing| matches!(layer.growth(), Growth::Complete(descriptor, _) if descriptor.digest == digest);
            offered.iter().any(complete)
        };
        image.layers().iter().filter(|layer| !is_offered(layer.descriptor.digest)).for_each(|layer| session.offer(layer));
        let finished = self.finish(session, image).await;
        // It began long before what was just sent.
        let _ = tokio::time::timeout(GRACE, trial.stopped()).await;
        let (image, pushed) = finished?;
        Ok((image, materials, pushed))
    }

    /// Pushes an image that exists.
    pub(super) async fn push_image(self, transport: Transport, platform: &Platform) -> Result<(Image, Pushed)> {
        let image = find_image(transport, platform, &self.store, &self.client).await?;
        let session = self.client.push(&self.repository)?;
        image.layers().iter().for_each(|layer| session.offer(layer));
        self.finish(session, image).await
    }

    async fn finish(&self, session: PushSession, image: Image) -> Result<(Image, Pushed)> {
        let (config, manifest) = (image.config_bytes().clone(), image.manifest_bytes().clone());
        let tags = if self.untagged { &[] } else { self.tags.as_slice() };
        let finish = session.finish(config, manifest, image.descriptor().media_type.clone(), tags);
        let out_of_patience = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            pushed = finish => Ok((image, pushed?)),
            () = out_of_patience => Err(Error::new(ErrorKind::Interrupted, "the push was interrupted")),
        }
    }
}
