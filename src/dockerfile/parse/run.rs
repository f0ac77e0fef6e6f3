//! RUN: its forms and its flags.
//!
//! A mount without variables is checked here; the others are checked when they are expanded.

use crate::error::Result;

use super::super::suggest::{did_you_mean, suggest};
use super::super::text::{FlagKind, Marker, comma_fields, parse_bool};
use super::super::{CommandLine, Device, Network, RunForm, RunInstruction, Security};
use super::mount::check_mount;
use super::raw::RawInstruction;

const FLAGS: &[(&str, FlagKind)] =
    &[("mount", FlagKind::List), ("network", FlagKind::Text), ("security", FlagKind::Text), ("device", FlagKind::List)];

pub(super) fn parse(mut raw: RawInstruction<'_>) -> Result<RunInstruction> {
    let flags = raw.flags(FLAGS)?;
    let mounts = flags.list("mount");
    mounts.iter().try_for_each(|mount| check_mount(raw.location, mount))?;
    let network = match flags.text("network").as_deref().map(str::to_lowercase).as_deref() {
        None | Some("default") => Network::Default,
        Some("none") => Network::None,
        Some("host") => Network::Host,
        Some(other) => return Err(unknown(&raw, "--network", other, &["default", "none", "host"])),
    };
    let security = match flags.text("security").as_deref().map(str::to_lowercase).as_deref() {
        None | Some("sandbox") => Security::Sandbox,
        Some("insecure") => Security::Insecure,
        Some(other) => return Err(unknown(&raw, "--security", other, &["sandbox", "insecure"])),
    };
    let devices = flags.list("device").iter().map(|device| parse_device(&raw, device)).collect::<Result<_>>()?;
    Ok(RunInstruction { form: form(&mut raw)?, mounts, network, security, devices })
}

fn unknown(raw: &RawInstruction<'_>, flag: &str, value: &str, known: &[&'static str]) -> crate::error::Error {
    let error = raw.location.error_at(value, format!("`{value}` is not a value of `{flag}`"));
    match suggest(value, known.iter().copied()) {
        Some(meant) => error.with_hint(did_you_mean(meant)),
        None => error.with_hint(format!("it is one of {}", known.join(", "))),
    }
}

/// What is run, as BuildKit's dispatchRun puts it together.
fn form(raw: &mut RawInstruction<'_>) -> Result<RunForm> {
    let text = match raw.command()? {
        CommandLine::Exec(strings) => return Ok(RunForm::Exec(strings)),
        CommandLine::Shell(_) if raw.lossy => return Err(not_utf8(raw)),
        CommandLine::Shell(text) => text,
    };
    let Some(first) = raw.heredocs.first() else {
        return Ok(RunForm::Shell(text));
    };
    if !Marker::parse(&text).is_ok_and(|marker| marker.is_some()) {
        // The line has more than the heredoc: the shell gets all of it and reads the heredocs
        // itself.
        let mut whole = text;
        for heredoc in raw.heredocs {
            whole.extend(["\n", &utf8(raw, heredoc.content.clone())?, &heredoc.marker.name]);
        }
        return Ok(RunForm::Shell(whole));
    }
    let content = first.chomped(&first.marker);
    Ok(match content.starts_with(b"#!") {
        true => RunForm::Script { name: raw.file_name(&first.marker)?, content },
        false => RunForm::Shell(utf8(raw, content)?),
    })
}

/// A text for the shell as BuildKit takes it.
fn utf8(raw: &RawInstruction<'_>, text: Vec<u8>) -> Result<String> {
    String::from_utf8(text).map_err(|_| not_utf8(raw))
}

fn not_utf8(raw: &RawInstruction<'_>) -> crate::error::Error {
    let error = raw.location.error("the command of RUN is not UTF-8");
    error.with_hint("save the Dockerfile as UTF-8, or copy a script in the other encoding and run that")
}

fn parse_device(raw: &RawInstruction<'_>, text: &str) -> Result<Device> {
    let wrong = |message: String| raw.location.error_at(text, message).with_hint("write it as --device=NAME[,required]");
    let mut name = None;
    let mut required = false;
    for field in comma_fields(text).map_err(wrong)? {
        match field.split_once('=') {
            Some(("name", value)) if name.is_none() => name = Some(value.to_owned()),
            Some(("required", value)) => {
                required =
                    parse_bool(value).ok_or_else(|| wrong(format!("`required` of a device is true or false, not `{value}`")))?;
            }
            None if field.eq_ignore_ascii_case("required") => required = true,
            _ if name.is_none() => name = Some(field),
            _ => return Err(wrong(format!("`{field}` is not an option of a device"))),
        }
    }
    match name.filter(|name| !name.is_empty()) {
        Some(name) => Ok(Device { name, required }),
        None => Err(wrong("a device has no name".into())),
    }
}
