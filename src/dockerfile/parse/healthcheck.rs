//! HEALTHCHECK and its durations.
//!
//! Durations under a millisecond are errors, as in docker; 0 means the default.

use crate::error::Result;

use super::super::Healthcheck;
use super::super::duration::parse_duration;
use super::super::text::{FlagKind, Flags, cut_at_blanks};
use super::raw::RawInstruction;

const FLAGS: &[(&str, FlagKind)] = &[
    ("interval", FlagKind::Text),
    ("timeout", FlagKind::Text),
    ("start-period", FlagKind::Text),
    ("start-interval", FlagKind::Text),
    ("retries", FlagKind::Text),
];

const MILLISECOND: i64 = 1_000_000;

pub(super) fn parse(mut raw: RawInstruction<'_>) -> Result<Healthcheck> {
    let flags = raw.flags(FLAGS)?;
    let arguments = raw.arguments;
    let (kind, command) = cut_at_blanks(arguments).unwrap_or((arguments, ""));
    match kind.to_ascii_uppercase().as_str() {
        "" => Err(raw.usage("HEALTHCHECK has no argument")),
        "NONE" if command.is_empty() => Ok(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() }),
        "NONE" => Err(raw
            .location
            .error_at(command, "HEALTHCHECK NONE takes no arguments")
            .with_hint("leave out what comes after NONE")),
        "CMD" => {
            let test = test(&mut raw, command)?;
            Ok(Healthcheck {
                test,
                interval: duration(&raw, &flags, "interval")?,
                timeout: duration(&raw, &flags, "timeout")?,
                start_period: duration(&raw, &flags, "start-period")?,
                start_interval: duration(&raw, &flags, "start-interval")?,
                retries: retries(&raw, &flags)?,
            })
        }
        _ => {
            let error = raw.location.error_at(kind, format!("HEALTHCHECK does not know `{kind}`"));
            Err(error.with_hint("did you mean `HEALTHCHECK CMD`? Put CMD before the command"))
        }
    }
}

fn test(raw: &mut RawInstruction<'_>, command: &str) -> Result<Vec<String>> {
    let missing = |raw: &RawInstruction<'_>| raw.usage("HEALTHCHECK CMD has no command");
    match raw.json_of(command)? {
        Some(strings) if strings.is_empty() => Err(missing(raw)),
        Some(strings) => Ok(std::iter::once("CMD".to_owned()).chain(strings).collect()),
        None if command.is_empty() => Err(missing(raw)),
        None => Ok(vec!["CMD-SHELL".into(), command.into()]),
    }
}

fn duration(raw: &RawInstruction<'_>, flags: &Flags, name: &str) -> Result<i64> {
    let Some(text) = flags.text(name) else { return Ok(0) };
    let wrong =
        |message: String| raw.location.error_at(&text, message).with_hint("write it with a unit: 500ms, 30s, 1m30s or 2h");
    let nanoseconds = parse_duration(&text).ok_or_else(|| wrong(format!("`{text}` is not a duration for `--{name}`")))?;
    match nanoseconds {
        0 => Ok(0),
        short if short < MILLISECOND => Err(wrong(format!("`--{name}` is less than 1ms"))),
        _ => Ok(nanoseconds),
    }
}

fn retries(raw: &RawInstruction<'_>, flags: &Flags) -> Result<i32> {
    let Some(text) = flags.text("retries") else { return Ok(0) };
    text.parse().ok().filter(|retries| *retries >= 0).ok_or_else(|| {
        raw.location.error_at(&text, format!("`{text}` is not a number for `--retries`")).with_hint("write a number, such as 3")
    })
}
