//! Docker's question before things are removed that nobody named.

use std::io::BufRead as _;

use super::invocation::{Failure, Invocation};
use crate::cli::drop_in::{Flag, Parsed};
use crate::error::Error;

pub(super) const FORCE: Flag = Flag::switch("force", "Do not prompt for confirmation").short('f');

/// Whether to go on: `--force`, or a `y` on standard input. Nothing else there is a no, which is no
/// failure.
pub(super) fn confirmed(invocation: &Invocation, parsed: &Parsed, warning: &str) -> Result<bool, Failure> {
    if parsed.is("force") {
        return Ok(true);
    }
    invocation.print(format!("WARNING! This will remove{warning}\nAre you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Error::io("read", "standard input", error))?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
