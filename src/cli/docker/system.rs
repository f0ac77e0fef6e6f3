//! `docker info`, `docker system`, `docker context` and pruning.

use serde_json::{Value, json};

use super::command::{Arguments, Command};
use super::confirm::{FORCE, confirmed};
use super::filter::{self, Filters};
use super::format::{self, List};
use super::invocation::{CommandResult, Failure, Invocation};
use super::version::DOCKER;
use super::{networks, volumes};
use crate::cli::drop_in::{Check, Flag, Parsed};
use crate::cli::size::Size;
use crate::container::ContainerState;
use crate::oci::Platform;
use crate::store::{CacheLimit, PruneOptions};

const FORMAT: Flag = Flag::value("format", "Format output using a custom template").short('f');
const ALL: Flag = Flag::switch("all", "Remove all unused images not just dangling ones").short('a');
const FILTER: Flag = Flag::list("filter", "Provide filter values").differs("until and label");
const SPACE: Check = |text| text.parse::<CacheLimit>().map(drop).map_err(|_| format!("invalid size: '{text}'"));
const VOLUMES: Flag = Flag::switch("volumes", "Prune anonymous volumes").differs("those that no name was given to");

pub(super) const INFO: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[FORMAT]],
    differs: "says that mpimg works without a daemon; fields of storage drivers and plugins are missing",
    ..Command::new(&["info", "system info"], "[OPTIONS]", "Display system-wide information", |invocation, parsed| {
        Box::pin(async move { info(invocation, parsed) })
    })
};

pub(super) const DF: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[
        Flag::value("format", "Format output using a custom template"),
        Flag::switch("verbose", "Show detailed information on space usage").short('v').ignored("`docker images` lists sizes"),
    ]],
    ..Command::new(&["system df"], "[OPTIONS]", "Show docker disk usage", |invocation, parsed| {
        Box::pin(async move { df(invocation, parsed) })
    })
};

pub(super) const SYSTEM_PRUNE: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[ALL, FILTER, FORCE, VOLUMES]],
    ..Command::new(&["system prune"], "[OPTIONS]", "Remove unused data", |invocation, parsed| {
        Box::pin(async move {
            if !confirmed(invocation, parsed, &everything(parsed))? {
                return Ok(0);
            }
            let mut text = containers(invocation, parsed)?;
            let networks = networks::prune(invocation, &parsed.list("filter"))?;
            if !networks.is_empty() {
                text += &format!("Deleted Networks:\n{networks}\n");
            }
            if parsed.is("volumes") {
                let (volumes, _) = volumes::prune(invocation, false)?;
                text += &if volumes.is_empty() { volumes } else { format!("Deleted Volumes:\n{volumes}\n") };
            }
            text += &images(invocation, parsed)?;
            let options = PruneOptions { all: parsed.is("all"), ..PruneOptions::default() };
            freed(invocation, text, "Total reclaimed space", options).await
        })
    })
};

pub(super) const IMAGE_PRUNE: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[ALL, FILTER, FORCE]],
    ..Command::new(&["image prune"], "[OPTIONS]", "Remove unused images", |invocation, parsed| {
        Box::pin(async move {
            let what = match parsed.is("all") {
                true => " all images without at least one container associated to them.",
                false => " all dangling images.",
            };
            if !confirmed(invocation, parsed, what)? {
                return Ok(0);
            }
            let text = images(invocation, parsed)?;
            freed(invocation, text, "Total reclaimed space", PruneOptions::default()).await
        })
    })
};

pub(super) const CONTAINER_PRUNE: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[FILTER, FORCE]],
    ..Command::new(&["container prune"], "[OPTIONS]", "Remove all stopped containers", |invocation, parsed| {
        Box::pin(async move {
            if !confirmed(invocation, parsed, " all stopped containers.")? {
                return Ok(0);
            }
            let text = containers(invocation, parsed)?;
            freed(invocation, text, "Total reclaimed space", PruneOptions::default()).await
        })
    })
};

