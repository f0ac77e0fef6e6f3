//! Signals by number or by name.
//!
//! Refuses real-time signals: nothing sends them to containers.

use crate::dockerfile::SIGNALS;
use crate::error::{Error, ErrorKind, Result};

/// Reads a signal as STOPSIGNAL has it: a number from 1 to 31, or a name with or without `SIG`, in
/// either case.
///
/// # Errors
/// [`ErrorKind::Usage`]: none of these.
pub fn parse_signal(text: &str) -> Result<i32> {
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = name.parse().ok().filter(|number| (1..=31).contains(number));
    let named = || SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    number.or_else(named).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("`{text}` is not a signal that a container can get"))
            .with_hint("write a number from 1 to 31, or a name such as TERM or SIGINT")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_numbers_and_names() {
        for (text, number) in [("SIGTERM", 15), ("term", 15), ("9", 9), ("sigusr1", 10), ("INT", 2)] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        for text in ["", "0", "32", "SIGRTMIN", "TREM"] {
            assert_eq!(parse_signal(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }
}
