//! The two kinds of byte ranges: `Range` of a pull (RFC 9110, section 14) and `Content-Range` of an
//! upload's chunk (distribution specification, "Pushing a blob in chunks"), which look alike and
//! are not.
//!
//! Several ranges at once are answered as no range at all, as RFC 9110 allows.

/// What a pull asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything: no range, or one that is not understood.
    Whole,
    /// Bytes `start` to `end`, both included.
    Part { start: u64, end: u64 },
    /// Nothing of it is there: 416.
    Unsatisfiable,
}

/// Reads the `Range` header of a pull of `length` bytes.
pub(super) fn parse_range(header: &str, length: u64) -> Wanted {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Wanted::Whole;
    };
    match (number(first), number(last)) {
        (Some(start), Some(end)) if start > end => Wanted::Whole,
        (Some(start), Some(end)) if start < length => Wanted::Part { start, end: end.min(length - 1) },
        (Some(start), None) if last.is_empty() && start < length => Wanted::Part { start, end: length - 1 },
        (Some(_), Some(_)) => Wanted::Unsatisfiable,
        (Some(_), None) if last.is_empty() => Wanted::Unsatisfiable,
        (None, Some(0)) if first.is_empty() => Wanted::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && length == 0 => Wanted::Unsatisfiable,
        (None, Some(suffix)) if first.is_empty() => Wanted::Part { start: length.saturating_sub(suffix), end: length - 1 },
        _ => Wanted::Whole,
    }
}

/// Reads the `Content-Range` of a chunk, `first-last`, both included: the first byte's offset and
/// the length.
///
/// The specification has neither a unit nor a total there, but some clients send RFC 9110's `bytes
/// first-last/total`.
pub(super) fn parse_content_range(header: &str) -> Option<(u64, u64)> {
    let range = header.strip_prefix("bytes ").unwrap_or(header);
    let range = range.split_once('/').map_or(range, |(range, _)| range);
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    Some((first, last.checked_sub(first)?.checked_add(1)?))
}

fn number(digits: &str) -> Option<u64> {
    // `parse` alone would take a plus sign.
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_pull_are_read_as_rfc_9110_says() {
        let part = |start, end| Wanted::Part { start, end };
        for (header, wanted) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-4", part(2, 4)),
            ("bytes=2-", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=8-100", part(8, 9)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=10-12", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("bytes=99999999999999999999-", Wanted::Whole),
        ] {
            assert_eq!(parse_range(header, 10), wanted, "{header}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(parse_range("bytes=-1", 0), Wanted::Unsatisfiable);
    }

    proptest::proptest! {
        #[test]
        fn a_part_lies_inside_the_blob(header in "bytes=[0-9]{0,20}-[0-9]{0,20}", length in 0..30_u64) {
            if let Wanted::Part { start, end } = parse_range(&header, length) {
                proptest::prop_assert!(start <= end && end < length);
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(header in ".{0,40}", length: u64) {
            parse_range(&header, length);
            parse_content_range(&header);
        }
    }

    #[test]
    fn content_ranges_are_offset_and_length() {
        assert_eq!(parse_content_range("0-0"), Some((0, 1)));
        assert_eq!(parse_content_range("10-19"), Some((10, 10)));
        assert_eq!(parse_content_range("bytes 10-19/100"), Some((10, 10)));
        for header in ["", "0", "-1", "1-", "5-4", "a-b", "0-18446744073709551615", "+0-1"] {
            assert_eq!(parse_content_range(header), None, "{header}");
        }
    }
}
