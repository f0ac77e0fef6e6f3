//! `docker network`: names that containers are started with, and by which they then know each
//! other.
//!
//! There are no bridges: containers share this machine's network. A network is a folder of the
//! local store with its record, and an empty file for each container, named by its ID, whose lines
//! are the names that others find it by.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::command::{Arguments, Command};
use super::confirm::{FORCE, confirmed};
use super::container_id::{find, is_running, long_id, name_of};
use super::filter::{self, Filters};
use super::format::{self, List};
use super::invocation::{CommandResult, Failure, Invocation};
use super::run_spec;
use super::value;
use crate::cli::drop_in::{Flag, Missing, Parsed, Template};
use crate::cli::when;
use crate::container::{ContainerInfo, NetworkMode};
use crate::error::{Error, Result};
use crate::image::{rfc3339, write_result};
use crate::oci::Digest;

/// Where networks are in the local store.
const NETWORKS: &str = "networks";

/// Those that are there without being made, each with its driver.
const BUILT_IN: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

const ADDRESSES: &str = "containers share this machine's network, and have its addresses";

const LIST: List = List {
    default: "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    headings: &[("ID", "NETWORK ID"), ("CreatedAt", "CREATED AT")],
    kind: "*formatter.networkContext",
};

pub(super) const CREATE: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[
        Flag::switch("attachable", "Enable manual container attachment").ignored("every container can be"),
        Flag::list("aux-address", "Auxiliary IPv4 or IPv6 addresses").ignored(ADDRESSES),
        Flag::value("driver", "Driver to manage the Network").short('d').differs("bridge"),
        Flag::list("gateway", "IPv4 or IPv6 Gateway for the master subnet").ignored(ADDRESSES),
        Flag::switch("internal", "Restrict external access to the network")
            .refused("start containers that shall reach nothing with `docker run --network none`"),
        Flag::list("ip-range", "Allocate container ip from a sub-range").ignored(ADDRESSES),
        Flag::value("ipam-driver", "IP Address Management Driver").ignored(ADDRESSES),
        Flag::list("ipam-opt", "Set IPAM driver specific options").ignored(ADDRESSES),
        Flag::switch("ipv4", "Enable or disable IPv4 address assignment").ignored(ADDRESSES),
        Flag::switch("ipv6", "Enable or disable IPv6 address assignment").ignored(ADDRESSES),
        Flag::list("label", "Set metadata on a network").checked(value::LABEL),
        Flag::list("opt", "Set driver specific options").short('o').ignored(ADDRESSES),
        Flag::value("scope", "Control the network's scope").ignored("there is one machine"),
        Flag::list("subnet", "Subnet in CIDR format that represents a network segment").ignored(ADDRESSES),
    ]],
    differs: "containers of a network share this machine's; each finds those that were started before it by their names, at 127.0.0.1",
    ..Command::new(&["network create"], "[OPTIONS] NETWORK", "Create a network", |invocation, parsed| {
        Box::pin(async move { create(invocation, parsed) })
    })
};

pub(super) const LS: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[
        Flag::list("filter", "Provide filter values").short('f').differs("id, name, driver, label, type, scope, dangling"),
        Flag::value("format", "Format output using a custom template"),
        Flag::switch("no-trunc", "Do not truncate the output"),
        Flag::switch("quiet", "Only display network IDs").short('q'),
    ]],
    ..Command::new(&["network ls", "network list"], "[OPTIONS]", "List networks", |invocation, parsed| {
        Box::pin(async move { ls(invocation, parsed) })
    })
};

pub(super) const RM: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[Flag::switch("force", "Do not error if the network does not exist").short('f')]],
    ..Command::new(
        &["network rm", "network remove"],
        "NETWORK [NETWORK...]",
        "Remove one or more networks",
        |invocation, parsed| Box::pin(async move { rm(invocation, parsed) }),
    )
};

pub(super) const INSPECT: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[
        Flag::value("format", "Format output using a custom template").short('f'),
        Flag::switch("verbose", "Verbose output for diagnostics").short('v').ignored("there is no more to say"),
    ]],
    ..Command::new(
        &["network inspect"],
        "[OPTIONS] NETWORK [NETWORK...]",
        "Display detailed information on one or more networks",
        |invocation, parsed| Box::pin(async move { inspect(invocation, parsed) }),
    )
};

pub(super) const PRUNE: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[Flag::list("filter", "Provide filter values").differs("label, until"), FORCE]],
    ..Command::new(&["network prune"], "[OPTIONS]", "Remove all unused networks", |invocation, parsed| {
        Box::pin(async move {
            if !confirmed(invocation, parsed, " all custom networks not used by at least one container.")? {
                return Ok(0);
            }
            let removed = prune(invocation, &parsed.list("filter"))?;
            invocation.print(if removed.is_empty() { String::new() } else { format!("Deleted Networks:\n{removed}\n") })?;
            Ok(0)
        })
    })
};

