//! The `Range` header of uploads, in all its dialects.
//!
//! Refuses to take any of them for exact: what it yields is checked against what was sent.

/// `0-<end>`, as registries write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UploadedRange {
    /// The last byte; `None` for an empty session (`0--1`).
    end: Option<u64>,
    /// Written with `bytes=`: Quay's way, whose status names the count instead of the last byte.
    with_unit: bool,
}

impl UploadedRange {
    /// Parses `0-<end>` or `bytes=0-<end>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (with_unit, text) = match text.strip_prefix("bytes=").or(text.strip_prefix("bytes ")) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let end = text.trim().strip_prefix("0-")?;
        let end = if end == "-1" { None } else { Some(end.split('/').next()?.parse().ok()?) };
        Some(Self { end, with_unit })
    }
}

/// How many bytes a session holds by its status, if we believe it holds `believed`.
///
/// `0-0` is an empty session or one byte (distribution writes both so). `bytes=0-n` is n bytes at Quay.
pub(crate) fn status_offset(range: UploadedRange, believed: u64) -> u64 {
    match range.end {
        None => 0,
        Some(end) if end + 1 == believed => believed,
        Some(0) => 0,
        Some(end) if range.with_unit => end,
        Some(end) => end + 1,
    }
}

/// How many bytes a session holds after a PATCH of `length` bytes at `offset` was taken; `None` if that cannot be.
pub(crate) fn patched_offset(range: UploadedRange, offset: u64, length: u64) -> Option<u64> {
    let held = range.end.map_or(0, |end| end + 1);
    // A registry that counts instead of naming the last byte is one ahead.
    match held == offset + length + 1 && range.with_unit {
        true => Some(offset + length),
        false => (held > offset && held <= offset + length).then_some(held),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str, believed: u64) -> Option<u64> {
        UploadedRange::parse(text).map(|range| status_offset(range, believed))
    }

    #[test]
    fn a_status_is_read_in_each_dialect() {
        for (text, believed, expected) in [
            ("0-9", 10, Some(10)),
            ("0-9", 4, Some(10)),
            ("0-0", 0, Some(0)),
            ("0-0", 1, Some(1)),
            ("0-0", 10, Some(0)),
            ("bytes=0--1", 0, Some(0)),
            ("bytes=0-10", 10, Some(10)),
            ("bytes=0-9", 10, Some(10)),
            ("bytes=0-20", 10, Some(20)),
            ("10-20", 10, None),
            ("", 0, None),
            ("0-x", 0, None),
        ] {
            assert_eq!(status(text, believed), expected, "{text} {believed}");
        }
    }

    #[test]
    fn a_taken_chunk_must_end_within_itself() {
        let patched = |text: &str| patched_offset(UploadedRange::parse(text).unwrap(), 10, 5);
        assert_eq!(patched("0-14"), Some(15));
        assert_eq!(patched("0-11"), Some(12));
        assert_eq!(patched("bytes=0-15"), Some(15));
        assert_eq!(patched("0-15"), None);
        assert_eq!(patched("0-9"), None);
        assert_eq!(patched("0-4"), None);
    }
}
