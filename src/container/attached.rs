//! A container in the foreground: its output goes to its starter, signals and input come from there, and it ends with it.
//!
//! Refuses input to a container that was not asked to be interactive.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::launch::{Job, Launched, Told, Wish};
use super::log::Stream;
use super::monitor::file;
use super::record::Outcome;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::sandbox::Streams;
use crate::sandbox::wire::{read_message, write_message};

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
    /// The same, where it is a terminal: its size can be told while a write waits.
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
    /// Those of `output`, after which everything is killed. [`ErrorKind::Sandbox`]: the container's own process was killed.
    pub fn wait(self, output: &mut dyn FnMut(Stream, &[u8]) -> Result<()>) -> Result<Outcome> {
        let lost = || "the container's process was killed, and the container with it".to_owned();
        loop {
            match read_message::<Told>(&*self.control.socket).context(ErrorKind::Sandbox, lost)? {
                Some(Told::Output(stream, bytes)) => output(stream, &bytes)?,
                Some(Told::Ended(outcome)) => return Ok(outcome),
                Some(Told::Failed(refusal)) => return Err(refusal.into()),
                Some(Told::Note(_) | Told::Started) => {}
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
    fn wish(&self, wish: &Wish) {
        let _one = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        // A container that has ended wants nothing more.
        let _ = write_message(&*self.socket, wish);
    }

    /// Sends its command a signal.
    pub fn signal(&self, number: i32) {
        self.wish(&Wish::Signal(number));
    }

    /// Kills it with all that it has started.
    pub fn kill(&self) {
        self.wish(&Wish::Kill);
    }

    /// Writes to its standard input. Waits until there is room: as long as the command runs and does not read.
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

/// The monitor's ends of the command's streams.
pub(super) struct Ends {
    pub(super) outputs: Vec<(Stream, File)>,
    /// For the starter, who writes the input itself.
    pub(super) input: Option<OwnedFd>,
}

/// Makes the command's streams: pipes, or a terminal.
pub(super) fn streams(job: &Job) -> Result<(Streams, Ends)> {
    let made = if job.terminal { terminal() } else { pipes(job) };
    made.context(ErrorKind::Sandbox, || "cannot make the container's streams".into())
}

fn pipes(job: &Job) -> io::Result<(Streams, Ends)> {
    let ((out, stdout), (errors, stderr)) = (io::pipe()?, io::pipe()?);
    let (stdin, input) = match job.interactive {
        true => io::pipe().map(|(stdin, input)| (Some(OwnedFd::from(stdin)), Some(OwnedFd::from(input))))?,
        false => (None, None),
    };
    let streams = Streams { stdin, stdout: stdout.into(), stderr: stderr.into() };
    Ok((streams, Ends { outputs: vec![(Stream::Out, file(out)), (Stream::Error, file(errors))], input }))
}

fn terminal() -> io::Result<(Streams, Ends)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    let streams = Streams { stdin: Some(theirs.try_clone()?), stdout: theirs.try_clone()?, stderr: theirs };
    let input = ours.try_clone()?;
    Ok((streams, Ends { outputs: vec![(Stream::Out, file(ours))], input: Some(input) }))
}
