//! One pattern of moby's `patternmatcher`, compiled: as text where it has no wildcards, as a
//! regular expression otherwise.
//!
//! Escapes that Go's regular expressions reject (`src\out`), and a few without meaning in a path
//! (`\Q`, `\p`, `\x`, octal), are errors.
//!
//! Source: github.com/moby/patternmatcher, `Pattern.compile`. It writes a regular expression
//! character by character, so a star inside of a class becomes part of the class; images are built
//! with that for years, so the same expression is written here and then spelled in the syntax of
//! the regex crate.

use std::borrow::Cow;
use std::fmt::Write as _;

use regex::Regex;

/// The names of classes that Go and the regex crate both know.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit",
];

/// How a cleaned pattern is compared with a path.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    /// The path is the pattern.
    Exact,
    /// The path starts with the pattern without its final `**`.
    Prefix,
    /// The path ends with the pattern without its leading `**`, or is all of it after `**/`.
    Suffix,
    /// The expression matches the path.
    Regexp(Regex),
}

impl Matcher {
    /// Compiles a cleaned pattern; the error is a reason that ends a sentence.
    pub(super) fn compile(pattern: &[u8]) -> Result<Self, String> {
        let mut matcher = Self::Exact;
        let mut expression = String::from("^");
        let mut regexp = false;
        let text = to_text(pattern);
        let mut letters = text.chars().peekable();
        let mut first = true;
        while let Some(letter) = letters.next() {
            match letter {
                '*' if letters.next_if_eq(&'*').is_some() => {
                    letters.next_if_eq(&'/');
                    if letters.peek().is_some() {
                        expression.push_str("(.*/)?");
                        regexp = true;
                    } else if matches!(matcher, Self::Exact) && !regexp {
                        matcher = Self::Prefix;
                    } else {
                        expression.push_str(".*");
                        regexp = true;
                    }
                    if first {
                        matcher = Self::Suffix;
                        regexp = false;
                    }
                }
                '*' | '?' => {
                    expression.push_str(if letter == '*' { "[^/]*" } else { "[^/]" });
                    regexp = true;
                }
                '\\' => {
                    expression.push('\\');
                    if let Some(escaped) = letters.next() {
                        expression.push(escaped);
                        regexp = true;
                    }
                }
                '[' | ']' => {
                    expression.push(letter);
                    regexp = true;
                }
                '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => expression.extend(['\\', letter]),
                letter => expression.push(letter),
            }
            first = false;
        }
        if !regexp {
            return Ok(matcher);
        }
        expression.push('$');
        let expression = translate(&expression)?;
        Regex::new(&expression).map(Self::Regexp).map_err(|_| "it cannot be a regular expression".into())
    }

    /// Whether `path` matches the cleaned `pattern` that this was compiled from.
    pub(super) fn matches(&self, pattern: &[u8], path: &[u8]) -> bool {
        match self {
            Self::Exact => path == pattern,
            Self::Prefix => path.starts_with(&pattern[..pattern.len() - 2]),
            Self::Suffix => {
                let suffix = &pattern[2..];
                path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path)
            }
            Self::Regexp(regex) => regex.is_match(&to_text(path)),
        }
    }
}

/// Bytes as Go sees them character by character: each byte that is not UTF-8 is U+FFFD.
fn to_text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut text = String::with_capacity(bytes.len());
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
            }
            Cow::Owned(text)
        }
    }
}

/// Spells an expression of Go's syntax in the regex crate's. Only what `compile` writes can occur.
fn translate(expression: &str) -> Result<String, String> {
    let mut out = String::with_capacity(expression.len() + 16);
    let mut rest = expression.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => match escape(rest.next())? {
                Escape::Letter(letter) => push_letter(&mut out, letter),
                Escape::Class { negated, ranges } => _ = write!(out, "[{}{ranges}]", if negated { "^" } else { "" }),
                Escape::Position(position) => out.push_str(position),
            },
            '[' => rest = class(rest.as_str(), &mut out)?.chars(),
            letter => out.push(letter),
        }
    }
    Ok(out)
}

enum Escape {
    Letter(char),
    Class { negated: bool, ranges: &'static str },
    Position(&'static str),
}

/// What follows a backslash (Go, `regexp/syntax`).
fn escape(letter: Option<char>) -> Result<Escape, String> {
    let Some(letter) = letter else { return Err("it ends with a backslash".into()) };
    let class = |ranges| Escape::Class { negated: letter.is_ascii_uppercase(), ranges };
    Ok(match letter {
        'd' | 'D' => class("0-9"),
        's' | 'S' => class(r"\t\n\x0c\r\x20"),
        'w' | 'W' => class("0-9A-Za-z_"),
        'A' => Escape::Position(r"\A"),
        'b' => Escape::Position(r"(?-u:\b)"),
        'B' => Escape::Position(r"(?-u:\B)"),
        'z' => Escape::Position(r"\z"),
        'a' => Escape::Letter('\x07'),
        'f' => Escape::Letter('\x0c'),
        'n' => Escape::Letter('\n'),
        'r' => Escape::Letter('\r'),
        't' => Escape::Letter('\t'),
        'v' => Escape::Letter('\x0b'),
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => Escape::Letter(other),
        other => return Err(format!("`\\{other}` is not an escape; folders are separated by `/`")),
    })
}

fn push_letter(out: &mut String, letter: char) {
    // Writing to a String cannot fail.
    _ = write!(out, "\\x{{{:x}}}", u32::from(letter));
}

/// Spells the class that starts in `rest` after its `[`, and gives what follows its `]`.
fn class<'a>(rest: &'a str, out: &mut String) -> Result<&'a str, String> {
    let unclosed = || "its `[` is never closed".to_owned();
    out.push('[');
    let mut rest = rest;
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some((name, after)) = rest.strip_prefix("[:").and_then(|after| after.split_once(":]")) {
            if !POSIX_CLASSES.contains(&name.trim_start_matches('^')) {
                return Err(format!("`[:{name}:]` is not a character class"));
            }
            _ = write!(out, "[:{name}:]");
            rest = after;
            continue;
        }
        let low = match class_item(&mut rest).ok_or_else(unclosed)?? {
            Escape::Class { negated, ranges } => {
                _ = write!(out, "[{}{ranges}]", if negated { "^" } else { "" });
                continue;
            }
            Escape::Position(_) => return Err("it has a position in a class".into()),
            Escape::Letter(letter) => letter,
        };
        push_letter(out, low);
        if rest.starts_with('-') && !rest.starts_with("-]") {
            rest = &rest[1..];
            match class_item(&mut rest).ok_or_else(unclosed)?? {
                Escape::Letter(high) if low <= high => {
                    out.push('-');
                    push_letter(out, high);
                }
                _ => return Err("it has a range that runs backwards".into()),
            }
        }
    }
    out.push(']');
    rest.strip_prefix(']').ok_or_else(unclosed)
}

