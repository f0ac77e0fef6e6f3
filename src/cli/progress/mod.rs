//! Progress on standard error: bars on a terminal, lines elsewhere, or nothing; and what a RUN step printed.
//!
//! Standard output is only for the result.

mod bars;
mod lines;
mod log;
mod plain;
mod silent;
mod traced;

use std::sync::Arc;
use std::time::Duration;

use super::style::Theme;
use crate::progress::{Progress, Reporter};

/// How much is said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) theme: Theme,
    /// Whether notes are shown.
    pub(super) verbose: bool,
}

/// Where progress is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Bars,
    Plain,
    Silent,
}

/// A reporter that other messages can share standard error with.
trait Screen: Reporter {
    /// Prints a message of one or more lines, without its last line feed, where bars do not overwrite it.
    fn print(&self, message: &str);

    /// Takes everything away that would be drawn again.
    fn end(&self);
}

/// The progress of one command.
#[derive(Clone)]
pub(super) struct Display {
    screen: Arc<dyn Screen>,
    progress: Progress,
}

impl Display {
    pub(super) fn new(style: Style, manner: Manner) -> Self {
        match style {
            Style::Bars => Self::of(bars::Bars::new(manner)),
            Style::Plain => Self::of(plain::Plain::new(manner)),
            Style::Silent => Self::of(silent::Silent::new(manner)),
        }
    }

    fn of(screen: impl Screen + 'static) -> Self {
        let screen = Arc::new(screen);
        Self { progress: Progress::new(Arc::new(traced::Traced(screen.clone()))), screen }
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(super) fn print(&self, message: &str) {
        self.screen.print(message);
    }

    pub(super) fn end(&self) {
        self.screen.end();
    }
}

/// A line on standard error. A failure cannot be reported anywhere.
fn write_line(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Seconds to a tenth, from a minute on minutes and seconds.
pub(super) fn shown_time(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(shown_time(Duration::from_millis(340)), "0.3 s");
        assert_eq!(shown_time(Duration::from_secs(59)), "59.0 s");
        assert_eq!(shown_time(Duration::from_secs(125)), "2 min 05 s");
    }
}
