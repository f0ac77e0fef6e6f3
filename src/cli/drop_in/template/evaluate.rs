//! Tree and data to text.

use serde_json::Value;

use super::functions;
use super::syntax::{Base, Command, Node, Operand, Pipeline};
use super::value::{Datum, Nil, is_map};

/// What a field is that the data does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Missing {
    /// A key that a map should have, as with `docker inspect`.
    Map,
    /// A field that this type of docker's does not have.
    Struct(&'static str),
}

/// What stopped the execution.
enum Stop {
    Break,
    Continue,
    Error(String),
}

impl From<String> for Stop {
    fn from(error: String) -> Self {
        Self::Error(error)
    }
}

/// Executes a template; in an error, what was printed before it.
pub(super) fn execute(nodes: &[Node], text: &str, data: &Value, missing: Missing) -> Result<String, (String, String)> {
    let data = Datum::from(data.clone());
    let mut run = Run { text, missing, variables: vec![("$".into(), data.clone())], output: String::new() };
    match run.nodes(nodes, &data) {
        Err(Stop::Error(error)) => Err((run.output, error)),
        _ => Ok(run.output),
    }
}

/// Whether it is `.Label`, the one method that docker's lists have with an argument.
fn is_label(operand: &Operand) -> bool {
    matches!(operand.base, Base::Dot) && matches!(operand.fields.as_slice(), [(name, _)] if name == "Label")
}

/// The value of a label, of a list's column `a=b,c=d`; a column's heading has that of the label.
fn label(labels: &str, name: &str) -> String {
    if labels == "LABELS" {
        return name.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ");
    }
    let mut value: Option<String> = None;
    for piece in labels.split(',') {
        match (piece.split_once('='), &mut value) {
            (Some((key, found)), None) if key == name => value = Some(found.to_owned()),
            // A comma of the value's own.
            (None, Some(value)) => *value += &format!(",{piece}"),
            (Some(_), Some(_)) => break,
            _ => {}
        }
    }
    value.unwrap_or_default()
}

