//! The log: what the library traces, on standard error with `-v` and `-vv`, and as JSON lines in a
//! file.
//!
//! Invariant: only events of this crate are taken. Those of other crates may hold headers, and
//! headers hold secrets.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::flags::Global;
use super::progress::Display;
use crate::error::{Error, Result};

/// The crate whose events are taken.
const LIBRARY: &str = "mpimg";

/// The command's own events: only the file has them, for standard error shows the same in other
/// words.
const COMMAND: &str = "mpimg::cli";

/// Starts the log that the flags ask for.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io): the file cannot be written.
pub(super) fn start(global: &Global, display: &Display, colours: bool) -> Result<()> {
    let level = match global.verbose {
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let on_screen = (level != LevelFilter::OFF).then(|| {
        let layer = fmt::layer().with_target(false).without_time().with_ansi(colours).with_writer(Screen(display.clone()));
        layer.with_filter(Targets::new().with_target(LIBRARY, level).with_target(COMMAND, LevelFilter::OFF))
    });
    let file = global.log_file.as_deref().map(open).transpose()?;
    let in_file = file.map(|file| {
        let layer = fmt::layer().json().flatten_event(true).with_span_events(FmtSpan::CLOSE).with_writer(Arc::new(file));
        layer.with_filter(Targets::new().with_target(LIBRARY, LevelFilter::DEBUG))
    });
    // Fails only where a log was started before: then that one counts.
    let _ = tracing_subscriber::registry().with(on_screen).with(in_file).try_init();
    Ok(())
}

/// Opens the file to append to: the commands of one job may share it. Only its owner may read it.
fn open(path: &Path) -> Result<File> {
    let opened = File::options().append(true).create(true).mode(0o600).open(path);
    opened.map_err(|error| {
        Error::io("write the log to", path, error).with_hint("name a file that can be written, or leave out `--log-file`")
    })
}

/// Notes in the log which command runs, on what. Arguments may hold passwords: only the command's
/// name is noted.
pub(super) fn note_start(command: &str) {
    let system = rustix::system::uname();
    tracing::info!(
        command,
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        uid = rustix::process::geteuid().as_raw(),
        kernel = %system.release().to_string_lossy(),
        machine = %system.machine().to_string_lossy(),
        "started"
    );
}

/// Notes in the log how the command ended.
pub(super) fn note_end(error: Option<&Error>) {
    match error {
        None => tracing::info!("done"),
        Some(error) => {
            let kind = error.kind().name();
            tracing::error!(kind, %error, causes = ?error.causes(), hint = error.hint(), "failed");
        }
    }
}

/// Standard error beside bars: each event is printed as one message.
struct Screen(Display);

impl<'a> MakeWriter<'a> for Screen {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.print(String::from_utf8_lossy(bytes).trim_end());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
