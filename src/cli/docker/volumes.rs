//! `docker volume`: folders of the local store that `docker run -v NAME:/PATH` shows in containers.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::command::{Arguments, Command};
use super::confirm::{FORCE, confirmed};
use super::container_id::long_id;
use super::filter::{self, Filters};
use super::format::{self, List};
use super::invocation::{CommandResult, Failure, Invocation};
use super::run_spec::{VOLUMES, named};
use super::value;
use crate::cli::drop_in::{Flag, Missing, Parsed, Template};
use crate::cli::size::Size;
use crate::cli::when;
use crate::container::ContainerInfo;
use crate::error::{Error, Result};
use crate::image::rfc3339;
use crate::oci::Digest;

const LIST: List = List {
    default: "table {{.Driver}}\t{{.Name}}",
    headings: &[("Name", "VOLUME NAME"), ("Mountpoint", "MOUNTPOINT"), ("Size", "SIZE")],
    kind: "*formatter.volumeContext",
};

pub(super) const CREATE: Command = Command {
    arguments: Arguments::AtMost(1),
    flags: &[&[
        Flag::value("driver", "Specify volume driver name").short('d').differs("local"),
        Flag::list("label", "Set metadata for a volume").checked(value::LABEL).ignored("volumes are found by their names"),
        Flag::value("name", "Specify volume name"),
        Flag::list("opt", "Set driver specific options").short('o').ignored("a volume is a folder of the local store"),
    ]],
    ..Command::new(&["volume create"], "[OPTIONS] [VOLUME]", "Create a volume", |invocation, parsed| {
        Box::pin(async move { create(invocation, parsed) })
    })
};

pub(super) const LS: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[
        Flag::list("filter", "Provide filter values").short('f').differs("name, driver, dangling"),
        Flag::value("format", "Format output using a custom template"),
        Flag::switch("quiet", "Only display volume names").short('q'),
    ]],
    ..Command::new(&["volume ls", "volume list"], "[OPTIONS]", "List volumes", |invocation, parsed| {
        Box::pin(async move { ls(invocation, parsed) })
    })
};

pub(super) const RM: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[Flag::switch("force", "Force the removal of one or more volumes").short('f')]],
    ..Command::new(
        &["volume rm", "volume remove"],
        "[OPTIONS] VOLUME [VOLUME...]",
        "Remove one or more volumes",
        |invocation, parsed| Box::pin(async move { rm(invocation, parsed) }),
    )
};

pub(super) const INSPECT: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[Flag::value("format", "Format output using a custom template").short('f')]],
    ..Command::new(
        &["volume inspect"],
        "[OPTIONS] VOLUME [VOLUME...]",
        "Display detailed information on one or more volumes",
        |invocation, parsed| Box::pin(async move { inspect(invocation, parsed) }),
    )
};

pub(super) const PRUNE: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[
        Flag::switch("all", "Remove all unused volumes, not just anonymous ones").short('a'),
        Flag::list("filter", "Provide filter values").differs("all"),
        FORCE,
    ]],
    ..Command::new(&["volume prune"], "[OPTIONS]", "Remove unused local volumes", |invocation, parsed| {
        Box::pin(async move {
            let filters = Filters::parse(&parsed.list("filter"), &["all", "label", "label!"])?;
            let all = match filters.values("all").last() {
                Some(value) => filter::switch("all", value)?,
                None => parsed.is("all"),
            };
            let what = match all {
                true => " all local volumes not used by at least one container.",
                false => " anonymous local volumes not used by at least one container.",
            };
            if !confirmed(invocation, parsed, what)? {
                return Ok(0);
            }
            let (text, freed) = if filters.values("label").is_empty() { prune(invocation, all)? } else { (String::new(), 0) };
            let text = if text.is_empty() { text } else { format!("Deleted Volumes:\n{text}\n") };
            invocation.print(format!("{text}Total reclaimed space: {}\n", Size(freed)))?;
            Ok(0)
        })
    })
};

/// Names that docker would have made up: 64 hexadecimal digits.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The names of all volumes, in order.
fn all(invocation: &Invocation) -> Result<Vec<String>> {
    let root = invocation.mpimg().store()?.root().join(VOLUMES);
    let mut names: Vec<String> = match fs::read_dir(root) {
        Ok(folders) => folders.filter_map(|folder| folder.ok()?.file_name().into_string().ok()).collect(),
        Err(_) => Vec::new(),
    };
    names.sort();
    Ok(names)
}

/// The folder of a volume that is there.
fn get(invocation: &Invocation, name: &str) -> Result<PathBuf, Failure> {
    named(invocation, name)
        .ok()
        .filter(|folder| folder.is_dir())
        .ok_or_else(|| Failure::daemon(format!("get {name}: no such volume")))
}

/// The containers that have a volume, also those that have ended.
fn users(invocation: &Invocation, folder: &PathBuf) -> Result<Vec<ContainerInfo>> {
    let mut containers = invocation.mpimg().containers()?;
    containers.retain(|info| info.spec.volumes.iter().any(|volume| volume.source == *folder));
    Ok(containers)
}

