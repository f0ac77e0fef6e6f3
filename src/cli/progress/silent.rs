//! No progress: warnings, and the whole output of a step that failed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::screen::{DisplayOptions, Screen, write_line};
use super::step_output::StepOutput;
use crate::cli::message::draw_warning;
use crate::progress::{Event, Outcome, Reporter, TaskId};

/// Says nothing unless something is wrong.
pub(super) struct Silent {
    options: DisplayOptions,
    logs: Mutex<HashMap<TaskId, StepOutput>>,
}

impl Silent {
    pub(super) fn new(options: DisplayOptions) -> Self {
        Self { options, logs: Mutex::default() }
    }
}

impl Reporter for Silent {
    fn event(&self, event: Event<'_>) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Output { task, bytes } => logs.entry(task).or_default().push(bytes),
            Event::Finished { task, outcome } => {
                if let Some(log) = logs.remove(&task).filter(|_| outcome == Outcome::Failed) {
                    log.pages(|lines| lines.iter().for_each(|line| write_line(line)));
                }
            }
            Event::Warning { message, hint } => write_line(&draw_warning(message, hint, self.options.theme)),
            Event::Note { message } if self.options.verbose => write_line(&format!("note: {message}")),
            _ => {}
        }
    }
}

impl Screen for Silent {
    fn print(&self, message: &str) {
        write_line(message);
    }

    fn end(&self) {}
}
