//! Text to tree.

use serde_json::Value;

use super::functions;
use super::syntax::{Base, Command, Node, Operand, Pipeline};

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// A piece of the text: what is printed as it is, or what stands in `{{…}}`, with where it begins.
enum Piece<'t> {
    Text(String),
    Action(&'t str, usize),
}

/// Parses a template.
///
/// # Errors
/// What is wrong, as Go says it.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let pieces = pieces(text)?;
    let mut parser = Parser { text, pieces: pieces.into_iter(), variables: vec!["$".into()], loops: 0 };
    let (nodes, end) = parser.nodes()?;
    match end {
        None => Ok(nodes),
        Some((Ending::End, at)) => Err(wrong(text, at, "unexpected {{end}}")),
        Some((Ending::Else(_), at)) => Err(wrong(text, at, "unexpected {{else}}")),
    }
}

fn wrong(text: &str, at: usize, why: impl AsRef<str>) -> String {
    let line = text[..at.min(text.len())].matches('\n').count() + 1;
    format!("template: :{line}: {}", why.as_ref())
}

/// Splits the text; spaces beside `{{-` and `-}}` are gone, and so are comments.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut pieces, mut at, mut trim) = (Vec::new(), 0, false);
    while at < text.len() {
        let rest = &text[at..];
        let open = rest.find("{{").unwrap_or(rest.len());
        let mut plain = &rest[..open];
        if trim {
            plain = plain.trim_start_matches(SPACE);
        }
        let inside = &rest[(open + 2).min(rest.len())..];
        let trims = |text: &str| text.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACE));
        if trims(inside) {
            plain = plain.trim_end_matches(SPACE);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.to_owned()));
        }
        if open == rest.len() {
            break;
        }
        let skipped = if trims(inside) { 1 } else { 0 };
        let begin = at + open + 2 + skipped;
        let inside = &text[begin..];
        let comment = inside.trim_start_matches(SPACE).starts_with("/*");
        let close = if comment { inside.find("*/").and_then(|end| Some(end + inside[end..].find("}}")?)) } else { close(inside) };
        let close = close.ok_or_else(|| wrong(text, begin, if comment { "unclosed comment" } else { "unclosed action" }))?;
        let action = &inside[..close];
        trim = action.strip_suffix('-').is_some_and(|action| action.ends_with(SPACE));
        let action = if trim { &action[..action.len() - 1] } else { action };
        if !comment {
            pieces.push(Piece::Action(action, begin));
        }
        at = begin + close + 2;
    }
    Ok(pieces)
}

/// Where `}}` stands that is in no string.
fn close(inside: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, letter) in inside.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if letter == '"' || letter == '`' => quote = Some(letter),
            None if inside[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

/// How a list of nodes ended.
enum Ending {
    End,
    /// What stands behind `else`, and where.
    Else((String, usize)),
}

struct Parser<'t> {
    text: &'t str,
    pieces: std::vec::IntoIter<Piece<'t>>,
    variables: Vec<String>,
    loops: usize,
}

/// Nodes, and what ended them: which word, and where.
type Nodes = (Vec<Node>, Option<(Ending, usize)>);

