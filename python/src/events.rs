//! Progress on its way to a callback: from Rust's threads through a channel to the caller's thread.
//!
//! Transfers cannot flood the channel: a callback that is slow misses intermediate positions, and
//! nothing else.

use std::sync::mpsc::{SyncSender, TrySendError};

use mpimg::progress::{Event, Outcome, Reporter, TaskId, TaskKind};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// What comes through the channel.
pub(crate) enum Message {
    Event(OwnedEvent),
    /// The operation has ended.
    Done,
}

/// An event that owns its data.
pub(crate) enum OwnedEvent {
    Started { task: TaskId, kind: TaskKind, name: String, total: Option<u64> },
    Progressed { task: TaskId, done: u64, total: Option<u64> },
    Printed { task: TaskId, bytes: Vec<u8> },
    Retried { task: TaskId, reason: String, attempt: u32, delay: f64 },
    Finished { task: TaskId, outcome: Outcome },
    Warned { message: String, hint: Option<String> },
    Noted { message: String },
}

/// Sends events to the caller's thread.
pub(crate) struct Forward {
    sender: SyncSender<Message>,
    /// Without a callback only warnings are sent on, to the log.
    all: bool,
}

impl Forward {
    pub(crate) fn new(sender: SyncSender<Message>, all: bool) -> Self {
        Self { sender, all }
    }

    /// The same channel, for the end.
    pub(crate) fn done(&self) -> SyncSender<Message> {
        self.sender.clone()
    }
}

impl Reporter for Forward {
    fn event(&self, event: Event<'_>) {
        let owned = match event {
            Event::Warning { message, hint } => OwnedEvent::Warned { message: message.into(), hint: hint.map(str::to_owned) },
            _ if !self.all => return,
            Event::Started { task, kind, name, total } => OwnedEvent::Started { task, kind, name: name.into(), total },
            Event::Progress { task, done, total } => {
                match self.sender.try_send(Message::Event(OwnedEvent::Progressed { task, done, total })) {
                    Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return,
                }
            }
            Event::Output { task, bytes } => OwnedEvent::Printed { task, bytes: bytes.into() },
            Event::Retry { task, reason, attempt, delay } => {
                OwnedEvent::Retried { task, reason: reason.into(), attempt, delay: delay.as_secs_f64() }
            }
            Event::Finished { task, outcome } => OwnedEvent::Finished { task, outcome },
            Event::Note { message } => OwnedEvent::Noted { message: message.into() },
            // Events of a newer library than this package.
            _ => return,
        };
        // Nobody listens any more after a second Ctrl-C.
        let _ = self.sender.send(Message::Event(owned));
    }
}

impl OwnedEvent {
    /// Calls `progress` with the event, or logs it where there is no callback.
    pub(crate) fn deliver(self, py: Python<'_>, progress: Option<&Py<PyAny>>) -> PyResult<()> {
        let events = py.import("mpimg.events")?;
        let event = match self {
            Self::Started { task, kind, name, total } => {
                events.getattr("Started")?.call1((task.number(), kind_name(kind), name, total))
            }
            Self::Progressed { task, done, total } => events.getattr("Progressed")?.call1((task.number(), done, total)),
            Self::Printed { task, bytes } => events.getattr("Printed")?.call1((task.number(), PyBytes::new(py, &bytes))),
            Self::Retried { task, reason, attempt, delay } => {
                events.getattr("Retried")?.call1((task.number(), reason, attempt, delay))
            }
            Self::Finished { task, outcome } => events.getattr("Finished")?.call1((task.number(), outcome_name(outcome))),
            Self::Warned { message, hint } => events.getattr("Warned")?.call1((message, hint)),
            Self::Noted { message } => events.getattr("Noted")?.call1((message,)),
        }?;
        match progress {
            Some(callback) => callback.call1(py, (event,)).map(drop),
            None => events.getattr("_log")?.call1((event,)).map(drop),
        }
    }
}

fn kind_name(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Step => "step",
        TaskKind::Pull => "pull",
        TaskKind::Push => "push",
        _ => "work",
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Cached => "cached",
        _ => "failed",
    }
}
