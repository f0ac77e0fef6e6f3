//! A thread with a tokio runtime that works on the network until it is dropped.

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

/// The thread. Dropping this stops its work and waits for it.
pub(super) struct NetworkThread {
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl NetworkThread {
    /// Runs `serve`, and what it spawns, as long as this value lives.
    pub(super) fn start(name: &str, serve: impl Future<Output = ()> + Send + 'static) -> Result<Self> {
        let cannot = |error| Error::new(ErrorKind::Network, "cannot start a thread for the network").with_source(error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let work = move || {
            runtime.block_on(async move {
                tokio::spawn(serve);
                stopped.cancelled().await;
            });
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(work).map_err(cannot)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for NetworkThread {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