pub(super) const BUILDER_PRUNE: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[
        ALL,
        FILTER,
        FORCE,
        Flag::value("builder", "Override the configured builder instance").ignored("there is one builder, mpimg"),
        Flag::value("keep-storage", "Amount of disk space to keep for cache")
            .checked(|text| text.parse::<Size>().map(drop).map_err(|_| format!("invalid size: '{text}'"))),
        Flag::value("max-used-space", "Maximum amount of disk space allowed to keep for cache").checked(SPACE),
        Flag::value("min-free-space", "Target amount of free disk space after pruning")
            .checked(SPACE)
            .ignored("--max-used-space says how much stays"),
        Flag::value("reserved-space", "Amount of disk space always allowed to keep for cache").checked(SPACE),
        Flag::switch("verbose", "Provide a more verbose output").ignored("there is no more to say"),
    ]],
    differs: "without --all the results of steps stay",
    ..Command::new(&["builder prune", "buildx prune"], "[OPTIONS]", "Remove build cache", |invocation, parsed| {
        Box::pin(async move {
            let known = [
                "until",
                "id",
                "parents",
                "description",
                "inuse",
                "mutable",
                "immutable",
                "shared",
                "private",
                "type",
                "unused-for",
            ];
            let filters = Filters::parse(&parsed.list("filter"), &known)?;
            filters.values("until").last().map(|text| filter::until(text)).transpose()?;
            let keep = parsed.value("keep-storage").map(|size| size.parse::<Size>()).transpose()?;
            let keep_storage = keep.map(|Size(bytes)| bytes);
            let most = parsed.value("max-used-space").or(parsed.value("reserved-space"));
            let most = most.map(str::parse::<CacheLimit>).transpose()?;
            let keep_cache = match most {
                Some(limit) => limit.keeps(u64::MAX, invocation.mpimg().store()?.disk()?),
                None => keep_storage,
            };
            let what = if parsed.is("all") { " all build cache." } else { " all dangling build cache." };
            if !confirmed(invocation, parsed, what)? {
                return Ok(0);
            }
            let options = PruneOptions { keep_storage: None, keep_cache, all: parsed.is("all") && keep_cache.is_none() };
            freed(invocation, String::new(), "Total", options).await
        })
    })
};

pub(super) const CONTEXT_LS: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[
        Flag::value("format", "Format output using a custom template"),
        Flag::switch("quiet", "Only show context names").short('q'),
    ]],
    ..Command::new(&["context ls", "context list"], "[OPTIONS]", "List contexts", |invocation, parsed| {
        Box::pin(async move { context_ls(invocation, parsed) })
    })
};

pub(super) const CONTEXT_INSPECT: Command = Command {
    flags: &[&[FORMAT]],
    ..Command::new(
        &["context inspect"],
        "[OPTIONS] [CONTEXT]",
        "Display detailed information on contexts",
        |invocation, parsed| {
            Box::pin(async move {
                if let Some(name) = parsed.arguments.iter().find(|name| *name != "default") {
                    return Err(Failure::new(format!("context {name:?}: context not found")));
                }
                let context = json!({
                    "Name": "default", "Metadata": {}, "Endpoints": { "docker": { "Host": "mpimg", "SkipTLSVerify": false } },
                    "TLSMaterial": {}, "Storage": { "MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>" },
                });
                match parsed.value("format") {
                    Some(format) => invocation.print(format::one(format, &context)?)?,
                    None => invocation.print(format::indented(&[context])? + "\n")?,
                }
                Ok(0)
            })
        },
    )
};

const ONE_CONTEXT: &str = "there is one context, default: nothing here leads to another machine";

pub(super) const CONTEXT_CREATE: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[
        Flag::value("description", "Description of the context").ignored(ONE_CONTEXT),
        Flag::list("docker", "Set the docker endpoint").ignored(ONE_CONTEXT),
        Flag::value("from", "Create context from a named context").ignored(ONE_CONTEXT),
    ]],
    differs: "nothing is made; `docker buildx create` takes any name",
    ..Command::new(&["context create"], "[OPTIONS] CONTEXT", "Create a context", |invocation, parsed| {
        Box::pin(async move {
            let name = &parsed.arguments[0];
            if name == "default" {
                return Err(Failure::new("\"default\" is a reserved context name"));
            }
            invocation.print(format!("{name}\n"))?;
            invocation.tell(format!("Successfully created context {name:?}"));
            Ok(0)
        })
    })
};

pub(super) const CONTEXT_RM: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[Flag::switch("force", "Force the removal of a context in use").short('f')]],
    differs: "nothing was made",
    ..Command::new(
        &["context rm", "context remove"],
        "CONTEXT [CONTEXT...]",
        "Remove one or more contexts",
        |invocation, parsed| {
            Box::pin(async move {
                if parsed.arguments.iter().any(|name| name == "default") {
                    return Err(Failure::new("context \"default\" cannot be removed"));
                }
                invocation.print(parsed.arguments.iter().map(|name| format!("{name}\n")).collect::<String>())?;
                Ok(0)
            })
        },
    )
};

