//! What passes between this program and its helper: one request, one reply, as length-prefixed postcard on a socket.
//!
//! Refuses arguments and environment as a way: other processes can read those.

use std::io::{Error, IoSlice, IoSliceMut, Read, Result, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Exit, IsolationKind, RunSpec};
use crate::ErrorKind;
use crate::layer::unpack::{Identity, Limits, UnpackStats};
use crate::layer::{Entry, LayerPath};

/// Far more than a script and its secrets need.
const MAX_MESSAGE: u32 = 256 << 20;

/// What the helper shall do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Run a command; with `probe` everything but the command. With `stdin` its standard input follows as a descriptor. While it runs,
    /// [`Order`]s may follow.
    Run { isolation: IsolationKind, spec: Box<RunSpec>, probe: bool, stdin: bool },
    /// Unpack the tar that follows on the socket.
    Unpack { isolation: IsolationKind, into: PathBuf, lower: Vec<PathBuf>, limits: Limits, recorded: Option<Identity> },
    /// Tell what an upper folder changes: [`Change`] messages, those of regular files each with a descriptor.
    Changes { isolation: IsolationKind, upper: PathBuf, lower: Vec<PathBuf> },
    /// Remove a folder with all that is in it.
    Remove { isolation: IsolationKind, path: PathBuf },
}

/// One message of the answer to [`Request::Changes`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Change {
    Entry(Entry),
    End,
}

/// What a caller may want while a command runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Send the command this signal.
    Signal(i32),
    /// Connect to this port of the command's own network; [`Reply::Dialled`] answers.
    Dial(u16),
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The command has been started; process 1 of its namespace, or the command, has this number here.
    Started(i32),
    /// What came of [`RunSpec::way_out`]: an error number, or a descriptor that follows and gives IP packets.
    WayOut(Option<i32>),
    /// The answer to [`Order::Dial`]: an error number, or a connected socket that follows as a descriptor.
    Dialled(Option<i32>),
    Ended(Exit),
    /// In a private tree; these paths were moved away and back.
    EndedInTree(Exit, Vec<LayerPath>),
    Unpacked(UnpackStats),
    Done,
    Failed(SetupError),
    Refused(Refusal),
}

/// An [`Error`](crate::Error) on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    kind: ErrorKind,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl From<crate::Error> for Refusal {
    fn from(error: crate::Error) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { kind: error.kind(), message: error.to_string(), causes: error.causes(), hint }
    }
}

impl From<Refusal> for crate::Error {
    fn from(refusal: Refusal) -> Self {
        let kind = refusal.kind;
        let mut cause: Option<Self> = None;
        for message in refusal.causes.into_iter().rev() {
            let error = Self::new(kind, message);
            cause = Some(match cause {
                Some(cause) => error.with_source(cause),
                None => error,
            });
        }
        let mut error = Self::new(kind, refusal.message);
        if let Some(cause) = cause {
            error = error.with_source(cause);
        }
        match refusal.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// A step of the helper that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SetupError {
    /// What was tried, such as `mount overlay`.
    pub(super) step: String,
    pub(super) errno: Option<i32>,
    /// Set where what was asked for is wrong, not this machine: then `step` is the whole message, and this is the remedy.
    pub(super) remedy: Option<String>,
}

impl SetupError {
    pub(super) fn new(step: impl Into<String>, errno: Option<i32>) -> Self {
        Self { step: step.into(), errno, remedy: None }
    }

    /// What was asked for is wrong.
    pub(super) fn refused(error: &crate::Error) -> Self {
        Self { step: error.to_string(), errno: None, remedy: Some(error.hint().unwrap_or_default().to_owned()) }
    }
}

/// Names the step that an error comes from.
pub(super) trait Step<T> {
    fn step(self, step: impl FnOnce() -> String) -> std::result::Result<T, SetupError>;
}

impl<T> Step<T> for std::result::Result<T, rustix::io::Errno> {
    fn step(self, step: impl FnOnce() -> String) -> std::result::Result<T, SetupError> {
        self.map_err(|errno| SetupError::new(step(), Some(errno.raw_os_error())))
    }
}

impl<T> Step<T> for Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> std::result::Result<T, SetupError> {
        self.map_err(|error| SetupError::new(step(), error.raw_os_error()))
    }
}

pub(crate) fn write_message(mut to: impl Write, message: &impl Serialize) -> Result<()> {
    let body = postcard::to_stdvec(message).map_err(Error::other)?;
    let length = u32::try_from(body.len()).map_err(Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&body)
}

/// The next message; `None` where the other side has closed.
pub(crate) fn read_message<T: DeserializeOwned>(mut from: impl Read) -> Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_MESSAGE {
        return Err(Error::from(std::io::ErrorKind::InvalidData));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body)?;
    postcard::from_bytes(&body).map(Some).map_err(Error::other)
}

/// Sends an open file to the other side.
pub(crate) fn send_file(to: &UnixStream, file: impl AsFd) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(Error::from(std::io::ErrorKind::OutOfMemory));
    }
    // A descriptor travels with at least one byte.
    rustix::net::sendmsg(to, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives the file that the other side has sent.
pub(crate) fn receive_file(from: &UnixStream) -> Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let files = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    files.flatten().next().ok_or_else(|| Error::from(std::io::ErrorKind::UnexpectedEof))
}
