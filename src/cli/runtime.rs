//! The threads of a command line: for the network. What computes has threads of its own.

use std::future::Future;

use crate::error::Error;
use crate::threads::{cannot_start, expect_room};

/// How many threads serve the network.
const WORKERS: usize = 2;

/// How many threads a build of one stage has on a machine with two cores. The runtime panics, or
/// waits for ever, where it cannot start one.
const THREADS: usize = 10;

/// Runs a command to its end.
///
/// # Errors
/// Its own; [`ErrorKind::Io`]: no threads can be started.
pub(super) fn run_to_end<T, E: From<Error>>(command: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    expect_room(THREADS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(cannot_start)?;
    let done = runtime.block_on(command);
    // A thread that still waits for a disk or a name server must not keep the user waiting.
    runtime.shutdown_background();
    done
}
