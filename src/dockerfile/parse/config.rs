//! The instructions that change the image's config or the variables: ARG, CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, MAINTAINER,
//! ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR.
//!
//! Refuses triggers that docker refuses: FROM, MAINTAINER, and ONBUILD in ONBUILD.

use crate::error::Result;

use super::super::source::Place;
use super::super::text::{blank_split, cut_at_blanks, quoted_words, split_instruction};
use super::super::warning::Rule;
use super::super::{ArgDeclaration, Instruction, KeyValue};
use super::{Request, known_name, parse_request};

pub(super) fn parse(mut request: Request<'_>) -> Result<Instruction> {
    request.flags(&[])?;
    Ok(match request.name {
        "ARG" => Instruction::Arg(args(&request)?),
        "CMD" => Instruction::Cmd(request.command()?),
        "ENTRYPOINT" => Instruction::Entrypoint(request.command()?),
        "ENV" => Instruction::Env(pairs(&mut request)?),
        "LABEL" => Instruction::Label(pairs(&mut request)?),
        "EXPOSE" => Instruction::Expose(ports(&request)?),
        "MAINTAINER" => {
            let message = "MAINTAINER is deprecated; write LABEL org.opencontainers.image.authors=\"…\"";
            request.warnings.push(Rule::MaintainerDeprecated, message, Some(request.place.snippet()));
            Instruction::Maintainer(request.one()?)
        }
        "ONBUILD" => Instruction::Onbuild(trigger(request)?),
        "SHELL" => Instruction::Shell(shell(&mut request)?),
        "STOPSIGNAL" => Instruction::StopSignal(request.one()?),
        "USER" => Instruction::User(request.one()?),
        "VOLUME" => Instruction::Volume(volumes(&mut request)?),
        _ => Instruction::Workdir(request.one()?),
    })
}

fn args(request: &Request<'_>) -> Result<Vec<ArgDeclaration>> {
    let words = quoted_words(request.arguments, request.place.escape);
    if words.is_empty() {
        return Err(request.usage("ARG has no name"));
    }
    let declaration = |word: String| match word.split_once('=') {
        Some(("", _)) => {
            Err(request.place.error_at(&word, "a name is missing before `=`").with_hint("write it as ARG NAME=DEFAULT"))
        }
        Some((name, value)) => Ok(ArgDeclaration { name: name.to_owned(), default: Some(value.to_owned()) }),
        None => Ok(ArgDeclaration { name: word, default: None }),
    };
    words.into_iter().map(declaration).collect()
}

/// `name=value…`, or one name and the rest of the line as its value.
fn pairs(request: &mut Request<'_>) -> Result<Vec<KeyValue>> {
    let name = request.name;
    let words = quoted_words(request.arguments, request.place.escape);
    let Some(first) = words.first() else {
        return Err(request.usage(format!("{name} has no arguments")));
    };
    if !first.contains('=') {
        let Some((key, value)) = cut_at_blanks(request.arguments) else {
            return Err(request.usage(format!("{name} has no value for `{first}`")));
        };
        request.warnings.push(
            Rule::LegacyKeyValueFormat,
            format!("write {name} {key}=… instead of {name} {key} …"),
            Some(request.place.snippet()),
        );
        return Ok(vec![KeyValue { key: key.to_owned(), value: value.to_owned() }]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(request.place.error_at(word, format!("a name of {name} is missing before `=`"))),
        Some((key, value)) => Ok(KeyValue { key: key.to_owned(), value: value.to_owned() }),
        None => Err(request
            .place
            .error_at(word, format!("`{word}` has no `=`"))
            .with_hint(format!("write it as {name} NAME=VALUE, and put a value with blanks in double quotes"))),
    };
    words.iter().map(pair).collect()
}

fn ports(request: &Request<'_>) -> Result<Vec<String>> {
    let mut ports = blank_split(request.arguments);
    if ports.is_empty() {
        return Err(request.usage("EXPOSE has no port"));
    }
    // BuildKit sorts the words before it expands them: it shows in the history.
    ports.sort();
    Ok(ports)
}

fn volumes(request: &mut Request<'_>) -> Result<Vec<String>> {
    let words = match request.json()? {
        Some(strings) => strings,
        None => blank_split(request.arguments),
    };
    let volumes: Vec<String> = words.iter().map(|word| word.trim().to_owned()).collect();
    if volumes.is_empty() {
        return Err(request.usage("VOLUME has no path"));
    }
    if volumes.iter().any(String::is_empty) {
        return Err(request.usage("a path of VOLUME is empty"));
    }
    Ok(volumes)
}

fn shell(request: &mut Request<'_>) -> Result<Vec<String>> {
    match request.json()? {
        Some(strings) if !strings.is_empty() => Ok(strings),
        Some(_) => Err(request.usage("SHELL has no program")),
        None => Err(request.usage("SHELL is not a JSON array")),
    }
}

fn trigger(request: Request<'_>) -> Result<String> {
    if request.arguments.is_empty() {
        return Err(request.usage("ONBUILD has no instruction"));
    }
    let (written, flags, arguments) = split_instruction(request.arguments);
    check_trigger(request.place, written)?;
    let text = request
        .heredocs
        .iter()
        .fold(request.arguments.to_owned(), |text, heredoc| format!("{text}\n{}{}", heredoc.content, heredoc.marker.name));
    // It is kept as text; parsing it here brings its mistakes to light before the image is used.
    let name = known_name(request.place, written)?;
    parse_request(Request { name, written, flags, arguments, ..request })?;
    Ok(text)
}

/// Refuses what cannot be a trigger.
pub(super) fn check_trigger(place: &Place, written: &str) -> Result<()> {
    match written.to_ascii_uppercase().as_str() {
        "ONBUILD" => Err(place.error("ONBUILD cannot stand in ONBUILD").with_hint("leave out one of them")),
        name @ ("FROM" | "MAINTAINER") => Err(place
            .error_at(written, format!("{name} cannot be an ONBUILD trigger"))
            .with_hint("put it into the child's Dockerfile")),
        _ => Ok(()),
    }
}
