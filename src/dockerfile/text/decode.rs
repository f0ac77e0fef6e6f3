//! Bytes to text as Go's scanner reads them: each byte that is not part of UTF-8 becomes U+FFFD.

use std::borrow::Cow;

/// `bytes` as text. Unlike [`String::from_utf8_lossy`], one U+FFFD for each wrong byte.
pub(in crate::dockerfile) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len()));
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_byte_is_one_replacement_character() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            ("gr\u{fc}n".as_bytes(), "gr\u{fc}n"),
            (b"caf\xe9 \xe2\x82", "caf\u{fffd} \u{fffd}\u{fffd}"),
        ] {
            assert_eq!(decode(bytes), text);
        }
    }
}
