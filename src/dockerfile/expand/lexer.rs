//! Words of an instruction: quotes removed, escapes resolved, variables put in, in one pass as BuildKit's `shell.Lex` does it.
//!
//! Refuses unclosed quotes and braces, unknown modifiers, nesting over 64 levels and results over a given size.

use std::collections::BTreeSet;

use super::pattern::Pattern;

const DEEPEST: usize = 64;

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
    /// Bytes that the result has at most.
    pub(in crate::dockerfile) most: usize,
}

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::dockerfile) struct Lexed {
    /// All as one word.
    pub(in crate::dockerfile) text: String,
    /// Split at blanks that are not quoted, those in values included.
    pub(in crate::dockerfile) words: Vec<String>,
    /// Names that were looked up and found.
    pub(in crate::dockerfile) set: BTreeSet<String>,
    /// Names that were looked up and not found, where nothing stands in for their value.
    pub(in crate::dockerfile) unset: BTreeSet<String>,
}

/// What is wrong with a word, without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dockerfile) struct Fault {
    /// What is wrong.
    pub(in crate::dockerfile) message: String,
    /// What to write instead, where that is known.
    pub(in crate::dockerfile) hint: Option<&'static str>,
}

impl Fault {
    const QUOTE: &'static str = "close it, or put the escape character before it where the quote itself is meant";
    const DOLLAR: &'static str = "put the escape character before `$` where a dollar sign is meant";
    const UNSET: &'static str = "set it with ENV, or declare it with ARG and pass a build argument";

    fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: message.into(), hint: Some(hint) }
    }

    fn missing(end: char) -> Self {
        Self::new(format!("`{end}` is missing at the end of a substitution"), Self::DOLLAR)
    }

    fn too_long(most: usize) -> Self {
        format!("the variables make this longer than {} KiB", most / 1024).into()
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { message, hint: None }
    }
}

/// The value of a variable.
pub(in crate::dockerfile) type Lookup<'a, 'v> = &'a dyn Fn(&str) -> Option<&'v str>;

impl Lexer {
    /// What one variable may hold at most: Linux hands no longer one to a program (MAX_ARG_STRLEN).
    pub(in crate::dockerfile) const LONGEST_WORD: usize = 128 * 1024;

    /// The reading of instructions' arguments.
    pub(in crate::dockerfile) fn new(escape: char) -> Self {
        Self {
            escape,
            keep_quotes: false,
            keep_escapes: false,
            ignore_quotes: false,
            keep_unset: false,
            most: Self::LONGEST_WORD,
        }
    }

    /// Reads `source`.
    pub(in crate::dockerfile) fn read(self, source: &str, lookup: Lookup<'_, '_>) -> Result<Lexed, Fault> {
        let mut reading = Reading { lexer: self, rest: source, lookup, depth: 0, lexed: Lexed::default() };
        let (text, words) = reading.until(None, self.keep_escapes)?;
        Ok(Lexed { text, words, ..reading.lexed })
    }
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

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

impl<'v> Reading<'_, 'v> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn limit(&self, text: &str) -> Result<(), Fault> {
        if text.len() > self.lexer.most {
            return Err(Fault::too_long(self.lexer.most));
        }
        Ok(())
    }

    /// Reads up to `stop`, which is taken in but not returned, or to the end.
    fn until(&mut self, stop: Option<char>, raw: bool) -> Result<(String, Vec<String>), Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("more than {DEEPEST} substitutions stand in one another").into());
        }
        let mut text = String::new();
        let mut words = Words::default();
        loop {
            let Some(character) = self.peek() else {
                match stop {
                    Some(stop) => return Err(Fault::missing(stop)),
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
                    let value = if character == '"' { self.double_quoted(raw)? } else { self.single_quoted()? };
                    words.word.push_str(&value);
                    words.inside = true;
                    text.push_str(&value);
                }
                _ => self.plain(raw, &mut text, &mut words),
            }
            self.limit(&text)?;
        }
        self.depth -= 1;
        Ok((text, words.finish()))
    }

    /// One character, or an escape with the character after it.
    fn plain(&mut self, raw: bool, text: &mut String, words: &mut Words) {
        let Some(character) = self.next() else { return };
        if character != self.lexer.escape {
            words.add(character);
            text.push(character);
            return;
        }
        if raw {
            words.add_quoted(character);
            text.push(character);
        }
        if let Some(escaped) = self.next() {
            words.add_quoted(escaped);
            text.push(escaped);
        }
    }

    fn single_quoted(&mut self) -> Result<String, Fault> {
        let inner = &self.rest[1..];
        let end = inner.find('\'').ok_or_else(|| Fault::new("a single quote is not closed", Fault::QUOTE))?;
        let length = if self.lexer.keep_quotes { &self.rest[..end + 2] } else { &inner[..end] };
        self.rest = &inner[end + 1..];
        Ok(length.to_owned())
    }

    fn double_quoted(&mut self, raw: bool) -> Result<String, Fault> {
        let mut text = String::new();
        self.next();
        if self.lexer.keep_quotes {
            text.push('"');
        }
        loop {
            match self.peek().ok_or_else(|| Fault::new("a double quote is not closed", Fault::QUOTE))? {
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
                    if raw {
                        text.push(character);
                    }
                    // Inside double quotes these three are escaped; before all others the escape is a character.
                    match self.peek() {
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == escape => {
                            self.next();
                            text.push(escaped);
                        }
                        Some(_) => text.push(character),
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

    /// A name: letters, digits and `_`; or digits alone; or one of the shell's special characters. Empty if there is none.
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

    fn dollar(&mut self) -> Result<String, Fault> {
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
            None => return Err(Fault::missing('}')),
            Some(wrong @ ('{' | '}' | ':')) => {
                return Err(Fault::new(format!("`${{{wrong}` is no substitution: a variable's name is missing"), Fault::DOLLAR));
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
                None => Err(Fault::missing('}')),
            },
            Some(operator) => self.modified(&name, operator, false),
            None => Err(Fault::missing('}')),
        }
    }

    /// `${name/pattern/replacement}` and `${name//pattern/replacement}`, from after the first slash.
    fn replaced(&mut self, name: &str) -> Result<String, Fault> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let (pattern, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), true)?;
        let value = match self.value(name) {
            None if self.lexer.keep_unset => return Ok(format!("${{{name}/{pattern}/{replacement}}}")),
            value => value.unwrap_or_default(),
        };
        let replaced = Pattern::parse(&pattern)?.replace(value, &replacement, all, self.lexer.most)?;
        replaced.ok_or_else(|| Fault::too_long(self.lexer.most))
    }

    /// `${name:-word}` and its like, from after the operator.
    fn modified(&mut self, name: &str, operator: char, colon: bool) -> Result<String, Fault> {
        if !"+-?#%".contains(operator) {
            let colon = if colon { ":" } else { "" };
            let message = format!(
                "`${{{name}{colon}{operator}` is no substitution: only `-`, `+`, `?`, `#`, `%` and `/` come after a name"
            );
            return Err(Fault::new(message, Fault::DOLLAR));
        }
        let (word, _) = self.until(Some('}'), operator == '#' || operator == '%')?;
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
                Err(Fault::new(message, Fault::UNSET))
            }
            '-' | '?' => Ok(value.unwrap_or_default().to_owned()),
            _ => trimmed(value.unwrap_or_default(), operator, &word),
        }
    }
}

fn trimmed(value: &str, operator: char, word: &str) -> Result<String, Fault> {
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
