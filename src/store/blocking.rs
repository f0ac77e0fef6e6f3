//! Work that blocks its thread, off the threads of the asynchronous runtime.

use crate::error::{Error, ErrorKind, Result};

/// Runs `work` on a thread that may block. A panic in it goes on in the caller: it is a fault of
/// the program, not of the work.
///
/// # Errors
/// Those of `work`; [`ErrorKind::Interrupted`]: the runtime is shut down.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::new(ErrorKind::Interrupted, "the work was stopped").with_source(error)),
        },
    }
}
