//! Threads that may not start: a pod's limit of processes counts them as well.

use std::io;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::error::{Error, ErrorKind, Result};

/// What to do about EAGAIN of a call that makes a process or a thread. Other calls answer so, too.
pub(crate) const LIMIT_HINT: &str = "raise the limit of processes (`ulimit -u`, or `pids` of the container)";

/// How many threads this process can keep busy.
pub(crate) fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// As [`Scope::spawn`], but where no thread can be started that is an error.
pub(crate) fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().spawn_scoped(scope, work).map_err(cannot_start)
}

/// Makes sure that so many threads can be started at once.
#[cfg(feature = "cli")]
pub(crate) fn expect_room(threads: usize) -> Result<()> {
    let gate = std::sync::Mutex::new(());
    std::thread::scope(|scope| {
        let _closed = gate.lock();
        for _ in 0..threads {
            let wait = || drop(gate.lock());
            Builder::new().stack_size(64 * 1024).spawn_scoped(scope, wait).map_err(cannot_start)?;
        }
        Ok(())
    })
}

/// The error where a thread cannot be started.
pub(crate) fn cannot_start(error: io::Error) -> Error {
    let is_limit = error.kind() == io::ErrorKind::WouldBlock;
    let cannot = Error::new(ErrorKind::Io, "cannot start threads").with_source(error);
    if is_limit { cannot.with_hint(LIMIT_HINT) } else { cannot }
}
