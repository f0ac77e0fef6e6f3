//! RUN: its forms and its flags.
//!
//! Refuses mounts that are wrong whatever the variables in them are; the others are read when they are expanded.

use crate::error::Result;

use super::super::suggest::{did_you_mean, suggest};
use super::super::text::{FlagKind, Marker, comma_fields, parse_bool};
use super::super::{CommandLine, Device, Network, RunForm, RunInstruction, Security};
use super::Request;
use super::mount::check_mount;

const FLAGS: &[(&str, FlagKind)] =
    &[("mount", FlagKind::List), ("network", FlagKind::Text), ("security", FlagKind::Text), ("device", FlagKind::List)];

pub(super) fn parse(mut request: Request<'_>) -> Result<RunInstruction> {
    let flags = request.flags(FLAGS)?;
    let mounts = flags.list("mount");
    mounts.iter().try_for_each(|mount| check_mount(request.place, mount))?;
    let network = match flags.text("network").as_deref().map(str::to_lowercase).as_deref() {
        None | Some("default") => Network::Default,
        Some("none") => Network::None,
        Some("host") => Network::Host,
        Some(other) => return Err(unknown(&request, "--network", other, &["default", "none", "host"])),
    };
    let security = match flags.text("security").as_deref().map(str::to_lowercase).as_deref() {
        None | Some("sandbox") => Security::Sandbox,
        Some("insecure") => Security::Insecure,
        Some(other) => return Err(unknown(&request, "--security", other, &["sandbox", "insecure"])),
    };
    let devices = flags.list("device").iter().map(|device| parse_device(&request, device)).collect::<Result<_>>()?;
    Ok(RunInstruction { form: form(&mut request)?, mounts, network, security, devices })
}

fn unknown(request: &Request<'_>, flag: &str, value: &str, known: &[&'static str]) -> crate::error::Error {
    let error = request.place.error_at(value, format!("`{value}` is no value of `{flag}`"));
    match suggest(value, known.iter().copied()) {
        Some(meant) => error.with_hint(did_you_mean(meant)),
        None => error.with_hint(format!("it is one of {}", known.join(", "))),
    }
}

/// What is run, as BuildKit's dispatchRun puts it together.
fn form(request: &mut Request<'_>) -> Result<RunForm> {
    let text = match request.command()? {
        CommandLine::Exec(strings) => return Ok(RunForm::Exec(strings)),
        CommandLine::Shell(text) => text,
    };
    let Some(first) = request.heredocs.first() else {
        return Ok(RunForm::Shell(text));
    };
    if !Marker::parse(&text).is_ok_and(|marker| marker.is_some()) {
        // There is more on the line than the heredoc: the shell gets it as it stands and reads the heredocs itself.
        let parts = request.heredocs.iter().map(|heredoc| format!("\n{}{}", heredoc.content, heredoc.marker.name));
        return Ok(RunForm::Shell(std::iter::once(text).chain(parts).collect()));
    }
    Ok(match first.content.starts_with("#!") {
        true => RunForm::Script { name: request.file_name(&first.marker)?, content: first.text() },
        false => RunForm::Shell(first.text()),
    })
}

fn parse_device(request: &Request<'_>, text: &str) -> Result<Device> {
    let wrong = |message: String| request.place.error_at(text, message).with_hint("write it as --device=NAME[,required]");
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
            _ => return Err(wrong(format!("`{field}` is no option of a device"))),
        }
    }
    match name.filter(|name| !name.is_empty()) {
        Some(name) => Ok(Device { name, required }),
        None => Err(wrong("a device has no name".into())),
    }
}
