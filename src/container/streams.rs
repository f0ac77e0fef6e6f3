//! A container's standard streams: pipes, or a terminal.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::pty::OpenptFlags;

use super::log::Stream;
use super::monitor_protocol::Job;
use crate::error::{ErrorKind, Result, ResultExt as _};
use crate::sandbox::Streams;

/// The monitor's ends of the command's streams.
pub(super) struct MonitorEnds {
    pub(super) outputs: Vec<(Stream, File)>,
    /// For the starter, who writes the input itself.
    pub(super) input: Option<OwnedFd>,
}

/// Makes the command's streams: pipes, or a terminal.
pub(super) fn streams(job: &Job) -> Result<(Streams, MonitorEnds)> {
    let made = if job.terminal { terminal() } else { pipes(job) };
    made.context(ErrorKind::Sandbox, || "cannot make the container's streams".into())
}

fn pipes(job: &Job) -> io::Result<(Streams, MonitorEnds)> {
    let ((out, stdout), (errors, stderr)) = (io::pipe()?, io::pipe()?);
    let (stdin, input) = match job.interactive {
        true => io::pipe().map(|(stdin, input)| (Some(OwnedFd::from(stdin)), Some(OwnedFd::from(input))))?,
        false => (None, None),
    };
    let streams = Streams { stdin, stdout: stdout.into(), stderr: stderr.into() };
    Ok((streams, MonitorEnds { outputs: vec![(Stream::Out, file(out)), (Stream::Error, file(errors))], input }))
}

fn terminal() -> io::Result<(Streams, MonitorEnds)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    let streams = Streams { stdin: Some(theirs.try_clone()?), stdout: theirs.try_clone()?, stderr: theirs };
    let input = ours.try_clone()?;
    Ok((streams, MonitorEnds { outputs: vec![(Stream::Out, file(ours))], input: Some(input) }))
}

/// The descriptor as a file.
pub(super) fn file(fd: impl Into<OwnedFd>) -> File {
    File::from(fd.into())
}
