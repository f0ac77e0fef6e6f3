//! `docker inspect`, `docker image inspect` and `docker container inspect`.

use serde_json::Value;

use super::command::{Arguments, Command};
use super::container_id::find;
use super::invocation::{CommandResult, Failure, Invocation};
use super::tag::shown;
use super::{container_json, format, image_json, networks};
use crate::cli::drop_in::{Flag, Missing, Parsed, Template};

const FORMAT: Flag = Flag::value("format", "Format output using a custom template").short('f');
const SIZE: Flag =
    Flag::switch("size", "Display total file sizes").short('s').ignored("the size of what a container wrote is not counted");

pub(super) const ANY: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[FORMAT, SIZE, Flag::value("type", "Only inspect objects of the given type").differs("container and image")]],
    differs: "Size is compressed; Parent, DockerVersion and GraphDriver.Data are empty",
    ..Command::new(
        &["inspect"],
        "[OPTIONS] NAME|ID [NAME|ID...]",
        "Return low-level information on Docker objects",
        |invocation, parsed| Box::pin(any(invocation, parsed)),
    )
};

pub(super) const IMAGE: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[
        FORMAT,
        Flag::value("platform", "Inspect a specific platform").ignored("an image of the local store is for one platform"),
    ]],
    ..Command::new(
        &["image inspect"],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Display detailed information on one or more images",
        |invocation, parsed| Box::pin(async move { inspect(invocation, parsed, &mut |name| image(invocation, name)) }),
    )
};

pub(super) const CONTAINER: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[FORMAT, SIZE]],
    ..Command::new(
        &["container inspect"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Display detailed information on one or more containers",
        |invocation, parsed| Box::pin(async move { inspect(invocation, parsed, &mut |name| container(invocation, name)) }),
    )
};

/// What is shown of a thing: as JSON, and as the value for templates.
type Shown = (String, Value);

async fn any(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let wanted = parsed.value("type").unwrap_or_default();
    if !matches!(wanted, "" | "image" | "container") {
        let kinds = ["network", "node", "plugin", "secret", "service", "task", "volume", "config"];
        if !kinds.contains(&wanted) {
            return Err(Failure::new(format!("{wanted:?} is not a valid value for --type")));
        }
    }
    inspect(invocation, parsed, &mut |name| {
        let missing = || Failure::new(format!("Error: No such {}: {name}", if wanted.is_empty() { "object" } else { wanted }));
        let not_docker = |failure: Failure| if failure.is_of_docker() { Ok(None) } else { Err(failure) };
        if matches!(wanted, "" | "container")
            && let Some(found) = container(invocation, name).map(Some).or_else(not_docker)?
        {
            return Ok(found);
        }
        if matches!(wanted, "" | "image")
            && let Some(found) = image(invocation, name).map(Some).or_else(not_docker)?
        {
            return Ok(found);
        }
        Err(missing())
    })
}

fn image(invocation: &Invocation, name: &str) -> Result<Shown, Failure> {
    let missing = || Failure::daemon(format!("No such image: {}", shown(name)));
    let image = invocation.mpimg().local_image(name)?.ok_or_else(missing)?;
    let Some(config) = &image.config else {
        return Err(crate::error::Error::new(
            crate::error::ErrorKind::Corrupt,
            format!("the configuration of `{name}` is damaged"),
        )
        .with_hint("pull or build the image again")
        .into());
    };
    let json = image_json::ImageJson::new(&image, config);
    Ok((format::indented(&json)?, image_json::for_templates(&json)))
}

fn container(invocation: &Invocation, name: &str) -> Result<Shown, Failure> {
    let info = find(invocation, name)?.info()?;
    let image = invocation.mpimg().local_images()?.into_iter().find(|image| image.record.manifest.digest == info.digest);
    let json = container_json::of(&info, image.as_ref(), &networks::of(invocation, &info)?);
    Ok((format::indented(&json)?, image_json::for_templates(&json)))
}

/// The failure of a template that cannot be parsed: docker ends with another code here.
fn unparsable(error: String) -> Failure {
    format::parsing_failed(error).with_code(64)
}

/// Prints what was found of all names, then why others were not.
fn inspect(invocation: &Invocation, parsed: &Parsed, look: &mut dyn FnMut(&str) -> Result<Shown, Failure>) -> CommandResult {
    let format = parsed.value("format").filter(|format| !format.is_empty());
    let template = match format {
        None => None,
        Some("json") => Some(Template::parse("{{json .}}").map_err(unparsable)?),
        Some(format) => Some(Template::parse(format).map_err(unparsable)?),
    };
    let (mut objects, mut printed, mut failures) = (Vec::new(), String::new(), Vec::new());
    for name in &parsed.arguments {
        match (look(name), &template) {
            (Ok((json, _)), None) => objects.push(json),
            (Ok((_, value)), Some(template)) => match template.execute(&value, Missing::Map) {
                Ok(text) => printed += &(text + "\n"),
                Err((_, error)) => {
                    failures.push(format::parsing_failed(error));
                    break;
                }
            },
            (Err(failure), _) => failures.push(failure),
        }
    }
    match template {
        Some(_) if printed.is_empty() => invocation.print("\n")?,
        Some(_) => invocation.print(printed)?,
        None if objects.is_empty() => invocation.print("[]\n")?,
        None => {
            let indented: Vec<String> = objects.iter().map(|json| format!("    {}", json.replace('\n', "\n    "))).collect();
            invocation.print(format!("[\n{}\n]\n", indented.join(",\n")))?;
        }
    }
    for failure in &failures {
        invocation.fail(failure);
    }
    Ok(u8::from(!failures.is_empty()))
}
