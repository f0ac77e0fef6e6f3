//! What passes between this program and its helper: one request, one reply, as length-prefixed
//! postcard on a socket.
//!
//! Nothing is passed in arguments or the environment, which other processes can read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::setup_error::SetupError;
use super::{Exit, IsolationKind, RunSpec};
use crate::ErrorKind;
use crate::layer::unpack::{Identity, Limits, UnpackStats};
use crate::layer::{Entry, LayerPath};

/// What the helper shall do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Run a command; with `probe` everything but the command. With `stdin` its standard input
    /// follows as a descriptor. While it runs,
    /// [`Control`] messages may follow.
    Run { isolation: IsolationKind, spec: Box<RunSpec>, probe: bool, stdin: bool },
    /// Run a command in the namespaces of a process that a [`Request::Run`] has started; otherwise
    /// as that.
    Join { isolation: IsolationKind, pid: i32, spec: Box<RunSpec>, stdin: bool },
    /// Unpack the tar that follows on the socket.
    Unpack { isolation: IsolationKind, into: PathBuf, lower: Vec<PathBuf>, limits: Limits, recorded: Option<Identity> },
    /// Tell what an upper folder changes: [`Change`] messages, those of regular files each with a
    /// descriptor.
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
pub(super) enum Control {
    /// Send the command this signal.
    Signal(i32),
    /// Connect to this port of the command's own network; [`Reply::Dialled`] answers.
    Dial(u16),
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The command has been started; process 1 of its namespace, or the command, has this number
    /// here.
    Started(i32),
    /// What came of [`RunSpec::uplink`]: an error number, or a descriptor that follows and gives
    /// IP packets.
    Tun(Option<i32>),
    /// The answer to [`Control::Dial`]: an error number, or a connected socket that follows as a
    /// descriptor.
    Dialled(Option<i32>),
    /// Also whether the command was told of an effect that did not happen (one id for all: a
    /// program became another user).
    Ended(Exit, bool),
    /// In a private tree; these paths were moved away and back.
    EndedInTree(Exit, Vec<LayerPath>),
    Unpacked(UnpackStats),
    Done,
    Failed(SetupError),
    Refused(ErrorMessage),
}

/// An [`Error`](crate::Error) on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorMessage {
    kind: ErrorKind,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl From<crate::Error> for ErrorMessage {
    fn from(error: crate::Error) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { kind: error.kind(), message: error.to_string(), causes: error.causes(), hint }
    }
}

impl From<ErrorMessage> for crate::Error {
    fn from(message: ErrorMessage) -> Self {
        let kind = message.kind;
        let mut cause: Option<Self> = None;
        for message in message.causes.into_iter().rev() {
            let error = Self::new(kind, message);
            cause = Some(match cause {
                Some(cause) => error.with_source(cause),
                None => error,
            });
        }
        let mut error = Self::new(kind, message.message);
        if let Some(cause) = cause {
            error = error.with_source(cause);
        }
        match message.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
