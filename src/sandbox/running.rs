//! A command that its caller attends: streams of its own, signals, and connections to the ports of
//! its own network.
//!
//! When the last handle is dropped or this process dies, the helper kills everything.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{ErrorKind, Result, ResultExt as _};

use super::channel::{read_message, receive_file, send_file, write_message};
use super::wire::{Control, Reply, Request};
use super::{Exit, IsolationKind, RunSpec, helper, launch};

/// What happens to a command before its end.
#[derive(Debug)]
pub enum Event {
    /// The TUN device of its network, which gives and takes one IP packet at a time, or why there
    /// is none.
    Tun(io::Result<OwnedFd>),
    /// Started: the PID of the init of its PID namespace, or its own PID without one.
    Started(i32),
}

/// Where a command reads and writes.
#[derive(Debug)]
pub struct Streams {
    /// Standard input; `None`: empty.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// Gets a socket that connects to a port of the command's network, or why there is none.
type OnDialed = Box<dyn FnOnce(io::Result<OwnedFd>) + Send>;

/// A command under way.
#[derive(Debug)]
pub struct Running {
    child: Child,
    remote: Remote,
}

/// What can be done to a command from any thread. Clones refer to the same command.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    control: UnixStream,
    /// Who waits for a socket, in the order of the messages sent; locked while one is sent.
    waiting: Mutex<VecDeque<OnDialed>>,
    killed: AtomicBool,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("killed", &self.0.killed).finish_non_exhaustive()
    }
}

impl Remote {
    /// Sends the command a signal. One that comes before its start is kept until then; one that
    /// comes after its end is lost.
    pub fn signal(&self, number: i32) {
        let _waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // A helper that does not read any more has ended its work.
        let _ = write_message(&self.0.control, &Control::Signal(number));
    }

    /// Kills the command and all that it has started.
    pub fn kill(&self) {
        self.0.killed.store(true, Ordering::Release);
        let _ = self.0.control.shutdown(Shutdown::Write);
    }

    /// Has a TCP socket connected to `port` of the loopback interface of the command's network.
    /// `answer` gets it, non-blocking and possibly still connecting; it is dropped where the
    /// command has ended.
    pub fn dial(&self, port: u16, answer: impl FnOnce(io::Result<OwnedFd>) + Send + 'static) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if write_message(&self.0.control, &Control::Dial(port)).is_ok() {
            waiting.push_back(Box::new(answer));
        }
    }

    fn answer(&self, dialled: io::Result<OwnedFd>) {
        let answer = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(answer) = answer {
            answer(dialled);
        }
    }
}

impl Running {
    pub(super) fn start(
        isolation: IsolationKind,
        spec: RunSpec,
        streams: Streams,
        prepare: impl FnOnce(u32) -> Result<()>,
    ) -> Result<Self> {
        let request = Request::Run { isolation, spec: Box::new(spec), probe: false, stdin: streams.stdin.is_some() };
        Self::begin(&request, streams, prepare)
    }

    /// Starts a further command in the namespaces of process `pid`, which [`Event::Started`] told
    /// of another command. `prepare` as with
    /// [`Isolation::start`](super::Isolation::start).
    ///
    /// # Errors
    /// [`ErrorKind::Sandbox`]: the helper cannot be started; what goes wrong later is told by
    /// [`Running::wait`].
    pub fn join(
        isolation: IsolationKind,
        pid: i32,
        spec: RunSpec,
        streams: Streams,
        prepare: impl FnOnce(u32) -> Result<()>,
    ) -> Result<Self> {
        let request = Request::Join { isolation, pid, spec: Box::new(spec), stdin: streams.stdin.is_some() };
        Self::begin(&request, streams, prepare)
    }

    fn begin(request: &Request, streams: Streams, prepare: impl FnOnce(u32) -> Result<()>) -> Result<Self> {
        let lost = || "lost the connection to the sandbox".to_owned();
        let (child, control) = helper::spawn(streams.stdout.into(), streams.stderr.into())?;
        let shared = Shared { control, waiting: Mutex::default(), killed: AtomicBool::new(false) };
        let running = Self { child, remote: Remote(Arc::new(shared)) };
        prepare(running.child.id())?;
        let control = &running.remote.0.control;
        write_message(control, request).context(ErrorKind::Sandbox, lost)?;
        if let Some(stdin) = streams.stdin {
            send_file(control, stdin).context(ErrorKind::Sandbox, lost)?;
        }
        Ok(running)
    }

    /// The number of the process that everything descends from.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Waits for the end, telling what happens on the way. When this returns, nothing of the
    /// command runs or is mounted any more.
    ///
    /// # Errors
    /// [`ErrorKind::Sandbox`]: the command could not be started.
    pub fn wait(mut self, event: &mut dyn FnMut(Event)) -> Result<Exit> {
        let control = &self.remote.0.control;
        let last = loop {
            match read_message::<Reply>(control) {
                Ok(Some(Reply::Started(pid))) => event(Event::Started(pid)),
                Ok(Some(Reply::Tun(None))) => event(Event::Tun(receive_file(control))),
                Ok(Some(Reply::Tun(Some(errno)))) => event(Event::Tun(Err(io::Error::from_raw_os_error(errno)))),
                Ok(Some(Reply::Dialled(None))) => self.remote.answer(receive_file(control)),
                Ok(Some(Reply::Dialled(Some(errno)))) => self.remote.answer(Err(io::Error::from_raw_os_error(errno))),
                Ok(Some(last)) => break Some(last),
                Ok(None) | Err(_) => break None,
            }
        };
        let ended_early = helper::wait(&mut self.child)?;
        // Nobody answers any more.
        self.remote.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        match last {
            Some(Reply::Ended(exit, _) | Reply::EndedInTree(exit, _)) => Ok(exit),
            _ if self.remote.0.killed.load(Ordering::Acquire) => Ok(Exit::Signal(9)),
            Some(other) => Err(launch::unexpected(other)),
            None => Err(ended_early),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.remote.0.control.shutdown(Shutdown::Both);
        let _ = self.child.wait();
    }
}
