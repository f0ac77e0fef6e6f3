//! Colours: what each is for, and when there are none.
//!
//! Invariant: a colour never carries meaning alone; a word or sign always says the same.

use std::fmt::Display;

use console::{Style, StyledObject};

use super::flags::ColorMode;

/// The colours of one output stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    enabled: bool,
}

impl Theme {
    /// Colours for a stream that is, or is not, a terminal.
    pub(super) fn new(mode: ColorMode, is_terminal: bool) -> Self {
        let unset = |name| std::env::var_os(name).is_none_or(|value: std::ffi::OsString| value.is_empty());
        let enabled = match mode {
            ColorMode::Always => true,
            ColorMode::Never => false,
            // https://no-color.org: any value that is not empty.
            ColorMode::Auto => is_terminal && unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        };
        Self { enabled }
    }

    pub(super) fn enabled(self) -> bool {
        self.enabled
    }

    fn paint<T: Display>(self, style: Style, text: T) -> StyledObject<T> {
        style.force_styling(self.enabled).apply_to(text)
    }

    /// The word `error`, a cross, what failed.
    pub(super) fn bad<T: Display>(self, text: T) -> StyledObject<T> {
        self.paint(Style::new().red().bold(), text)
    }

    /// The word `warning`, what is tried again.
    pub(super) fn warning<T: Display>(self, text: T) -> StyledObject<T> {
        self.paint(Style::new().yellow().bold(), text)
    }

    /// A tick.
    pub(super) fn good<T: Display>(self, text: T) -> StyledObject<T> {
        self.paint(Style::new().green(), text)
    }

    /// The word `hint`, line numbers and rules of a snippet.
    pub(super) fn guide<T: Display>(self, text: T) -> StyledObject<T> {
        self.paint(Style::new().cyan(), text)
    }

    /// Headings.
    pub(super) fn strong<T: Display>(self, text: T) -> StyledObject<T> {
        self.paint(Style::new().bold(), text)
    }

    /// What matters least: what RUN prints, times, what was there already.
    pub(super) fn faint<T: Display>(self, text: T) -> StyledObject<T> {
        self.paint(Style::new().dim(), text)
    }
}
