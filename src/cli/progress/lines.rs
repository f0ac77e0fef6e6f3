//! What a program prints, as lines that can be shown anywhere.
//!
//! Invariant: no control sequence of a RUN step reaches the terminal; it could move the cursor or
//! change colours.

/// The longest line that is waited for, in bytes; a longer one is cut into several.
const LONGEST: usize = 16 * 1024;

/// Collects bytes until a line is complete.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes in `bytes`; calls `each` with every line that is complete now, cleaned and without its
    /// end.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if self.partial.ends_with(b"\n") || self.partial.len() >= LONGEST {
                each(&clean(&self.partial));
                self.partial.clear();
            }
        }
    }

    /// What came after the last line's end.
    pub(super) fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.partial);
        (!rest.is_empty()).then(|| clean(&rest))
    }
}

/// A line as it would stand on a terminal in the end: of parts that overwrite each other (progress
/// bars) the last one.
fn clean(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let last = line.split(|byte| *byte == b'\r').rfind(|part| !part.is_empty()).unwrap_or_default();
    let text = String::from_utf8_lossy(last);
    let plain = console::strip_ansi_codes(&text);
    plain.replace('\t', "    ").chars().filter(|letter| !letter.is_control()).collect()
}

/// A name of several lines, such as a RUN with continuations or a heredoc, as one.
pub(super) fn one_line(name: &str) -> String {
    let words: Vec<&str> = name.split_whitespace().filter(|word| *word != "\\").collect();
    words.join(" ").chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[&[u8]]) -> (Vec<String>, Option<String>) {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for part in parts {
            lines.push(part, |line| seen.push(line.to_owned()));
        }
        let rest = lines.rest();
        (seen, rest)
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let (seen, rest) = lines(&[b"one\ntw", b"o\n\nthr", b"ee"]);
        assert_eq!(seen, ["one", "two", ""]);
        assert_eq!(rest.as_deref(), Some("three"));
        assert_eq!(lines(&[b"a\n"]).1, None);
    }

    #[test]
    fn of_a_progress_bar_its_last_state_is_shown() {
        assert_eq!(lines(&[b"10 %\r50 %\r100 %\r\n"]).0, ["100 %"]);
        assert_eq!(lines(&[b"plain\r\n"]).0, ["plain"]);
    }

    #[test]
    fn control_sequences_and_broken_text_do_no_harm() {
        assert_eq!(lines(&[b"\x1b[31mred\x1b[0m \x1b[2Jx\x07\x08\tt\n"]).0, ["red x    t"]);
        assert_eq!(lines(&[b"\xff\n"]).0, ["\u{fffd}"]);
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let (seen, rest) = lines(&[&[b'x'; 40_000]]);
        assert_eq!(seen.len() + rest.iter().len(), 1);
        let (seen, _) = lines(&[&[b'x'; 16_384], b"y\n"]);
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn a_name_of_several_lines_becomes_one() {
        assert_eq!(
            one_line("[2/3] RUN apt-get update && \\\n    apt-get install -y x"),
            "[2/3] RUN apt-get update && apt-get install -y x"
        );
    }
}
