//! Waits until something about a container has changed: its record, its log, the lock that says
//! that it lives.
//!
//! Invariant: a change between two waits ends the second at once; nothing that happens is missed.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::record::Folder;
use crate::error::{Error, ErrorKind, Result};
use crate::sandbox::wake::{OnCancel, on_cancel};

/// How long to wait where the kernel tells nothing: a user may have used up the instances of
/// inotify (inotify(7)).
const UNTOLD: Duration = Duration::from_millis(20);

/// The longest wait in any case: no event comes of what another machine does to a network file
/// system.
const LONGEST: Duration = Duration::from_secs(1);

/// A container's folder as it changes.
pub(super) struct Watch {
    folder: Folder,
    /// `None` where the kernel refuses.
    events: Option<OwnedFd>,
    cancelled: Option<OnCancel>,
}

impl Watch {
    /// Begins to note changes. What has happened before must be looked at after this.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: this process has no descriptor left.
    pub(super) fn new(folder: &Folder, cancel: Option<&CancellationToken>) -> Result<Self> {
        let cancelled = cancel.map(on_cancel).transpose();
        let cancelled = cancelled.map_err(|error| Error::new(ErrorKind::Io, "cannot wait for a container").with_source(error))?;
        Ok(Self { folder: folder.clone(), events: watched(folder).ok(), cancelled })
    }

    /// Returns after the next change, or when the token is cancelled, at `until` at the latest;
    /// maybe without any of these.
    pub(super) fn wait(&self, until: Option<Instant>) {
        let longest = if self.events.is_some() { LONGEST } else { UNTOLD };
        let last = Instant::now() + until.map_or(longest, |until| until.saturating_duration_since(Instant::now()).min(longest));
        loop {
            let left = last.saturating_duration_since(Instant::now());
            let descriptors = [self.events.as_ref(), self.cancelled.as_ref().map(OnCancel::descriptor)];
            let mut polled: Vec<PollFd<'_>> =
                descriptors.into_iter().flatten().map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
            // One too large for the kernel cannot be: it is a second at most.
            let patience = Timespec::try_from(left).ok();
            match poll(&mut polled, patience.as_ref()) {
                Ok(0) => return,
                Ok(_) if self.events.as_ref().is_none_or(|events| self.has_changed(events)) => return,
                Ok(_) if self.cancelled.is_some() && polled.last().is_some_and(|last| !last.revents().is_empty()) => return,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return std::thread::sleep(UNTOLD),
            }
        }
    }

    /// Takes the events that have come; whether one of them matters.
    fn has_changed(&self, events: &OwnedFd) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(events, &mut buffer);
        let mut changed = false;
        loop {
            match reader.next() {
                Ok(event) => changed |= self.matters(event.events(), event.file_name()),
                Err(Errno::INTR) => {}
                Err(_) => return changed,
            }
        }
    }

    /// A process that asks whether the container lives opens and closes its lock: that is no news.
    fn matters(&self, event: ReadFlags, name: Option<&CStr>) -> bool {
        match name.map(CStr::to_bytes) {
            Some(b"lock") if event.contains(ReadFlags::CLOSE_WRITE) => {
                self.folder.wait_for_lock();
                true
            }
            Some(b"lock") => event.contains(ReadFlags::DELETE),
            Some(b"orders") => event.intersects(ReadFlags::OPEN | ReadFlags::DELETE),
            _ => event.intersects(ReadFlags::all() - ReadFlags::OPEN - ReadFlags::CLOSE_WRITE),
        }
    }
}

fn watched(folder: &Folder) -> rustix::io::Result<OwnedFd> {
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::OPEN;
    let gone = WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    inotify::add_watch(&events, folder.path(), flags | gone | WatchFlags::ONLYDIR)?;
    Ok(events)
}
