//! What passes between this program and its helper: one request, one reply, as length-prefixed postcard on a socket.
//!
//! Refuses arguments and environment as a way: other processes can read those.

use std::io::{Error, ErrorKind, Read, Result, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Exit, RunSpec, Rung};

/// Far more than a script and its secrets need.
const MAX_MESSAGE: u32 = 256 << 20;

/// What the helper shall do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Run { rung: Rung, spec: Box<RunSpec> },
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Ended(Exit),
    Failed(Fault),
}

/// A step of the helper that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    /// What was tried, such as `mount overlay`.
    pub(super) step: String,
    pub(super) errno: Option<i32>,
}

impl Fault {
    pub(super) fn new(step: impl Into<String>, errno: Option<i32>) -> Self {
        Self { step: step.into(), errno }
    }
}

/// Names the step that an error comes from.
pub(super) trait Step<T> {
    fn step(self, step: impl FnOnce() -> String) -> std::result::Result<T, Fault>;
}

impl<T> Step<T> for std::result::Result<T, rustix::io::Errno> {
    fn step(self, step: impl FnOnce() -> String) -> std::result::Result<T, Fault> {
        self.map_err(|errno| Fault::new(step(), Some(errno.raw_os_error())))
    }
}

impl<T> Step<T> for Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> std::result::Result<T, Fault> {
        self.map_err(|error| Fault::new(step(), error.raw_os_error()))
    }
}

pub(super) fn write_message(mut to: impl Write, message: &impl Serialize) -> Result<()> {
    let body = postcard::to_stdvec(message).map_err(Error::other)?;
    let length = u32::try_from(body.len()).map_err(Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&body)
}

/// The next message; `None` where the other side has closed.
pub(super) fn read_message<T: DeserializeOwned>(mut from: impl Read) -> Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_MESSAGE {
        return Err(Error::from(ErrorKind::InvalidData));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body)?;
    postcard::from_bytes(&body).map(Some).map_err(Error::other)
}
