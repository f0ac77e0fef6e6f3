//! What the programs have in common when they start: words, a terminal, flags without effect.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Effect, Parsed};
use crate::cli::flags::{ColorMode, Global, ProgressMode};
use crate::cli::logging;
use crate::cli::terminal::Terminal;
use crate::error::{Error, ErrorKind, Result};

/// The words of a command line as text.
pub(in crate::cli) fn words(arguments: Vec<OsString>) -> Vec<String> {
    arguments.into_iter().map(|word| word.into_string().unwrap_or_else(|word| word.to_string_lossy().into_owned())).collect()
}

/// The longest of a command's names, such as `image ls`, that `words` begin with, and of how many
/// words it is.
pub(in crate::cli) fn longest_name(names: &'static [&'static str], words: &[String]) -> Option<(&'static str, usize)> {
    let lengths = names.iter().map(|name| (*name, name.split(' ').count()));
    let begins = |(name, length): &(&str, usize)| {
        words.len() >= *length && words.iter().zip(name.split(' ')).all(|(word, part)| word == part)
    };
    lengths.filter(begins).max_by_key(|(_, length)| *length)
}

/// The terminal of a program that has no global options of mpimg's, and its log. A log that cannot
/// be written is a warning: the program would not have had one.
pub(in crate::cli) fn terminal(quiet: bool, verbose: u8, progress: ProgressMode) -> Terminal {
    let log_file = std::env::var_os("MPIMG_LOG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let global = Global { json: false, quiet, verbose, log_file, color: ColorMode::Auto, progress };
    let terminal = Terminal::new(&global);
    if let Err(error) = logging::start(&global, terminal.display(), terminal.error_theme().enabled()) {
        terminal.warn(&error.to_string(), error.hint());
    }
    terminal
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
