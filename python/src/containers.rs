//! Containers for a Python caller: started, looked at, read and ended.
//!
//! Invariant: the GIL is not held while a thread waits for the next piece of a log.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mpimg::container::{ContainerSpec, ContainerState, Stream, parse_memory};
use mpimg::oci::Platform;
use mpimg::operation::{LogOptions, Mpimg, RunRequest, read_logs};
use mpimg::progress::Progress;
use mpimg::{CancellationToken, Error, ErrorKind, Result};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::call::{SIGNALS, call};
use crate::errors::raise;
use crate::options::{Options, extra_host, parse_all};

/// Pieces of a log that wait for a slow reader.
const PIECES: usize = 64;

/// What `Mpimg.run` takes.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct RunOptions {
    image: String,
    platform: Option<String>,
    command: Vec<String>,
    name: Option<String>,
    entrypoint: Option<Vec<String>>,
    env: BTreeMap<String, String>,
    user: Option<String>,
    workdir: Option<String>,
    hostname: Option<String>,
    volumes: Vec<String>,
    tmpfs: Vec<String>,
    ports: Vec<String>,
    memory: Option<String>,
    ulimits: Vec<String>,
    shm_size: Option<u64>,
    extra_hosts: Vec<(String, String)>,
    labels: BTreeMap<String, String>,
    network: String,
    isolation: String,
    terminal: bool,
    remove: bool,
    end_with: Option<u32>,
}

impl RunOptions {
    fn request(self) -> Result<RunRequest> {
        // All fields are named: one that is new in Rust does not compile here until Python has it.
        Ok(RunRequest {
            image: self.image,
            platform: self.platform.map_or_else(|| Ok(Platform::host()), |platform| platform.parse())?,
            spec: ContainerSpec {
                name: self.name,
                entrypoint: self.entrypoint,
                command: self.command,
                env: self.env.into_iter().collect(),
                // Docker's word for it alone needs it: `-e NAME` of a variable that is not set.
                without_env: Vec::new(),
                user: self.user,
                workdir: self.workdir,
                hostname: self.hostname,
                volumes: parse_all(&self.volumes)?,
                tmpfs: parse_all(&self.tmpfs)?,
                ports: parse_all(&self.ports)?,
                memory: self.memory.as_deref().map(parse_memory).transpose()?,
                swap: None,
                ulimits: parse_all(&self.ulimits)?,
                shm_size: self.shm_size,
                extra_hosts: self.extra_hosts.into_iter().map(extra_host).collect::<Result<_>>()?,
                labels: self.labels,
                network: self.network.parse()?,
                isolation: self.isolation.parse()?,
                // Only of a container in the foreground, which Python's are not.
                interactive: false,
                terminal: self.terminal,
                remove: self.remove,
                // Nothing in Python looks at what an ended container has written.
                keep_changes: false,
                end_with: self.end_with,
            },
        })
    }
}

/// `mpimg.ContainerInfo`
#[derive(IntoPyObject)]
pub(crate) struct ContainerInfo {
    id: String,
    name: Option<String>,
    image: String,
    digest: String,
    command: Vec<String>,
    created: i64,
    /// Address, port of this machine, port of the container.
    ports: Vec<(Option<String>, u16, u16)>,
    memory: Option<u64>,
    network: Option<String>,
    isolation: Option<String>,
    pid: Option<i32>,
    state: &'static str,
    outcome: Option<Outcome>,
}

impl ContainerInfo {
    fn new(info: &mpimg::container::ContainerInfo) -> Self {
        let (state, outcome) = match info.state {
            ContainerState::Created => ("created", None),
            ContainerState::Starting => ("starting", None),
            ContainerState::Running => ("running", None),
            ContainerState::Ended(outcome) => ("ended", Some(Outcome::new(outcome))),
            ContainerState::Lost => ("lost", None),
        };
        let port = |port: &mpimg::container::PortMapping| (port.ip.map(|ip| ip.to_string()), port.host, port.container);
        Self {
            id: info.id.clone(),
            name: info.name.clone(),
            image: info.image.clone(),
            digest: info.digest.to_string(),
            command: info.command.clone(),
            created: info.created,
            ports: info.ports.iter().map(port).collect(),
            memory: info.memory,
            network: info.network.clone(),
            isolation: info.isolation.map(|isolation| isolation.to_string()),
            pid: info.pid,
            state,
            outcome,
        }
    }
}

/// `mpimg.Outcome`
#[derive(IntoPyObject)]
pub(crate) struct Outcome {
    status: u8,
    out_of_memory: bool,
    finished: i64,
}

impl Outcome {
    fn new(outcome: mpimg::container::Outcome) -> Self {
        Self { status: outcome.status(), out_of_memory: outcome.out_of_memory, finished: outcome.finished }
    }
}

/// `mpimg.Stats`
#[derive(IntoPyObject)]
pub(crate) struct Stats {
    memory: u64,
    memory_limit: u64,
    cpu: u64,
    system_cpu: u64,
    processors: u32,
    read: u64,
    written: u64,
    received: u64,
    sent: u64,
    processes: u32,
}

