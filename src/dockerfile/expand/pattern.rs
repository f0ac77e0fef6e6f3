//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and `\` before one of them, nothing
//! else.
//!
//! Any other `\x` is an error, as in BuildKit, and so is a pattern over 1024 characters.

use regex::Regex;

const MAX_PATTERN_LENGTH: usize = 1024;

/// A parsed pattern.
pub(super) struct Pattern(Vec<Token>);

#[derive(Clone, Copy)]
enum Token {
    Any,
    One,
    Literal(char),
}

impl Pattern {
    /// Parses a pattern whose escapes are still in it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.chars().nth(MAX_PATTERN_LENGTH).is_some() {
            return Err(format!("a pattern in a substitution has more than {MAX_PATTERN_LENGTH} characters"));
        }
        let mut characters = text.chars().peekable();
        let mut tokens = Vec::new();
        while let Some(character) = characters.next() {
            tokens.push(match character {
                '*' => Token::Any,
                '?' => Token::One,
                // `}` and `/` end parts of the substitution, so they need the escape without being
                // part of the pattern's own language.
                '\\' if matches!(characters.peek(), Some('}' | '/')) => continue,
                '\\' => match characters.next() {
                    Some(escaped @ ('*' | '?' | '\\')) => Token::Literal(escaped),
                    Some(other) => {
                        return Err(format!(
                            "`\\{other}` in the pattern `{text}`: only `*`, `?`, `\\`, `/` and `}}` are escaped"
                        ));
                    }
                    None => return Err(format!("the pattern `{text}` ends with an escape")),
                },
                literal => Token::Literal(literal),
            });
        }
        Ok(Self(tokens))
    }

    /// `value` without what the pattern matches at its start: as little as it can, or as much.
    pub(super) fn trim_start<'v>(&self, value: &'v str, greedy: bool) -> Result<&'v str, String> {
        let found = regex(&self.0, greedy, true)?.find(value).map_or(0, |found| found.end());
        Ok(&value[found..])
    }

    /// `value` without what the pattern matches at its end.
    pub(super) fn trim_end(&self, value: &str, greedy: bool) -> Result<String, String> {
        // A regular expression prefers the leftmost match: so the reversed value is matched, for
        // the one nearest the end.
        let tokens: Vec<Token> = self.0.iter().rev().copied().collect();
        let reversed: String = value.chars().rev().collect();
        let found = regex(&tokens, greedy, true)?.find(&reversed).map_or(0, |found| found.end());
        Ok(reversed[found..].chars().rev().collect())
    }

    /// `value` with the first match, or all, replaced; `None` if the result is longer than
    /// `max_length`.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool, max_length: usize) -> Result<Option<String>, String> {
        let regex = regex(&self.0, true, false)?;
        let mut result = String::new();
        let mut copied = 0;
        for found in regex.captures_iter(value).take(if all { usize::MAX } else { 1 }) {
            let Some(whole) = found.get(0) else { break };
            result.push_str(&value[copied..whole.start()]);
            match all {
                // BuildKit hands the replacement to Go's ReplaceAllString, for which `$0` is the
                // match.
                true => found.expand(replacement, &mut result),
                false => result.push_str(replacement),
            }
            copied = whole.end();
            if result.len() > max_length {
                return Ok(None);
            }
        }
        result.push_str(&value[copied..]);
        Ok((result.len() <= max_length).then_some(result))
    }
}

fn regex(tokens: &[Token], greedy: bool, anchored: bool) -> Result<Regex, String> {
    let mut text = String::from(if anchored { "^" } else { "" });
    for token in tokens {
        match token {
            Token::Any if greedy => text.push_str(".*"),
            Token::Any => text.push_str(".*?"),
            Token::One => text.push('.'),
            Token::Literal(character) => text.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&text).map_err(|error| format!("cannot match the pattern of a substitution: {error}"))
}
