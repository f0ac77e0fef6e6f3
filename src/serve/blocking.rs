//! Work that waits for the disk, off the async threads.

use super::error_response::ErrorResponse;
use crate::error::{Error, ErrorKind, Result};

/// Starts `work` at once on a thread that may wait for the disk; the answer is ready when it is
/// done.
pub(super) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T, ErrorResponse>> + Send {
    let running = tokio::task::spawn_blocking(work);
    async move { Ok(running.await.map_err(died)??) }
}

pub(super) fn died(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Interrupted, "the registry stopped in the middle of its work").with_source(error)
}
