//! A container in the foreground: its output goes to its starter, signals and input come from there, and it ends with it.
//!
//! Refuses input to a container that was not asked to be interactive.

use std::fs::File;
use std::io::{self, Write};
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
}

impl Attached {
    pub(super) fn new(launched: Launched) -> Self {
        Self { id: launched.id, control: AttachedControl { socket: Arc::new(launched.socket), sending: Arc::default() } }
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

    /// Writes to its standard input.
    pub fn input(&self, bytes: &[u8]) {
        self.wish(&Wish::Input(bytes.to_vec()));
    }

    /// Ends its standard input.
    pub fn end_input(&self) {
        self.wish(&Wish::InputEnds);
    }

    /// Tells its terminal how large it is.
    pub fn resize(&self, rows: u16, columns: u16) {
        self.wish(&Wish::Resize(rows, columns));
    }
}

/// The monitor's ends of the command's streams.
pub(super) struct Ends {
    pub(super) outputs: Vec<(Stream, File)>,
    pub(super) input: Option<Input>,
}

/// Where input goes.
pub(super) struct Input {
    to: File,
    terminal: bool,
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Input {
    /// Ends a pipe. A terminal is told by the letter that ends input, and stays.
    pub(super) fn end(mut self) -> Option<Self> {
        if !self.terminal {
            return None;
        }
        let _ = self.to.write_all(&[4]);
        Some(self)
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) {
        if self.terminal {
            let _ =
                rustix::termios::tcsetwinsize(&self.to, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 });
        }
    }
}

/// Makes the command's streams: pipes, or a terminal.
pub(super) fn streams(job: &Job) -> Result<(Streams, Ends)> {
    let made = if job.terminal { terminal() } else { pipes(job) };
    made.context(ErrorKind::Sandbox, || "cannot make the container's streams".into())
}

fn pipes(job: &Job) -> io::Result<(Streams, Ends)> {
    let ((out, stdout), (errors, stderr)) = (io::pipe()?, io::pipe()?);
    let (stdin, input) = match job.interactive {
        true => {
            io::pipe().map(|(stdin, input)| (Some(OwnedFd::from(stdin)), Some(Input { to: file(input), terminal: false })))?
        }
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
    let input = Input { to: file(ours.try_clone()?), terminal: true };
    Ok((streams, Ends { outputs: vec![(Stream::Out, file(ours))], input: Some(input) }))
}
