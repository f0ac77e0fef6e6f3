//! What the programs that are one command each have in common: words, flags without effect, a
//! runtime.

use std::ffi::OsString;
use std::future::Future;

use super::{Effect, Parsed};
use crate::cli::runtime::WORKERS;
use crate::cli::terminal::Terminal;
use crate::error::{Error, ErrorKind, Result};

/// The words of a command line as text.
pub(in crate::cli) fn words(arguments: Vec<OsString>) -> Vec<String> {
    arguments.into_iter().map(|word| word.into_string().unwrap_or_else(|word| word.to_string_lossy().into_owned())).collect()
}

/// Says of each flag that changes nothing that it does so; refuses those that mpimg does not have.
///
/// # Errors
/// [`ErrorKind::Usage`]: such a flag, with its remedy.
pub(in crate::cli) fn look_at_flags(terminal: &Terminal, parsed: &Parsed, program: &str) -> Result<()> {
    for flag in parsed.given() {
        match flag.effect {
            Effect::Refused(remedy) => {
                return Err(
                    Error::new(ErrorKind::Usage, format!("mpimg does not have {program}'s `--{}`", flag.long)).with_hint(remedy)
                );
            }
            Effect::Ignored(why) => terminal.say(&format!("note: --{} has no effect here: {why}", flag.long)),
            Effect::Same | Effect::Differs(_) => {}
        }
    }
    Ok(())
}

/// Runs a command to its end.
///
/// # Errors
/// Its own; [`ErrorKind::Io`]: no threads can be started.
pub(in crate::cli) fn run_to_end<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(|error| Error::new(ErrorKind::Io, "cannot start threads").with_source(error))?;
    let done = runtime.block_on(command);
    // A thread that still waits for a disk or a name server must not keep the user waiting.
    runtime.shutdown_background();
    done
}
