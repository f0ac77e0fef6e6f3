//! A process that a container ends with, however that process ends.
//!
//! Never watches the process's number: the kernel gives that to another process sooner or later. A
//! descriptor stays that process's.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, ErrorKind, Result};
use crate::sandbox::Remote;
use crate::store::process_stat;

/// How often a process is looked at on a kernel that cannot tell of its end.
const LOOK: Duration = Duration::from_millis(100);

/// The process, and whether it is known to be gone.
pub(super) struct Owner {
    process: Process,
    gone: Arc<AtomicBool>,
}

enum Process {
    /// Readable when the process ends (Linux 5.3).
    Pidfd(OwnedFd),
    /// Its folder in /proc: what is read through it is that process's, or an error once the process
    /// is gone.
    Folder(OwnedFd),
}

impl Process {
    fn open(pid: Pid) -> rustix::io::Result<Self> {
        match pidfd_open(pid, PidfdFlags::empty()) {
            // EPERM: runtimes before Docker 20.10.10 answer so to calls that they do not know.
            Err(Errno::NOSYS | Errno::PERM) => Self::open_folder(pid),
            opened => opened.map(Self::Pidfd),
        }
    }

    fn open_folder(pid: Pid) -> rustix::io::Result<Self> {
        let path = format!("/proc/{}", pid.as_raw_nonzero());
        let folder = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        folder.map(Self::Folder).map_err(|errno| if errno == Errno::NOENT { Errno::SRCH } else { errno })
    }

    fn try_clone(&self) -> std::io::Result<Self> {
        Ok(match self {
            Self::Pidfd(descriptor) => Self::Pidfd(descriptor.try_clone()?),
            Self::Folder(folder) => Self::Folder(folder.try_clone()?),
        })
    }

    /// Returns when the process has ended.
    fn wait(&self) {
        match self {
            Self::Pidfd(descriptor) => while poll(&mut [PollFd::new(descriptor, PollFlags::IN)], None) == Err(Errno::INTR) {},
            Self::Folder(folder) => {
                while is_alive(folder) {
                    std::thread::sleep(LOOK);
                }
            }
        }
    }
}

/// A zombie has ended, although its folder is still there.
fn is_alive(folder: &OwnedFd) -> bool {
    let opened = rustix::fs::openat(folder.as_fd(), "stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut stat = Vec::new();
    let read = opened.map(std::fs::File::from).is_ok_and(|mut file| file.read_to_end(&mut stat).is_ok());
    let stat = String::from_utf8_lossy(&stat);
    let state = process_stat::fields_after_name(&stat).next();
    read && state.is_some_and(|state| !matches!(state, "Z" | "X"))
}

impl Owner {
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such process.
    pub(super) fn find(number: u32) -> Result<Self> {
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH);
        let process = pid.and_then(Process::open).map_err(|errno| {
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
            process.wait();
            gone.store(true, Ordering::Release);
            remote.kill();
        };
        std::thread::Builder::new().name("owner".into()).spawn(work).map(drop).map_err(cannot)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_process_tells_of_its_end_where_no_descriptor_can() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let Process::Folder(folder) = Process::open_folder(pid).unwrap() else { panic!("no folder") };
        assert!(is_alive(&folder));
        child.kill().unwrap();
        // Not waited for: a zombie.
        Process::Folder(folder.try_clone().unwrap()).wait();
        child.wait().unwrap();
        assert!(!is_alive(&folder));
        assert_eq!(Process::open_folder(pid).err(), Some(Errno::SRCH));
    }
}
