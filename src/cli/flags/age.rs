//! How long something may lie: a number with a unit.
//!
//! A number without a unit is an error: it could mean seconds or hours.

use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// An age, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Duration);

impl FromStr for Age {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::new(ErrorKind::Usage, format!("`{text}` is not an age"))
                .with_hint("write a number and s, m, h or d, such as 24h")
        };
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let unit = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            _ => return Err(wrong()),
        };
        let digits = &text[..text.len() - 1];
        let number: u64 =
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten().ok_or_else(wrong)?;
        number.checked_mul(unit).map(|seconds| Self(Duration::from_secs(seconds))).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_a_unit() {
        for (text, seconds) in [("0", 0), ("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(text.parse::<Age>().unwrap(), Age(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "24", "h", "-1h", "+1h", "1.5h", "24 h", "1w", "99999999999999999999d", "999999999999999999d", "1ä"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }
}
