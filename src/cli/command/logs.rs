//! `mpimg logs`: what a container has written.
//!
//! Each stream goes to its own.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;

use crate::cli::flags::ConnectionFlags;
use crate::cli::terminal::{Terminal, write_output};
use crate::container::Stream;
use crate::error::{Error, ErrorKind, Result};
use crate::image::rfc3339;
use crate::operation::LogOptions;

const EXAMPLES: &str = "\
Examples:
  mpimg logs web               What it has written so far
  mpimg logs -f --tail 10 web  The last 10 lines, and what follows until it ends";

/// Show what a container has written
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Logs {
    /// Name, ID or beginning of an ID
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// Wait for more until it ends
    #[arg(short, long)]
    follow: bool,

    /// Print the time before each line
    #[arg(short, long)]
    timestamps: bool,

    /// Only the last lines; `all` for all of them
    #[arg(short = 'n', long, value_name = "LINES", value_parser = read_tail)]
    tail: Option<Tail>,
}

impl Logs {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        if terminal.wants_json() {
            return Err(Error::new(ErrorKind::Usage, "a log cannot be printed as JSON").with_hint("leave out --json"));
        }
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        terminal.handle_signals();
        let tail = match self.tail {
            Some(Tail::Last(lines)) => Some(lines),
            Some(Tail::All) | None => None,
        };
        let mut lines = Lines::new(self.timestamps);
        let options = LogOptions { follow: self.follow, tail };
        mpimg.logs(&self.container, options, move |stream, time, text| lines.write(stream, time, text)).await
    }
}

/// Which part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    All,
    Last(usize),
}

fn read_tail(text: &str) -> std::result::Result<Tail, String> {
    match text {
        "all" => Ok(Tail::All),
        _ => text.parse().map(Tail::Last).map_err(|_| "write a number of lines, or all".into()),
    }
}

/// Where the next byte of each stream begins a line.
pub(in crate::cli) struct Lines {
    timestamps: bool,
    at_start: [bool; 2],
}

impl Lines {
    pub(in crate::cli) fn new(timestamps: bool) -> Self {
        Self { timestamps, at_start: [true; 2] }
    }

    pub(in crate::cli) fn write(&mut self, stream: Stream, time: Duration, text: &[u8]) -> Result<()> {
        let at_start = &mut self.at_start[usize::from(stream == Stream::Error)];
        let mut shown = Vec::with_capacity(text.len());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if self.timestamps && *at_start {
                shown.extend_from_slice(stamp(time).as_bytes());
            }
            shown.extend_from_slice(line);
            *at_start = line.ends_with(b"\n");
        }
        match stream {
            Stream::Out => write_output(&shown),
            // A reader that has gone away is not an error.
            Stream::Error => {
                let _ = std::io::stderr().lock().write_all(&shown);
                Ok(())
            }
        }
    }
}

/// `2024-02-29T12:00:00.123Z `
fn stamp(time: Duration) -> String {
    let seconds = rfc3339(i64::try_from(time.as_secs()).unwrap_or(0));
    format!("{}.{:03}Z ", seconds.trim_end_matches('Z'), time.subsec_millis())
}
