//! A process that outlives its starter: this program once more, in a session of its own, with
//! nothing open but a socket to the starter.
//!
//! A program that would run its own `main` instead is not started.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};

use super::helper;
use super::init::orphans;
use super::init::process::{Fork, close_others, exit_now, fork};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};

/// Starts the helper's program under the name `name`, at which its `main` must call [`detach`].
/// `own` says whether this very program does so. Nothing of this process's environment is passed
/// on.
pub(crate) fn spawn_detached(name: &str, own: bool) -> Result<UnixStream> {
    let program = helper::path()?;
    if program.as_os_str() == helper::OWN_PROGRAM && !own {
        return Err(Error::new(ErrorKind::Sandbox, "this program cannot start containers")
            .with_hint("call `mpimg::init_main()` first in `main`, or name the mpimg command with `mpimg::set_helper`"));
    }
    let cannot = || format!("cannot start `{}`", program.display());
    let program = std::path::absolute(program).context(ErrorKind::Sandbox, cannot)?;
    let (ours, theirs) = UnixStream::pair().context(ErrorKind::Sandbox, cannot)?;
    let mut command = Command::new(program);
    command.arg0(name).env_clear().current_dir("/").stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    // Its child goes on, and is nobody's zombie.
    let status = command.status().context(ErrorKind::Sandbox, cannot)?;
    match status.success() {
        true => Ok(ours),
        false => Err(Error::new(ErrorKind::Sandbox, format!("the process of the container ended early: {status}"))),
    }
}

/// Leaves the starter: its session, its descriptors, its terminal. To be called first in `main`, by
/// a process that [`spawn_detached`] has started. Returns the socket to the starter.
pub(crate) fn detach() -> io::Result<UnixStream> {
    close_others();
    match fork()? {
        Fork::Parent(_) => exit_now(0),
        Fork::Child => {}
    }
    rustix::process::setsid()?;
    // A helper that is killed (it may be the largest process when memory runs out) must not set
    // free what it was to kill.
    orphans::adopt()?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(UnixStream::from(socket))
}

/// Kills what is left of a command whose helper has ended. To be called by a process that has
/// called [`detach`] and waits for no other child.
pub(crate) fn kill_orphans() {
    orphans::kill_descendants();
}