pub(super) const CONTEXT_SHOW: Command = Command {
    arguments: Arguments::Exactly(0),
    ..Command::new(&["context show"], "", "Print the name of the current context", |invocation, _| {
        Box::pin(async move {
            invocation.print("default\n")?;
            Ok(0)
        })
    })
};

pub(super) const CONTEXT_USE: Command = Command {
    arguments: Arguments::Exactly(1),
    differs: "there is one context, default",
    ..Command::new(&["context use"], "CONTEXT", "Set the current docker context", |invocation, parsed| {
        Box::pin(async move {
            let name = &parsed.arguments[0];
            if name != "default" {
                return Err(Failure::new(format!("context {name:?}: context not found")));
            }
            invocation.print("default\n")?;
            invocation.tell("Current context is now \"default\"");
            Ok(0)
        })
    })
};

/// What `docker system prune` removes, as its question lists it.
fn everything(parsed: &Parsed) -> String {
    let mut what = vec!["all stopped containers", "all networks not used by at least one container"];
    if parsed.is("volumes") {
        what.push("all anonymous volumes not used by at least one container");
    }
    what.extend(match parsed.is("all") {
        true => ["all images without at least one container associated to them", "all build cache"],
        false => ["all dangling images", "unused build cache"],
    });
    format!(":{}\n", what.iter().map(|thing| format!("\n  - {thing}")).collect::<String>())
}

fn info(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let containers = invocation.mpimg().containers()?;
    let count = |state: fn(&ContainerState) -> bool| containers.iter().filter(|info| state(&info.state)).count();
    let running = count(|state| matches!(state, ContainerState::Running | ContainerState::Starting));
    let images = invocation.mpimg().local_images()?.len();
    let platform = Platform::host();
    let system = rustix::system::uname();
    let kernel = system.release().to_string_lossy().into_owned();
    let name = system.nodename().to_string_lossy().into_owned();
    let machine = system.machine().to_string_lossy().into_owned();
    let root = invocation.mpimg().store()?.root().display().to_string();
    let processors = crate::threads::available();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let memory = memory.unwrap_or(0) * 1024;
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"');
    let cgroups = if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "2" } else { "1" };
    let values = json!({
        "ID": "mpimg",
        "Name": name,
        "Containers": containers.len(),
        "ContainersRunning": running,
        "ContainersPaused": 0,
        "ContainersStopped": containers.len() - running,
        "Images": images,
        "Driver": "overlay2",
        "DriverStatus": [],
        "MemTotal": memory,
        "NCPU": processors,
        "KernelVersion": kernel,
        "OperatingSystem": pretty,
        "OSType": platform.os,
        "Architecture": machine,
        "DockerRootDir": root,
        "ServerVersion": DOCKER,
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroups,
        "ExperimentalBuild": false,
        "SecurityOptions": [],
        "Warnings": [],
        "ServerErrors": [],
        "DefaultRuntime": "mpimg",
        "Runtimes": { "mpimg": { "path": "mpimg" } },
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "IndexConfigs": { "docker.io": { "Mirrors": [], "Name": "docker.io", "Official": true, "Secure": true } },
            "InsecureRegistryCIDRs": ["127.0.0.0/8"],
            "Mirrors": [],
        },
        "Swarm": { "LocalNodeState": "inactive" },
        "ClientInfo": { "Debug": false, "Context": "default", "Version": DOCKER, "Plugins": [] },
    });
    if let Some(format) = parsed.value("format") {
        invocation.print(format::one(format, &values)?)?;
        return Ok(0);
    }
    invocation.print(format!(
        "Client:\n Version:    {DOCKER}\n Context:    default\n Debug Mode: false\n\nServer:\n Containers: {}\n  Running: {running}\n  \
         Paused: 0\n  Stopped: {}\n Images: {images}\n Server Version: {DOCKER} (mpimg {}, no daemon)\n Storage Driver: overlay2\n \
         Logging Driver: json-file\n Swarm: inactive\n Kernel Version: {kernel}\n Operating System: {pretty}\n OSType: {}\n \
         Architecture: {machine}\n CPUs: {processors}\n Total Memory: {:.4}GiB\n Name: {name}\n Docker Root Dir: {root}\n",
        containers.len(),
        containers.len() - running,
        env!("CARGO_PKG_VERSION"),
        platform.os,
        memory as f64 / f64::from(1 << 30),
    ))?;
    Ok(0)
}

