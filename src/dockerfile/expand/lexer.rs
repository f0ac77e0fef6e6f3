//! Words of an instruction: quotes removed, escapes resolved, variables put in, in one pass as
//! BuildKit's `shell.Lex` does it.
//!
//! Unclosed quotes and braces, unknown modifiers, more than 64 nested substitutions and results
//! over a given size are errors.

use std::collections::BTreeSet;

use super::pattern::Pattern;

const MAX_DEPTH: usize = 64;

/// How words are read.
#[derive(Debug, Clone, Copy)]
pub(in crate::dockerfile) struct Lexer {
    /// `\`, or the one of the `escape` directive.
    pub(in crate::dockerfile) escape: char,
    /// Quotes stay in the result.
    pub(in crate::dockerfile) keep_quotes: bool,
    /// Escapes stay in the result.
    pub(in crate::dockerfile) keep_escapes: bool,
    /// Quotes are characters like others.
    pub(in crate::dockerfile) ignore_quotes: bool,
    /// A variable that is not set stays as written.
    pub(in crate::dockerfile) keep_unset: bool,
    /// The longest result, in bytes.
    pub(in crate::dockerfile) max_length: usize,
}

/// The result of reading a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::dockerfile) struct Lexed {
    /// All as one word.
    pub(in crate::dockerfile) text: String,
    /// Split at blanks that are not quoted, those in values included.
    pub(in crate::dockerfile) words: Vec<String>,
    /// Names that were looked up and found.
    pub(in crate::dockerfile) set: BTreeSet<String>,
    /// Names that were looked up and not found, without a default in the substitution.
    pub(in crate::dockerfile) unset: BTreeSet<String>,
}

/// What is wrong with a word, without its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dockerfile) struct WordError {
    /// What is wrong.
    pub(in crate::dockerfile) message: String,
    /// What to write instead, if known.
    pub(in crate::dockerfile) hint: Option<&'static str>,
}

impl WordError {
    const QUOTE: &'static str = "close it, or put the escape character before it where the quote itself is meant";
    const DOLLAR: &'static str = "put the escape character before `$` where a dollar sign is meant";
    const UNSET: &'static str = "set it with ENV, or declare it with ARG and pass a build argument";

    fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: message.into(), hint: Some(hint) }
    }

    fn missing(end: char) -> Self {
        Self::new(format!("`{end}` is missing at the end of a substitution"), Self::DOLLAR)
    }

    fn too_long(max_length: usize) -> Self {
        format!("the variables make this longer than {} KiB", max_length / 1024).into()
    }
}

impl From<String> for WordError {
    fn from(message: String) -> Self {
        Self { message, hint: None }
    }
}

/// The value of a variable.
pub(in crate::dockerfile) type Lookup<'a, 'v> = &'a dyn Fn(&str) -> Option<&'v str>;

impl Lexer {
    /// The longest value of one variable: Linux accepts none longer (MAX_ARG_STRLEN).
    pub(in crate::dockerfile) const MAX_WORD_LENGTH: usize = 128 * 1024;

    /// The reading of instructions' arguments.
    pub(in crate::dockerfile) fn new(escape: char) -> Self {
        Self {
            escape,
            keep_quotes: false,
            keep_escapes: false,
            ignore_quotes: false,
            keep_unset: false,
            max_length: Self::MAX_WORD_LENGTH,
        }
    }

    /// Reads `source`.
    pub(in crate::dockerfile) fn read(self, source: &str, lookup: Lookup<'_, '_>) -> Result<Lexed, WordError> {
        let mut reading = Reading { lexer: self, rest: source, lookup, depth: 0, lexed: Lexed::default() };
        let mode = if self.keep_escapes { Escapes::Kept } else { Escapes::Resolved };
        let (text, words) = reading.until(None, mode)?;
        Ok(Lexed { text, words, ..reading.lexed })
    }
}

/// What becomes of escapes in the text that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// The escape goes, the character after it stays.
    Resolved,
    /// Both stay.
    Kept,
    /// Both stay, and quoted ones are doubled: the text is a pattern, which resolves escapes
    /// itself.
    Pattern,
}

struct Reading<'a, 'v> {
    lexer: Lexer,
    rest: &'a str,
    lookup: Lookup<'a, 'v>,
    depth: usize,
    lexed: Lexed,
}

/// The words found so far and the one that grows.
#[derive(Default)]
struct Words {
    word: String,
    words: Vec<String>,
    inside: bool,
}

