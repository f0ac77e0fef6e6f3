//! Heredocs: `<<EOF`, `<<-EOF`, `3<<EOF`, `<<"EOF"`, several on a line.
//!
//! Their content is not expanded here: a marker only says whether it must be.

use super::super::expand::{Lexer, WordError};

/// What announces a heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dockerfile) struct Marker {
    /// The word, without quotes: the line that ends the heredoc, and a file's name.
    pub(in crate::dockerfile) name: String,
    /// No part of the word is quoted.
    pub(in crate::dockerfile) expand: bool,
    /// Leading tabs go away: `<<-`.
    pub(in crate::dockerfile) chomp: bool,
}

/// A heredoc with its content as written in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dockerfile) struct Heredoc {
    /// What announced it.
    pub(in crate::dockerfile) marker: Marker,
    /// The lines, ends included. They need not be UTF-8.
    pub(in crate::dockerfile) content: Vec<u8>,
}

impl Heredoc {
    /// The content, without leading tabs where `<<-` says so.
    pub(in crate::dockerfile) fn chomped(&self, marker: &Marker) -> Vec<u8> {
        match marker.chomp {
            true => self.content.split_inclusive(|byte| *byte == b'\n').flat_map(without_tabs).copied().collect(),
            false => self.content.clone(),
        }
    }
}

impl Marker {
    /// Reads one word. The error is an unclosed quote after `<<`.
    pub(in crate::dockerfile) fn parse(word: &str) -> Result<Option<Self>, WordError> {
        let Some(rest) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else {
            return Ok(None);
        };
        let (chomp, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.trim_start();
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        let lexer = Lexer { keep_unset: true, ..Lexer::new('\\') };
        let plain = lexer.read(rest, &|_| None)?;
        let [name] = plain.words.as_slice() else {
            return Ok(None);
        };
        let quoted = Lexer { keep_quotes: true, ..lexer }.read(rest, &|_| None)?;
        let quotes = |text: &str| text.matches(['\'', '"']).count();
        Ok(Some(Self { expand: quotes(name) == quotes(&quoted.text), name: name.clone(), chomp }))
    }

    /// Whether `line`, its end included, ends the heredoc.
    pub(super) fn ends_at(&self, line: &[u8]) -> bool {
        let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        let line = &line[..end];
        self.name.as_bytes() == if self.chomp { without_tabs(line) } else { line }
    }
}

fn without_tabs(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| *byte != b'\t').unwrap_or(line.len());
    &line[start..]
}

/// All heredocs that a line announces. A line with an unclosed quote announces none, as BuildKit
/// has it.
pub(super) fn markers(line: &str) -> Result<Vec<Marker>, WordError> {
    let lexer = Lexer { keep_quotes: true, keep_escapes: true, keep_unset: true, ..Lexer::new('\\') };
    let Ok(lexed) = lexer.read(line, &|_| None) else {
        return Ok(Vec::new());
    };
    lexed.words.iter().filter_map(|word| Marker::parse(word).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_announce_heredocs() {
        for (word, name, expand, chomp) in [
            ("<<EOF", "EOF", true, false),
            ("<<-EOF", "EOF", true, true),
            ("<<'EOF'", "EOF", false, false),
            ("<<\"E F\"", "E F", false, false),
            ("<<E'O'F", "EOF", false, false),
            ("3<<EOF", "EOF", true, false),
            ("<<$x", "$x", true, false),
            ("<<EOF>/x", "EOF>/x", true, false),
        ] {
            assert_eq!(Marker::parse(word).unwrap(), Some(Marker { name: name.into(), expand, chomp }), "{word}");
        }
        for word in ["EOF", "<<", "<<-", "<EOF", "<<<EOF", "a<<EOF", "<<EOF<<EOF", "<<a b"] {
            assert_eq!(Marker::parse(word).unwrap(), None, "{word}");
        }
        assert!(Marker::parse("<<'EOF").is_err());
    }

    #[test]
    fn a_line_announces_several_heredocs() {
        let names = |line| -> Vec<String> { markers(line).unwrap().into_iter().map(|marker| marker.name).collect() };
        assert_eq!(names("COPY <<a <<-'b' /x"), ["a", "b"]);
        assert_eq!(names("RUN cat <<EOF | sh"), ["EOF"]);
        assert_eq!(names("RUN echo '<<EOF'"), [""; 0]);
        assert_eq!(names("RUN echo \"a"), [""; 0]);
        assert_eq!(names("RUN echo \\<<EOF"), [""; 0]);
    }
}