const DF_LIST: List = List {
    default: "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    headings: &[("TotalCount", "TOTAL")],
    kind: "*formatter.diskUsageContext",
};

fn df(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let usage = invocation.mpimg().store()?.disk_usage()?;
    let images = invocation.mpimg().local_images()?;
    let containers = invocation.mpimg().containers()?;
    let active = containers.iter().filter(|info| info.state == ContainerState::Running).count();
    let used = |image: &&crate::operation::LocalImage| containers.iter().any(|info| info.digest == image.record.manifest.digest);
    let row = |kind: &str, total: usize, active: usize, size: u64| {
        let size = Size(size).to_string();
        json!({ "Type": kind, "TotalCount": total.to_string(), "Active": active.to_string(), "Size": size, "Reclaimable": size })
    };
    let rows: Vec<Value> = vec![
        row("Images", images.len(), images.iter().filter(used).count(), usage.blobs),
        row("Containers", containers.len(), active, usage.scratch),
        row("Local Volumes", 0, 0, 0),
        row("Build Cache", 0, 0, usage.cache + usage.unpacked),
    ];
    invocation.print(DF_LIST.draw(parsed.value("format"), &rows)?)?;
    Ok(0)
}

/// Removes ended containers; docker's lines about them.
fn containers(invocation: &Invocation, parsed: &Parsed) -> Result<String, Failure> {
    let filters = Filters::parse(&parsed.list("filter"), &["until", "label", "label!"])?;
    let until = filters.values("until").last().map(|text| filter::until(text)).transpose()?;
    let (mut ids, local_images) = (String::new(), invocation.mpimg().local_images()?);
    for info in invocation.mpimg().containers()? {
        let labels = super::container_image::labels(&local_images, &info);
        let wanted = until.is_none_or(|until| info.created < until.as_second()) && filters.takes_labels(&labels);
        if wanted && !matches!(info.state, ContainerState::Running | ContainerState::Starting) {
            invocation.mpimg().container(&info.id)?.remove()?;
            ids += &format!("{}\n", super::container_id::long_id(&info.id));
        }
    }
    Ok(if ids.is_empty() { ids } else { format!("Deleted Containers:\n{ids}\n") })
}

/// Removes images without a name, or with `--all` those that no container needs; docker's lines
/// about them.
fn images(invocation: &Invocation, parsed: &Parsed) -> Result<String, Failure> {
    let filters = Filters::parse(&parsed.list("filter"), &["until", "label", "label!", "dangling"])?;
    filters.values("until").last().map(|text| filter::until(text)).transpose()?;
    let dangling = match filters.values("dangling").last() {
        Some(value) => filter::switch("dangling", value)?,
        None => !parsed.is("all"),
    };
    let containers = invocation.mpimg().containers()?;
    let all = invocation.mpimg().local_images()?;
    let mut lines = String::new();
    for image in &all {
        let named = !image.names.is_empty() || !image.digests.is_empty();
        let used = containers.iter().any(|info| info.digest == image.record.manifest.digest);
        if used || dangling && named || !filters.clone_without("dangling").takes_image(image, &all, invocation)? {
            continue;
        }
        invocation.mpimg().forget_image(image)?;
        let names = image.names.iter().chain(&image.digests);
        lines += &names.map(|name| format!("untagged: {}\n", name.familiar())).collect::<String>();
        lines += &format!("deleted: {}\n", image.id());
    }
    Ok(if lines.is_empty() { lines } else { format!("Deleted Images:\n{lines}\n") })
}

/// Frees space, and says how much after `text`.
async fn freed(invocation: &Invocation, text: String, total: &str, options: PruneOptions) -> CommandResult {
    let pruned = invocation.mpimg().prune(options).await?;
    invocation.print(format!("{text}{total}: {}\n", Size(pruned.report.freed)))?;
    Ok(0)
}

const CONTEXTS: List = List {
    default: "table {{.Name}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    headings: &[("DockerEndpoint", "DOCKER ENDPOINT")],
    kind: "*formatter.clientContextContext",
};

fn context_ls(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    if parsed.is("quiet") {
        invocation.print("default\n")?;
        return Ok(0);
    }
    let star = if parsed.value("format").is_none() { "default *" } else { "default" };
    let row = json!({
        "Current": true, "Name": star, "Description": "mpimg, without a daemon", "DockerEndpoint": "mpimg", "Error": "",
    });
    invocation.print(CONTEXTS.draw(parsed.value("format"), &[row])?)?;
    Ok(0)
}
