//! `docker buildx`: there is one builder, mpimg itself. Others can be made, used and removed, and
//! are names for it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::command::{Arguments, Command};
use super::format::List;
use super::invocation::{CommandResult, Failure, Invocation};
use crate::cli::drop_in::{Flag, Parsed, make_parent};
use crate::error::{Error, ErrorKind};
use crate::image::write_result;
use crate::oci::Platform;

/// The builder that is always there.
const DEFAULT: &str = "default";

const ONE: &str = "every builder is mpimg itself";
const BUILDER: Flag = Flag::value("builder", "Override the configured builder instance").ignored("there is one builder, mpimg");

pub(super) const VERSION: Command = Command {
    arguments: Arguments::AtMost(0),
    ..Command::new(&["buildx version"], "", "Show buildx version information", |invocation, _| {
        Box::pin(async move {
            invocation.print(format!("github.com/docker/buildx v0.24.0 mpimg-{}\n", env!("CARGO_PKG_VERSION")))?;
            Ok(0)
        })
    })
};

pub(super) const CREATE: Command = Command {
    arguments: Arguments::AtMost(1),
    flags: &[&[
        Flag::switch("append", "Append a node to builder").ignored(ONE),
        Flag::switch("bootstrap", "Boot builder after creation").differs("nothing has to be started"),
        Flag::value("buildkitd-config", "BuildKit daemon config file").ignored(ONE),
        Flag::value("buildkitd-flags", "BuildKit daemon flags").ignored(ONE),
        Flag::value("config", "BuildKit daemon config file").ignored(ONE),
        Flag::value("driver", "Driver to use").differs("docker, docker-container, kubernetes and remote are all mpimg itself"),
        Flag::list("driver-opt", "Options for the driver").ignored(ONE),
        Flag::switch("leave", "Remove a node from builder").ignored(ONE),
        Flag::value("name", "Builder instance name"),
        Flag::value("node", "Create/modify node with given name").ignored(ONE),
        Flag::list("platform", "Fixed platforms for current node").ignored(ONE),
        Flag::switch("use", "Set the current builder instance"),
    ]],
    differs: ONE,
    ..Command::new(&["buildx create"], "[OPTIONS] [CONTEXT|ENDPOINT]", "Create a new builder instance", |invocation, parsed| {
        Box::pin(async move { create(invocation, parsed) })
    })
};

pub(super) const USE: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[
        Flag::switch("default", "Set builder as default for current context"),
        Flag::switch("global", "Builder persists context changes"),
        BUILDER,
    ]],
    ..Command::new(&["buildx use"], "[OPTIONS] NAME", "Set the current builder instance", |invocation, parsed| {
        Box::pin(async move {
            let mut builders = Builders::read(invocation)?;
            let name = &parsed.arguments[0];
            builders.expect(name)?;
            builders.current.clone_from(name);
            builders.write()?;
            Ok(0)
        })
    })
};

pub(super) const RM: Command = Command {
    arguments: Arguments::AtLeast(0),
    flags: &[&[
        Flag::switch("all-inactive", "Remove all inactive builders").ignored("no builder is ever inactive"),
        Flag::switch("force", "Do not prompt for confirmation").short('f'),
        Flag::switch("keep-daemon", "Keep the BuildKit daemon running").differs("there is none"),
        Flag::switch("keep-state", "Keep BuildKit state").differs("the build cache stays in any case"),
        BUILDER,
    ]],
    ..Command::new(&["buildx rm"], "[OPTIONS] [NAME...]", "Remove one or more builder instances", |invocation, parsed| {
        Box::pin(async move { rm(invocation, parsed) })
    })
};

pub(super) const LS: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[Flag::value("format", "Format the output"), Flag::switch("no-trunc", "Don't truncate output")]],
    ..Command::new(&["buildx ls"], "[OPTIONS]", "List builder instances", |invocation, parsed| {
        Box::pin(async move { ls(invocation, parsed) })
    })
};

pub(super) const INSPECT: Command = Command {
    arguments: Arguments::AtMost(1),
    flags: &[&[
        Flag::switch("bootstrap", "Ensure builder has booted before inspecting").differs("nothing has to be started"),
        BUILDER,
    ]],
    ..Command::new(&["buildx inspect"], "[OPTIONS] [NAME]", "Inspect current builder instance", |invocation, parsed| {
        Box::pin(async move { inspect(invocation, parsed) })
    })
};

pub(super) const STOP: Command = Command {
    arguments: Arguments::AtMost(1),
    differs: "nothing has to be stopped",
    ..Command::new(&["buildx stop"], "[NAME]", "Stop builder instance", |invocation, parsed| {
        Box::pin(async move {
            if let Some(name) = parsed.arguments.first() {
                Builders::read(invocation)?.expect(name)?;
            }
            Ok(0)
        })
    })
};

pub(super) const DU: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[
        BUILDER,
        Flag::list("filter", "Provide filter values").ignored("the whole cache is counted"),
        Flag::switch("verbose", "Provide a more verbose output").ignored("there is no more to say"),
    ]],
    differs: "the sum alone",
    ..Command::new(&["buildx du"], "[OPTIONS]", "Disk usage", |invocation, _| {
        Box::pin(async move {
            let usage = invocation.mpimg().store()?.disk_usage()?;
            invocation.print(format!("Total:\t{}\n", crate::cli::size::Size(usage.cache + usage.unpacked)))?;
            Ok(0)
        })
    })
};

