//! Sizes as docker writes and reads them: decimal units, four digits at most.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// A number of bytes, shown and read for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut size = self.0 as f64;
        let mut unit = 0;
        // What would round to 1000 is shown in the next unit.
        while size >= 999.5 && unit + 1 < UNITS.len() {
            size /= 1000.0;
            unit += 1;
        }
        let decimals = match size {
            _ if unit == 0 => 0,
            ..9.995 => 2,
            ..99.95 => 1,
            _ => 0,
        };
        let number = format!("{size:.decimals$}");
        let number = if decimals > 0 { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
        f.pad(&format!("{number}{}", UNITS[unit]))
    }
}

impl FromStr for Size {
    type Err = Error;

    /// Reads `500`, `500kB`, `1.5GB`, `10g`, `2GiB`: as docker, with a factor of 1000, or of 1024
    /// where there is an `i`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorKind::Usage, format!("`{text}` is not a size"))
                .with_hint("write it in bytes, or as 500MB, 10GB, 2GiB")
        };
        let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let unit = unit.trim().to_ascii_lowercase();
        let letters = unit.strip_suffix('b').unwrap_or(&unit);
        let (letters, base) = letters.strip_suffix('i').map_or((letters, 1000_f64), |letters| (letters, 1024.0));
        let power = match letters {
            "" if base == 1000.0 => 0,
            "k" => 1,
            "m" => 2,
            "g" => 3,
            "t" => 4,
            "p" => 5,
            _ => return Err(wrong()),
        };
        Ok(Self((number * base.powi(power)) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_with_docker_s_units() {
        for (bytes, shown) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_234, "1.23kB"),
            (12_345, "12.3kB"),
            (999_499, "999kB"),
            (999_999, "1MB"),
            (311_000_000, "311MB"),
            (5_000_000_000_000_000_000, "5000PB"),
        ] {
            assert_eq!(Size(bytes).to_string(), shown);
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("500", 500),
            ("1kB", 1000),
            ("1.5GB", 1_500_000_000),
            ("10g", 10_000_000_000),
            ("2GiB", 2 << 30),
            ("7b", 7),
        ] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
        for text in ["", "GB", "-1", "1XB", "1ib", "1.2.3"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