impl Words {
    fn add(&mut self, character: char) {
        if !character.is_whitespace() {
            self.add_quoted(character);
        } else if self.inside && !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
            self.inside = false;
        }
    }

    fn add_quoted(&mut self, character: char) {
        self.word.push(character);
        self.inside = true;
    }

    fn add_text(&mut self, text: &str) {
        self.word.push_str(text);
        self.inside = true;
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

impl<'a, 'v> Reading<'a, 'v> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn limit(&self, text: &str) -> Result<(), WordError> {
        if text.len() > self.lexer.max_length {
            return Err(WordError::too_long(self.lexer.max_length));
        }
        Ok(())
    }

    /// Reads up to `stop`, which is consumed but not returned, or to the end.
    fn until(&mut self, stop: Option<char>, escapes: Escapes) -> Result<(String, Vec<String>), WordError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} substitutions are nested").into());
        }
        let mut text = String::new();
        let mut words = Words::default();
        loop {
            let Some(character) = self.peek() else {
                match stop {
                    Some(stop) => return Err(WordError::missing(stop)),
                    None => break,
                }
            };
            if Some(character) == stop {
                self.next();
                break;
            }
            match character {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|character| words.add(character));
                    text.push_str(&value);
                }
                '\'' | '"' if !self.lexer.ignore_quotes => {
                    let value = if character == '"' { self.double_quoted(escapes)? } else { self.single_quoted(escapes)? };
                    words.add_text(&value);
                    text.push_str(&value);
                }
                '<' => {
                    let value = self.heredoc_operator();
                    words.add_text(value);
                    text.push_str(value);
                }
                _ => self.plain(escapes, &mut text, &mut words),
            }
            self.limit(&text)?;
        }
        self.depth -= 1;
        Ok((text, words.finish()))
    }

    /// `<`, or `<<` with the blanks after it: they belong to the heredoc's delimiter.
    fn heredoc_operator(&mut self) -> &'a str {
        let rest = self.rest;
        let length = match rest.strip_prefix("<<") {
            Some(after) => rest.len() - after.trim_start_matches(['\t', '\r', ' ']).len(),
            None => 1,
        };
        self.rest = &rest[length..];
        &rest[..length]
    }

    /// One character, or an escape with the character after it.
    fn plain(&mut self, escapes: Escapes, text: &mut String, words: &mut Words) {
        let Some(character) = self.next() else { return };
        if character != self.lexer.escape {
            words.add(character);
            text.push(character);
            return;
        }
        if escapes != Escapes::Resolved {
            words.add_quoted(character);
            text.push(character);
        }
        if let Some(escaped) = self.next() {
            words.add_quoted(escaped);
            text.push(escaped);
        }
    }

    fn single_quoted(&mut self, escapes: Escapes) -> Result<String, WordError> {
        let inner = &self.rest[1..];
        let end = inner.find('\'').ok_or_else(|| WordError::new("a single quote is not closed", WordError::QUOTE))?;
        let text = if self.lexer.keep_quotes { &self.rest[..end + 2] } else { &inner[..end] };
        self.rest = &inner[end + 1..];
        Ok(match escapes {
            Escapes::Pattern => text.replace(self.lexer.escape, &String::from_iter([self.lexer.escape; 2])),
            Escapes::Resolved | Escapes::Kept => text.to_owned(),
        })
    }

    fn double_quoted(&mut self, escapes: Escapes) -> Result<String, WordError> {
        let mut text = String::new();
        self.next();
        if self.lexer.keep_quotes {
            text.push('"');
        }
        loop {
            match self.peek().ok_or_else(|| WordError::new("a double quote is not closed", WordError::QUOTE))? {
                '"' => {
                    self.next();
                    if self.lexer.keep_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                '$' => {
                    let value = self.dollar()?;
                    text.push_str(&value);
                    self.limit(&text)?;
                }
                character => {
                    self.next();
                    let escape = self.lexer.escape;
                    if character != escape {
                        text.push(character);
                        continue;
                    }
                    // Inside double quotes these three are escaped; before anything else the escape
                    // is literal.
                    match self.peek() {
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == escape => {
                            if escapes != Escapes::Resolved {
                                text.push(character);
                            }
                            self.next();
                            text.push(escaped);
                        }
                        Some(_) => {
                            let doubled = match escapes {
                                Escapes::Resolved => false,
                                Escapes::Kept => !self.lexer.keep_quotes,
                                Escapes::Pattern => true,
                            };
                            text.extend(std::iter::repeat_n(character, if doubled { 2 } else { 1 }));
                        }
                        None => {}
                    }
                }
            }
        }
    }

    fn value(&mut self, name: &str) -> Option<&'v str> {
        let value = (self.lookup)(name);
        let names = if value.is_some() { &mut self.lexed.set } else { &mut self.lexed.unset };
        names.insert(name.to_owned());
        value
    }

    /// A name: letters, digits and `_`; or digits alone; or one of the shell's special characters.
    /// Empty if there is none.
    fn name(&mut self) -> String {
        let digits = self.peek().is_some_and(char::is_numeric);
        let special = self.peek().filter(|character| "@*#?-$!".contains(*character));
        let end = match special {
            Some(_) => 1,
            None if digits => self.rest.find(|c: char| !c.is_numeric()).unwrap_or(self.rest.len()),
            None => self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len()),
        };
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_owned()
    }

    fn dollar(&mut self) -> Result<String, WordError> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            let value = self.value(&name);
            return Ok(match value {
                None if self.lexer.keep_unset => format!("${name}"),
                value => value.unwrap_or_default().to_owned(),
            });
        }
        self.next();
        match self.peek() {
            None => return Err(WordError::missing('}')),
            Some(wrong @ ('{' | '}' | ':')) => {
                return Err(WordError::new(
                    format!("`${{{wrong}` is not a substitution: the variable's name is missing"),
                    WordError::DOLLAR,
                ));
            }
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            Some('}') => {
                let value = self.value(&name);
                Ok(match value {
                    None if self.lexer.keep_unset => format!("${{{name}}}"),
                    value => value.unwrap_or_default().to_owned(),
                })
            }
            Some('/') => self.replaced(&name),
            Some(':') => match self.next() {
                Some(operator) => self.modified(&name, operator, true),
                None => Err(WordError::missing('}')),
            },
            Some(operator) => self.modified(&name, operator, false),
            None => Err(WordError::missing('}')),
        }
    }

    /// `${name/pattern/replacement}` and `${name//pattern/replacement}`, from after the first
    /// slash.
    fn replaced(&mut self, name: &str) -> Result<String, WordError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let (pattern, _) = self.until(Some('/'), Escapes::Pattern)?;
        let (replacement, _) = self.until(Some('}'), Escapes::Kept)?;
        let value = match self.value(name) {
            None if self.lexer.keep_unset => return Ok(format!("${{{name}/{pattern}/{replacement}}}")),
            value => value.unwrap_or_default(),
        };
        let replaced = Pattern::parse(&pattern)?.replace(value, &replacement, all, self.lexer.max_length)?;
        replaced.ok_or_else(|| WordError::too_long(self.lexer.max_length))
    }

    /// `${name:-word}` and its like, from after the operator.
    fn modified(&mut self, name: &str, operator: char, colon: bool) -> Result<String, WordError> {
        let is_pattern = operator == '#' || operator == '%';
        if !"+-?#%".contains(operator) || colon && is_pattern {
            let colon = if colon { ":" } else { "" };
            let message = format!(
                "`${{{name}{colon}{operator}` is not a substitution: only `-`, `+`, `?`, `#`, `%` and `/` may follow a name"
            );
            return Err(WordError::new(message, WordError::DOLLAR));
        }
        let (word, _) = self.until(Some('}'), if is_pattern { Escapes::Pattern } else { Escapes::Resolved })?;
        let stands_in = "+-?".contains(operator);
        let value = if stands_in { (self.lookup)(name) } else { self.value(name) };
        if value.is_none() && self.lexer.keep_unset {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let missing = value.is_none() || colon && value == Some("");
        match operator {
            '-' if missing => Ok(word),
            '+' if missing => Ok(String::new()),
            '+' => Ok(word),
            '?' if missing => {
                let message = match (word.as_str(), value) {
                    ("", None) => format!("{name}: is not allowed to be unset"),
                    ("", Some(_)) => format!("{name}: is not allowed to be empty"),
                    _ => format!("{name}: {word}"),
                };
                Err(WordError::new(message, WordError::UNSET))
            }
            '-' | '?' => Ok(value.unwrap_or_default().to_owned()),
            _ => trimmed(value.unwrap_or_default(), operator, &word),
        }
    }
}

fn trimmed(value: &str, operator: char, word: &str) -> Result<String, WordError> {
    let (greedy, word) = match word.strip_prefix(operator) {
        Some(word) => (true, word),
        None => (false, word),
    };
    let pattern = Pattern::parse(word)?;
    match operator {
        '#' => Ok(pattern.trim_start(value, greedy)?.to_owned()),
        _ => Ok(pattern.trim_end(value, greedy)?),
    }
}

#[cfg(test)]
mod tests;
