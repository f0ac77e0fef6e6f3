//! Flags of one instruction, `--name=value`, checked against those that it has.
//!
//! An unknown name, a repeated flag and a missing value are errors that suggest the right spelling.

use crate::error::Result;

use super::super::source::Location;
use super::super::suggest::{did_you_mean, suggest};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dockerfile) enum FlagKind {
    /// A value.
    Text,
    /// `true`, `false` or nothing, which is true.
    Bool,
    /// A value, and it may be there several times.
    List,
}

/// The flags of one instruction.
pub(in crate::dockerfile) struct Flags(Vec<(&'static str, String)>);

impl Flags {
    /// Checks the flag words of the instruction `name` at `place` against those that it has.
    pub(in crate::dockerfile) fn parse(
        location: &Location,
        name: &str,
        words: &[String],
        known: &'static [(&'static str, FlagKind)],
    ) -> Result<Self> {
        let mut flags: Vec<(&'static str, String)> = Vec::new();
        for word in words {
            let (written, value) = match word.split_once('=') {
                Some((written, value)) => (written, Some(value)),
                None => (word.as_str(), None),
            };
            let wrong = |message: String| location.error_at(written, message);
            let Some((flag, kind)) = known.iter().copied().find(|(flag, _)| written.strip_prefix("--") == Some(*flag)) else {
                return Err(unknown(location, name, written, known));
            };
            if kind != FlagKind::List && flags.iter().any(|(seen, _)| *seen == flag) {
                return Err(wrong(format!("`--{flag}` is given twice")).with_hint("keep one of them"));
            }
            let value = match (kind, value) {
                (FlagKind::Bool, None | Some("")) => "true".to_owned(),
                (FlagKind::Bool, Some(value)) => match value.to_ascii_lowercase().as_str() {
                    value @ ("true" | "false") => value.to_owned(),
                    _ => {
                        return Err(wrong(format!("`--{flag}` is true or false, not `{value}`"))
                            .with_hint(format!("write --{flag} for true, --{flag}=false for false")));
                    }
                },
                (_, Some(value)) => value.to_owned(),
                (_, None) => {
                    return Err(wrong(format!("`--{flag}` has no value")).with_hint(format!("write it as --{flag}=VALUE")));
                }
            };
            flags.push((flag, value));
        }
        Ok(Self(flags))
    }

    /// The value of a flag, if it is given; an empty value counts as not given, as in BuildKit.
    pub(in crate::dockerfile) fn text(&self, name: &str) -> Option<String> {
        self.list(name).pop().filter(|value| !value.is_empty())
    }

    /// The value of a boolean flag, if it is given.
    pub(in crate::dockerfile) fn bool(&self, name: &str) -> Option<bool> {
        self.list(name).pop().map(|value| value == "true")
    }

    /// All values of a flag, in order.
    pub(in crate::dockerfile) fn list(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(flag, _)| *flag == name).map(|(_, value)| value.clone()).collect()
    }
}

fn unknown(location: &Location, name: &str, written: &str, known: &[(&str, FlagKind)]) -> crate::error::Error {
    let error = location.error_at(written, format!("{name} has no flag `{written}`"));
    let names: Vec<&str> = known.iter().map(|(flag, _)| *flag).collect();
    match suggest(written.trim_start_matches('-'), names.iter().copied()) {
        Some(meant) => error.with_hint(did_you_mean(&format!("--{meant}"))),
        None if names.is_empty() => {
            error.with_hint(format!("{name} has no flags; put `--` in front if `{written}` is meant as an argument"))
        }
        None => error.with_hint(format!("its flags are --{}", names.join(", --"))),
    }
}
