//! Signals by number or by name.

use crate::dockerfile::named_signal;
use crate::error::{Error, ErrorKind, Result};

/// Reads a signal as STOPSIGNAL has it: a number from 1 to 64, or a name such as `TERM` or
/// `RTMIN+3`, with or without `SIG`, in either case.
///
/// # Errors
/// [`ErrorKind::Usage`]: none of these.
pub fn parse_signal(text: &str) -> Result<i32> {
    let text = text.trim();
    // The C library keeps 32 and 33 for itself.
    let number = text.parse().ok().filter(|number| matches!(number, 1..=31 | 34..=64));
    number.or_else(|| named_signal(text)).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("`{text}` is not a signal that a container can get"))
            .with_hint("write a number from 1 to 64, or a name such as TERM, SIGINT or RTMIN+3")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_numbers_and_names() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("sigusr1", 10),
            ("INT", 2),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("64", 64),
        ] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        for text in ["", "0", "32", "65", "-1", "SIGRTMIN+16", "TREM"] {
            assert_eq!(parse_signal(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }
}
