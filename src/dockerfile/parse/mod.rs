//! Lines to typed instructions, and instructions to stages.
//!
//! Errors name the location, and what to write instead.

mod config;
mod dispatch;
mod files;
mod from;
mod healthcheck;
mod mount;
mod raw;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result, Snippet};

pub use mount::mount_from;
pub(super) use mount::{MountScope, parse_mount};

use self::dispatch::{Parsed, check_trigger, parse_line};
use super::source::Located;
use super::text::{Check, Line, Lines, read_lines, split_instruction};
use super::warning::{Rule, Warnings};
use super::{Dockerfile, Instruction, Stage};

impl Dockerfile {
    /// Parses the Dockerfile `text`, called `file_name` in errors.
    pub fn parse(file_name: &str, text: &[u8]) -> Result<Self> {
        Self::parse_with(file_name, text, &BTreeMap::new())
    }

    /// [`parse`](Self::parse) with the build argument `BUILDKIT_DOCKERFILE_CHECK`, which replaces
    /// the `check` directive.
    pub fn parse_with(file_name: &str, text: &[u8], build_args: &BTreeMap<String, String>) -> Result<Self> {
        let check =
            build_args.get(CHECK_ARGUMENT).filter(|text| !text.is_empty()).map(|text| parse_check_argument(text)).transpose()?;
        let Lines { directives, lines, mut warnings, syntax } = read_lines(file_name, text, check)?;
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
                (Parsed::Step(step), Some(stage)) => stage.instructions.push(Located::new(step, Arc::clone(&line.location))),
                (Parsed::Step(Instruction::Arg(names)), None) => {
                    global_args.push(Located::new(names, Arc::clone(&line.location)))
                }
                (Parsed::Step(step), None) => {
                    return Err(line
                        .location
                        .error(format!("{} is before the first FROM", step.name()))
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

/// The build argument that replaces the `check` directive.
const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

fn parse_check_argument(text: &str) -> Result<Check> {
    Check::parse(text).map_err(|message| {
        Error::new(ErrorKind::Usage, format!("the build argument {CHECK_ARGUMENT} is wrong: {message}"))
            .with_hint("write it as skip=RULE,RULE;error=true")
    })
}

/// Parses a trigger of a base image's `OnBuild`. FROM, MAINTAINER and ONBUILD are refused.
pub fn parse_trigger(text: &str) -> Result<Located<Instruction>> {
    parse_trigger_of("ONBUILD", text)
}

/// [`parse_trigger`], with what errors name as the file.
pub(super) fn parse_trigger_of(file: &str, text: &str) -> Result<Located<Instruction>> {
    let Lines { lines, mut warnings, .. } = read_lines(file, text.as_bytes(), None)?;
    let [line] = lines.as_slice() else {
        return Err(Error::new(ErrorKind::Dockerfile, format!("the ONBUILD trigger `{}` is not one instruction", text.trim())));
    };
    check_trigger(&line.location, split_instruction(&line.location.text).0)?;
    match parse_line(line, &mut warnings)? {
        Parsed::Step(step) => Ok(Located::new(step, Arc::clone(&line.location))),
        Parsed::From(_) => Err(line.location.error("FROM cannot be an ONBUILD trigger")),
    }
}

/// Other front ends are programs in images, which mpimg does not run.
fn check_syntax(syntax: Snippet, warnings: &mut Warnings) {
    let value = syntax.text.split_once('=').map_or("", |(_, value)| value.trim());
    let image = value.split_whitespace().next().unwrap_or(value);
    let path = image.strip_prefix("docker.io/").unwrap_or(image);
    let name = path.split(['@', ':']).next().unwrap_or(path);
    if name != "docker/dockerfile" && name != "docker/dockerfile-upstream" {
        let message = format!("the front end `{image}` is not run; the file is read as docker/dockerfile would read it");
        warnings.push(Rule::UnknownSyntax, message, Some(syntax));
    }
}

/// Warns of instructions that are not all in upper case or all in lower case.
fn check_casing(lines: &[Line], warnings: &mut Warnings) {
    let names: Vec<(&Line, &str)> = lines.iter().map(|line| (line, split_instruction(&line.location.text).0)).collect();
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
            Some(line.location.snippet_of(name)),
        );
    }
}
