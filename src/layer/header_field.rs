//! Numbers in the fields of tar headers, and the error for a damaged tar.

use crate::error::{Error, ErrorKind, Result};

/// A numeric field: octal digits, or GNU's base 256 with sign. An empty one is 0.
pub(super) fn number(field: &[u8], what: &str) -> Result<i64> {
    let wrong = || corrupt(format!("the {what} of an entry is damaged"));
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let first = i128::from(field[0] & 0x3f) - if negative { 0x40 } else { 0 };
        let value = field[1..].iter().try_fold(first, |value, byte| value.checked_mul(256)?.checked_add(i128::from(*byte)));
        return value.and_then(|value| i64::try_from(value).ok()).ok_or_else(wrong);
    }
    let text = field.trim_ascii_start();
    let text = &text[..text.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(text.len())];
    if text.is_empty() {
        return Ok(0);
    }
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| i64::from_str_radix(text, 8).ok()).ok_or_else(wrong)
}

pub(super) fn unsigned(field: &[u8], what: &str) -> Result<u64> {
    u64::try_from(number(field, what)?).map_err(|_| corrupt(format!("the {what} of an entry is negative")))
}

pub(super) fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
