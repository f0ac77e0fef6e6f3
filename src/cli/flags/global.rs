//! Flags of every command: what is shown, and how.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

/// Flags that stand before or after any command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print exactly one JSON object on standard output, also for an error
    ///
    /// An error is {"error":{"kind","message","causes","hint","file","line"}}. Progress and
    /// warnings stay on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print the result alone, such as the digest, and no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Show more: -v decisions (what came from the build cache, which isolation), -vv every event
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Append a log as JSON lines to this file, to send with a bug report; it holds no passwords
    #[arg(long, global = true, value_name = "FILE", env = "MPIMG_LOG")]
    pub(crate) log_file: Option<PathBuf>,

    /// When to use colours; NO_COLOR turns them off in `auto`
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorMode::Auto)]
    pub(crate) color: ColorMode,

    /// How to show progress: `auto` draws bars on a terminal and writes lines elsewhere and in CI
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t = ProgressMode::Auto)]
    pub(crate) progress: ProgressMode,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorMode {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// Lines
    Plain,
    /// Nothing but warnings, and what a step printed that failed
    None,
}
