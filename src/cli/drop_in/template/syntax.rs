//! A template as a tree.

use serde_json::Value;

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// A pipeline whose value is printed, unless it sets a variable.
    Action(Pipeline),
    /// `if`, or `with` where the value becomes the dot.
    If {
        with: bool,
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

/// Commands, each of which gets the value of the one before as its last argument.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// Variables that it sets.
    pub(super) variables: Vec<String>,
    /// Whether they are there already (`=`) or new (`:=`).
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// A function with its arguments, or one value.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
    /// Where it begins and ends in the text.
    pub(super) span: (usize, usize),
}

/// A value, or a function.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) base: Base,
    /// Fields behind it: `.Config.Labels`, each with where it ends.
    pub(super) fields: Vec<(String, usize)>,
    /// Where it begins and ends in the text.
    pub(super) span: (usize, usize),
}

#[derive(Debug)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Parenthesis(Box<Pipeline>),
}
