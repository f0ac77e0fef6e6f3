//! Lines to typed instructions, and instructions to stages.
//!
//! Refuses what BuildKit refuses, with the place, and with what to write instead.

mod config;
mod files;
mod from;
mod healthcheck;
mod mount;
mod run;

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result, Snippet};

pub(super) use mount::{MountScope, mount_from, parse_mount};

use super::source::{Located, Place};
use super::suggest::{did_you_mean, suggest};
use super::text::{FlagKind, Flags, Heredoc, JsonForm, Line, Lines, Marker, json_form, read_lines, split_instruction};
use super::warning::{Rule, Warnings};
use super::{CommandLine, Dockerfile, Instruction, Stage};

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// One instruction about to be typed.
struct Request<'a> {
    place: &'a Arc<Place>,
    /// In capitals.
    name: &'static str,
    /// As written.
    written: &'a str,
    flags: Vec<String>,
    arguments: &'a str,
    heredocs: &'a [Heredoc],
    warnings: &'a mut Warnings,
}

enum Parsed {
    From(Stage),
    Step(Instruction),
}

impl Dockerfile {
    /// Parses the Dockerfile `text`, called `file_name` in errors.
    pub fn parse(file_name: &str, text: &[u8]) -> Result<Self> {
        let Lines { directives, lines, mut warnings, syntax } = read_lines(file_name, text)?;
        let no_from = |message: String| {
            Error::new(ErrorKind::Dockerfile, message).with_hint("a Dockerfile starts with FROM and the name of a base image")
        };
        if lines.is_empty() {
            return Err(no_from(format!("`{file_name}` has no instructions")));
        }
        if let Some(syntax) = syntax {
            check_syntax(syntax, &mut warnings);
        }
        let mut global_args = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        for line in &lines {
            match (parse_line(line, &mut warnings)?, stages.last_mut()) {
                (Parsed::From(stage), _) => stages.push(stage),
                (Parsed::Step(step), Some(stage)) => stage.instructions.push(Located::new(step, Arc::clone(&line.place))),
                (Parsed::Step(Instruction::Arg(names)), None) => global_args.push(Located::new(names, Arc::clone(&line.place))),
                (Parsed::Step(step), None) => {
                    return Err(line
                        .place
                        .error(format!("{} stands before the first FROM", step.name()))
                        .with_hint("only ARG may; move it below FROM"));
                }
            }
        }
        if stages.is_empty() {
            return Err(no_from(format!("`{file_name}` has no FROM")));
        }
        from::check_names(&stages, &mut warnings);
        check_casing(&lines, &mut warnings);
        Ok(Self { global_args, stages, warnings: warnings.take(), check: directives.check })
    }
}

/// Parses a trigger of a base image's `OnBuild`. FROM, MAINTAINER and ONBUILD are refused.
pub fn parse_trigger(text: &str) -> Result<Located<Instruction>> {
    parse_trigger_of("ONBUILD", text)
}

/// [`parse_trigger`], with what errors name as the file.
pub(super) fn parse_trigger_of(file: &str, text: &str) -> Result<Located<Instruction>> {
    let Lines { lines, mut warnings, .. } = read_lines(file, text.as_bytes())?;
    let [line] = lines.as_slice() else {
        return Err(Error::new(ErrorKind::Dockerfile, format!("the ONBUILD trigger `{}` is not one instruction", text.trim())));
    };
    config::check_trigger(&line.place, split_instruction(&line.place.text).0)?;
    match parse_line(line, &mut warnings)? {
        Parsed::Step(step) => Ok(Located::new(step, Arc::clone(&line.place))),
        Parsed::From(_) => Err(line.place.error("FROM cannot be an ONBUILD trigger")),
    }
}

/// Other front ends are programs in images, and nothing here runs them.
fn check_syntax(syntax: Snippet, warnings: &mut Warnings) {
    let value = syntax.text.split_once('=').map_or("", |(_, value)| value.trim());
    let image = value.split_whitespace().next().unwrap_or(value);
    let path = image.strip_prefix("docker.io/").unwrap_or(image);
    let name = path.split(['@', ':']).next().unwrap_or(path);
    if name != "docker/dockerfile" && name != "docker/dockerfile-upstream" {
        let message = format!("the front end `{image}` is not run; the file is read as docker/dockerfile reads it");
        warnings.push(Rule::UnknownSyntax, message, Some(syntax));
    }
}

