//! Where text stands: lines of a file, instructions with their place, and the errors and warnings drawn from them.
//!
//! Refuses to read files: the text comes in from outside.

use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Snippet};

use super::Rule;
use super::expand::Fault;

/// A value with its place in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    value: T,
    place: Arc<Place>,
}

/// The lines of one instruction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file as the user named it.
    pub(super) file: Arc<str>,
    /// Number of the first line, from 1.
    pub(super) first: usize,
    /// The lines as they stand in the file, heredocs included.
    pub(super) lines: Vec<String>,
    /// The instruction in one line: continuations joined, comments and heredocs left out.
    pub(super) text: String,
    /// `\`, or the one of the `escape` directive.
    pub(super) escape: char,
}

/// Something that works, but most likely not as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Which check found it.
    pub rule: Rule,
    /// What is odd.
    pub message: String,
    /// Where, unless it is about a flag of the command line.
    pub snippet: Option<Snippet>,
}

impl<T> Located<T> {
    pub(super) fn new(value: T, place: Arc<Place>) -> Self {
        Self { value, place }
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value, its place forgotten.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Another value at the same place.
    pub fn with<U>(&self, value: U) -> Located<U> {
        Located { value, place: Arc::clone(&self.place) }
    }

    /// The file as the user named it.
    pub fn file(&self) -> &str {
        &self.place.file
    }

    /// First and last line, from 1, heredocs included.
    pub fn lines(&self) -> RangeInclusive<usize> {
        self.place.first..=self.place.last()
    }

    /// The instruction as written, in one line: continuations joined, heredocs left out.
    pub fn text(&self) -> &str {
        &self.place.text
    }

    /// The first line, marked as a whole.
    pub fn snippet(&self) -> Snippet {
        self.place.snippet()
    }

    /// The line that holds `part`, `part` marked; the first line where no line holds it.
    pub fn snippet_of(&self, part: &str) -> Snippet {
        self.place.snippet_of(part)
    }

    /// An error at this place, of kind [`ErrorKind::Dockerfile`], the whole first line marked.
    pub fn error(&self, message: impl Into<String>) -> Error {
        self.place.error(message)
    }

    /// An error at this place with `part` of the text marked.
    pub fn error_at(&self, part: &str, message: impl Into<String>) -> Error {
        self.place.error_at(part, message)
    }

    pub(super) fn fault(&self, part: &str, fault: Fault) -> Error {
        self.place.fault(part, fault)
    }

    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl Place {
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
    pub(super) fn fault(&self, part: &str, fault: Fault) -> Error {
        let error = self.error_at(part, fault.message);
        match fault.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// The snippet of `length` bytes of `line` from byte `start`.
pub(super) fn mark(file: &str, number: usize, line: &str, start: usize, length: usize) -> Snippet {
    let characters = |range: &str| range.chars().count();
    Snippet {
        file: file.to_owned(),
        line: number,
        column: line.get(..start).map_or(0, characters),
        length: line.get(start..start + length).map_or(1, characters).max(1),
        text: line.to_owned(),
    }
}

/// Where `part` stands in `line`: as a word of its own if it is one somewhere, else anywhere.
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
