//! Paths and patterns as Go's `path/filepath` has them on Unix: `Clean`, and `Match` for one
//! component.
//!
//! What `filepath.Match` calls a bad pattern is an error. BuildKit matches the sources of COPY and
//! ADD with it (fsutil, `copy.go`, `resolveWildcards`), so `**` is no more than `*` there.

use std::ops::RangeInclusive;

/// A pattern of `filepath.Match`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `*`: any number of bytes but `/`.
    Star,
    /// `?`: one character but `/`.
    Any,
    /// `[…]`. Unlike Go's, it never takes a `/`: patterns are matched one component at a time.
    Class { negated: bool, ranges: Vec<RangeInclusive<char>> },
    /// This byte.
    Byte(u8),
}

/// Why a pattern is bad: a class or an escape that does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadPattern;

impl Glob {
    /// Parses a pattern.
    pub(super) fn parse(pattern: &[u8]) -> Result<Self, BadPattern> {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            tokens.push(match first {
                b'*' => Token::Star,
                b'?' => Token::Any,
                b'[' => class(&mut rest)?,
                b'\\' => {
                    let (escaped, after) = rest.split_first().ok_or(BadPattern)?;
                    rest = after;
                    Token::Byte(*escaped)
                }
                byte => Token::Byte(*byte),
            });
        }
        Ok(Self(tokens))
    }

    /// Whether the pattern matches all of `name`.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        // The last star and how far it reaches; after a mismatch it takes one byte more.
        let mut star: Option<(usize, usize)> = None;
        loop {
            match self.0.get(token) {
                Some(Token::Star) => {
                    star = Some((token, at));
                    token += 1;
                    continue;
                }
                Some(other) => {
                    if let Some(length) = other.takes(&name[at..]) {
                        (token, at) = (token + 1, at + length);
                        continue;
                    }
                }
                None if at == name.len() => return true,
                None => {}
            }
            match star {
                Some((start, reach)) if name.get(reach).is_some_and(|byte| *byte != b'/') => {
                    star = Some((start, reach + 1));
                    (token, at) = (start + 1, reach + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    /// How many bytes of `rest` it takes; `None` where it does not match.
    fn takes(&self, rest: &[u8]) -> Option<usize> {
        let first = *rest.first()?;
        match self {
            Self::Byte(byte) => (*byte == first).then_some(1),
            _ if first == b'/' => None,
            Self::Any | Self::Star => Some(first_char(rest).1),
            Self::Class { negated, ranges } => {
                let (letter, length) = first_char(rest);
                (ranges.iter().any(|range| range.contains(&letter)) != *negated).then_some(length)
            }
        }
    }
}

/// The first character and its length; a byte that is not UTF-8 is U+FFFD and one byte long, as in
/// Go.
fn first_char(bytes: &[u8]) -> (char, usize) {
    let head = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The bytes up to the error have just been found to be UTF-8.
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |letter| (letter, letter.len_utf8()))
}

/// Parses what follows a `[`, up to and with its `]`.
fn class(rest: &mut &[u8]) -> Result<Token, BadPattern> {
    let negated = rest.first() == Some(&b'^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&b']') && !ranges.is_empty() {
            *rest = &rest[1..];
            return Ok(Token::Class { negated, ranges });
        }
        let low = class_char(rest)?;
        let mut high = low;
        if rest.first() == Some(&b'-') {
            *rest = &rest[1..];
            high = class_char(rest)?;
        }
        ranges.push(low..=high);
    }
}

fn class_char(rest: &mut &[u8]) -> Result<char, BadPattern> {
    if matches!(rest.first(), None | Some(b'-' | b']')) {
        return Err(BadPattern);
    }
    if rest.first() == Some(&b'\\') {
        *rest = &rest[1..];
    }
    if rest.is_empty() {
        return Err(BadPattern);
    }
    let (letter, length) = first_char(rest);
    *rest = &rest[length..];
    // A class that ends here has no `]`; a byte that is not UTF-8 cannot be meant.
    if rest.is_empty() || (letter == char::REPLACEMENT_CHARACTER && length == 1) {
        return Err(BadPattern);
    }
    Ok(letter)
}

/// Whether `text` has a wildcard that is not escaped.
pub(crate) fn has_wildcards(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
    false
}