/// Instructions are all in small letters or all in capitals, and all like most of them.
fn check_casing(lines: &[Line], warnings: &mut Warnings) {
    let names: Vec<(&Line, &str)> = lines.iter().map(|line| (line, split_instruction(&line.place.text).0)).collect();
    let is_lower = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_upper = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase());
    let lower = names.iter().filter(|(_, name)| is_lower(name)).count();
    let upper = names.iter().filter(|(_, name)| is_upper(name)).count();
    for (line, name) in names {
        let wanted = match lower > upper {
            true if !is_lower(name) => "small letters",
            false if !is_upper(name) => "capitals",
            _ => continue,
        };
        warnings.push(
            Rule::ConsistentInstructionCasing,
            format!("`{name}` is not in {wanted} as most instructions are"),
            Some(line.place.snippet_of(name)),
        );
    }
}

fn parse_line(line: &Line, warnings: &mut Warnings) -> Result<Parsed> {
    let (written, flags, arguments) = split_instruction(&line.place.text);
    let name = known_name(&line.place, written)?;
    parse_request(Request { place: &line.place, name, written, flags, arguments, heredocs: &line.heredocs, warnings })
}

fn known_name(place: &Place, written: &str) -> Result<&'static str> {
    NAMES.iter().copied().find(|name| name.eq_ignore_ascii_case(written)).ok_or_else(|| {
        let error = place.error_at(written, format!("unknown instruction `{written}`"));
        match suggest(written, NAMES) {
            Some(name) => error.with_hint(did_you_mean(name)),
            None => error
                .with_hint(format!("a line that goes on from the one before needs `{}` at the end of that one", place.escape)),
        }
    })
}

fn parse_request(request: Request<'_>) -> Result<Parsed> {
    Ok(Parsed::Step(match request.name {
        "FROM" => return from::parse(request).map(Parsed::From),
        "ADD" => Instruction::Add(files::parse_add(request)?),
        "COPY" => Instruction::Copy(files::parse_copy(request)?),
        "RUN" => Instruction::Run(run::parse(request)?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck::parse(request)?),
        _ => config::parse(request)?,
    }))
}

impl Request<'_> {
    fn flags(&self, known: &'static [(&'static str, FlagKind)]) -> Result<Flags> {
        Flags::parse(self.place, self.name, &self.flags, known)
    }

    /// An error about the instruction as a whole, with how it is written.
    fn usage(&self, message: impl Into<String>) -> Error {
        self.place.error(message).with_hint(format!("write it as {}", usage(self.name)))
    }

    /// All arguments as one; none is an error.
    fn one(&self) -> Result<String> {
        match self.arguments {
            "" => Err(self.usage(format!("{} has no argument", self.name))),
            arguments => Ok(arguments.to_owned()),
        }
    }

    /// A JSON array of strings, if the arguments are one; a broken one is a warning.
    fn json(&mut self) -> Result<Option<Vec<String>>> {
        self.json_of(self.arguments)
    }

    fn json_of(&mut self, text: &str) -> Result<Option<Vec<String>>> {
        match json_form(text) {
            JsonForm::Strings(strings) => Ok(Some(strings)),
            JsonForm::No => Ok(None),
            JsonForm::NotStrings => Err(self
                .place
                .error_at(text, format!("the JSON array of {} holds something other than strings", self.name))
                .with_hint("put double quotes around each element")),
            // `RUN [ -f x ] || …` is shell, and meant to be.
            JsonForm::Broken(_) if !text.contains(['"', '\'']) || text.starts_with("[ ") || text.starts_with("[[") => Ok(None),
            JsonForm::Broken(why) => {
                self.warnings.push(
                    Rule::BrokenExecForm,
                    format!("this looks like a JSON array and is none, so {} reads it as plain text: {why}", self.name),
                    Some(self.place.snippet_of(text)),
                );
                Ok(None)
            }
        }
    }

    /// The name of the file that a heredoc becomes.
    fn file_name(&self, marker: &Marker) -> Result<String> {
        let name = &marker.name;
        if name.contains('/') || name.contains('\0') || name == "." || name == ".." {
            let error = self.place.error_at(name, format!("`{name}` cannot be the name of a file"));
            return Err(error.with_hint("name the heredoc like the file, and write its folder as the destination"));
        }
        Ok(name.clone())
    }

    /// A command in either form.
    fn command(&mut self) -> Result<CommandLine> {
        if self.arguments.is_empty() {
            self.warnings.push(Rule::EmptyCommand, format!("{} has nothing to run", self.name), Some(self.place.snippet()));
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
