//! The log of a build as buildah prints it, on standard output: `STEP 2/4: COPY f /f`, and what RUN
//! prints.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::progress::{Event, Progress, Reporter, TaskId, TaskKind};

/// Reports a build.
pub(super) struct Steps {
    /// Where warnings go.
    warnings: Progress,
    /// Whether `STEP` lines are printed beside the output.
    named: bool,
    /// The texts of FROM, by the stage's name or `stage-N`; the only stage has an empty name.
    bases: HashMap<String, String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    steps: Vec<TaskId>,
    begun: Vec<String>,
}

impl Steps {
    pub(super) fn new(warnings: Progress, named: bool, bases: HashMap<String, String>) -> Self {
        Self { warnings, named, bases, state: Mutex::default() }
    }

    fn started(&self, task: TaskId, name: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.steps.push(task);
        if !self.named {
            return;
        }
        let Some((stage, number, total, text)) = parts(name) else { return };
        let prefix = if stage.is_empty() { String::new() } else { format!("[{stage}] ") };
        if !state.begun.contains(&stage) {
            if let Some(base) = self.bases.get(&stage) {
                print(format!("{prefix}STEP 1/{}: FROM {base}\n", total + 1).as_bytes());
            }
            state.begun.push(stage);
        }
        print(format!("{prefix}STEP {}/{}: {text}\n", number + 1, total + 1).as_bytes());
    }
}

/// `[build 2/5] COPY a b` as stage, number, total and text.
fn parts(name: &str) -> Option<(String, usize, usize, &str)> {
    let (head, text) = name.strip_prefix('[')?.split_once("] ")?;
    let (stage, count) = head.rsplit_once(' ').unwrap_or(("", head));
    let (number, total) = count.split_once('/')?;
    Some((stage.to_owned(), number.parse().ok()?, total.parse().ok()?, text))
}

fn print(bytes: &[u8]) {
    let mut output = std::io::stdout().lock();
    // A closed standard output is not an error.
    let _ = output.write_all(bytes).and_then(|()| output.flush());
}

impl Reporter for Steps {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Started { task, kind: TaskKind::Step, name, .. } => self.started(task, name),
            Event::Output { bytes, .. } => print(bytes),
            Event::Warning { message, hint } => self.warnings.warn(message, hint),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_steps_are_taken_apart() {
        assert_eq!(parts("[2/5] COPY a b"), Some((String::new(), 2, 5, "COPY a b")));
        assert_eq!(parts("[build 1/1] RUN [ x ] y"), Some(("build".into(), 1, 1, "RUN [ x ] y")));
        assert_eq!(parts("look up x"), None);
    }
}
