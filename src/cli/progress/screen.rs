//! What all ways of showing progress have in common.

use std::time::Duration;

use crate::cli::style::Theme;
use crate::progress::Reporter;

/// How much is said.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct DisplayOptions {
    pub(in crate::cli) theme: Theme,
    /// Whether notes are shown.
    pub(in crate::cli) verbose: bool,
}

/// A reporter that other messages can share standard error with.
pub(super) trait Screen: Reporter {
    /// Prints a message of one or more lines, without its last line feed, where bars do not
    /// overwrite it.
    fn print(&self, message: &str);

    /// Takes everything away that would be drawn again.
    fn end(&self);
}

/// A line on standard error. A failure cannot be reported anywhere.
pub(super) fn write_line(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Seconds to a tenth, from a minute on minutes and seconds.
pub(in crate::cli) fn shown_time(time: Duration) -> String {
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
