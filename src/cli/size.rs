//! Sizes as docker writes and reads them: decimal units, four digits at most.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::size::{Units, parse_size};

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
        parse_size(text, Units::Disk).map(Self).ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("`{text}` is not a size"))
                .with_hint("write it in bytes, or as 500MB, 10GB, 2GiB")
        })
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
}
