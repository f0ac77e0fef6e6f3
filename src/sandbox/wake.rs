//! A descriptor that can be read from once a [`CancellationToken`] is cancelled, for code that
//! waits for descriptors.

use std::future::Future as _;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};

use rustix::event::EventfdFlags;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Keeps the token's promise to wake the descriptor; that ends when this is dropped.
pub(crate) struct OnCancel {
    event: Arc<Event>,
    _waiting: Pin<Box<WaitForCancellationFutureOwned>>,
}

struct Event(OwnedFd);

impl Event {
    fn set(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl Wake for Event {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}

impl OnCancel {
    /// Nobody reads it, so it stays readable.
    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.event.0
    }
}

/// Has the cancellation of `token`, past or to come, make a descriptor readable.
pub(crate) fn on_cancel(token: &CancellationToken) -> std::io::Result<OnCancel> {
    let event = Arc::new(Event(rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?));
    let mut waiting = Box::pin(token.clone().cancelled_owned());
    // No runtime is needed: a future that is asked once wakes its waker when there is an answer.
    let waker = Arc::clone(&event).into();
    if waiting.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
        event.set();
    }
    Ok(OnCancel { event, _waiting: waiting })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_readable(on_cancel: &OnCancel, seconds: i64) -> bool {
        let patience = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(on_cancel.descriptor(), PollFlags::IN)], Some(&patience)).unwrap() == 1
    }

    #[test]
    fn the_descriptor_becomes_readable_when_the_token_is_cancelled_before_or_afterwards() {
        let token = CancellationToken::new();
        let before = on_cancel(&token).unwrap();
        assert!(!is_readable(&before, 0));
        let other = token.clone();
        let canceller = std::thread::spawn(move || other.cancel());
        assert!(is_readable(&before, 10));
        canceller.join().unwrap();
        assert!(is_readable(&before, 0) && is_readable(&on_cancel(&token).unwrap(), 0));
    }
}
