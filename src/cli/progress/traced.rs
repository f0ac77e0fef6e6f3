//! Progress in the log: which task began and ended when, and what the user was told. Output of RUN
//! is left out: it may hold secrets.

use std::sync::Arc;

use crate::progress::{Event, Reporter};

/// Passes events on, and traces them.
pub(super) struct Traced<R>(pub(super) Arc<R>);

impl<R: Reporter> Reporter for Traced<R> {
    fn event(&self, event: Event<'_>) {
        match &event {
            Event::Started { task, kind, name, total } => {
                tracing::debug!(task = task.number(), ?kind, name, total, "task started");
            }
            Event::Finished { task, outcome } => tracing::debug!(task = task.number(), ?outcome, "task finished"),
            Event::Retry { task, reason, attempt, delay } => {
                tracing::debug!(task = task.number(), reason, attempt, ?delay, "task is tried again");
            }
            Event::Warning { message, hint } => tracing::warn!(hint, "{message}"),
            Event::Note { message } => tracing::info!("{message}"),
            Event::Progress { .. } | Event::Output { .. } => {}
        }
        self.0.event(event);
    }
}