pub(super) const CONNECT: Command = Command {
    arguments: Arguments::Exactly(2),
    flags: &[&[
        Flag::list("alias", "Add network-scoped alias for the container"),
        Flag::list("driver-opt", "driver options for the network").ignored(ADDRESSES),
        Flag::value("ip", "IPv4 address").ignored(ADDRESSES),
        Flag::value("ip6", "IPv6 address").ignored(ADDRESSES),
        Flag::list("link", "Add link to another container").refused("connect both containers to one network"),
        Flag::list("link-local-ip", "Add a link-local address for the container").ignored(ADDRESSES),
    ]],
    differs: "containers that are started afterwards find this one by its name",
    ..Command::new(
        &["network connect"],
        "[OPTIONS] NETWORK CONTAINER",
        "Connect a container to a network",
        |invocation, parsed| {
            Box::pin(async move {
                let (network, container) = (&parsed.arguments[0], find(invocation, &parsed.arguments[1])?);
                let names = [name_of(&container.info()?).to_owned()].into_iter();
                let names = names.chain(parsed.list("alias").into_iter().map(str::to_owned)).collect();
                add(invocation, network, container.id(), names)?;
                Ok(0)
            })
        },
    )
};

pub(super) const DISCONNECT: Command = Command {
    arguments: Arguments::Exactly(2),
    flags: &[&[Flag::switch("force", "Force the container to disconnect from a network").short('f')]],
    differs: "containers that are started afterwards do not find this one any more",
    ..Command::new(
        &["network disconnect"],
        "[OPTIONS] NETWORK CONTAINER",
        "Disconnect a container from a network",
        |invocation, parsed| {
            Box::pin(async move {
                let network = get(invocation, &parsed.arguments[0])?;
                let id = find(invocation, &parsed.arguments[1])?.id().to_owned();
                if network.built_in() {
                    return Ok(0);
                }
                let member = network.folder.join(&id);
                if !member.exists() {
                    let text = format!("container {} is not connected to network {}", long_id(&id), network.name);
                    return Err(Failure::daemon(text));
                }
                fs::remove_file(&member).map_err(|error| Error::io("remove", &member, error))?;
                Ok(0)
            })
        },
    )
};

/// A network.
#[derive(Debug)]
struct Network {
    name: String,
    id: String,
    driver: String,
    created: i64,
    labels: Map<String, Value>,
    folder: PathBuf,
}

impl Network {
    fn built_in(&self) -> bool {
        BUILT_IN.iter().any(|(name, _)| *name == self.name)
    }

    /// The IDs of its containers that are still there, each with the names that others find it by.
    fn members<'c>(&self, containers: &'c [ContainerInfo]) -> Vec<(&'c ContainerInfo, Vec<String>)> {
        let mut members = Vec::new();
        for info in containers {
            if let Ok(text) = fs::read_to_string(self.folder.join(&info.id)) {
                members.push((info, text.lines().map(str::to_owned).collect()));
            }
        }
        members
    }

    fn row(&self, whole: bool) -> Value {
        let labels: Vec<String> =
            self.labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        json!({
            "CreatedAt": format::at(Some(&rfc3339(self.created))),
            "Driver": self.driver,
            "ID": if whole { &self.id } else { &self.id[..12] },
            "IPv4": "true",
            "IPv6": "false",
            "Internal": "false",
            "Labels": labels.join(","),
            "Name": self.name,
            "Scope": "local",
        })
    }

    fn inspected(&self, containers: &[ContainerInfo]) -> Value {
        let running = self.members(containers).into_iter().filter(|(info, _)| is_running(info));
        let members = running.map(|(info, _)| {
            (
                long_id(&info.id),
                json!({ "Name": name_of(info), "EndpointID": "", "MacAddress": "", "IPv4Address": "", "IPv6Address": "" }),
            )
        });
        json!({
            "Name": self.name,
            "Id": self.id,
            "Created": rfc3339(self.created),
            "Scope": "local",
            "Driver": self.driver,
            "EnableIPv4": true,
            "EnableIPv6": false,
            "IPAM": { "Driver": "default", "Options": {}, "Config": [] },
            "Internal": false,
            "Attachable": false,
            "Ingress": false,
            "ConfigFrom": { "Network": "" },
            "ConfigOnly": false,
            "Containers": members.collect::<Map<_, _>>(),
            "Options": {},
            "Labels": self.labels,
        })
    }
}

fn root(invocation: &Invocation) -> Result<PathBuf> {
    Ok(invocation.mpimg().store()?.root().join(NETWORKS))
}

fn record(folder: &Path) -> PathBuf {
    folder.join("network.json")
}

