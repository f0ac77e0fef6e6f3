//! Stopping containers.

use std::time::Duration;

use super::{Mpimg, blocking};
use crate::container::Container;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

/// Which containers are stopped, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StopRequest {
    /// Names, IDs or beginnings of IDs.
    pub containers: Vec<String>,
    /// How long the command may take after the image's STOPSIGNAL before it is killed.
    pub grace: Duration,
    /// Whether log and exit status are removed, too.
    pub remove: bool,
}

impl StopRequest {
    /// These containers, with 10 seconds of grace, as docker gives; log and exit status stay.
    pub fn new(containers: Vec<String>) -> Self {
        Self { containers, grace: Duration::from_secs(10), remove: false }
    }
}

/// What became of the containers that were to be stopped.
#[derive(Debug)]
#[non_exhaustive]
pub struct StoppedContainers {
    /// The IDs of those that run no more.
    pub ids: Vec<String>,
    /// Why others could not be stopped.
    pub errors: Vec<Error>,
}

impl Mpimg {
    /// Stops containers, all at once: each may take its whole time. A wrong name keeps no other
    /// container from being stopped. One that has ended already is stopped.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: the store cannot be opened. All else is in
    /// [`StoppedContainers::errors`].
    pub async fn stop(&self, request: StopRequest) -> Result<StoppedContainers> {
        let store = self.open_store().await?;
        let results = blocking(move || {
            Ok(std::thread::scope(|scope| {
                let (request, store) = (&request, &store);
                let start = |name| scope.spawn(move || stop(store, name, request));
                let threads: Vec<_> = request.containers.iter().map(|name| start(name)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(lost()))).collect::<Vec<_>>()
            }))
        });
        let (mut ids, mut errors) = (Vec::new(), Vec::new());
        for result in results.await? {
            match result {
                Ok(id) => ids.push(id),
                Err(error) => errors.push(error),
            }
        }
        Ok(StoppedContainers { ids, errors })
    }
}

fn stop(store: &Store, name: &str, request: &StopRequest) -> Result<String> {
    let container = Container::find(store, name)?;
    container.stop(request.grace)?;
    if request.remove {
        container.remove()?;
    }
    Ok(container.id().to_owned())
}

fn lost() -> Error {
    Error::new(ErrorKind::Io, "the thread that stops a container was lost")
}
