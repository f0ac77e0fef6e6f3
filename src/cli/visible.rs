//! Text of registries, images and files as it can stand on a terminal: what would move the cursor,
//! change colours or turn the direction of what follows is shown as an escape.

/// The text with such characters as escapes; line feeds and tabs stay.
pub(super) fn visible(text: &str) -> String {
    escaped(text, |letter| matches!(letter, '\n' | '\t'))
}

/// As `visible`, for what is to be one line.
pub(super) fn visible_line(text: &str) -> String {
    escaped(text, |_| false)
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() && !stays(letter) || turns(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    shown
}

/// Embeddings, overrides and isolates of UAX #9, with which a text can show in another order than
/// it is read.
fn turns(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_an_escape_and_the_rest_stays() {
        assert_eq!(visible("\x1b[2Jgone\r\u{9b}1m\u{202e}x\n\té日"), "\\u{1b}[2Jgone\\r\\u{9b}1m\\u{202e}x\n\té日");
        assert_eq!(visible_line("a\nDigest  sha256:0\tb"), "a\\nDigest  sha256:0\\tb");
    }
}
