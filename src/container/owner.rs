//! A process that a container ends with, however that process ends.
//!
//! Refuses to watch its number: the kernel gives that to somebody else sooner or later. The descriptor stays that process's.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, ErrorKind, Result};
use crate::sandbox::Remote;

/// The process, and whether it is known to be gone.
pub(super) struct Owner {
    process: OwnedFd,
    gone: Arc<AtomicBool>,
}

impl Owner {
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such process.
    pub(super) fn find(number: u32) -> Result<Self> {
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH);
        let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty())).map_err(|errno| {
            Error::new(ErrorKind::NotFound, format!("the container cannot end with the process {number}"))
                .with_hint("name one that runs, and that this process can see")
                .with_source(std::io::Error::from(errno))
        })?;
        Ok(Self { process, gone: Arc::default() })
    }

    /// Kills the container once the process is gone. The thread ends with this one's process.
    pub(super) fn watch(&self, remote: Remote) -> Result<()> {
        let cannot = |error| Error::new(ErrorKind::Io, "cannot start a thread").with_source(error);
        let (process, gone) = (self.process.try_clone().map_err(cannot)?, self.gone.clone());
        let work = move || {
            while poll(&mut [PollFd::new(&process, PollFlags::IN)], None) == Err(Errno::INTR) {}
            gone.store(true, Ordering::Release);
            remote.kill();
        };
        std::thread::Builder::new().name("owner".into()).spawn(work).map(drop).map_err(cannot)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}
