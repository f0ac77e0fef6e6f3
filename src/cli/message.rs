//! How errors and warnings are drawn: message, causes in order, the place in the file with a caret,
//! one remedy.

use std::fmt::Write as _;

use console::measure_text_width;
use serde_json::{Value, json};

use super::style::Theme;
use super::visible::{visible, visible_line};
use crate::error::{Error, Snippet};

/// How much of a long line is shown where the terminal's width is not known, in columns.
const WIDTH: usize = 160;

/// An error as a person reads it. `width` is the terminal's, in columns.
pub(super) fn draw_error(error: &Error, theme: Theme, width: Option<usize>) -> String {
    let mut text = format!("{}: {}\n", theme.bad("error"), visible(&error.to_string()));
    for cause in error.causes() {
        text += &format!("  caused by: {}\n", indented(&cause));
    }
    if let Some(snippet) = error.snippet() {
        text += &draw_snippet(snippet, theme, width.unwrap_or(WIDTH));
    }
    if let Some(hint) = error.hint() {
        text += &format!("{}: {}\n", theme.guide("hint"), indented(hint));
    }
    text
}

/// A warning as a person reads it.
pub(super) fn draw_warning(message: &str, hint: Option<&str>, theme: Theme) -> String {
    let mut text = format!("{}: {}", theme.warning("warning"), indented(message));
    if let Some(hint) = hint {
        let _ = write!(text, "\n{}: {}", theme.guide("hint"), indented(hint));
    }
    text
}

/// Texts of registries and programs may have several lines; they must not look like messages of
/// their own.
fn indented(text: &str) -> String {
    visible(text).trim_end().replace('\n', "\n    ")
}

/// The line as rustc shows it:
/// ```text
///   --> Dockerfile:2
///    |
///  2 | COP a b
///    | ^^^
/// ```
fn draw_snippet(snippet: &Snippet, theme: Theme, width: usize) -> String {
    let Snippet { file, line, column, length, text } = snippet;
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let (before, marked, after) = parts(text, *column, *length);
    let room = width.saturating_sub(number.len() + 4).max(20);
    let (shown, indent, carets) = window(&before, &marked, &after, room);
    let mut drawn = format!("{margin} {} {}:{line}\n", theme.guide("-->"), visible_line(file));
    drawn += &format!("{margin}  {}\n", theme.guide("|"));
    drawn += &format!(" {} {} {shown}\n", theme.guide(number), theme.guide("|"));
    drawn += &format!("{margin}  {} {}{}\n", theme.guide("|"), " ".repeat(indent), theme.bad("^".repeat(carets)));
    drawn
}

/// The line before, under and after the caret, with tabs as spaces.
fn parts(text: &str, column: usize, length: usize) -> (String, String, String) {
    let mut letters = text.chars();
    let before: String = letters.by_ref().take(column).collect();
    let marked: String = letters.by_ref().take(length.max(1)).collect();
    let flat = |text: &str| visible_line(&text.replace('\t', "    "));
    (flat(&before), flat(marked.trim_end()), flat(letters.as_str()))
}

/// As much of a long line as has room, the marked part in it; the columns before the caret; how
/// many carets.
fn window(before: &str, marked: &str, after: &str, room: usize) -> (String, usize, usize) {
    let columns = |text: &str| measure_text_width(text);
    let whole = format!("{before}{marked}{after}");
    let carets = columns(marked).max(1);
    if columns(&whole) <= room {
        return (whole, columns(before), carets);
    }
    let mut start = 0;
    // A third of the room stays for what leads up to the mark.
    if columns(before) + carets > room {
        let skip = columns(before).saturating_sub(room / 3);
        start = before.char_indices().map(|(at, _)| at).find(|at| columns(&before[..*at]) >= skip).unwrap_or(0);
    }
    let lead = if start > 0 { "…" } else { "" };
    let shown = console::truncate_str(&format!("{lead}{}{marked}{after}", &before[start..]), room, "…").into_owned();
    let indent = columns(lead) + columns(&before[start..]);
    (shown, indent, carets.min(room.saturating_sub(indent)).max(1))
}

/// An error as a program reads it.
pub(super) fn error_json(error: &Error) -> Value {
    let snippet = error.snippet();
    json!({ "error": {
        "kind": error.kind().name(),
        "message": error.to_string(),
        "causes": error.causes(),
        "hint": error.hint(),
        "file": snippet.map(|snippet| &snippet.file),
        "line": snippet.map(|snippet| snippet.line),
        "text": snippet.map(|snippet| &snippet.text),
    }})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::ColorMode;
    use crate::error::ErrorKind;

    fn plain() -> Theme {
        Theme::new(ColorMode::Never, true)
    }

    fn snippet(text: &str, column: usize, length: usize) -> Snippet {
        Snippet { file: "Dockerfile".into(), line: 12, column, length, text: text.into() }
    }

    #[test]
    fn an_error_is_drawn_with_causes_caret_and_hint() {
        let error = Error::new(ErrorKind::Dockerfile, "unknown instruction `COP`")
            .with_snippet(snippet("COP a b", 0, 3))
            .with_hint("did you mean `COPY`?")
            .wrap("cannot build `app`");
        insta::assert_snapshot!(draw_error(&error, plain(), None), @r"
        error: cannot build `app`
          caused by: unknown instruction `COP`
           --> Dockerfile:12
            |
         12 | COP a b
            | ^^^
        hint: did you mean `COPY`?
        ");
    }

    #[test]
    fn the_caret_stands_under_its_text_behind_tabs_and_wide_letters() {
        let drawn = draw_snippet(&snippet("\tRUN 日本 x", 8, 1), plain(), 80);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[2], " 12 |     RUN 日本 x");
        assert_eq!(lines[3], "    |              ^");
    }

    #[test]
    fn of_a_long_line_the_marked_part_is_shown() {
        let text = format!("RUN {} oops {}", "a".repeat(200), "b".repeat(200));
        let drawn = draw_snippet(&snippet(&text, 205, 4), plain(), 40);
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(lines.iter().all(|line| measure_text_width(line) <= 40), "{drawn}");
        let at = lines[3].chars().position(|letter| letter == '^').unwrap();
        assert_eq!(lines[2].chars().skip(at).take(4).collect::<String>(), "oops");
    }

    #[test]
    fn a_mark_past_the_end_of_the_line_is_one_caret() {
        let drawn = draw_snippet(&snippet("FROM", 9, 0), plain(), 80);
        assert_eq!(drawn.lines().nth(3), Some("    |     ^"));
    }

    #[test]
    fn no_text_of_others_reaches_the_terminal_as_a_command() {
        let error = Error::new(ErrorKind::Network, "\x1b[2Jgone")
            .with_snippet(snippet("RUN \x1b[31mx", 0, 3))
            .with_hint("\x1b]0;title\x07")
            .wrap("the registry says \r\x1b[A");
        for drawn in [draw_error(&error, plain(), None), draw_warning("\x1b[1m", Some("\x08"), plain())] {
            assert!(drawn.chars().all(|letter| letter == '\n' || !letter.is_control()), "{drawn:?}");
        }
    }

    #[test]
    fn json_of_an_error_has_all_fields() {
        let error = Error::new(ErrorKind::RunFailed, "RUN failed").with_snippet(snippet("RUN false", 0, 9));
        assert_eq!(
            error_json(&error).to_string(),
            r#"{"error":{"causes":[],"file":"Dockerfile","hint":null,"kind":"run_failed","line":12,"message":"RUN failed","text":"RUN false"}}"#
        );
    }
}