/// The shortest spelling of a path, as Go's `filepath.Clean` gives it on Unix.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut kept: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if kept.last().is_some_and(|last| *last != b"..") => _ = kept.pop(),
            b".." if rooted => {}
            name => kept.push(name),
        }
    }
    let joined = kept.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/".as_slice(), &joined].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `None` for a bad pattern.
    fn matches(pattern: &str, name: &str) -> Option<bool> {
        Glob::parse(pattern.as_bytes()).ok().map(|glob| glob.matches(name.as_bytes()))
    }

    #[test]
    fn patterns_match_as_gos_filepath_match() {
        // The table of Go's own match_test.go, without the rows whose class takes a slash.
        let (yes, no, bad) = (Some(true), Some(false), None);
        for (pattern, name, expected) in [
            ("abc", "abc", yes),
            ("*", "abc", yes),
            ("*c", "abc", yes),
            ("a*", "a", yes),
            ("a*", "abc", yes),
            ("a*", "ab/c", no),
            ("a*/b", "abc/b", yes),
            ("a*/b", "a/c/b", no),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", yes),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", yes),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", no),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", no),
            ("a*b?c*x", "abxbbxdbxebxczzx", yes),
            ("a*b?c*x", "abxbbxdbxebxczzy", no),
            ("ab[c]", "abc", yes),
            ("ab[b-d]", "abc", yes),
            ("ab[e-g]", "abc", no),
            ("ab[^c]", "abc", no),
            ("ab[^b-d]", "abc", no),
            ("ab[^e-g]", "abc", yes),
            ("a\\*b", "a*b", yes),
            ("a\\*b", "ab", no),
            ("a?b", "a\u{263a}b", yes),
            ("a[^a]b", "a\u{263a}b", yes),
            ("a???b", "a\u{263a}b", no),
            ("a[^a][^a][^a]b", "a\u{263a}b", no),
            ("[a-\u{3b6}]*", "\u{3b1}", yes),
            ("*[a-\u{3b6}]", "A", no),
            ("a?b", "a/b", no),
            ("a*b", "a/b", no),
            ("[\\]a]", "]", yes),
            ("[\\-]", "-", yes),
            ("[x\\-]", "x", yes),
            ("[x\\-]", "-", yes),
            ("[x\\-]", "z", no),
            ("[\\-x]", "a", no),
            ("[]a]", "]", bad),
            ("[-]", "-", bad),
            ("[x-]", "x", bad),
            ("[-x]", "x", bad),
            ("\\", "a", bad),
            ("[a-b-c]", "a", bad),
            ("[", "a", bad),
            ("[^", "a", bad),
            ("[^bc", "a", bad),
            ("a[", "a", bad),
            ("a[", "ab", bad),
            ("a[", "x", bad),
            ("a/b[", "x", bad),
            ("*x", "xxx", yes),
            ("**", "abc", yes),
            ("", "", yes),
            ("", "a", no),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!(Glob::parse(b"a?b").unwrap().matches(b"a\xffb"));
    }

    #[test]
    fn paths_are_cleaned_as_gos_filepath_clean() {
        for (path, expected) in [
            ("", "."),
            ("abc/", "abc"),
            ("abc//def//ghi", "abc/def/ghi"),
            ("//abc", "/abc"),
            ("abc/./def", "abc/def"),
            ("/./abc/def", "/abc/def"),
            ("abc/def/ghi/../jkl", "abc/def/jkl"),
            ("abc/def/../..", "."),
            ("/abc/def/../../..", "/"),
            ("abc/def/../../../ghi/jkl/../../../mno", "../../mno"),
            ("/../abc", "/abc"),
            ("!foo/../bar", "bar"),
        ] {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn only_unescaped_wildcards_count() {
        assert!(has_wildcards(b"a*") && has_wildcards(b"a?") && has_wildcards(b"[a") && has_wildcards(b"\\\\*"));
        assert!(!has_wildcards(b"a\\*") && !has_wildcards(b"a") && !has_wildcards(b"a\\"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_escaped_name_matches_itself_and_stars_match_any_component(name in "[^/\\x00]{1,12}", other in "[^/\\x00]{1,12}") {
            let escaped: String = name.chars().flat_map(|letter| ['\\', letter]).collect();
            // A backslash before a character of several bytes escapes its first byte, the others
            // stand for themselves.
            prop_assert_eq!(matches(&escaped, &name), Some(true));
            prop_assert_eq!(matches(&escaped, &other), Some(name == other));
            prop_assert_eq!(matches("*", &name), Some(true));
            prop_assert_eq!(matches(&format!("{escaped}*"), &format!("{name}{other}")), Some(true));
        }

        #[test]
        fn any_pattern_is_parsed_and_matched_without_panic(pattern: Vec<u8>, name: Vec<u8>) {
            if let Ok(glob) = Glob::parse(&pattern) {
                glob.matches(&name);
            }
            let cleaned = clean(&pattern);
            prop_assert_eq!(clean(&cleaned), cleaned);
        }
    }
}
