//! What happens while mpimg works, as events for a program that draws or records them.
//!
//! Nothing here knows terminals: bars, colours and JSON belong to the command line.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Receives events from any thread. Must return quickly: the work waits for it.
pub trait Reporter: Send + Sync {
    /// One event. Events of one task arrive in order.
    fn event(&self, event: Event<'_>);
}

/// Names one running task; unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl TaskId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The task's number, from 1.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What kind of work a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskKind {
    /// One instruction of a Dockerfile.
    Step,
    /// Bytes that come from a registry.
    Pull,
    /// Bytes that go to a registry.
    Push,
    /// Anything else that takes time.
    Work,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Done now.
    Done,
    /// Nothing to do: the result was there already (build cache, blob in the registry, mount).
    Cached,
    /// It failed; the error itself is returned to the caller, never reported here.
    Failed,
}

/// One thing that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A task began. `total` is in bytes, where it is known.
    Started {
        /// The task.
        task: TaskId,
        /// Its kind.
        kind: TaskKind,
        /// A short name: `[2/5] COPY app app`, `push sha256:0123…`.
        name: &'a str,
        /// Bytes to do.
        total: Option<u64>,
    },
    /// `done` of `total` bytes are done; `done` may go back when a transfer starts again.
    Progress {
        /// The task.
        task: TaskId,
        /// Bytes done.
        done: u64,
        /// Bytes to do, where it is known.
        total: Option<u64>,
    },
    /// A RUN step printed something (either stream, raw bytes, not necessarily whole lines).
    Output {
        /// The step.
        task: TaskId,
        /// What it printed.
        bytes: &'a [u8],
    },
    /// Something is tried again after a passing fault.
    Retry {
        /// The task.
        task: TaskId,
        /// Why, in words.
        reason: &'a str,
        /// Which try comes next, from 2.
        attempt: u32,
        /// How long it waits before.
        delay: Duration,
    },
    /// A task ended.
    Finished {
        /// The task.
        task: TaskId,
        /// How.
        outcome: Outcome,
    },
    /// Something the user should know; the work goes on.
    Warning {
        /// Lower case, no full stop.
        message: &'a str,
        /// What to do about it.
        hint: Option<&'a str>,
    },
    /// Something worth a line with `-v`.
    Note {
        /// Lower case, no full stop.
        message: &'a str,
    },
}

/// A cheap handle on a reporter: clone it, pass it on.
#[derive(Clone)]
pub struct Progress(Arc<dyn Reporter>);

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::silent()
    }
}

struct Silent;

impl Reporter for Silent {
    fn event(&self, _: Event<'_>) {}
}

impl Progress {
    /// Events go to `reporter`.
    pub fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self(reporter)
    }

    /// Events go nowhere.
    pub fn silent() -> Self {
        Self(Arc::new(Silent))
    }

    /// Begins a task; it counts as failed unless [`Task::done`] or [`Task::cached`] is called.
    pub fn task(&self, kind: TaskKind, name: &str, total: Option<u64>) -> Task {
        let task = Task { progress: self.clone(), id: TaskId::next(), total, ended: false };
        self.0.event(Event::Started { task: task.id, kind, name, total });
        task
    }

    /// Warns; the work goes on.
    pub fn warn(&self, message: &str, hint: Option<&str>) {
        self.0.event(Event::Warning { message, hint });
    }

    /// Says something that is worth a line with `-v`.
    pub fn note(&self, message: &str) {
        self.0.event(Event::Note { message });
    }
}

/// A running task. Dropped without [`Task::done`] or [`Task::cached`], it is reported as failed.
#[derive(Debug)]
pub struct Task {
    progress: Progress,
    id: TaskId,
    total: Option<u64>,
    ended: bool,
}

impl Task {
    /// `done` bytes are done.
    pub fn advance(&self, done: u64) {
        self.progress.0.event(Event::Progress { task: self.id, done, total: self.total });
    }

    /// The number of bytes has become known.
    pub fn set_total(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// The step printed `bytes`.
    pub fn output(&self, bytes: &[u8]) {
        self.progress.0.event(Event::Output { task: self.id, bytes });
    }

    /// The step is tried again.
    pub fn retry(&self, reason: &str, attempt: u32, delay: Duration) {
        self.progress.0.event(Event::Retry { task: self.id, reason, attempt, delay });
    }

    /// Ends the task: done.
    pub fn done(self) {
        self.end(Outcome::Done);
    }

    /// Ends the task: nothing had to be done.
    pub fn cached(self) {
        self.end(Outcome::Cached);
    }

    fn end(mut self, outcome: Outcome) {
        self.ended = true;
        self.progress.0.event(Event::Finished { task: self.id, outcome });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.ended {
            self.progress.0.event(Event::Finished { task: self.id, outcome: Outcome::Failed });
        }
    }
}
