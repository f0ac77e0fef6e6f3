//! What a command knows of the world it prints to: results on standard output, everything else on
//! standard error.
//!
//! Invariant: with `--json` standard output holds one object and nothing else.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use serde_json::Value;

use super::flags::{Global, ProgressMode};
use super::interrupt::Interrupt;
use super::message::{draw_error, draw_warning, error_json};
use super::progress::{Display, DisplayOptions, Style};
use super::style::Theme;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;

/// The result of a command in its three forms.
#[derive(Debug)]
pub(super) struct Answer {
    /// For people; each line with its line feed.
    pub(super) text: String,
    /// With `--quiet`.
    pub(super) quiet: String,
    /// With `--json`.
    pub(super) json: Value,
}

/// Standard output and standard error of one command.
pub(super) struct Terminal {
    json: bool,
    quiet: bool,
    verbose: bool,
    output: Theme,
    display: Display,
    interrupt: Interrupt,
    errors: Theme,
    /// Whether standard output has its one JSON object.
    answered: AtomicBool,
    /// Exit codes that are not the usual ones; 0 means: the usual one.
    done_code: AtomicU8,
    failed_code: AtomicU8,
}

impl Terminal {
    pub(super) fn new(global: &Global) -> Self {
        let errors = Theme::new(global.color, io::stderr().is_terminal());
        let options = DisplayOptions { theme: errors, verbose: global.verbose > 0 };
        let interactive = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let in_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
        let style = match global.progress {
            _ if global.quiet => Style::Silent,
            ProgressMode::None => Style::Silent,
            ProgressMode::Auto if interactive && !in_ci => Style::Bars,
            ProgressMode::Auto | ProgressMode::Plain => Style::Plain,
        };
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose > 0,
            output: Theme::new(global.color, io::stdout().is_terminal()),
            display: Display::new(style, options),
            interrupt: Interrupt::default(),
            errors,
            answered: AtomicBool::new(false),
            done_code: AtomicU8::new(0),
            failed_code: AtomicU8::new(0),
        }
    }

    /// Where the library reports to.
    pub(super) fn progress(&self) -> &Progress {
        self.display.progress()
    }

    /// Where messages are printed beside progress.
    pub(super) fn display(&self) -> &Display {
        &self.display
    }

    /// What Ctrl-C cancels.
    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// From now on Ctrl-C lets the work clean up. To be called after the last prompt.
    pub(super) fn handle_signals(&self) {
        self.interrupt.listen(&self.display);
    }

    /// Whether standard output is for one JSON object.
    pub(super) fn wants_json(&self) -> bool {
        self.json
    }

    /// Whether notes are wanted.
    pub(super) fn verbose(&self) -> bool {
        self.verbose
    }

    /// Colours of standard output.
    pub(super) fn theme(&self) -> Theme {
        self.output
    }

    /// Whether there is a terminal to ask on.
    pub(super) fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// A line on standard error, not shown with `--quiet`.
    pub(super) fn say(&self, message: &str) {
        if !self.quiet {
            self.display.print(message);
        }
    }

    /// Colours of standard error.
    pub(super) fn error_theme(&self) -> Theme {
        self.errors
    }

    /// A warning on standard error.
    pub(super) fn warn(&self, message: &str, hint: Option<&str>) {
        self.display.print(&draw_warning(message, hint, self.errors));
    }

    /// The command's result on standard output.
    pub(super) fn answer(&self, answer: &Answer) -> Result<()> {
        self.display.end();
        self.answered.store(true, Ordering::Relaxed);
        let text = match (self.json, self.quiet) {
            (true, _) => format!("{}\n", answer.json),
            (false, true) => answer.quiet.clone(),
            (false, false) => answer.text.clone(),
        };
        write_output(text.as_bytes())
    }

    /// The exit code of a command that succeeds: that of what it ran.
    pub(super) fn set_done_code(&self, code: u8) {
        self.done_code.store(code, Ordering::Relaxed);
    }

    /// The exit code of a command that fails, if 1 could be the exit code of what it ran.
    pub(super) fn set_failed_code(&self, code: u8) {
        self.failed_code.store(code, Ordering::Relaxed);
    }

    /// The exit code after success.
    pub(super) fn done(&self) -> ExitCode {
        self.done_code.load(Ordering::Relaxed).into()
    }

    /// Shows an error; returns the exit code.
    pub(super) fn fail(&self, error: &Error) -> ExitCode {
        self.display.end();
        if self.json && !self.answered.load(Ordering::Relaxed) {
            // Standard output is gone: the error cannot be reported.
            let _ = write_output(format!("{}\n", error_json(error)).as_bytes());
        } else {
            let width = console::Term::stderr().size_checked().map(|(_, columns)| columns.into());
            let _ = io::stderr().lock().write_all(draw_error(error, self.errors, width).as_bytes());
        }
        match (self.interrupt.exit_code(), error.kind()) {
            (Some(code), _) => code.into(),
            _ if self.failed_code.load(Ordering::Relaxed) != 0 => self.failed_code.load(Ordering::Relaxed).into(),
            (None, ErrorKind::Usage) => 2.into(),
            (None, _) => 1.into(),
        }
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is not an error.
pub(super) fn write_output(bytes: &[u8]) -> Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Io, "cannot write to standard output").with_source(error))
        }
        _ => Ok(()),
    }
}
