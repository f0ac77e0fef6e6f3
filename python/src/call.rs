//! One operation for a Python caller: Rust works on threads of its own, the caller's thread
//! delivers events and looks for Ctrl-C.
//!
//! Refuses to hold the GIL while Rust works, and to return while anything is half-done: an
//! exception, be it Ctrl-C or one of the callback's, stops the operation, lets it clean up, and is
//! raised then. A second Ctrl-C does not wait.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use mpimg::operation::Mpimg;
use mpimg::progress::Progress;
use mpimg::{CancellationToken, Error, ErrorKind};
use pyo3::prelude::*;

use crate::errors::raise;
use crate::events::{Forward, Message};
use crate::options::Options;

/// Threads for the network, as the command has them.
const WORKERS: usize = 2;

/// How often the caller's thread looks whether a signal came.
pub(crate) const SIGNALS: Duration = Duration::from_millis(100);

/// Bytes of stack of the thread that works for a caller: as much as a program's first thread has.
/// The operations' futures nest deeply, and without optimisation they need more than 2 MiB.
const STACK: usize = 8 << 20;

/// Events that may wait for a slow callback; then the work waits for it.
const EVENTS: usize = 1024;

/// Runs `operation` to its end and tells `progress` what happens meanwhile, on this thread.
pub(crate) fn call<T, F>(
    py: Python<'_>,
    options: Options,
    progress: Option<Py<PyAny>>,
    operation: impl FnOnce(Mpimg) -> F + Send + 'static,
) -> PyResult<T>
where
    F: Future<Output = mpimg::Result<T>>,
    T: Send + 'static,
{
    let runtime = runtime().map_err(|error| raise(py, &error))?;
    let (sender, mut events) = sync_channel(EVENTS);
    let forward = Arc::new(Forward::new(sender, progress.is_some()));
    let done = forward.done();
    // The caller's own token stays as it is when an exception of this call cancels the operation.
    let cancel = options.cancellation().child_token();
    let mpimg = options.mpimg(Progress::new(forward), cancel.clone());
    // A thread that owns the runtime: after a second Ctrl-C it is left to end by itself.
    let work = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let result = runtime.block_on(async { operation(mpimg).await });
        // Whoever no longer waits has been interrupted twice.
        let _ = done.send(Message::Done);
        // A thread that still waits for a disk or a name server must not keep the caller waiting.
        runtime.shutdown_background();
        result
    });
    let work = work.map_err(|error| raise(py, &Error::new(ErrorKind::Io, "cannot start threads").with_source(error)))?;
    match deliver(py, &mut events, progress.as_ref(), &cancel) {
        Some(Interruption { exception, at_once: true }) => Err(exception),
        Some(Interruption { exception, at_once: false }) => {
            let _ = py.detach(|| work.join());
            Err(exception)
        }
        None => match py.detach(|| work.join()) {
            Ok(result) => result.map_err(|error| raise(py, &error)),
            // The panic itself is on standard error.
            Err(_) => Err(raise(py, &Error::new(ErrorKind::Interrupted, "the work was broken off"))),
        },
    }
}

/// A runtime for one call: it outlives no fork, and leaves no thread behind in a program that has
/// done with mpimg.
pub(crate) fn runtime() -> mpimg::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    runtime.map_err(|error| Error::new(ErrorKind::Io, "cannot start threads").with_source(error))
}

/// What ended the work before its time.
struct Interruption {
    exception: PyErr,
    /// It came twice: nobody wants to wait for the work to clean up.
    at_once: bool,
}

/// Hands events to the callback until the work is done; tells what was raised meanwhile. Cancels
/// the work for that.
fn deliver(
    py: Python<'_>,
    events: &mut Receiver<Message>,
    progress: Option<&Py<PyAny>>,
    cancel: &CancellationToken,
) -> Option<Interruption> {
    let mut interruption: Option<Interruption> = None;
    let mut looked = Instant::now();
    loop {
        let message = py.detach(|| {
            // A receiver may move to another thread, but not be shared.
            let events: &mut Receiver<Message> = events;
            events.recv_timeout(SIGNALS.saturating_sub(looked.elapsed()))
        });
        let raised = match message {
            Ok(Message::Done) | Err(RecvTimeoutError::Disconnected) => return interruption,
            Ok(Message::Event(event)) if interruption.is_none() => event.deliver(py, progress),
            Ok(Message::Event(_)) => Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                looked = Instant::now();
                py.check_signals()
            }
        };
        if let Err(exception) = raised {
            cancel.cancel();
            match &mut interruption {
                None => interruption = Some(Interruption { exception, at_once: false }),
                Some(first) => {
                    first.at_once = true;
                    return interruption;
                }
            }
        }
    }
}
