//! From the text of an instruction to its type, triggers of ONBUILD included.

use crate::error::Result;

use super::super::source::Location;
use super::super::suggest::{did_you_mean, suggest};
use super::super::text::{Line, decode, split_instruction};
use super::super::warning::Warnings;
use super::super::{Instruction, Stage};
use super::raw::RawInstruction;
use super::{config, files, from, healthcheck, run};

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

/// What a line of the file is.
pub(super) enum Parsed {
    From(Stage),
    Step(Instruction),
}

pub(super) fn parse_line(line: &Line, warnings: &mut Warnings) -> Result<Parsed> {
    let (written, flags, arguments) = split_instruction(&line.location.text);
    let name = known_name(&line.location, written)?;
    parse_instruction(RawInstruction {
        location: &line.location,
        name,
        written,
        flags,
        arguments,
        heredocs: &line.heredocs,
        lossy: line.lossy,
        warnings,
    })
}

fn known_name(location: &Location, written: &str) -> Result<&'static str> {
    NAMES.iter().copied().find(|name| name.eq_ignore_ascii_case(written)).ok_or_else(|| {
        let error = location.error_at(written, format!("unknown instruction `{written}`"));
        match suggest(written, NAMES) {
            Some(name) => error.with_hint(did_you_mean(name)),
            None => error.with_hint(format!("to continue an instruction, end the line before with `{}`", location.escape)),
        }
    })
}

fn parse_instruction(raw: RawInstruction<'_>) -> Result<Parsed> {
    Ok(Parsed::Step(match raw.name {
        "FROM" => return from::parse(raw).map(Parsed::From),
        "ADD" => Instruction::Add(files::parse_add(raw)?),
        "COPY" => Instruction::Copy(files::parse_copy(raw)?),
        "RUN" => Instruction::Run(run::parse(raw)?),
        "ONBUILD" => Instruction::Onbuild(trigger(raw)?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck::parse(raw)?),
        _ => config::parse(raw)?,
    }))
}

fn trigger(raw: RawInstruction<'_>) -> Result<String> {
    if raw.arguments.is_empty() {
        return Err(raw.usage("ONBUILD has no instruction"));
    }
    let (written, flags, arguments) = split_instruction(raw.arguments);
    check_trigger(raw.location, written)?;
    let mut text = raw.arguments.to_owned();
    for heredoc in raw.heredocs {
        text.extend(["\n", &decode(&heredoc.content), &heredoc.marker.name]);
    }
    // It is stored as text; parsing it here reports its mistakes before the image is used.
    let name = known_name(raw.location, written)?;
    parse_instruction(RawInstruction { name, written, flags, arguments, ..raw })?;
    Ok(text)
}

/// An error for an instruction that cannot be a trigger.
pub(super) fn check_trigger(location: &Location, written: &str) -> Result<()> {
    match written.to_ascii_uppercase().as_str() {
        "ONBUILD" => Err(location.error("ONBUILD cannot be the trigger of ONBUILD").with_hint("leave out one of them")),
        name @ ("FROM" | "MAINTAINER") => Err(location
            .error_at(written, format!("{name} cannot be an ONBUILD trigger"))
            .with_hint("put it into the child's Dockerfile")),
        _ => Ok(()),
    }
}
