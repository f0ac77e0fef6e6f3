//! Lines of the file to lines of one instruction each, with their heredocs.
//!
//! Refuses what is not UTF-8, and heredocs that do not end.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result, Snippet};

use super::super::source::{Place, mark};
use super::super::warning::{Rule, Warnings};
use super::directive::Directives;
use super::heredoc::{Heredoc, markers};
use super::words::{JsonForm, json_form, split_instruction};

/// One instruction.
#[derive(Debug)]
pub(in crate::dockerfile) struct Line {
    /// Where it stands.
    pub(in crate::dockerfile) place: Arc<Place>,
    /// Its heredocs, in order.
    pub(in crate::dockerfile) heredocs: Vec<Heredoc>,
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
    /// What is odd.
    pub(in crate::dockerfile) warnings: Warnings,
}

/// Reads the whole file.
pub(in crate::dockerfile) fn read_lines(file: &str, bytes: &[u8]) -> Result<Lines> {
    let text = decode(file, bytes)?;
    let lines = text.split_inclusive('\n').collect();
    let mut reader = Reader { file: file.into(), lines, next: 0, directives: Directives::default(), syntax: None };
    let mut lines = Vec::new();
    let mut empty_continuations = Vec::new();
    while let Some(line) = reader.line(&mut empty_continuations)? {
        lines.push(line);
    }
    let mut warnings = Warnings::new(reader.directives.check.clone());
    for number in empty_continuations {
        let snippet = reader.snippet(number);
        warnings.push(Rule::NoEmptyContinuation, "an empty line stands between the lines of one instruction", Some(snippet));
    }
    let syntax = reader.syntax.map(|number| reader.snippet(number));
    Ok(Lines { directives: reader.directives, lines, syntax, warnings })
}

fn decode<'t>(file: &str, bytes: &'t [u8]) -> Result<&'t str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::new(ErrorKind::Dockerfile, format!("`{file}` is not UTF-8 at line {line}"))
            .with_source(error)
            .with_hint("save the file as UTF-8")
    })
}

struct Reader<'t> {
    file: Arc<str>,
    lines: Vec<&'t str>,
    next: usize,
    directives: Directives,
    syntax: Option<usize>,
}

impl<'t> Reader<'t> {
    fn take(&mut self) -> Option<&'t str> {
        let line = self.lines.get(self.next)?;
        self.next += 1;
        Some(line)
    }

    /// The line of this number, from 1, marked as a whole.
    fn snippet(&self, number: usize) -> Snippet {
        let line = self.lines.get(number - 1).map_or("", |line| line.trim_end());
        mark(&self.file, number, line, line.len() - line.trim_start().len(), line.trim().len())
    }

    /// The next instruction; comments and blank lines before it are passed over.
    fn line(&mut self, empty_continuations: &mut Vec<usize>) -> Result<Option<Line>> {
        loop {
            let Some(raw) = self.take() else { return Ok(None) };
            let first = self.next;
            let line = without_end(raw).trim_start();
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
            if goes_on {
                self.continuations(&mut text, empty_continuations);
            }
            if text.trim().is_empty() {
                continue;
            }
            return self.with_heredocs(first, text).map(Some);
        }
    }

    /// Appends the lines up to the first that does not go on. They keep their leading blanks.
    fn continuations(&mut self, text: &mut String, empty: &mut Vec<usize>) {
        while let Some(raw) = self.take() {
            let line = without_end(raw);
            if line.trim_start().starts_with('#') {
                continue;
            }
            if line.trim().is_empty() {
                empty.push(self.next);
                continue;
            }
            let (line, goes_on) = cut_continuation(line, self.directives.escape);
            text.push_str(line);
            if !goes_on {
                return;
            }
        }
    }

    fn with_heredocs(&mut self, first: usize, text: String) -> Result<Line> {
        let head = self.next;
        let wrong =
            |reader: &Self, message: String| Error::new(ErrorKind::Dockerfile, message).with_snippet(reader.snippet(first));
        let markers = match takes_heredocs(&text) {
            true => markers(&text).map_err(|fault| wrong(self, fault.message))?,
            false => Vec::new(),
        };
        let mut heredocs = Vec::new();
        for marker in markers {
            let mut content = String::new();
            loop {
                match self.take() {
                    Some(line) if marker.ends_at(line) => break,
                    Some(line) => content.push_str(line),
                    None => {
                        let place = self.place(first, head, text);
                        return Err(place
                            .error_at(&marker.name, format!("the heredoc `{}` does not end", marker.name))
                            .with_hint(format!("write a line with nothing but {} after it", marker.name)));
                    }
                }
            }
            heredocs.push(Heredoc { marker, content });
        }
        Ok(Line { place: Arc::new(self.place(first, self.next, text)), heredocs })
    }

    fn place(&self, first: usize, last: usize, text: String) -> Place {
        let lines = self.lines[first - 1..last].iter().map(|line| line.trim_end().to_owned()).collect();
        Place { file: Arc::clone(&self.file), first, lines, text: text.trim().to_owned(), escape: self.directives.escape }
    }
}

fn without_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The line without an escape at its end, and whether there was one. An escape that is itself escaped does not count.
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
