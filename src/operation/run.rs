//! Starting a container of an image.

use super::{Mpimg, blocking, find_local_image};
use crate::container::{Attached, Container, ContainerSpec};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Image;
use crate::oci::Platform;
use crate::store::Store;

/// Which image is run, and how.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The image: one of [`Transport`](crate::image::Transport)'s forms, or a digest of one in the
    /// local store.
    pub image: String,
    /// The platform, if the image is for several.
    pub platform: Platform,
    /// How it is run.
    pub spec: ContainerSpec,
}

impl RunRequest {
    /// The image for this machine's platform, run as it says itself.
    pub fn new(image: impl Into<String>) -> Self {
        Self { image: image.into(), platform: Platform::host(), spec: ContainerSpec::default() }
    }
}

/// A container that was started: [`Container`] in the background, [`Attached`] in the foreground.
#[derive(Debug)]
#[non_exhaustive]
pub struct Started<T> {
    /// The container.
    pub container: T,
    /// What the user should know of it: which network it has, a limit that does not hold.
    pub notes: Vec<String>,
}

impl Mpimg {
    /// Starts a container that outlives this process; returns when its command runs. Stopped
    /// meanwhile, it leaves no container.
    ///
    /// # Errors
    /// Those of [`Mpimg::find`] and [`Container::start`]; [`ErrorKind::Interrupted`]: stopped.
    pub async fn run(&self, request: RunRequest) -> Result<Started<Container>> {
        let cancel = self.cancellation().clone();
        self.start(request, move |store, image, name, spec, note| {
            let container = Container::start(store, image, name, spec, note)?;
            if cancel.is_cancelled() {
                container.remove()?;
                return Err(Error::new(ErrorKind::Interrupted, "the container was stopped while it started"));
            }
            Ok(container)
        })
        .await
    }

    /// As [`run`](Self::run), but the container ends with the value that is returned, or with this
    /// process.
    ///
    /// # Errors
    /// Those of [`Mpimg::find`] and [`Container::attach`].
    pub async fn attach(&self, request: RunRequest) -> Result<Started<Attached>> {
        self.start(request, Container::attach).await
    }

    async fn start<T: Send + 'static>(
        &self,
        request: RunRequest,
        start: impl FnOnce(&Store, &Image, &str, &ContainerSpec, &mut dyn FnMut(&str)) -> Result<T> + Send + 'static,
    ) -> Result<Started<T>> {
        let RunRequest { image: name, platform, spec } = request;
        let store = self.open_store().await?;
        let image = find_local_image(&name, &platform, &store, self.client()).await?;
        blocking(move || {
            let mut notes = Vec::new();
            let container = start(&store, &image, &name, &spec, &mut |note| notes.push(note.to_owned()))?;
            Ok(Started { container, notes })
        })
        .await
    }
}
