//! Work that has to be done inside a user namespace, because only there do the files have
//! their right owners: unpack, compare, remove.
//!
//! A helper does it, because a process with several threads cannot enter a user namespace.

use std::fs::File;
use std::io::{Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::layer::Entry;
use crate::layer::unpack::{UnpackOptions, UnpackStats};

use super::channel::{read_message, receive_file, write_message};
use super::wire::{Change, Reply, Request};
use super::{IsolationKind, helper, launch};

/// What [`Isolation::changes`](super::Isolation::changes) hands over, entry by entry: the entry and
/// the bytes of a regular file.
pub type Emit<'a> = dyn FnMut(&Entry, Option<&mut dyn Read>) -> Result<()> + 'a;

pub(super) fn unpack(isolation: IsolationKind, tar: &mut dyn Read, into: &Path, options: UnpackOptions) -> Result<UnpackStats> {
    let lower = options.lower.iter().map(|path| absolute(path)).collect::<Result<Vec<_>>>()?;
    let (limits, recorded) = (options.limits, options.recorded);
    let mut task = Task::start(&Request::Unpack { isolation, into: absolute(into)?, lower, limits, recorded })?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = tar.read(&mut buffer).context(ErrorKind::Io, || "cannot read the layer".into())?;
        // A helper that has given up closes its end; its reply says why.
        if read == 0 || (&task.control).write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = task.control.shutdown(Shutdown::Write);
    match task.reply()? {
        Reply::Unpacked(stats) => Ok(stats),
        other => Err(launch::unexpected(other)),
    }
}

pub(super) fn changes(isolation: IsolationKind, upper: &Path, lower: &[PathBuf], emit: &mut Emit<'_>) -> Result<()> {
    let lower = lower.iter().map(|path| absolute(path)).collect::<Result<Vec<_>>>()?;
    let mut task = Task::start(&Request::Changes { isolation, upper: absolute(upper)?, lower })?;
    let lost = || "lost the connection to the sandbox".to_owned();
    loop {
        match read_message::<Change>(&task.control).context(ErrorKind::Sandbox, lost)? {
            Some(Change::Entry(entry)) if matches!(entry.kind, crate::layer::Kind::File { .. }) => {
                let mut file = File::from(receive_file(&task.control).context(ErrorKind::Sandbox, lost)?);
                emit(&entry, Some(&mut file))?;
            }
            Some(Change::Entry(entry)) => emit(&entry, None)?,
            Some(Change::End) | None => break,
        }
    }
    match task.reply()? {
        Reply::Done => Ok(()),
        other => Err(launch::unexpected(other)),
    }
}

pub(super) fn remove(isolation: IsolationKind, path: &Path) -> Result<()> {
    let mut task = Task::start(&Request::Remove { isolation, path: absolute(path)? })?;
    match task.reply()? {
        Reply::Done => Ok(()),
        other => Err(launch::unexpected(other)),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::io("find", path, error))
}

struct Task {
    child: Child,
    control: UnixStream,
}

impl Task {
    fn start(request: &Request) -> Result<Self> {
        let (child, control) = helper::spawn(Stdio::null(), Stdio::null())?;
        let task = Self { child, control };
        write_message(&task.control, request).context(ErrorKind::Sandbox, || "lost the connection to the sandbox".into())?;
        Ok(task)
    }

    fn reply(&mut self) -> Result<Reply> {
        let reply = read_message(&self.control).context(ErrorKind::Sandbox, || "lost the connection to the sandbox".into())?;
        reply.ok_or_else(|| Error::new(ErrorKind::Sandbox, "the sandbox ended early"))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let _ = self.control.shutdown(Shutdown::Both);
        let _ = self.child.wait();
    }
}