/// All networks, those that are always there first.
fn all(invocation: &Invocation) -> Result<Vec<Network>> {
    let root = root(invocation)?;
    let built_in = BUILT_IN.iter().map(|(name, driver)| Network {
        name: (*name).to_owned(),
        id: Digest::of(name).hex(),
        driver: (*driver).to_owned(),
        created: 0,
        labels: Map::new(),
        folder: root.join(name),
    });
    let mut networks: Vec<Network> = built_in.collect();
    let folders = match fs::read_dir(&root) {
        Ok(folders) => folders.filter_map(|folder| Some(folder.ok()?.path())).collect(),
        Err(_) => Vec::new(),
    };
    for folder in folders {
        // One that is being made or removed at this moment is not there.
        let Some(value) = fs::read(record(&folder)).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()) else {
            continue;
        };
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        networks.push(Network {
            name: text("name"),
            id: text("id"),
            driver: text("driver"),
            created: value["created"].as_i64().unwrap_or(0),
            labels: value["labels"].as_object().cloned().unwrap_or_default(),
            folder,
        });
    }
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(networks)
}

/// The network that a name, an ID or the beginning of one means.
fn get(invocation: &Invocation, name: &str) -> Result<Network, Failure> {
    let mut networks = all(invocation)?;
    let by_name = networks.iter().position(|network| network.name == name);
    let by_id = || networks.iter().position(|network| !name.is_empty() && network.id.starts_with(name));
    let found = by_name.or_else(by_id).ok_or_else(|| Failure::daemon(format!("network {name} not found")))?;
    Ok(networks.swap_remove(found))
}

/// Fails where there is no such network.
pub(super) fn expect(invocation: &Invocation, name: &str) -> Result<(), Failure> {
    get(invocation, name).map(drop)
}

/// The names of the containers of a network that run.
pub(super) fn names_in(invocation: &Invocation, name: &str) -> Result<Vec<String>, Failure> {
    let network = get(invocation, if name == "default" { "bridge" } else { name })?;
    let containers = invocation.mpimg().containers()?;
    let running = network.members(&containers).into_iter().filter(|(info, _)| is_running(info));
    Ok(running.flat_map(|(_, names)| names).collect())
}

/// The networks of a container.
pub(super) fn of(invocation: &Invocation, info: &ContainerInfo) -> Result<Vec<String>> {
    let networks = all(invocation)?.into_iter().filter(|network| network.folder.join(&info.id).exists());
    let names: Vec<String> = networks.map(|network| network.name).collect();
    Ok(match (names.is_empty(), info.spec.network) {
        (false, _) => names,
        (true, NetworkMode::None) => vec!["none".into()],
        (true, NetworkMode::Host) => vec!["host".into()],
        (true, _) => vec!["bridge".into()],
    })
}

/// Notes a new container in the networks that it was asked to be in.
pub(super) fn join(invocation: &Invocation, parsed: &Parsed, id: &str) -> Result<(), Failure> {
    for network in run_spec::networks(parsed) {
        let mut names = run_spec::names(parsed);
        names.push(id.to_owned());
        add(invocation, network, id, names)?;
    }
    Ok(())
}

fn add(invocation: &Invocation, name: &str, id: &str, names: Vec<String>) -> Result<(), Failure> {
    if name == "default" {
        return Ok(());
    }
    let network = get(invocation, name)?;
    if network.built_in() {
        return Ok(());
    }
    write_result(&network.folder.join(id), names.join("\n").as_bytes())?;
    Ok(())
}

fn create(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let name = &parsed.arguments[0];
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || !name.bytes().all(letter) || name.starts_with(['.', '-', '_']) {
        return Err(Failure::daemon(format!("{name:?} is not a name for a network: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")));
    }
    match parsed.value("driver") {
        None | Some("bridge") => {}
        Some(driver) => {
            return Err(Failure::daemon(format!("could not find plugin {driver} in v1 plugin registry: plugin not found")));
        }
    }
    if let Some(subnet) = parsed.list("subnet").into_iter().find(|subnet| !is_subnet(subnet)) {
        return Err(Failure::daemon(format!("invalid subnet {subnet}: invalid CIDR address")));
    }
    let exists = || Failure::daemon(format!("network with name {name} already exists"));
    if BUILT_IN.iter().any(|(known, _)| known == name) {
        return Err(Failure::daemon(format!("operation is not permitted on predefined {name} network")));
    }
    let folder = root(invocation)?.join(name);
    let labels = parsed.list("label").into_iter().map(|label| label.split_once('=').unwrap_or((label, "")));
    let labels: Map<String, Value> = labels.map(|(key, value)| (key.to_owned(), value.into())).collect();
    let created = when::now();
    let id = Digest::of(format!("{name} {}", created.as_nanosecond())).hex();
    if record(&folder).exists() {
        return Err(exists());
    }
    fs::create_dir_all(&folder).map_err(|error| Error::io("make", &folder, error))?;
    let written = json!({ "name": name, "id": id, "driver": "bridge", "created": created.as_second(), "labels": labels });
    write_result(&record(&folder), written.to_string().as_bytes())?;
    invocation.print(format!("{id}\n"))?;
    Ok(0)
}