/// Starts a container; its ID and what the user should know.
#[pyfunction]
pub(crate) fn run(
    py: Python<'_>,
    options: Options,
    request: RunOptions,
    progress: Option<Py<PyAny>>,
) -> PyResult<(String, Vec<String>)> {
    call(py, options, progress, move |mpimg| async move {
        let started = mpimg.run(request.request()?).await?;
        Ok((started.container.id().to_owned(), started.notes))
    })
}

/// All containers.
#[pyfunction]
pub(crate) fn containers(py: Python<'_>, options: Options) -> PyResult<Vec<ContainerInfo>> {
    call(py, options, None, |mpimg| async move { Ok(mpimg.containers()?.iter().map(ContainerInfo::new).collect()) })
}

/// What is known of one.
#[pyfunction]
pub(crate) fn container_info(py: Python<'_>, options: Options, name: String) -> PyResult<ContainerInfo> {
    call(py, options, None, move |mpimg| async move { Ok(ContainerInfo::new(&mpimg.container(&name)?.info()?)) })
}

/// What one uses.
#[pyfunction]
pub(crate) fn container_stats(py: Python<'_>, options: Options, name: String) -> PyResult<Stats> {
    call(py, options, None, move |mpimg| async move {
        let mpimg::container::Stats {
            memory,
            memory_limit,
            cpu,
            system_cpu,
            processors,
            read,
            written,
            received,
            sent,
            processes,
        } = mpimg.container(&name)?.stats()?;
        Ok(Stats { memory, memory_limit, cpu, system_cpu, processors, read, written, received, sent, processes })
    })
}

/// Waits for the end of one.
#[pyfunction]
pub(crate) fn container_wait(py: Python<'_>, options: Options, name: String) -> PyResult<Outcome> {
    call(py, options, None, move |mpimg| async move {
        let container = mpimg.container(&name)?;
        Ok(Outcome::new(container.wait(mpimg.cancellation())?))
    })
}

/// Sends one a signal.
#[pyfunction]
pub(crate) fn container_signal(py: Python<'_>, options: Options, name: String, number: i32) -> PyResult<()> {
    call(py, options, None, move |mpimg| async move { mpimg.container(&name)?.signal(number) })
}

/// Asks one to end, and kills it after `grace` seconds.
#[pyfunction]
pub(crate) fn container_stop(py: Python<'_>, options: Options, name: String, grace: f64) -> PyResult<()> {
    call(py, options, None, move |mpimg| async move {
        let grace = Duration::try_from_secs_f64(grace).map_err(|error| {
            Error::new(ErrorKind::Usage, format!("`{grace}` is not a number of seconds to wait")).with_source(error)
        })?;
        mpimg.container(&name)?.stop(grace)
    })
}

/// Kills one and forgets it.
#[pyfunction]
pub(crate) fn container_remove(py: Python<'_>, options: Options, name: String) -> PyResult<()> {
    call(py, options, None, move |mpimg| async move { mpimg.container(&name)?.remove() })
}

/// A piece of a log: whether it is of standard error, the time since 1970, the text.
struct Piece(bool, Duration, Vec<u8>);

/// What one has written; with `follow`, also what it writes until it ends.
#[pyfunction]
pub(crate) fn container_logs(
    py: Python<'_>,
    options: Options,
    name: String,
    follow: bool,
    tail: Option<usize>,
) -> PyResult<Logs> {
    let (cancel, (sender, pieces)) = (CancellationToken::default(), sync_channel(PIECES));
    let token = cancel.clone();
    let read = move || {
        let mpimg: Mpimg = options.mpimg(Progress::silent(), CancellationToken::new());
        let container = mpimg.container(&name)?;
        std::thread::spawn(move || {
            let gone = || Error::new(ErrorKind::Interrupted, "nobody reads the log any more");
            let done = read_logs(&container, LogOptions { follow, tail }, &token, &mut |stream, time, text| {
                let piece = Piece(stream == Stream::Error, time, text.to_vec());
                sender.send(Ok(piece)).map_err(|_| gone())
            });
            if let Err(error) = done {
                // The reader may be gone.
                let _ = sender.send(Err(error));
            }
        });
        Ok(())
    };
    py.detach(read).map_err(|error: Error| raise(py, &error))?;
    Ok(Logs { pieces: Mutex::new(pieces), cancel })
}

/// An iterator over a log.
#[pyclass(frozen, module = "mpimg._mpimg")]
pub(crate) struct Logs {
    pieces: Mutex<Receiver<Result<Piece>>>,
    cancel: CancellationToken,
}

#[pymethods]
impl Logs {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<(bool, f64, Bound<'py, PyBytes>)>> {
        loop {
            // Locked without the GIL, so that two threads that read one log cannot wait for each
            // other.
            let next = py.detach(|| self.pieces.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(SIGNALS));
            match next {
                Ok(Ok(Piece(error, time, text))) => return Ok(Some((error, time.as_secs_f64(), PyBytes::new(py, &text)))),
                Ok(Err(error)) => return Err(raise(py, &error)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            }
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
