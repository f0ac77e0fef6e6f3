//! Sizes as people write them, as docker reads them (docker/go-units): `500`, `500kB`, `1.5GB`,
//! `10g`, `2GiB`.

/// What `k`, `m`, `g`, `t` and `p` stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Units {
    /// Powers of 1000; of 1024 where there is an `i`: of disks.
    Disk,
    /// Powers of 1024 in any case: of memory (go-units, `RAMInBytes`).
    Memory,
}

/// The bytes of a size, rounded down; `None`: it is not one, or no file could be as large.
pub(crate) fn parse_size(text: &str, units: Units) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let letters = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, is_binary) = letters.strip_suffix('i').map_or((letters, false), |letter| (letter, true));
    let power = match letter {
        "" if !is_binary => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let base = if is_binary || units == Units::Memory { 1024_f64 } else { 1000.0 };
    let bytes = number * base.powi(power);
    (bytes < i64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, disk, memory) in [
            ("0", 0, 0),
            ("500", 500, 500),
            ("7b", 7, 7),
            ("1kB", 1000, 1 << 10),
            ("2 kB", 2000, 2 << 10),
            ("1.5GB", 1_500_000_000, 3 << 29),
            ("10g", 10_000_000_000, 10 << 30),
            ("2GiB", 2 << 30, 2 << 30),
            ("3gi", 3 << 30, 3 << 30),
            ("4T", 4_000_000_000_000, 4 << 40),
            ("5pb", 5_000_000_000_000_000, 5 << 50),
        ] {
            assert_eq!(parse_size(text, Units::Disk), Some(disk), "{text}");
            assert_eq!(parse_size(text, Units::Memory), Some(memory), "{text}");
        }
        for text in ["", "GB", ".", "-1", "1XB", "1ib", "1bb", "1kk", "1한k", "1.2.3", "5 apples", "99999999p"] {
            assert_eq!(parse_size(text, Units::Disk), None, "{text}");
            assert_eq!(parse_size(text, Units::Memory), None, "{text}");
        }
    }
}
