//! HEALTHCHECK and its durations.
//!
//! Refuses durations under a millisecond, as docker does; 0 means "the default".

use crate::error::Result;

use super::super::Healthcheck;
use super::super::duration::parse_duration;
use super::super::text::{FlagKind, Flags, cut_at_blanks};
use super::Request;

const FLAGS: &[(&str, FlagKind)] = &[
    ("interval", FlagKind::Text),
    ("timeout", FlagKind::Text),
    ("start-period", FlagKind::Text),
    ("start-interval", FlagKind::Text),
    ("retries", FlagKind::Text),
];

const MILLISECOND: i64 = 1_000_000;

pub(super) fn parse(mut request: Request<'_>) -> Result<Healthcheck> {
    let flags = request.flags(FLAGS)?;
    let arguments = request.arguments;
    let (kind, command) = cut_at_blanks(arguments).unwrap_or((arguments, ""));
    match kind.to_ascii_uppercase().as_str() {
        "" => Err(request.usage("HEALTHCHECK has no argument")),
        "NONE" if command.is_empty() => Ok(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() }),
        "NONE" => Err(request
            .place
            .error_at(command, "HEALTHCHECK NONE takes no arguments")
            .with_hint("leave out what comes after NONE")),
        "CMD" => {
            let test = test(&mut request, command)?;
            Ok(Healthcheck {
                test,
                interval: duration(&request, &flags, "interval")?,
                timeout: duration(&request, &flags, "timeout")?,
                start_period: duration(&request, &flags, "start-period")?,
                start_interval: duration(&request, &flags, "start-interval")?,
                retries: retries(&request, &flags)?,
            })
        }
        _ => {
            let error = request.place.error_at(kind, format!("HEALTHCHECK does not know `{kind}`"));
            Err(error.with_hint("did you mean `HEALTHCHECK CMD`? Put CMD before the command"))
        }
    }
}

fn test(request: &mut Request<'_>, command: &str) -> Result<Vec<String>> {
    let missing = |request: &Request<'_>| request.usage("HEALTHCHECK CMD has no command");
    match request.json_of(command)? {
        Some(strings) if strings.is_empty() => Err(missing(request)),
        Some(strings) => Ok(std::iter::once("CMD".to_owned()).chain(strings).collect()),
        None if command.is_empty() => Err(missing(request)),
        None => Ok(vec!["CMD-SHELL".into(), command.into()]),
    }
}

fn duration(request: &Request<'_>, flags: &Flags, name: &str) -> Result<i64> {
    let Some(text) = flags.text(name) else { return Ok(0) };
    let wrong =
        |message: String| request.place.error_at(&text, message).with_hint("write it with a unit: 500ms, 30s, 1m30s or 2h");
    let nanoseconds = parse_duration(&text).ok_or_else(|| wrong(format!("`{text}` is no duration for `--{name}`")))?;
    match nanoseconds {
        0 => Ok(0),
        short if short < MILLISECOND => Err(wrong(format!("`--{name}` is less than 1ms"))),
        _ => Ok(nanoseconds),
    }
}

fn retries(request: &Request<'_>, flags: &Flags) -> Result<i32> {
    let Some(text) = flags.text("retries") else { return Ok(0) };
    text.parse().ok().filter(|retries| *retries >= 0).ok_or_else(|| {
        request.place.error_at(&text, format!("`{text}` is no number for `--retries`")).with_hint("write a number, such as 3")
    })
}