pub(super) const BAKE: Command = Command {
    // Whatever follows: the remedy is the same.
    options_first: true,
    differs: "refused: run `docker build` for each target",
    ..Command::new(&["buildx bake", "bake"], "[OPTIONS] [TARGET...]", "Build from a file", |_, _| {
        Box::pin(async move {
            let error = Error::new(ErrorKind::Unsupported, "mpimg does not read bake files");
            Err(error
                .with_hint(
                    "run `docker build` for each target; `docker buildx bake --print` of a real buildx shows their options",
                )
                .into())
        })
    })
};

/// The names of builders and the one in use, kept with docker's configuration.
struct Builders {
    path: PathBuf,
    names: Vec<String>,
    current: String,
}

impl Builders {
    fn read(invocation: &Invocation) -> Result<Self, Failure> {
        let path = invocation.config_folder()?.join("mpimg-builders.json");
        let text = std::fs::read(&path).unwrap_or_default();
        // What cannot be read holds nothing but names.
        let known: Value = serde_json::from_slice(&text).unwrap_or_default();
        let names = known["names"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let current = known["current"].as_str().unwrap_or(DEFAULT).to_owned();
        Ok(Self { path, names, current })
    }

    fn write(&self) -> Result<(), Failure> {
        make_parent(&self.path)?;
        let text = json!({ "names": self.names, "current": self.current }).to_string();
        Ok(write_result(&self.path, text.as_bytes())?)
    }

    fn expect(&self, name: &str) -> Result<(), Failure> {
        match name == DEFAULT || self.names.iter().any(|known| known == name) {
            true => Ok(()),
            false => Err(Failure::new(format!("ERROR: no builder {name:?} found"))),
        }
    }
}

fn create(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let mut builders = Builders::read(invocation)?;
    let name = match parsed.value("name") {
        Some(name) => name.to_owned(),
        None => {
            let mut names = (0..).map(|number| format!("mpimg{number}"));
            names.find(|name| !builders.names.contains(name)).unwrap_or_default()
        }
    };
    if name == DEFAULT {
        return Err(Failure::new("ERROR: default is a reserved name and cannot be used to identify builder instance"));
    }
    if builders.names.contains(&name) && !parsed.is("append") {
        return Err(Failure::new(format!(
            "ERROR: existing instance for {name:?} but no append mode, specify the node name to make changes for existing instances"
        )));
    }
    builders.names.push(name.clone());
    if parsed.is("use") {
        builders.current.clone_from(&name);
    }
    builders.write()?;
    invocation.print(name + "\n")?;
    Ok(0)
}

fn rm(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let mut builders = Builders::read(invocation)?;
    let wanted: Vec<String> = match parsed.arguments.is_empty() {
        true => vec![builders.current.clone()],
        false => parsed.arguments.clone(),
    };
    for name in wanted {
        builders.expect(&name)?;
        if name == DEFAULT {
            return Err(Failure::new("ERROR: builder \"default\" cannot be removed"));
        }
        builders.names.retain(|known| *known != name);
        if builders.current == name {
            DEFAULT.clone_into(&mut builders.current);
        }
        invocation.tell(format!("{name} removed"));
    }
    builders.write()?;
    Ok(0)
}

const LIST: List = List {
    default: "table {{.NameNode}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Buildkit}}\t{{.Platforms}}",
    headings: &[("NameNode", "NAME/NODE"), ("DriverEndpoint", "DRIVER/ENDPOINT"), ("Buildkit", "BUILDKIT")],
    kind: "*commands.lsContext",
};

fn ls(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let builders = Builders::read(invocation)?;
    let platform = Platform::host();
    let row = |name: &String| {
        let star = if *name == builders.current && parsed.value("format").is_none() { "*" } else { "" };
        json!({
            "NameNode": format!("{name}{star}"), "Name": name, "DriverEndpoint": "mpimg", "Status": "running",
            "Buildkit": format!("mpimg {}", env!("CARGO_PKG_VERSION")), "Platforms": platform.to_string(), "Error": "",
        })
    };
    let default = DEFAULT.to_owned();
    let rows: Vec<Value> = builders.names.iter().chain([&default]).map(row).collect();
    invocation.print(LIST.draw(parsed.value("format"), &rows)?)?;
    Ok(0)
}

fn inspect(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let builders = Builders::read(invocation)?;
    let name = parsed.arguments.first().unwrap_or(&builders.current);
    builders.expect(name)?;
    let driver = if name == DEFAULT { "docker" } else { "docker-container" };
    invocation.print(format!(
        "Name:          {name}\nDriver:        {driver}\n\nNodes:\nName:             {name}0\nEndpoint:         mpimg\nStatus:           running\n\
         BuildKit version: mpimg {}\nPlatforms:        {}\n",
        env!("CARGO_PKG_VERSION"),
        Platform::host()
    ))?;
    Ok(0)
}
