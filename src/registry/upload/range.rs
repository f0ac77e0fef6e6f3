//! The `Range` header of uploads, in all its dialects. None is taken as exact: the state machine
//! compares with what was sent.

/// `0-<end>`, as registries write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UploadedRange {
    /// The number after `0-`, usually the last byte; `None` for an empty session (`0--1`).
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

/// What the number in a status names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusNumber {
    /// Not known yet.
    Unknown,
    /// The last byte, as the specification has it.
    LastByte,
    /// The count of bytes: Gitea (`routers/api/packages/container`), Quay.
    Count,
}

/// How the number of a status is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusReading {
    /// What it names.
    pub(super) meaning: StatusNumber,
    /// Whether that is only a guess so far.
    pub(super) guessed: bool,
}

/// How many bytes a session holds by its status, if we believe it holds `believed`.
///
/// `0-0` is an empty session or one byte (distribution writes both so). `bytes=0-n` is n bytes at
/// Quay.
pub(crate) fn status_offset(range: UploadedRange, believed: u64, number: StatusNumber) -> u64 {
    let Some(end) = range.end else { return 0 };
    match number {
        StatusNumber::Count => end,
        _ if end.checked_add(1) == Some(believed) => believed,
        _ if end == 0 => 0,
        _ if range.with_unit => end,
        // Both may be; a session that holds one byte more than was confirmed is the rarer.
        StatusNumber::Unknown if end == believed => believed,
        _ => end.saturating_add(1),
    }
}

/// Whether the number of a status must name the count: as a last byte it would be beyond all that
/// was `sent`.
pub(crate) fn counts(range: UploadedRange, sent: u64) -> bool {
    range.end.is_some_and(|end| end > 0 && end == sent)
}

/// What the number of a status must name if it did not name what brought a refusal at `offset`.
pub(crate) fn other_meaning(range: UploadedRange, offset: u64) -> Option<StatusNumber> {
    let end = range.end.filter(|end| *end > 0 && !range.with_unit)?;
    match offset.checked_sub(end)? {
        0 => Some(StatusNumber::LastByte),
        1 => Some(StatusNumber::Count),
        _ => None,
    }
}

/// How many bytes a session holds after a PATCH of `length` bytes at `offset` was taken; `None` if
/// that cannot be.
pub(crate) fn patched_offset(range: UploadedRange, offset: u64, length: u64) -> Option<u64> {
    let held = range.end.map_or(0, |end| end.saturating_add(1));
    // A registry that counts instead of naming the last byte is one ahead.
    match held == offset.saturating_add(length).saturating_add(1) && range.with_unit {
        true => Some(offset + length),
        false => (held > offset && held - offset <= length).then_some(held),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str, believed: u64) -> Option<u64> {
        UploadedRange::parse(text).map(|range| status_offset(range, believed, StatusNumber::Unknown))
    }

    #[test]
    fn a_status_is_read_in_each_dialect() {
        for (text, believed, expected) in [
            ("0-9", 10, Some(10)),
            ("0-9", 4, Some(10)),
            ("0-10", 10, Some(10)),
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
