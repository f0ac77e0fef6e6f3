//! One instruction as text: its name, flags and arguments, and the readings that several
//! instructions share.

use std::sync::Arc;

use crate::error::{Error, Result};

use super::super::CommandLine;
use super::super::source::Location;
use super::super::text::{FlagKind, Flags, Heredoc, JsonForm, Marker, json_form};
use super::super::warning::{Rule, Warnings};

/// One instruction whose name is known and whose arguments are still text.
pub(super) struct RawInstruction<'a> {
    pub(super) location: &'a Arc<Location>,
    /// In capitals.
    pub(super) name: &'static str,
    /// As written.
    pub(super) written: &'a str,
    pub(super) flags: Vec<String>,
    pub(super) arguments: &'a str,
    pub(super) heredocs: &'a [Heredoc],
    /// Whether bytes of it that are not UTF-8 were replaced with U+FFFD.
    pub(super) lossy: bool,
    pub(super) warnings: &'a mut Warnings,
}

impl RawInstruction<'_> {
    pub(super) fn flags(&self, known: &'static [(&'static str, FlagKind)]) -> Result<Flags> {
        Flags::parse(self.location, self.name, &self.flags, known)
    }

    /// An error about the instruction as a whole, with how it is written.
    pub(super) fn usage(&self, message: impl Into<String>) -> Error {
        self.location.error(message).with_hint(format!("write it as {}", usage(self.name)))
    }

    /// All arguments as one; none is an error.
    pub(super) fn one(&self) -> Result<String> {
        match self.arguments {
            "" => Err(self.usage(format!("{} has no argument", self.name))),
            arguments => Ok(arguments.to_owned()),
        }
    }

    /// A JSON array of strings, if the arguments are one; a broken one is a warning.
    pub(super) fn json(&mut self) -> Result<Option<Vec<String>>> {
        self.json_of(self.arguments)
    }

    pub(super) fn json_of(&mut self, text: &str) -> Result<Option<Vec<String>>> {
        match json_form(text) {
            JsonForm::Strings(strings) => Ok(Some(strings)),
            JsonForm::No => Ok(None),
            JsonForm::NotStrings => Err(self
                .location
                .error_at(text, format!("the JSON array of {} holds something other than strings", self.name))
                .with_hint("put double quotes around each element")),
            // `RUN [ -f x ] || …` is shell, and meant to be.
            JsonForm::Broken(_) if !text.contains(['"', '\'']) || text.starts_with("[ ") || text.starts_with("[[") => Ok(None),
            JsonForm::Broken(why) => {
                self.warnings.push(
                    Rule::BrokenExecForm,
                    format!("this looks like a JSON array but is not one, so {} reads it as plain text: {why}", self.name),
                    Some(self.location.snippet_of(text)),
                );
                Ok(None)
            }
        }
    }

    /// The name of the file that a heredoc becomes.
    pub(super) fn file_name(&self, marker: &Marker) -> Result<String> {
        let name = &marker.name;
        if name.contains('/') || name.contains('\0') || name == "." || name == ".." {
            let error = self.location.error_at(name, format!("`{name}` cannot be the name of a file"));
            return Err(error.with_hint("name the heredoc like the file, and write its folder as the destination"));
        }
        Ok(name.clone())
    }

    /// A command in either form.
    pub(super) fn command(&mut self) -> Result<CommandLine> {
        if self.arguments.is_empty() {
            self.warnings.push(Rule::EmptyCommand, format!("{} has nothing to run", self.name), Some(self.location.snippet()));
        }
        Ok(match self.json()? {
            Some(strings) => CommandLine::Exec(strings),
            None => CommandLine::Shell(self.arguments.to_owned()),
        })
    }
}

/// How an instruction is written.
fn usage(name: &str) -> &'static str {
    match name {
        "ADD" => "ADD SOURCE… DESTINATION",
        "ARG" => "ARG NAME[=DEFAULT]",
        "COPY" => "COPY SOURCE… DESTINATION",
        "ENV" => "ENV NAME=VALUE…",
        "EXPOSE" => "EXPOSE PORT[/tcp|/udp|/sctp]…",
        "FROM" => "FROM IMAGE [AS NAME]",
        "HEALTHCHECK" => "HEALTHCHECK [--interval=30s] CMD COMMAND, or HEALTHCHECK NONE",
        "LABEL" => "LABEL NAME=VALUE…",
        "MAINTAINER" => "LABEL org.opencontainers.image.authors=\"NAME\"",
        "ONBUILD" => "ONBUILD INSTRUCTION",
        "SHELL" => "SHELL [\"/bin/bash\", \"-c\"]",
        "STOPSIGNAL" => "STOPSIGNAL SIGTERM",
        "USER" => "USER NAME[:GROUP]",
        "VOLUME" => "VOLUME PATH…",
        "WORKDIR" => "WORKDIR PATH",
        _ => "RUN COMMAND",
    }
}