fn create(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let made_up = || Digest::of(format!("{} {}", std::process::id(), when::now().as_nanosecond())).hex();
    let name = match (parsed.arguments.first().map(String::as_str), parsed.value("name")) {
        (Some(_), Some(_)) => {
            return Err(Failure::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => made_up(),
    };
    match parsed.value("driver") {
        None | Some("local" | "") => {}
        Some(driver) => {
            let text = format!("create {name}: error looking up volume plugin {driver}: plugin {driver:?} not found");
            return Err(Failure::daemon(text));
        }
    }
    let folder = named(invocation, &name)?;
    fs::create_dir_all(&folder).map_err(|error| Error::io("make", &folder, error))?;
    invocation.print(format!("{name}\n"))?;
    Ok(0)
}

fn ls(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let filters = Filters::parse(&parsed.list("filter"), &["name", "driver", "dangling", "label"])?;
    let dangling = filters.values("dangling").last().map(|value| filter::switch("dangling", value)).transpose()?;
    let mut names = Vec::new();
    for name in all(invocation)? {
        let unused = || Ok::<_, Failure>(users(invocation, &named(invocation, &name)?)?.is_empty());
        let wanted = match dangling {
            Some(dangling) => unused()? == dangling,
            None => true,
        };
        let fits = filters.any("name", |wanted| name.contains(wanted)) && filters.any("driver", |driver| driver == "local");
        if wanted && fits && filters.values("label").is_empty() {
            names.push(name);
        }
    }
    if parsed.is("quiet") && parsed.value("format").is_none() {
        invocation.print(names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
        return Ok(0);
    }
    let mut rows: Vec<Value> = Vec::new();
    for name in names {
        rows.push(json!({
            "Availability": "N/A", "Driver": "local", "Group": "N/A", "Labels": "", "Links": "N/A",
            "Mountpoint": named(invocation, &name)?, "Name": name, "Scope": "local", "Size": "N/A", "Status": "N/A",
        }));
    }
    invocation.print(LIST.draw(parsed.value("format"), &rows)?)?;
    Ok(0)
}

fn rm(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let mut code = 0;
    for name in &parsed.arguments {
        let removed = get(invocation, name).and_then(|folder| match users(invocation, &folder)?.first() {
            Some(info) => Err(Failure::daemon(format!("remove {name}: volume is in use - [{}]", long_id(&info.id)))),
            None => Ok(fs::remove_dir_all(&folder).map_err(|error| Error::io("remove", &folder, error))?),
        });
        match removed {
            Ok(()) => invocation.print(format!("{name}\n"))?,
            Err(failure) if parsed.is("force") && failure.text().ends_with("no such volume") => {
                invocation.print(format!("{name}\n"))?
            }
            Err(failure) => {
                invocation.fail(&failure);
                code = 1;
            }
        }
    }
    Ok(code)
}

fn inspect(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let template = parsed.value("format").filter(|format| !format.is_empty());
    let template = template.map(|format| if format == "json" { "{{json .}}" } else { format });
    let template = template.map(|format| Template::parse(format).map_err(format::parsing_failed)).transpose()?;
    let (mut shown, mut printed, mut code) = (Vec::new(), String::new(), 0);
    for name in &parsed.arguments {
        let folder = match get(invocation, name) {
            Ok(folder) => folder,
            Err(failure) => {
                invocation.fail(&failure);
                code = 1;
                continue;
            }
        };
        let made = folder.metadata().map_or(0, |metadata| metadata.ctime());
        let value = json!({
            "CreatedAt": rfc3339(made), "Driver": "local", "Labels": null, "Mountpoint": folder, "Name": name, "Options": null,
            "Scope": "local",
        });
        if let Some(template) = &template {
            printed += &template.execute(&value, Missing::Map).map_err(|(_, error)| format::parsing_failed(error))?;
            printed.push('\n');
        }
        shown.push(value);
    }
    match template {
        Some(_) if printed.is_empty() => invocation.print("\n")?,
        Some(_) => invocation.print(printed)?,
        None => invocation.print(format::indented(&shown)? + "\n")?,
    }
    Ok(code)
}

/// Removes volumes that no container has, without `all` only those without a name of their own; a
/// line for each, and bytes.
pub(super) fn prune(invocation: &Invocation, all_of_them: bool) -> Result<(String, u64), Failure> {
    let (mut text, mut freed) = (String::new(), 0);
    for name in all(invocation)? {
        let folder = named(invocation, &name)?;
        if (all_of_them || is_anonymous(&name)) && users(invocation, &folder)?.is_empty() {
            freed += size(&folder);
            fs::remove_dir_all(&folder).map_err(|error| Error::io("remove", &folder, error))?;
            text += &format!("{name}\n");
        }
    }
    Ok((text, freed))
}

/// Bytes of the files in a folder; what cannot be read counts nothing.
fn size(folder: &PathBuf) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(std::result::Result::ok);
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        Ok(_) => entry.metadata().map_or(0, |metadata| metadata.len()),
        Err(_) => 0,
    };
    entries.map(size).sum()
}
