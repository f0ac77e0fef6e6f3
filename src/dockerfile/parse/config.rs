//! The instructions that change the image's config or the variables: ARG, CMD, ENTRYPOINT, ENV,
//! EXPOSE, LABEL, MAINTAINER, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR.

use crate::error::Result;

use super::super::text::{blank_split, cut_at_blanks, quoted_words};
use super::super::warning::Rule;
use super::super::{ArgDeclaration, Instruction, KeyValue};
use super::raw::RawInstruction;

pub(super) fn parse(mut raw: RawInstruction<'_>) -> Result<Instruction> {
    raw.flags(&[])?;
    Ok(match raw.name {
        "ARG" => Instruction::Arg(args(&raw)?),
        "CMD" => Instruction::Cmd(raw.command()?),
        "ENTRYPOINT" => Instruction::Entrypoint(raw.command()?),
        "ENV" => Instruction::Env(pairs(&mut raw)?),
        "LABEL" => Instruction::Label(pairs(&mut raw)?),
        "EXPOSE" => Instruction::Expose(ports(&raw)?),
        "MAINTAINER" => {
            let message = "MAINTAINER is deprecated; write LABEL org.opencontainers.image.authors=\"…\"";
            raw.warnings.push(Rule::MaintainerDeprecated, message, Some(raw.location.snippet()));
            Instruction::Maintainer(raw.one()?)
        }
        "SHELL" => Instruction::Shell(shell(&mut raw)?),
        "STOPSIGNAL" => Instruction::StopSignal(raw.one()?),
        "USER" => Instruction::User(raw.one()?),
        "VOLUME" => Instruction::Volume(volumes(&mut raw)?),
        _ => Instruction::Workdir(raw.one()?),
    })
}

fn args(raw: &RawInstruction<'_>) -> Result<Vec<ArgDeclaration>> {
    let words = quoted_words(raw.arguments, raw.location.escape);
    if words.is_empty() {
        return Err(raw.usage("ARG has no name"));
    }
    let declaration = |word: String| match word.split_once('=') {
        Some(("", _)) => {
            Err(raw.location.error_at(&word, "a name is missing before `=`").with_hint("write it as ARG NAME=DEFAULT"))
        }
        Some((name, value)) => Ok(ArgDeclaration { name: name.to_owned(), default: Some(value.to_owned()) }),
        None => Ok(ArgDeclaration { name: word, default: None }),
    };
    words.into_iter().map(declaration).collect()
}

/// `name=value…`, or one name and the rest of the line as its value.
fn pairs(raw: &mut RawInstruction<'_>) -> Result<Vec<KeyValue>> {
    let name = raw.name;
    let words = quoted_words(raw.arguments, raw.location.escape);
    let Some(first) = words.first() else {
        return Err(raw.usage(format!("{name} has no arguments")));
    };
    if !first.contains('=') {
        let Some((key, value)) = cut_at_blanks(raw.arguments) else {
            return Err(raw.usage(format!("{name} has no value for `{first}`")));
        };
        raw.warnings.push(
            Rule::LegacyKeyValueFormat,
            format!("write {name} {key}=… instead of {name} {key} …"),
            Some(raw.location.snippet()),
        );
        return Ok(vec![KeyValue { key: key.to_owned(), value: value.to_owned() }]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(raw.location.error_at(word, format!("a name of {name} is missing before `=`"))),
        Some((key, value)) => Ok(KeyValue { key: key.to_owned(), value: value.to_owned() }),
        None => Err(raw
            .location
            .error_at(word, format!("`{word}` has no `=`"))
            .with_hint(format!("write it as {name} NAME=VALUE, and put a value with blanks in double quotes"))),
    };
    words.iter().map(pair).collect()
}

fn ports(raw: &RawInstruction<'_>) -> Result<Vec<String>> {
    let mut ports = blank_split(raw.arguments);
    if ports.is_empty() {
        return Err(raw.usage("EXPOSE has no port"));
    }
    // BuildKit sorts the words before it expands them: it shows in the history.
    ports.sort();
    Ok(ports)
}

fn volumes(raw: &mut RawInstruction<'_>) -> Result<Vec<String>> {
    let words = match raw.json()? {
        Some(strings) => strings,
        None => blank_split(raw.arguments),
    };
    let volumes: Vec<String> = words.iter().map(|word| word.trim().to_owned()).collect();
    if volumes.is_empty() {
        return Err(raw.usage("VOLUME has no path"));
    }
    if volumes.iter().any(String::is_empty) {
        return Err(raw.usage("a path of VOLUME is empty"));
    }
    Ok(volumes)
}

fn shell(raw: &mut RawInstruction<'_>) -> Result<Vec<String>> {
    match raw.json()? {
        Some(strings) if !strings.is_empty() => Ok(strings),
        Some(_) => Err(raw.usage("SHELL has no program")),
        None => Err(raw.usage("SHELL is not a JSON array")),
    }
}