impl Parser<'_> {
    fn nodes(&mut self) -> Result<Nodes, String> {
        let (mut nodes, known) = (Vec::new(), self.variables.len());
        while let Some(piece) = self.pieces.next() {
            let (action, at) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action, at) => (action, at),
            };
            let lead = action.len() - action.trim_start_matches(SPACE).len();
            let trimmed = action.trim_matches(SPACE);
            let word = trimmed.split(|letter: char| SPACE.contains(&letter) || letter == '(').next().unwrap_or_default();
            let (rest, rest_at) = (&action[lead + word.len()..], at + lead + word.len());
            match word {
                "end" | "else" => {
                    self.variables.truncate(known);
                    let ending = if word == "end" { Ending::End } else { Ending::Else((rest.to_owned(), rest_at)) };
                    return Ok((nodes, Some((ending, at))));
                }
                "if" | "with" => nodes.push(self.branch(word == "with", rest, rest_at)?),
                "range" => nodes.push(self.range(rest, rest_at)?),
                "break" | "continue" if self.loops == 0 => {
                    return Err(wrong(self.text, at, format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                "break" => nodes.push(Node::Break),
                "continue" => nodes.push(Node::Continue),
                "define" | "template" | "block" => {
                    return Err(wrong(self.text, at, format!("`{word}` is not supported by mpimg")));
                }
                _ => nodes.push(Node::Action(self.pipeline(action, at)?)),
            }
        }
        Ok((nodes, None))
    }

    fn branch(&mut self, with: bool, rest: &str, at: usize) -> Result<Node, String> {
        let known = self.variables.len();
        let condition = self.pipeline(rest, at)?;
        let (then, end) = self.nodes()?;
        let otherwise = match end {
            Some((Ending::End, _)) => Vec::new(),
            Some((Ending::Else((rest, at)), _)) => self.otherwise(&rest, at)?,
            None => return Err(wrong(self.text, self.text.len(), "unexpected EOF")),
        };
        self.variables.truncate(known);
        Ok(Node::If { with, condition, then, otherwise })
    }

    fn otherwise(&mut self, rest: &str, at: usize) -> Result<Vec<Node>, String> {
        let trimmed = rest.trim_start_matches(SPACE);
        let lead = rest.len() - trimmed.len();
        for (word, with) in [("if", false), ("with", true)] {
            if let Some(condition) = trimmed.strip_prefix(word).filter(|rest| rest.starts_with(SPACE) || rest.starts_with('(')) {
                return Ok(vec![self.branch(with, condition, at + lead + word.len())?]);
            }
        }
        let (nodes, end) = self.nodes()?;
        match end {
            Some((Ending::End, _)) => Ok(nodes),
            Some((Ending::Else(_), at)) => Err(wrong(self.text, at, "expected end; found {{else}}")),
            None => Err(wrong(self.text, self.text.len(), "unexpected EOF")),
        }
    }

    fn range(&mut self, rest: &str, at: usize) -> Result<Node, String> {
        let known = self.variables.len();
        let over = self.pipeline(rest, at)?;
        self.loops += 1;
        let (body, end) = self.nodes()?;
        self.loops -= 1;
        let otherwise = match end {
            Some((Ending::End, _)) => Vec::new(),
            Some((Ending::Else((rest, at)), _)) => self.otherwise(&rest, at)?,
            None => return Err(wrong(self.text, self.text.len(), "unexpected EOF")),
        };
        self.variables.truncate(known);
        Ok(Node::Range { over, body, otherwise })
    }

    fn pipeline(&mut self, action: &str, at: usize) -> Result<Pipeline, String> {
        let tokens = tokens(action, at).map_err(|(at, why)| wrong(self.text, at, why))?;
        let mut reader =
            Reader { text: self.text, tokens: &tokens, next: 0, end: at + action.len(), variables: &mut self.variables };
        let pipeline = reader.pipeline()?;
        match reader.peek() {
            None => Ok(pipeline),
            Some(token) => Err(wrong(self.text, token.at, format!("unexpected {} in command", token.shown()))),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// `.Name`, or `.` alone with an empty name.
    Field(String),
    Variable(String),
    Word(String),
    Literal(Value),
    Sign(&'static str),
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    at: usize,
    end: usize,
    /// Whether it stands right behind the one before.
    joined: bool,
}

impl Token {
    fn shown(&self) -> String {
        match &self.kind {
            Kind::Field(name) => format!("<.{name}>"),
            Kind::Variable(name) | Kind::Word(name) => format!("<{name}>"),
            Kind::Literal(value) => value.to_string(),
            Kind::Sign(sign) => format!("\"{sign}\""),
        }
    }
}

fn tokens(action: &str, begin: usize) -> Result<Vec<Token>, (usize, String)> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(letter) = action[at..].chars().next() {
        if SPACE.contains(&letter) {
            at += 1;
            continue;
        }
        let rest = &action[at..];
        let name = |text: &str| text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
        let number =
            |text: &str| text.find(|letter: char| !letter.is_alphanumeric() && !"._+-".contains(letter)).unwrap_or(text.len());
        let unexpected = || (begin + at, format!("unexpected {letter:?} in command"));
        let (kind, length) = match letter {
            '.' => {
                let length = name(&rest[1..]);
                (Kind::Field(rest[1..=length].to_owned()), 1 + length)
            }
            '$' => {
                let length = 1 + name(&rest[1..]);
                (Kind::Variable(rest[..length].to_owned()), length)
            }
            '"' => {
                let length = close_of_string(rest).ok_or((begin + at, "unterminated quoted string".to_owned()))?;
                // Go's escapes are JSON's but for few, which nobody writes in a format.
                let text = serde_json::from_str(&rest[..length].replace("\\'", "'")).map_err(|_| unexpected())?;
                (Kind::Literal(Value::String(text)), length)
            }
            '`' => {
                let length = rest[1..].find('`').ok_or((begin + at, "unterminated raw quoted string".to_owned()))?;
                (Kind::Literal(rest[1..=length].into()), length + 2)
            }
            '0'..='9' | '+' | '-' => {
                let length = 1 + number(&rest[1..]);
                let text = &rest[..length];
                let value = text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<f64>().map(Value::from));
                (Kind::Literal(value.map_err(|_| (begin + at, format!("bad number syntax: {text:?}")))?), length)
            }
            '(' | ')' | '|' | ',' | '=' => {
                let signs = ["(", ")", "|", ",", "="];
                (Kind::Sign(signs.into_iter().find(|sign| sign.starts_with(letter)).unwrap_or_default()), 1)
            }
            ':' if rest.starts_with(":=") => (Kind::Sign(":="), 2),
            letter if letter.is_alphabetic() || letter == '_' => {
                let length = name(rest);
                (Kind::Word(rest[..length].to_owned()), length)
            }
            _ => return Err(unexpected()),
        };
        let joined = tokens.last().is_some_and(|last| last.end == begin + at);
        tokens.push(Token { kind, at: begin + at, end: begin + at + length, joined });
        at += length;
    }
    Ok(tokens)
}

/// How long the string is that `text` begins with, quotes included.
fn close_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

struct Reader<'t, 'v> {
    text: &'t str,
    tokens: &'t [Token],
    next: usize,
    end: usize,
    variables: &'v mut Vec<String>,
}

impl<'t> Reader<'t, '_> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.next)
    }

    fn is_sign(&self, ahead: usize, sign: &str) -> bool {
        self.tokens.get(self.next + ahead).is_some_and(|token| matches!(token.kind, Kind::Sign(found) if found == sign))
    }

    fn wrong(&self, why: impl AsRef<str>) -> String {
        wrong(self.text, self.peek().map_or(self.end, |token| token.at), why)
    }

    fn pipeline(&mut self) -> Result<Pipeline, String> {
        let (variables, assigns) = self.declarations()?;
        let mut commands = vec![self.command()?];
        while self.is_sign(0, "|") {
            self.next += 1;
            commands.push(self.command()?);
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, assigns, commands })
    }

    /// `$x :=`, `$k, $v :=`, `$x =`
    fn declarations(&mut self) -> Result<(Vec<String>, bool), String> {
        let variable = |ahead: usize| match self.tokens.get(self.next + ahead).map(|token| &token.kind) {
            Some(Kind::Variable(name)) => Some(name.clone()),
            _ => None,
        };
        let (variables, length) = match (variable(0), self.is_sign(1, ",").then(|| variable(2)).flatten()) {
            (Some(key), Some(value)) => (vec![key, value], 3),
            (Some(only), None) => (vec![only], 1),
            (None, _) => return Ok((Vec::new(), false)),
        };
        let assigns = self.is_sign(length, "=");
        if !assigns && !self.is_sign(length, ":=") {
            return Ok((Vec::new(), false));
        }
        if let Some(unknown) = variables.iter().find(|name| assigns && !self.variables.contains(name)) {
            return Err(self.wrong(format!("undefined variable \"{unknown}\"")));
        }
        self.next += length + 1;
        Ok((variables, assigns))
    }

    fn command(&mut self) -> Result<Command, String> {
        let begin = self.peek().map_or(self.end, |token| token.at);
        let mut operands: Vec<Operand> = Vec::new();
        while self.peek().is_some() && !self.is_sign(0, "|") && !self.is_sign(0, ")") {
            operands.push(self.operand()?);
        }
        let Some(last) = operands.last() else { return Err(self.wrong("missing value for command")) };
        let span = (begin, last.span.1);
        Ok(Command { operands, span })
    }

    fn operand(&mut self) -> Result<Operand, String> {
        let Some(token) = self.peek() else { return Err(self.wrong("missing value for command")) };
        let (begin, mut end) = (token.at, token.end);
        let mut fields = Vec::new();
        self.next += 1;
        let base = match &token.kind {
            Kind::Field(name) if name.is_empty() => Base::Dot,
            Kind::Field(name) => {
                fields.push((name.clone(), end));
                Base::Dot
            }
            Kind::Variable(name) if self.variables.contains(name) => Base::Variable(name.clone()),
            Kind::Variable(name) => return Err(wrong(self.text, begin, format!("undefined variable \"{name}\""))),
            Kind::Word(word) if word == "nil" => Base::Literal(Value::Null),
            Kind::Word(word) => {
                functions::check(word).map_err(|why| wrong(self.text, begin, why))?;
                Base::Function(word.clone())
            }
            Kind::Literal(value) => Base::Literal(value.clone()),
            Kind::Sign("(") => {
                let inner = self.pipeline()?;
                if !self.is_sign(0, ")") {
                    return Err(self.wrong("unclosed left paren"));
                }
                end = self.peek().map_or(end, |token| token.end);
                self.next += 1;
                Base::Parenthesis(Box::new(inner))
            }
            Kind::Sign(sign) => return Err(wrong(self.text, begin, format!("unexpected \"{sign}\" in operand"))),
        };
        while let Some(Token { kind: Kind::Field(name), end: ends, joined: true, .. }) = self.peek() {
            fields.push((name.clone(), *ends));
            end = *ends;
            self.next += 1;
        }
        Ok(Operand { base, fields, span: (begin, end) })
    }
}
