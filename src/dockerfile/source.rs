//! Locations in a Dockerfile, and the errors that point to them.
//!
//! Nothing here reads files: the caller passes the text.

use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Snippet};

use super::expand::WordError;

/// A value with its location in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    value: T,
    location: Arc<Location>,
}

/// The lines of one instruction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// The file as the user named it.
    pub(super) file: Arc<str>,
    /// Number of the first line, from 1.
    pub(super) first: usize,
    /// The lines as written in the file, heredocs included.
    pub(super) lines: Vec<String>,
    /// The instruction in one line: continuations joined, comments and heredocs left out.
    pub(super) text: String,
    /// `\`, or the one of the `escape` directive.
    pub(super) escape: char,
}

impl<T> Located<T> {
    pub(super) fn new(value: T, location: Arc<Location>) -> Self {
        Self { value, location }
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value, its location forgotten.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Another value at the same location.
    pub fn with<U>(&self, value: U) -> Located<U> {
        Located { value, location: Arc::clone(&self.location) }
    }

    /// The file as the user named it.
    pub fn file(&self) -> &str {
        &self.location.file
    }

    /// First and last line, from 1, heredocs included.
    pub fn lines(&self) -> RangeInclusive<usize> {
        self.location.first..=self.location.last()
    }

    /// The instruction as written, in one line, for progress and messages: continuations joined,
    /// heredocs and the credentials of URLs left out.
    pub fn text(&self) -> String {
        hide_credentials(&self.location.text)
    }

    /// The first line, marked as a whole.
    pub fn snippet(&self) -> Snippet {
        self.location.snippet()
    }

    /// The line that holds `part`, `part` marked; the first line where no line holds it.
    pub fn snippet_of(&self, part: &str) -> Snippet {
        self.location.snippet_of(part)
    }

    /// An error at this location, of kind [`ErrorKind::Dockerfile`], the whole first line marked.
    pub fn error(&self, message: impl Into<String>) -> Error {
        self.location.error(message)
    }

    /// An error at this location with `part` of the text marked.
    pub fn error_at(&self, part: &str, message: impl Into<String>) -> Error {
        self.location.error_at(part, message)
    }

    pub(super) fn word_error(&self, part: &str, error: WordError) -> Error {
        self.location.word_error(part, error)
    }

    pub(super) fn location(&self) -> &Arc<Location> {
        &self.location
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl Location {
    /// The last line, from 1.
    pub(super) fn last(&self) -> usize {
        self.first + self.lines.len().saturating_sub(1)
    }

    pub(super) fn snippet(&self) -> Snippet {
        let line = self.lines.first().map_or("", String::as_str);
        let text = line.trim();
        mark(&self.file, self.first, line, line.len() - line.trim_start().len(), text.len())
    }

    pub(super) fn snippet_of(&self, part: &str) -> Snippet {
        let found = self.lines.iter().enumerate().find_map(|(index, line)| Some((index, line, word_position(line, part)?)));
        match found {
            Some((index, line, start)) => mark(&self.file, self.first + index, line, start, part.len()),
            None => self.snippet(),
        }
    }

    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Dockerfile, message).with_snippet(self.snippet())
    }

    pub(super) fn error_at(&self, part: &str, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Dockerfile, message).with_snippet(self.snippet_of(part))
    }

    /// An error of the lexer in `part`.
    pub(super) fn word_error(&self, part: &str, error: WordError) -> Error {
        let located = self.error_at(part, error.message);
        match error.hint {
            Some(hint) => located.with_hint(hint),
            None => located,
        }
    }
}

/// A text without the user names and passwords of URLs in it: each character of them is an `x`.
pub fn hide_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme) = rest.find("://") {
        let (before, after) = rest.split_at(scheme + 3);
        shown.push_str(before);
        let authority = after.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(after.len());
        let user = after[..authority].rfind('@').unwrap_or(0);
        shown.extend(after[..user].chars().map(|_| 'x'));
        rest = &after[user..];
    }
    shown + rest
}

/// The snippet of `length` bytes of `line` from byte `start`.
pub(super) fn mark(file: &str, number: usize, line: &str, start: usize, length: usize) -> Snippet {
    let characters = |range: &str| range.chars().count();
    Snippet {
        file: file.to_owned(),
        line: number,
        column: line.get(..start).map_or(0, characters),
        length: line.get(start..start + length).map_or(1, characters).max(1),
        text: hide_credentials(line),
    }
}

/// Where `part` is in `line`: as a word of its own if possible, otherwise anywhere.
fn word_position(line: &str, part: &str) -> Option<usize> {
    if part.is_empty() {
        return None;
    }
    let alone = |start: &usize| {
        let outside = |character: Option<char>| character.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        outside(line[..*start].chars().next_back()) && outside(line[*start + part.len()..].chars().next())
    };
    let mut positions = line.match_indices(part).map(|(start, _)| start);
    let first = positions.clone().next();
    positions.find(alone).or(first)
}

#[cfg(test)]
mod tests {
    use super::hide_credentials;

    #[test]
    fn credentials_of_urls_are_hidden_and_nothing_else() {
        for (text, shown) in [
            ("ADD https://user:pass@h/a https://tök@h /x", "ADD https://xxxxxxxxx@h/a https://xxx@h /x"),
            ("ADD https://a@b:c@h/@d?e@f /x", "ADD https://xxxxx@h/@d?e@f /x"),
            ("ADD git@h:a https://h/a@b /x", "ADD git@h:a https://h/a@b /x"),
            ("RUN a --url=\"http://u@h\" a@b://", "RUN a --url=\"http://x@h\" a@b://"),
        ] {
            assert_eq!(hide_credentials(text), shown);
        }
    }
}