struct Run<'t> {
    text: &'t str,
    missing: Missing,
    variables: Vec<(String, Datum)>,
    output: String,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Datum) -> Result<(), Stop> {
        let known = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(text) => self.output += text,
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.output += &value.show();
                    }
                }
                Node::If { with, condition, then, otherwise } => {
                    let before = self.variables.len();
                    let value = self.pipeline(condition, dot)?;
                    match value.is_true() {
                        true if *with => self.nodes(then, &value)?,
                        true => self.nodes(then, dot)?,
                        false => self.nodes(otherwise, dot)?,
                    }
                    self.variables.truncate(before);
                }
                Node::Range { over, body, otherwise } => self.range(over, body, otherwise, dot)?,
                Node::Break => return Err(Stop::Break),
                Node::Continue => return Err(Stop::Continue),
            }
        }
        self.variables.truncate(known);
        Ok(())
    }

    fn range(&mut self, over: &Pipeline, body: &[Node], otherwise: &[Node], dot: &Datum) -> Result<(), Stop> {
        let before = self.variables.len();
        // The variables are the items', not the list's.
        let list = self.commands(over, dot)?;
        let items: Vec<(Value, Value)> = match list.value {
            Value::Array(list) => list.into_iter().enumerate().map(|(number, item)| (number.into(), item)).collect(),
            Value::Object(map) => map.into_iter().map(|(key, item)| (key.into(), item)).collect(),
            Value::Null => Vec::new(),
            other => {
                let at = over.commands.first().map_or((0, 0), |command| command.span);
                return Err(self.at(at, at.0, format!("range can't iterate over {}", Datum::from(other).show())).into());
            }
        };
        if items.is_empty() {
            self.nodes(otherwise, dot)?;
        }
        for (key, item) in items {
            let item = Datum::from(item);
            let values = match over.variables.len() {
                2 => vec![Datum::from(key), item.clone()],
                _ => vec![item.clone()],
            };
            for (name, value) in over.variables.iter().zip(values) {
                self.set(name, value, over.assigns);
            }
            let done = self.nodes(body, &item);
            self.variables.truncate(before);
            match done {
                Err(Stop::Break) => break,
                Ok(()) | Err(Stop::Continue) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: Datum, assigns: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, known)) if assigns => *known = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Datum) -> Result<Datum, String> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Datum) -> Result<Datum, String> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot)?);
        }
        Ok(value.unwrap_or(Datum { value: Value::Null, nil: Nil::Nothing }))
    }

    fn command(&mut self, command: &Command, last: Option<Datum>, dot: &Datum) -> Result<Datum, String> {
        let Some((first, rest)) = command.operands.split_first() else { return Ok(Value::Null.into()) };
        let Base::Function(name) = &first.base else {
            return match (rest, &last) {
                ([], None) => self.operand(first, dot),
                ([name], None) if is_label(first) => {
                    let (labels, name) = (dot.value.get("Labels"), self.operand(name, dot)?);
                    let labels = labels.and_then(Value::as_str).unwrap_or_default();
                    Ok(Value::from(label(labels, name.value.as_str().unwrap_or_default())).into())
                }
                _ => Err(self.at(command.span, first.span.0, "can't give argument to non-function")),
            };
        };
        if !first.fields.is_empty() {
            return Err(self.at(command.span, first.span.0, "fields of a function's value need parentheses around it"));
        }
        if name == "and" || name == "or" {
            let mut value = Datum::from(Value::Null);
            for operand in rest {
                value = self.operand(operand, dot)?;
                if value.is_true() == (name == "or") {
                    return Ok(value);
                }
            }
            return Ok(last.unwrap_or(value));
        }
        let mut arguments = rest.iter().map(|operand| self.operand(operand, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(last);
        functions::call(name, &arguments)
            .map_err(|why| self.at(command.span, command.span.0, format!("error calling {name}: {why}")))
    }

    fn operand(&mut self, operand: &Operand, dot: &Datum) -> Result<Datum, String> {
        let mut value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Literal(value) => value.clone().into(),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.map_or(Datum::from(Value::Null), |(_, value)| value.clone())
            }
            Base::Function(name) => functions::call(name, &[])
                .map_err(|why| self.at(operand.span, operand.span.0, format!("error calling {name}: {why}")))?,
            Base::Parenthesis(pipeline) => self.commands(pipeline, dot)?,
        };
        let mut of_map = false;
        for (name, end) in &operand.fields {
            let begin = end - name.len() - 1;
            value = match &value.value {
                Value::Object(map) => match map.get(name) {
                    Some(found) => Datum::field(name, found.clone()),
                    None if of_map => Value::Null.into(),
                    None => return Err(self.missing((operand.span.0, *end), begin, name)),
                },
                Value::Null if value.nil == Nil::Map => Value::Null.into(),
                Value::Null => {
                    return Err(self.at((operand.span.0, *end), begin, format!("nil pointer evaluating interface {{}}.{name}")));
                }
                _ => return Err(self.missing((operand.span.0, *end), begin, name)),
            };
            of_map = is_map(name);
        }
        Ok(value)
    }

    fn missing(&self, span: (usize, usize), at: usize, name: &str) -> String {
        match self.missing {
            Missing::Map => self.at(span, at, format!("map has no entry for key \"{name}\"")),
            Missing::Struct(kind) => self.at(span, at, format!("can't evaluate field {name} in type {kind}")),
        }
    }

    /// An error in the words of Go: the place, and the piece of the template.
    fn at(&self, span: (usize, usize), at: usize, why: impl AsRef<str>) -> String {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = at - before.rfind('\n').map_or(0, |feed| feed + 1);
        let piece = &self.text[span.0..span.1];
        // Go shortens what is longer.
        let shown: String =
            if piece.chars().count() > 20 { piece.chars().take(20).chain("...".chars()).collect() } else { piece.into() };
        format!("template: :{line}:{column}: executing \"\" at <{shown}>: {}", why.as_ref())
    }
}