/// `10.0.0.0/24`
fn is_subnet(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn fits(network: &Network, filters: &Filters, used: bool) -> Result<bool, Failure> {
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    let labels = network.labels.iter().filter_map(text).collect();
    if let Some(dangling) = filters.values("dangling").last()
        && filter::switch("dangling", dangling)? == used
    {
        return Ok(false);
    }
    Ok(filters.any("id", |id| network.id.starts_with(id))
        && filters.any("name", |name| network.name.contains(name))
        && filters.any("driver", |driver| network.driver == driver)
        && filters.any("scope", |scope| scope == "local")
        && filters.any("type", |kind| (kind == "builtin") == network.built_in())
        && filters.takes_labels(&labels))
}

fn ls(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let filters = Filters::parse(&parsed.list("filter"), &["id", "name", "driver", "label", "type", "scope", "dangling"])?;
    let containers = invocation.mpimg().containers()?;
    let whole = parsed.is("no-trunc");
    let mut rows = Vec::new();
    for network in all(invocation)? {
        let used = network.built_in() || !network.members(&containers).is_empty();
        if fits(&network, &filters, used)? {
            rows.push(network.row(whole));
        }
    }
    if parsed.is("quiet") && parsed.value("format").is_none() {
        invocation.print(rows.iter().filter_map(|row| row["ID"].as_str()).map(|id| format!("{id}\n")).collect::<String>())?;
        return Ok(0);
    }
    invocation.print(LIST.draw(parsed.value("format"), &rows)?)?;
    Ok(0)
}

fn rm(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let containers = invocation.mpimg().containers()?;
    let mut code = 0;
    for name in &parsed.arguments {
        let removed = get(invocation, name).and_then(|network| remove(&network, &containers));
        match removed {
            Ok(()) => invocation.print(format!("{name}\n"))?,
            Err(failure) if parsed.is("force") && failure.is_of_docker() && failure.text().ends_with("not found") => {}
            Err(failure) => {
                invocation.fail(&failure);
                code = 1;
            }
        }
    }
    Ok(code)
}

fn remove(network: &Network, containers: &[ContainerInfo]) -> Result<(), Failure> {
    if network.built_in() {
        return Err(Failure::daemon(format!("{} is a pre-defined network and cannot be removed", network.name)));
    }
    if network.members(containers).iter().any(|(info, _)| is_running(info)) {
        return Err(Failure::daemon(format!("error while removing network: network {} has active endpoints", network.name)));
    }
    fs::remove_dir_all(&network.folder).map_err(|error| Error::io("remove", &network.folder, error))?;
    Ok(())
}

/// Removes networks that no container is in; a line for each.
pub(super) fn prune(invocation: &Invocation, filters: &[&str]) -> Result<String, Failure> {
    let filters = Filters::parse(filters, &["label", "label!", "until"])?;
    let until = filters.values("until").last().map(|until| filter::until(until)).transpose()?;
    let containers = invocation.mpimg().containers()?;
    let mut text = String::new();
    for network in all(invocation)? {
        let old = until.is_none_or(|until| network.created < until.as_second());
        if !network.built_in() && old && network.members(&containers).is_empty() && fits(&network, &filters, false)? {
            remove(&network, &containers)?;
            text += &format!("{}\n", network.name);
        }
    }
    Ok(text)
}

fn inspect(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let template = parsed.value("format").filter(|format| !format.is_empty());
    let template = template.map(|format| if format == "json" { "{{json .}}" } else { format });
    let template = template.map(|format| Template::parse(format).map_err(format::parsing_failed)).transpose()?;
    let containers = invocation.mpimg().containers()?;
    let (mut shown, mut printed, mut code) = (Vec::new(), String::new(), 0);
    for name in &parsed.arguments {
        match get(invocation, name) {
            Ok(network) => {
                let value = network.inspected(&containers);
                if let Some(template) = &template {
                    printed += &template.execute(&value, Missing::Map).map_err(|(_, error)| format::parsing_failed(error))?;
                    printed.push('\n');
                }
                shown.push(value);
            }
            Err(failure) => {
                invocation.fail(&failure);
                code = 1;
            }
        }
    }
    match template {
        Some(_) if printed.is_empty() => invocation.print("\n")?,
        Some(_) => invocation.print(printed)?,
        None => invocation.print(format::indented(&shown)? + "\n")?,
    }
    Ok(code)
}