/// The next letter or escape of a class; `None` at the end of the text.
fn class_item(rest: &mut &str) -> Option<Result<Escape, String>> {
    let mut letters = rest.chars();
    let item = match letters.next()? {
        '\\' => escape(letters.next()),
        letter => Ok(Escape::Letter(letter)),
    };
    *rest = letters.as_str();
    Some(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> Option<bool> {
        let pattern = super::super::glob::clean(pattern.as_bytes());
        Matcher::compile(&pattern).ok().map(|matcher| matcher.matches(&pattern, path.as_bytes()))
    }

    #[test]
    fn patterns_are_compiled_as_moby_does() {
        let (yes, no, bad) = (Some(true), Some(false), None);
        // Most rows are those of patternmatcher_test.go that concern one pattern and no parent
        // folder.
        for (pattern, path, expected) in [
            ("**", "file", yes),
            ("**", "dir/file", yes),
            ("**/", "dir/file", yes),
            ("**/**", "dir/file", yes),
            ("dir/**", "dir/file", yes),
            ("dir/**", "dir/dir2/file", yes),
            ("dir/**", "dir", no),
            ("**/dir", "dir", yes),
            ("**/dir", "dir2/dir", yes),
            ("**/dir", "xdir", no),
            ("**/dir2/*", "dir/dir2/file", yes),
            ("**/dir2/*", "dir/dir2/dir2/file", yes),
            ("**/dir2/**", "dir/dir2/dir2/file", yes),
            ("**file", "file", yes),
            ("**file", "dir/file", yes),
            ("**/file", "dir/dir/file", yes),
            ("**/file*", "dir/dir/file.txt", yes),
            ("**/file*txt", "dir/dir/file.txt", yes),
            ("**/file*.txt", "dir/dir/file.txt", yes),
            ("**/file*.txt*", "dir/dir/file.txt", yes),
            ("**/**/*.txt", "dir/dir/file.txt", yes),
            ("**/**/*.txt2", "dir/dir/file.txt", no),
            ("**/*.txt", "file.txt", yes),
            ("a**/*.txt", "a/file.txt", yes),
            ("a**/*.txt", "a/dir/file.txt", yes),
            ("a/*.txt", "a/dir/file.txt", no),
            ("a/*.txt**", "a/file.txt", yes),
            ("a[b-d]e", "ae", no),
            ("a[b-d]e", "ace", yes),
            ("a[^b-d]e", "aze", yes),
            (".*", ".foo", yes),
            (".*", "foo", no),
            ("abc.def", "abcZdef", no),
            ("abc?def", "abcZdef", yes),
            ("a\\*", "a\\b", no),
            ("a\\*b", "a*b", yes),
            ("a\\", "a\\", yes),
            ("**/foo/bar", "foo/bar", yes),
            ("**/foo/bar", "dir/dir2/foo/bar", yes),
            ("abc/**", "abc", no),
            ("abc/**", "abc/def/ghi", yes),
            ("**/.foo", ".foo", yes),
            ("**/.foo", "bar.foo", no),
            ("./**/*.js", "a.js", yes),
            ("a(b)c/def", "a(b)c/def", yes),
            ("a(b)c/def", "a(b)c/xyz", no),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", yes),
            ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", yes),
            ("a*b", "a\nb", yes),
            ("**/b*", "a\nc/b", no),
            // A star inside of a class becomes part of it: `[*]` is written `[[^/]*]`.
            ("a[*]", "a*", no),
            ("a[*]", "a[^/]", yes),
            ("src\\test", "src\test", yes),
            ("a\\d", "a7", yes),
            ("a[\\d_]", "a7", yes),
            ("[[:digit:]]", "7", yes),
            ("[[:foo:]]", "f", bad),
            ("src\\out", "x", bad),
            ("[z-a]", "x", bad),
            ("\\Qa", "x", bad),
            ("[a&&b]", "&", yes),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_characters_of_their_own() {
        let matcher = Matcher::compile(b"a?b").unwrap();
        assert!(matcher.matches(b"a?b", b"a\xffb") && !matcher.matches(b"a?b", b"a\xff\xfeb"));
        let matcher = Matcher::compile(b"a\xff").unwrap();
        assert!(matcher.matches(b"a\xff", b"a\xff") && !matcher.matches(b"a\xff", b"a\xfe"));
    }
}
