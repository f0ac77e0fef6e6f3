//! Lines of the file to lines of one instruction each, with their heredocs.
//!
//! A heredoc that does not end is an error.

use std::borrow::Cow;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result, Snippet};

use super::super::source::{Location, mark};
use super::super::warning::{Rule, Warnings};
use super::decode::decode;
use super::directive::{Check, Directives};
use super::heredoc::{Heredoc, markers};
use super::words::{JsonForm, json_form, split_instruction};

/// One instruction.
#[derive(Debug)]
pub(in crate::dockerfile) struct Line {
    /// Where it is in the file.
    pub(in crate::dockerfile) location: Arc<Location>,
    /// Its heredocs, in order.
    pub(in crate::dockerfile) heredocs: Vec<Heredoc>,
    /// Whether bytes of the text that are not UTF-8 were replaced with U+FFFD.
    pub(in crate::dockerfile) lossy: bool,
}

/// The file, instruction by instruction.
#[derive(Debug)]
pub(in crate::dockerfile) struct Lines {
    /// What the directives say.
    pub(in crate::dockerfile) directives: Directives,
    /// The instructions, in order.
    pub(in crate::dockerfile) lines: Vec<Line>,
    /// The line of the `syntax` directive.
    pub(in crate::dockerfile) syntax: Option<Snippet>,
    /// Warnings found while parsing.
    pub(in crate::dockerfile) warnings: Warnings,
}

/// Reads the whole file. `check` replaces what the `check` directive says.
pub(in crate::dockerfile) fn read_lines(file: &str, bytes: &[u8], check: Option<Check>) -> Result<Lines> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let mut reader = Reader { file: file.into(), lines, next: 0, directives: Directives::default(), syntax: None };
    let mut lines = Vec::new();
    let mut empty_continuations = Vec::new();
    while let Some(line) = reader.line(&mut empty_continuations)? {
        lines.push(line);
    }
    if let Some(check) = check {
        reader.directives.check = check;
    }
    let mut warnings = Warnings::new(reader.directives.check.clone());
    for number in empty_continuations {
        let snippet = reader.snippet(number);
        warnings.push(Rule::NoEmptyContinuation, "an empty line is between the lines of one instruction", Some(snippet));
    }
    let syntax = reader.syntax.map(|number| reader.snippet(number));
    Ok(Lines { directives: reader.directives, lines, syntax, warnings })
}

struct Reader<'t> {
    file: Arc<str>,
    lines: Vec<&'t [u8]>,
    next: usize,
    directives: Directives,
    syntax: Option<usize>,
}

impl<'t> Reader<'t> {
    fn take(&mut self) -> Option<&'t [u8]> {
        let line = self.lines.get(self.next)?;
        self.next += 1;
        Some(line)
    }

    /// The next line as text.
    fn take_text(&mut self) -> Option<Cow<'t, str>> {
        self.take().map(decode)
    }

    /// The line of this number, from 1, marked as a whole.
    fn snippet(&self, number: usize) -> Snippet {
        let line = self.lines.get(number - 1).map_or(Cow::Borrowed(""), |line| decode(line));
        let line = line.trim_end();
        mark(&self.file, number, line, line.len() - line.trim_start().len(), line.trim().len())
    }

    /// The next instruction; comments and blank lines before it are passed over.
    fn line(&mut self, empty_continuations: &mut Vec<usize>) -> Result<Option<Line>> {
        loop {
            let Some(raw) = self.take_text() else { return Ok(None) };
            let first = self.next;
            let line = without_end(&raw).trim_start();
            self.directives
                .read(line)
                .map_err(|message| Error::new(ErrorKind::Dockerfile, message).with_snippet(self.snippet(first)))?;
            if self.directives.has_syntax {
                self.syntax.get_or_insert(first);
            }
            let line = if line.starts_with('#') { "" } else { line };
            let (line, goes_on) = cut_continuation(line, self.directives.escape);
            if line.is_empty() && !goes_on {
                continue;
            }
            let mut text = line.to_owned();
            let mut lossy = matches!(raw, Cow::Owned(_));
            if goes_on {
                lossy |= self.continuations(&mut text, empty_continuations);
            }
            if text.trim().is_empty() {
                continue;
            }
            return self.with_heredocs(first, text, lossy).map(Some);
        }
    }

    /// Appends the lines up to the first that does not go on. They keep their leading blanks.
    /// Whether any of them is not UTF-8.
    fn continuations(&mut self, text: &mut String, empty: &mut Vec<usize>) -> bool {
        let mut lossy = false;
        while let Some(raw) = self.take_text() {
            let line = without_end(&raw);
            if line.trim_start().starts_with('#') {
                continue;
            }
            if line.trim().is_empty() {
                empty.push(self.next);
                continue;
            }
            let (line, goes_on) = cut_continuation(line, self.directives.escape);
            text.push_str(line);
            lossy |= matches!(raw, Cow::Owned(_));
            if !goes_on {
                break;
            }
        }
        lossy
    }

    fn with_heredocs(&mut self, first: usize, text: String, lossy: bool) -> Result<Line> {
        let head = self.next;
        let wrong =
            |reader: &Self, message: String| Error::new(ErrorKind::Dockerfile, message).with_snippet(reader.snippet(first));
        let markers = match takes_heredocs(&text) {
            true => markers(&text).map_err(|error| wrong(self, error.message))?,
            false => Vec::new(),
        };
        let mut heredocs = Vec::new();
        for marker in markers {
            let mut content = Vec::new();
            loop {
                match self.take() {
                    Some(line) if marker.ends_at(line) => break,
                    Some(line) => content.extend_from_slice(line),
                    None => {
                        let location = self.location(first, head, text);
                        return Err(location
                            .error_at(&marker.name, format!("the heredoc `{}` is not terminated", marker.name))
                            .with_hint(format!("end it with a line that is only {}", marker.name)));
                    }
                }
            }
            heredocs.push(Heredoc { marker, content });
        }
        Ok(Line { location: Arc::new(self.location(first, self.next, text)), heredocs, lossy })
    }

    fn location(&self, first: usize, last: usize, text: String) -> Location {
        let lines = self.lines[first - 1..last].iter().map(|line| decode(line).trim_end().to_owned()).collect();
        Location { file: Arc::clone(&self.file), first, lines, text: text.trim().to_owned(), escape: self.directives.escape }
    }
}

fn without_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The line without an escape at its end, and whether there was one. An escape that is itself
/// escaped does not count.
fn cut_continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(line) if !line.ends_with(escape) => (line, true),
        _ => (line, false),
    }
}

/// Only RUN, COPY and ADD do, also behind ONBUILD, and not in JSON form.
fn takes_heredocs(line: &str) -> bool {
    if !line.contains("<<") {
        return false;
    }
    let (mut name, _, mut rest) = split_instruction(line);
    if name.eq_ignore_ascii_case("ONBUILD") {
        (name, _, rest) = split_instruction(rest);
    }
    ["ADD", "COPY", "RUN"].iter().any(|taker| name.eq_ignore_ascii_case(taker))
        && !matches!(json_form(rest), JsonForm::Strings(_))
}
