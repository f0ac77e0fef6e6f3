//! A container in the foreground: its output goes to its starter, signals and input come from
//! there, and it ends with it.
//!
//! Refuses input to a container that was not asked to be interactive.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::termios::Winsize;

use super::launch::Launched;
use super::log::Stream;
use super::monitor_protocol::{MonitorCommand, MonitorEvent};
use super::record::Outcome;
use super::streams::file;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::sandbox::channel::{read_message, write_message};

/// A container whose starter stays; it ends when this is dropped.
#[derive(Debug)]
pub struct Attached {
    id: String,
    control: AttachedControl,
}

/// What can be done to it from other threads. Clones are one.
#[derive(Debug, Clone)]
pub struct AttachedControl {
    socket: Arc<UnixStream>,
    sending: Arc<Mutex<()>>,
    /// Where its input goes, until that ends.
    input: Arc<Mutex<Option<File>>>,
    /// As `input`, where it is a terminal: its size can be told while a write waits.
    terminal: Option<Arc<File>>,
}

impl Attached {
    pub(super) fn new(launched: Launched) -> Self {
        let input = launched.input.map(file);
        let terminal = input.as_ref().filter(|input| input.is_terminal()).and_then(|input| input.try_clone().ok());
        let control = AttachedControl {
            socket: Arc::new(launched.socket),
            sending: Arc::default(),
            input: Arc::new(Mutex::new(input)),
            terminal: terminal.map(Arc::new),
        };
        Self { id: launched.id, control }
    }

    /// The container's ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A handle for other threads.
    pub fn control(&self) -> AttachedControl {
        self.control.clone()
    }

    /// Hands over what the command writes until it ends.
    ///
    /// # Errors
    /// Those of `output`, after which everything is killed. [`ErrorKind::Sandbox`]: the container's
    /// own process was killed.
    pub fn wait(self, output: &mut dyn FnMut(Stream, &[u8]) -> Result<()>) -> Result<Outcome> {
        let lost = || "the container's process was killed, and the container with it".to_owned();
        loop {
            match read_message::<MonitorEvent>(&*self.control.socket).context(ErrorKind::Sandbox, lost)? {
                Some(MonitorEvent::Output(stream, bytes)) => output(stream, &bytes)?,
                Some(MonitorEvent::Ended(outcome)) => return Ok(outcome),
                Some(MonitorEvent::Failed(refusal)) => return Err(refusal.into()),
                Some(MonitorEvent::Note(_) | MonitorEvent::Started) => {}
                None => return Err(Error::new(ErrorKind::Sandbox, lost())),
            }
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.control.socket.shutdown(Shutdown::Both);
    }
}

impl AttachedControl {
    fn send(&self, command: &MonitorCommand) {
        let _one = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        // A container that has ended wants nothing more.
        let _ = write_message(&*self.socket, command);
    }

    /// Sends its command a signal.
    pub fn signal(&self, number: i32) {
        self.send(&MonitorCommand::Signal(number));
    }

    /// Kills it with all that it has started.
    pub fn kill(&self) {
        self.send(&MonitorCommand::Kill);
    }

    /// Writes to its standard input. Waits until there is room: as long as the command runs and
    /// does not read.
    pub fn input(&self, bytes: &[u8]) {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        // A command that reads no more is no reason to stop it.
        if input.as_mut().is_some_and(|input| input.write_all(bytes).is_err()) {
            *input = None;
        }
    }

    /// Ends its standard input. A terminal is told by the letter that ends input, and stays.
    pub fn end_input(&self) {
        match self.terminal {
            Some(_) => self.input(&[4]),
            None => *self.input.lock().unwrap_or_else(PoisonError::into_inner) = None,
        }
    }

    /// Tells its terminal how large it is.
    pub fn resize(&self, rows: u16, columns: u16) {
        if let Some(terminal) = &self.terminal {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = rustix::termios::tcsetwinsize(terminal, size);
        }
    }
}
