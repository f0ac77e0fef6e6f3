//! Progress on standard error: bars on a terminal, lines elsewhere, or nothing; and what a RUN step
//! printed.
//!
//! Standard output is only for the result.

mod bars;
mod lines;
mod plain;
mod retries;
mod screen;
mod silent;
mod step_output;
mod traced;

use std::sync::Arc;

use screen::Screen;
pub(super) use screen::{DisplayOptions, shown_time};

use crate::progress::Progress;

/// Where progress is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Bars,
    Plain,
    Silent,
}

/// The progress of one command.
#[derive(Clone)]
pub(super) struct Display {
    screen: Arc<dyn Screen>,
    progress: Progress,
}

impl Display {
    pub(super) fn new(style: Style, options: DisplayOptions) -> Self {
        match style {
            Style::Bars => Self::of(bars::Bars::new(options)),
            Style::Plain => Self::of(plain::Plain::new(options)),
            Style::Silent => Self::of(silent::Silent::new(options)),
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
