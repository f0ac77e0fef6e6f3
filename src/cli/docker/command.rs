//! What a command of docker is: its names, its flags, and the function that does it.

use futures_util::future::LocalBoxFuture;

use super::invocation::{CommandResult, Invocation};
use crate::cli::drop_in::{Flag, Parsed, longest_name};

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arguments {
    /// This many.
    Exactly(usize),
    /// This many or more.
    AtLeast(usize),
    /// This many or fewer.
    AtMost(usize),
}

impl Arguments {
    /// What is wrong with `count` arguments, as docker says it.
    pub(super) fn wrong(self, count: usize) -> Option<String> {
        let plural = |number: usize| if number == 1 { "" } else { "s" };
        match self {
            Self::Exactly(0) if count > 0 => Some("accepts no arguments".into()),
            Self::Exactly(wanted) if wanted != count => Some(format!("requires {wanted} argument{}", plural(wanted))),
            Self::AtLeast(wanted) if wanted > count => Some(format!("requires at least {wanted} argument{}", plural(wanted))),
            Self::AtMost(wanted) if wanted < count => Some(format!("requires at most {wanted} argument{}", plural(wanted))),
            _ => None,
        }
    }
}

/// Does a command; its exit code.
pub(super) type Run = for<'a> fn(&'a Invocation, &'a Parsed) -> LocalBoxFuture<'a, CommandResult>;

/// A command of docker.
#[derive(Clone, Copy)]
pub(super) struct Command {
    /// Its names: `images`, `image ls`.
    pub(super) names: &'static [&'static str],
    /// What stands behind the name in its usage.
    pub(super) usage: &'static str,
    /// What it is for, in a line.
    pub(super) about: &'static str,
    pub(super) arguments: Arguments,
    /// Whether options end at the first argument.
    pub(super) options_first: bool,
    pub(super) flags: &'static [&'static [Flag]],
    /// How it differs as a whole, for the documentation; empty where it does not.
    pub(super) differs: &'static str,
    pub(super) run: Run,
}

impl Command {
    /// A command that does what docker's does, with options anywhere.
    pub(super) const fn new(names: &'static [&'static str], usage: &'static str, about: &'static str, run: Run) -> Self {
        Self { names, usage, about, arguments: Arguments::AtLeast(0), options_first: false, flags: &[], differs: "", run }
    }

    /// Whether docker's progress is on standard error even where that is not a terminal.
    pub(super) fn tells_progress(&self) -> bool {
        ["build", "run", "create", "buildx imagetools create"].contains(&self.names[0])
    }

    /// The name of this command that `words` begin with, and of how many words it is.
    pub(super) fn matches(&self, words: &[String]) -> Option<(&'static str, usize)> {
        longest_name(self.names, words)
    }
}
