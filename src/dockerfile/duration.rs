//! Durations as Go writes them: `1h30m`, `1.5s`, `500ms`.
//!
//! A number needs a unit, except 0.

use std::fmt::Write as _;

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds of a text that Go's `time.ParseDuration` takes.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i64 = 0;
    while !rest.is_empty() || total == 0 && rest.len() == text.len() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, *size)?)?;
        rest = after;
    }
    (!text.trim_start_matches(['+', '-']).is_empty()).then(|| sign * total)
}

/// `number`, which may have a fraction, times `size`; what is less than a nanosecond is dropped.
fn scaled(number: &str, size: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(size)?;
    let mut share = size;
    for digit in fraction.bytes() {
        // Go keeps the fraction exact; ten-fold division of these units loses nothing above a
        // nanosecond.
        total = total.checked_add(i64::from(digit - b'0') * share / 10)?;
        share /= 10;
    }
    Some(total)
}

/// A duration as Go's `Duration.String` writes it: `1h30m0s`, `1.5s`, `500ms`, `0s`.
pub(super) fn format_duration(nanoseconds: i64) -> String {
    let mut text = String::from(if nanoseconds < 0 { "-" } else { "" });
    let total = nanoseconds.unsigned_abs();
    // Writing to a String cannot fail.
    let _ = match total {
        0 => write!(text, "0s"),
        1..1_000 => write!(text, "{total}ns"),
        1_000..1_000_000 => write!(text, "{}µs", decimal(total, 1_000)),
        1_000_000..1_000_000_000 => write!(text, "{}ms", decimal(total, 1_000_000)),
        _ => {
            let seconds = total / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = decimal(total % 60_000_000_000, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => write!(text, "{rest}s"),
                (0, _) => write!(text, "{minutes}m{rest}s"),
                _ => write!(text, "{hours}h{minutes}m{rest}s"),
            }
        }
    };
    text
}

/// `value / unit` as a decimal number without zeros at its end.
fn decimal(value: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let fraction = format!("{:0width$}", value % unit);
    match fraction.trim_end_matches('0') {
        "" => (value / unit).to_string(),
        fraction => format!("{}.{fraction}", value / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, nanoseconds, written) in [
            ("0", 0, "0s"),
            ("30s", 30_000_000_000, "30s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("500ms", 500_000_000, "500ms"),
            ("1.25s", 1_250_000_000, "1.25s"),
            (".5m", 30_000_000_000, "30s"),
            ("10us", 10_000, "10µs"),
            ("+7ns", 7, "7ns"),
            ("-2s", -2_000_000_000, "-2s"),
            ("1h2m3.004s", 3_723_004_000_000, "1h2m3.004s"),
        ] {
            assert_eq!(parse_duration(text), Some(nanoseconds), "{text}");
            assert_eq!(format_duration(nanoseconds), written, "{text}");
        }
        for wrong in ["", "+", "1", "s", "1d", "1s2", ".s", "1..2s", "1 s", "9999999999h", "--1s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
