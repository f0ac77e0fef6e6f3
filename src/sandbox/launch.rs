//! This program's side of a helper: send the request, pass on what the command prints, hear how it
//! ended, or stop it.
//!
//! No helper is left behind: when the socket closes, the helper kills and unmounts everything.

use std::io::{PipeReader, Read as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result, ResultExt as _};

use super::channel::{read_message, write_message};
use super::helper;
use super::setup_error::{Cause, SetupError, limit_hint};
use super::wake::{self, OnCancel};
use super::wire::{Reply, Request};

/// How long the helper may take to clean up after a cancel.
const GRACE: Duration = Duration::from_secs(10);

/// Carries out `request` in a helper. `output` gets what the command prints.
pub(super) fn carry_out(request: &Request, output: &mut dyn FnMut(&[u8]), cancel: &CancellationToken) -> Result<Reply> {
    let lost = || "lost the sandbox".to_owned();
    let (reader, writer) = std::io::pipe().context(ErrorKind::Sandbox, lost)?;
    let errors = writer.try_clone().context(ErrorKind::Sandbox, lost)?;
    let (child, control) = helper::spawn(writer.into(), errors.into())?;
    let cancelled = wake::on_cancel(cancel).context(ErrorKind::Sandbox, lost)?;
    let mut running = Running { child, control, cancelled, output: Some(reader), reply: None, stopped: None };
    write_message(&running.control, request).context(ErrorKind::Sandbox, lost)?;
    while !running.ended() {
        running.step(output)?;
    }
    let ended_early = helper::wait(&mut running.child)?;
    if running.stopped.is_some() {
        return Err(Error::new(ErrorKind::Interrupted, "stopped while a command was running"));
    }
    match running.reply.take() {
        Some(Some(reply)) => Ok(reply),
        _ => Err(ended_early),
    }
}

/// The error of a step that failed in the helper.
pub(super) fn failed(failure: &SetupError) -> Error {
    if let Cause::Request(remedy) = &failure.cause {
        let error = Error::new(ErrorKind::Sandbox, failure.step.clone());
        return if remedy.is_empty() { error } else { error.with_hint(remedy.clone()) };
    }
    let error = Error::new(ErrorKind::Sandbox, format!("cannot set up the sandbox: {} failed", failure.step)).with_hint(
        limit_hint(failure.errno.map(Errno::from_raw_os_error))
            .unwrap_or("`mpimg doctor` shows what this machine allows and what would help"),
    );
    match failure.errno {
        Some(errno) => error.with_source(std::io::Error::from_raw_os_error(errno)),
        None => error,
    }
}

/// The error of a reply that is not the one asked for.
pub(super) fn unexpected(reply: Reply) -> Error {
    match reply {
        Reply::Failed(error) => failed(&error),
        Reply::Refused(refusal) => refusal.into(),
        _ => Error::new(ErrorKind::Sandbox, "the sandbox answered another request"),
    }
}

struct Running {
    child: Child,
    control: UnixStream,
    cancelled: OnCancel,
    output: Option<PipeReader>,
    /// `Some(None)`: the helper closed without one.
    reply: Option<Option<Reply>>,
    stopped: Option<Instant>,
}

impl Running {
    fn ended(&self) -> bool {
        self.output.is_none() && self.reply.is_some()
    }

    fn step(&mut self, output: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut waiting = Vec::new();
        if let Some(reader) = &self.output {
            waiting.push(PollFd::new(reader, PollFlags::IN));
        }
        if self.reply.is_none() {
            waiting.push(PollFd::new(&self.control, PollFlags::IN));
        }
        let sources = waiting.len();
        if self.stopped.is_none() {
            waiting.push(PollFd::new(self.cancelled.descriptor(), PollFlags::IN));
        }
        match poll(&mut waiting, self.patience().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(ErrorKind::Sandbox, || "cannot wait for the command".into()),
        }
        let ready: Vec<bool> = waiting.iter().map(|fd| !fd.revents().is_empty()).collect();
        let output_ready = self.output.is_some() && ready[0];
        let control_ready = self.reply.is_none() && ready[sources - 1];
        if ready.len() > sources && ready[sources] {
            self.stop();
        }
        if self.stopped.is_some_and(|since| since.elapsed() >= GRACE) {
            self.kill();
        }
        if output_ready {
            self.read_output(output)?;
        }
        if control_ready {
            match read_message(&self.control).unwrap_or(None) {
                Some(Reply::Started(_) | Reply::Tun(_)) => {}
                reply => self.reply = Some(reply),
            }
        }
        Ok(())
    }

    /// How long to wait for something to happen: for ever, but for what is left of the grace after
    /// a cancel.
    fn patience(&self) -> Option<Timespec> {
        let left = GRACE.saturating_sub(self.stopped?.elapsed()).max(Duration::from_millis(100));
        Timespec::try_from(left).ok()
    }

    fn read_output(&mut self, output: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut buffer = [0; 64 * 1024];
        let Some(reader) = &mut self.output else { return Ok(()) };
        match reader.read(&mut buffer) {
            Ok(0) => self.output = None,
            Ok(read) => output(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context(ErrorKind::Sandbox, || "cannot read the command's output".into()),
        }
        Ok(())
    }

    /// Kills the helper with all that is of its process group. Before it has one it has no child.
    fn kill(&mut self) {
        let group = Pid::from_child(&self.child);
        if rustix::process::kill_process_group(group, Signal::KILL).is_err() {
            let _ = self.child.kill();
        }
    }

    /// Has the helper end the command: it sees the end of the socket and cleans up itself.
    fn stop(&mut self) {
        let _ = self.control.shutdown(Shutdown::Write);
        self.stopped = Some(Instant::now());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After an error or a panic of the caller: the closed socket ends the helper, and it must
        // not stay a zombie.
        let _ = self.control.shutdown(Shutdown::Both);
        let _ = self.child.wait();
    }
}
