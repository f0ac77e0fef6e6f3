//! What mpimg does, as a program sees it: build, push, check, copy, inspect, run, log in. The command line and the Python package
//! stand on this room, and use the same words.
//!
//! ```no_run
//! use mpimg::operation::{Mpimg, Options, PushRequest};
//! use mpimg::project::ContainerRepository;
//!
//! # async fn example() -> mpimg::Result<()> {
//! let mpimg = Mpimg::new(Options::default())?;
//! let mut request = PushRequest::project("my-adapter")?;
//! request.destination.repository = Some(ContainerRepository::parse("harbor.example.com/mp/my-adapter")?);
//! let pushed = mpimg.push(request).await?;
//! println!("{}", pushed.conf_entries());
//! # Ok(())
//! # }
//! ```
//!
//! Operations are futures for a multi-threaded tokio runtime; what computes runs on threads of its own.
//!
//! Refuses terminals, prompts and flags.

mod build;
mod check;
mod copy;
mod destination;
mod image;
mod inspect;
mod login;
mod push;
mod run;
mod sbom;
mod stop;
mod stored;
mod transfer;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

pub use build::{BuildOutputs, Built};
pub use check::{CheckReport, CheckSubject};
pub use copy::{CopiedImage, CopyRequest};
pub use destination::{Destination, DestinationOptions};
pub use image::{find_image, find_local_image, image_size, not_stored};
pub use inspect::InspectedImage;
pub use login::registry_name;
pub use push::{PushRequest, PushSource, PushedImage};
pub use run::{RunRequest, Started};
pub use sbom::SbomOutputs;
pub use stop::Stop;
pub use stored::StoredImage;

use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::registry::{Client, ClientOptions, Credential};
use crate::store::Store;

/// How an [`Mpimg`] works. `Default` is what the command does without flags.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The local store's folder; `None`: `$MPIMG_HOME`, else `mpimg` in the XDG data folder.
    pub home: Option<PathBuf>,
    /// How registries are reached. Its `progress`, `state_dir` and `cancel` are set by [`Mpimg::new`].
    pub client: ClientOptions,
    /// Receives everything that happens.
    pub progress: Progress,
    /// Stops every operation.
    pub stop: Stop,
}

/// What operations work with: the local store, registries, progress, and a way to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mpimg {
    home: Option<PathBuf>,
    store: Arc<OnceLock<Store>>,
    client: Client,
    progress: Progress,
    stop: Stop,
}

impl Mpimg {
    /// Reads registries.conf; nothing is opened or connected before an operation needs it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: registries.conf cannot be read.
    pub fn new(options: Options) -> Result<Self> {
        let Options { home, client, progress, stop } = options;
        // Without a place for the store there is none for uploads; what needs either says so.
        let state_dir = home.clone().or_else(|| Store::default_root().ok());
        let client =
            Client::new(ClientOptions { progress: progress.clone(), cancel: stop.token().clone(), state_dir, ..client })?;
        Ok(Self { home, store: Arc::default(), client, progress, stop })
    }

    /// The same with a credential for one registry (`host[:port]`), which wins over all others.
    #[must_use]
    pub fn with_credential(&self, registry: &str, credential: Credential) -> Self {
        let mut credentials = self.client.options().credentials.clone();
        credentials.explicit.insert(0, (registry.to_owned(), credential));
        Self { client: self.client.with_credentials(credentials), ..self.clone() }
    }

    /// The local store, opened when it is first asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: it cannot be opened. [`ErrorKind::Usage`]: there is no place for it.
    pub fn store(&self) -> Result<&Store> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let root = self.home.clone().map_or_else(Store::default_root, Ok)?;
        let store = Store::open(root)?;
        Ok(self.store.get_or_init(|| store))
    }

    /// The client for registries.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where events go.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The switch that stops operations.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }
}

/// Runs what blocks off the network's threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Interrupted, "the work was broken off").with_source(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Transport;
    use crate::oci::Platform;

    /// Whoever can compile this can give the operations to `tokio::spawn`.
    #[test]
    fn operations_are_futures_that_any_thread_may_drive() {
        fn sendable(_: impl Send) {}
        let mpimg = Mpimg::new(Options::default()).unwrap();
        sendable(mpimg.build(crate::build::BuildRequest::new("."), &BuildOutputs::default()));
        sendable(mpimg.push(PushRequest::new(PushSource::Build(crate::build::BuildRequest::new(".")))));
        sendable(mpimg.check(&CheckSubject::parse("127.0.0.1:1/a").unwrap()));
        sendable(mpimg.inspect(Transport::parse("a").unwrap(), &Platform::default(), false));
        sendable(mpimg.copy(CopyRequest::new(Transport::parse("a").unwrap(), Transport::parse("b").unwrap())));
        sendable(mpimg.run(RunRequest::new("a")));
        sendable(mpimg.login("127.0.0.1:1", "user", "password"));
    }
}
