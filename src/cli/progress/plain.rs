//! Progress as lines, for logs and CI: one when something starts, one when it ends, what RUN prints
//! with its step's number.
//!
//! A long transfer reports its position every ten seconds, no more often.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::lines::{Lines, one_line};
use super::retries::Retries;
use super::screen::{DisplayOptions, Screen, shown_time, write_line};
use crate::cli::message::draw_warning;
use crate::cli::size::Size;
use crate::cli::visible::visible;
use crate::progress::{Event, Outcome, Reporter, TaskId, TaskKind};

/// How often a transfer says where it is.
const INTERVAL: Duration = Duration::from_secs(10);

/// The longest name that is shown, in columns: a RUN may be pages long.
const NAME: usize = 200;

/// Progress as lines.
pub(super) struct Plain {
    options: DisplayOptions,
    tasks: Mutex<HashMap<TaskId, Running>>,
    retries: Mutex<Retries>,
}

struct Running {
    name: String,
    /// What stands before each of its lines.
    prefix: String,
    kind: TaskKind,
    started: Instant,
    last: Instant,
    done: u64,
    output: Lines,
}

impl Plain {
    pub(super) fn new(options: DisplayOptions) -> Self {
        Self { options, tasks: Mutex::default(), retries: Mutex::default() }
    }

    fn started(&self, kind: TaskKind, name: &str, total: Option<u64>) -> Running {
        let name = console::truncate_str(&one_line(name), NAME, "…").into_owned();
        // `[2/5] COPY app app` is shown once; what belongs to it later stands behind `[2/5]`.
        let prefix = match name.split_once("] ") {
            Some((number, _)) if kind == TaskKind::Step => format!("{number}]"),
            _ => format!("{name}:"),
        };
        match (kind, total) {
            (TaskKind::Step, _) => write_line(&name),
            (_, Some(total)) if total >= 1_000_000 => write_line(&format!("{name}: {}", Size(total))),
            _ => {}
        }
        let now = Instant::now();
        Running { name, prefix, kind, started: now, last: now, done: 0, output: Lines::default() }
    }

    fn finished(&self, mut running: Running, outcome: Outcome) {
        if let Some(rest) = running.output.rest() {
            write_line(&format!("{} {rest}", running.prefix));
        }
        let Running { prefix, kind, started, done, .. } = running;
        let time = shown_time(started.elapsed());
        match (kind, outcome) {
            (TaskKind::Step, Outcome::Done) => write_line(&format!("{prefix} done in {time}")),
            (TaskKind::Step, Outcome::Cached) => write_line(&format!("{prefix} cached")),
            (TaskKind::Work, Outcome::Done | Outcome::Cached) if !self.options.verbose => {}
            (_, Outcome::Done) if done > 0 => write_line(&format!("{prefix} done, {} in {time}", Size(done))),
            (_, Outcome::Done) => write_line(&format!("{prefix} done in {time}")),
            // What the registry said instead is for the caller to show, if it is a failure at all:
            // once, not for each blob.
            (TaskKind::Pull | TaskKind::Push, Outcome::Failed) if done == 0 => {}
            (_, Outcome::Cached) => write_line(&format!("{prefix} was there already")),
            (_, Outcome::Failed) => write_line(&format!("{prefix} {} after {time}", self.options.theme.bad("failed"))),
        }
    }
}

impl Reporter for Plain {
    fn event(&self, event: Event<'_>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, kind, name, total } => {
                tasks.insert(task, self.started(kind, name, total));
            }
            Event::Progress { task, done, total } => {
                let Some(running) = tasks.get_mut(&task) else { return };
                running.done = done;
                if running.last.elapsed() >= INTERVAL {
                    running.last = Instant::now();
                    write_line(&format!("{} {}", running.name, position(done, total, running.started.elapsed())));
                }
            }
            Event::Output { task, bytes } => {
                let Some(running) = tasks.get_mut(&task) else { return };
                let prefix = &running.prefix;
                running.output.push(bytes, |line| write_line(format!("{prefix} {line}").trim_end()));
            }
            Event::Retry { task, reason, attempt, delay } => {
                let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
                if !retries.is_news(reason, attempt, Instant::now()) && !self.options.verbose {
                    return;
                }
                let name = tasks.get(&task).map_or("", |running| running.name.as_str());
                let again = self.options.theme.warning("again");
                write_line(&format!("{name}: {}; {again} in {} (try {attempt})", visible(reason), shown_time(delay)));
            }
            Event::Finished { task, outcome } => {
                if let Some(running) = tasks.remove(&task) {
                    self.finished(running, outcome);
                }
            }
            Event::Warning { message, hint } => write_line(&draw_warning(message, hint, self.options.theme)),
            Event::Note { message } if self.options.verbose => write_line(&format!("note: {}", visible(message))),
            Event::Note { .. } => {}
        }
    }
}

impl Screen for Plain {
    fn print(&self, message: &str) {
        write_line(message);
    }

    fn end(&self) {}
}

/// `120 MB of 311 MB (38 %), 12 MB/s, 15.9 s left`
fn position(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let speed = done as f64 / elapsed.as_secs_f64().max(0.001);
    let mut text = Size(done).to_string();
    if let Some(total) = total.filter(|total| *total > 0) {
        text += &format!(" of {} ({} %)", Size(total), done.saturating_mul(100) / total);
    }
    text += &format!(", {}/s", Size(speed as u64));
    if let Some(left) = total.and_then(|total| total.checked_sub(done)).filter(|_| speed >= 1.0) {
        text += &format!(", {} left", shown_time(Duration::from_secs_f64(left as f64 / speed)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_tells_speed_and_time_left() {
        let ten = Duration::from_secs(10);
        assert_eq!(position(120_000_000, Some(300_000_000), ten), "120MB of 300MB (40 %), 12MB/s, 15.0 s left");
        assert_eq!(position(5_000_000, None, ten), "5MB, 500kB/s");
        assert_eq!(position(0, Some(0), ten), "0B, 0B/s");
    }
}
