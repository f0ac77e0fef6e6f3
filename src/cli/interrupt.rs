//! Ctrl-C, SIGTERM and SIGHUP: the first one lets the work clean up, the second ends at once.
//!
//! Invariant: a process that has something mounted, running or half-sent ends at once only on the
//! second signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

use super::progress::Display;

/// Shells report a process that a signal ended as this plus the signal's number.
const SIGNALLED: u8 = 128;

/// The number of SIGINT.
const INTERRUPT: u8 = 2;

/// The number of SIGHUP: the terminal or the connection that it came through is gone.
const HANG_UP: u8 = 1;

/// The number of SIGTERM.
const TERMINATE: u8 = 15;

/// What a signal cancels, and which signal came.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt {
    cancel: CancellationToken,
    signal: Arc<AtomicU8>,
}

impl Interrupt {
    /// Cancelled by the first signal.
    pub(super) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The exit code of a process that was told to end: 130 after Ctrl-C, 143 after SIGTERM, 129
    /// after SIGHUP.
    pub(super) fn exit_code(&self) -> Option<u8> {
        match self.signal.load(Ordering::Acquire) {
            0 => None,
            signal => Some(SIGNALLED + signal),
        }
    }

    /// Ctrl-C as a key, which it is at a prompt.
    pub(super) fn pressed(&self) {
        self.signal.store(INTERRUPT, Ordering::Release);
    }

    /// From now on signals are handled here. Must be called on the runtime.
    pub(super) fn listen(&self, display: &Display) {
        let (this, display) = (self.clone(), display.clone());
        tokio::spawn(async move {
            let Ok(mut signals) = Signals::new() else { return };
            let first = signals.next().await;
            this.signal.store(first, Ordering::Release);
            this.cancel.cancel();
            display.print("interrupted: stopping; again to end at once");
            let second = signals.next().await;
            display.end();
            // The user asked twice, and what is under way may not end by itself.
            std::process::exit((SIGNALLED + second).into());
        });
    }
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// `None`: the caller has it ignored, as `nohup` does.
    hang_up: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hang_up = (!is_ignored(HANG_UP)).then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hang_up })
    }

    /// The number of the next signal.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPT,
            _ = self.terminate.recv() => TERMINATE,
            () = hung_up(&mut self.hang_up) => HANG_UP,
        }
    }
}

async fn hung_up(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process was started with a signal ignored (proc(5), `SigIgn`).
fn is_ignored(signal: u8) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
