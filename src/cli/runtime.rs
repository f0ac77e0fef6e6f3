//! The threads of a command line: for the network. What computes has threads of its own.

use std::future::Future;

use crate::error::{Error, ErrorKind};

/// How many threads serve the network.
const WORKERS: usize = 2;

/// Runs a command to its end.
///
/// # Errors
/// Its own; [`ErrorKind::Io`]: no threads can be started.
pub(super) fn run_to_end<T, E: From<Error>>(command: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(|error| Error::new(ErrorKind::Io, "cannot start threads").with_source(error))?;
    let done = runtime.block_on(command);
    // A thread that still waits for a disk or a name server must not keep the user waiting.
    runtime.shutdown_background();
    done
}
