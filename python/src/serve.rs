//! A registry for a Python caller: it answers requests on a thread of its own until it is stopped.

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use mpimg::operation::ServeRequest;
use mpimg::progress::Progress;
use mpimg::serve::TlsOptions;
use mpimg::{CancellationToken, Error, ErrorKind, Result};
use pyo3::prelude::*;

use crate::call::runtime;
use crate::errors::raise;
use crate::options::Options;

/// A registry that answers requests. Dropped, it stops.
#[pyclass(frozen, module = "mpimg._mpimg")]
pub(crate) struct RegistryServer {
    cancel: CancellationToken,
    thread: Mutex<Option<JoinHandle<Result<u64>>>>,
    /// Where it listens: `HOST:PORT`.
    #[pyo3(get)]
    addr: String,
    /// The addresses by which it is reached, the best first.
    #[pyo3(get)]
    addresses: Vec<String>,
    /// The folder with the data.
    #[pyo3(get)]
    dir: PathBuf,
}

/// Starts a registry; returns once it listens.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "those of the Python function")]
pub(crate) fn serve(
    py: Python<'_>,
    options: Options,
    addr: String,
    dir: Option<PathBuf>,
    read_only: bool,
    tls: bool,
    tls_files: Option<(PathBuf, PathBuf)>,
    htpasswd: Option<PathBuf>,
    anonymous_pull: bool,
) -> PyResult<RegistryServer> {
    let cancel = options.cancellation().child_token();
    let (sender, listening) = sync_channel(1);
    let token = cancel.clone();
    let thread = std::thread::spawn(move || {
        runtime()?.block_on(async {
            let mpimg = options.mpimg(Progress::silent(), token);
            let mut request = ServeRequest::new(addr);
            request.dir = dir;
            request.read_only = read_only;
            request.tls = match tls_files {
                Some((certificate, key)) => Some(TlsOptions::Files { certificate, key }),
                None => tls.then_some(TlsOptions::Made),
            };
            (request.htpasswd, request.anonymous_pull) = (htpasswd, anonymous_pull);
            let server = mpimg.serve(request).await?;
            let addresses: Vec<String> = server.reachable_addrs().iter().map(ToString::to_string).collect();
            // The receiver waits for this or for the end of the thread.
            let _ = sender.send((server.addr().to_string(), addresses, server.dir()));
            server.run().await
        })
    });
    let Ok((addr, addresses, dir)) = py.detach(move || listening.recv()) else {
        // It ended before it listened.
        let failed = join(thread).err().unwrap_or_else(lost);
        return Err(raise(py, &failed));
    };
    Ok(RegistryServer { cancel, thread: Mutex::new(Some(thread)), addr, addresses, dir })
}

fn join(thread: JoinHandle<Result<u64>>) -> Result<u64> {
    thread.join().unwrap_or_else(|_| Err(lost()))
}

fn lost() -> Error {
    Error::new(ErrorKind::Interrupted, "the registry's thread was lost")
}

#[pymethods]
impl RegistryServer {
    /// Stops it once requests under way are answered; how many it has answered. None where it was
    /// stopped before.
    fn stop(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.cancel.cancel();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stopped = py.detach(|| thread.map(join).transpose());
        stopped.map_err(|error| raise(py, &error))
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
