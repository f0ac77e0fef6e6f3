//! The flags of `docker run` as what a container shall be.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::invocation::{Failure, Invocation};
use super::networks;
use crate::cli::command::read_env_file;
use crate::cli::drop_in::Parsed;
use crate::cli::flags::{HostFlag, Pair};
use crate::container::{ContainerSpec, MountFlag, NetworkMode, PortMapping, TmpfsMount, Volume, parse_memory};
use crate::error::Error;

/// Where named volumes are in the local store.
pub(super) const VOLUMES: &str = "volumes";

/// What a container shall be.
pub(super) fn spec(invocation: &Invocation, parsed: &Parsed) -> Result<ContainerSpec, Failure> {
    let mut env = Vec::new();
    for path in parsed.list("env-file") {
        env.extend(read_env_file(path.as_ref())?);
    }
    let pairs = parsed.list("env").into_iter().map(str::parse).collect::<Result<Vec<Pair>, Error>>()?;
    // As docker: a variable without a value that this process does not have either is removed.
    let unset = pairs.iter().filter_map(Pair::name_alone).filter(|name| std::env::var_os(name).is_none());
    let without_env: Vec<String> = unset.map(str::to_owned).collect();
    env.retain(|(name, _)| !without_env.contains(name));
    env.extend(Pair::environment(pairs, |name| std::env::var(name).ok()));
    let mut volumes = Vec::new();
    for text in parsed.list("volume") {
        volumes.extend(volume(invocation, text)?);
    }
    let mut tmpfs = Vec::new();
    for text in parsed.list("mount") {
        match mount(invocation, text)? {
            MountFlag::Tmpfs(mount) => tmpfs.push(mount),
            MountFlag::Bind(volume) if volume.source.exists() => volumes.push(volume),
            MountFlag::Bind(volume) => {
                return Err(Failure::daemon(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {}",
                    volume.source.display()
                )));
            }
        }
    }
    for text in parsed.list("tmpfs") {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        const KNOWN: [&str; 19] = [
            "size",
            "mode",
            "uid",
            "gid",
            "nr_inodes",
            "nr_blocks",
            "rw",
            "ro",
            "exec",
            "noexec",
            "suid",
            "nosuid",
            "dev",
            "nodev",
            "async",
            "sync",
            "dirsync",
            "noatime",
            "nodiratime",
        ];
        let unknown = |option: &&str| !KNOWN.contains(&option.split('=').next().unwrap_or_default());
        if let Some(option) = options.split(',').filter(|option| !option.is_empty()).find(unknown) {
            return Err(Failure::daemon(format!("invalid tmpfs option [{option:?}]")));
        }
        let option = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
        tmpfs.push(TmpfsMount {
            target: target.to_owned(),
            size: option("size").map(parse_memory).transpose()?,
            mode: match option("mode") {
                Some(mode) => u32::from_str_radix(mode, 8)
                    .map_err(|_| Failure::daemon(format!("invalid tmpfs option [\"mode={mode}\"]")))?,
                None => 0o1777,
            },
        });
    }
    limits(parsed)?;
    let word = |flag: &str| parsed.value(flag).filter(|value| !value.is_empty()).map(str::to_owned);
    Ok(ContainerSpec {
        name: word("name"),
        entrypoint: parsed.value("entrypoint").map(|program| match program {
            "" => Vec::new(),
            program => vec![program.to_owned()],
        }),
        command: parsed.arguments[1..].to_vec(),
        env,
        without_env,
        user: word("user"),
        workdir: word("workdir"),
        hostname: word("hostname"),
        volumes,
        tmpfs,
        ports: parsed.list("publish").into_iter().map(str::parse).collect::<Result<Vec<PortMapping>, Error>>()?,
        memory: parsed.value("memory").filter(|memory| *memory != "0").map(parse_memory).transpose()?,
        ulimits: parsed.list("ulimit").into_iter().map(str::parse).collect::<Result<_, Error>>()?,
        shm_size: parsed.value("shm-size").filter(|size| *size != "0").map(parse_memory).transpose()?,
        extra_hosts: hosts(invocation, parsed)?,
        labels: labels(parsed)?,
        network: network(invocation, parsed)?,
        interactive: parsed.is("interactive"),
        terminal: parsed.is("tty"),
        ..ContainerSpec::default()
    })
}

/// Limits that docker refuses beside each other, though here --memory alone counts.
fn limits(parsed: &Parsed) -> Result<(), Failure> {
    let bytes = |flag: &str| parsed.value(flag).filter(|text| !matches!(*text, "0" | "-1")).map(parse_memory).transpose();
    let Some(memory) = bytes("memory")? else { return Ok(()) };
    if bytes("memory-swap")?.is_some_and(|swap| swap < memory) {
        return Err(Failure::daemon("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if bytes("memory-reservation")?.is_some_and(|least| least > memory) {
        return Err(Failure::daemon("Minimum memory limit can not be less than memory reservation limit, see usage"));
    }
    Ok(())
}

/// The networks that are asked for: `NAME`, or `name=NAME,alias=…`.
pub(super) fn networks(parsed: &Parsed) -> Vec<&str> {
    let name = |text: &'_ str| text.split(',').find_map(|field| field.strip_prefix("name=")).map(str::len);
    let all = parsed.list("network").into_iter().chain(parsed.list("net"));
    all.map(|text| match name(text) {
        Some(length) => text.split("name=").nth(1).map_or(text, |rest| &rest[..length]),
        None => text,
    })
    .collect()
}

/// The names by which others of its networks find the container: its own, its host name, those of
/// --network-alias.
pub(super) fn names(parsed: &Parsed) -> Vec<String> {
    let own = parsed.value("name").into_iter().chain(parsed.value("hostname")).chain(parsed.list("network-alias"));
    let fields = parsed.list("network").into_iter().chain(parsed.list("net")).flat_map(|text| text.split(','));
    own.chain(fields.filter_map(|field| field.strip_prefix("alias="))).map(str::to_owned).collect()
}

fn network(invocation: &Invocation, parsed: &Parsed) -> Result<NetworkMode, Failure> {
    let mut mode = NetworkMode::Auto;
    for name in networks(parsed) {
        mode = match name {
            // Docker's default is a bridge; who asks for it does not want that this machine's
            // network does not fulfil.
            "bridge" | "default" => NetworkMode::Auto,
            "host" => NetworkMode::Host,
            "none" => NetworkMode::None,
            name => {
                networks::expect(invocation, name)?;
                NetworkMode::Auto
            }
        };
    }
    Ok(mode)
}

/// Lines of /etc/hosts: those of --add-host, and the other containers of its networks.
fn hosts(invocation: &Invocation, parsed: &Parsed) -> Result<Vec<(String, IpAddr)>, Failure> {
    let given = parsed.list("add-host").into_iter().map(|text| text.parse().map(HostFlag::into_pair));
    let mut hosts = given.collect::<Result<Vec<_>, Error>>()?;
    let mut names = Vec::new();
    for network in networks(parsed) {
        names.extend(networks::names_in(invocation, network)?);
    }
    if !networks(parsed).is_empty() {
        names.extend(self::names(parsed));
    }
    hosts.extend(names.into_iter().map(|name| (name, Ipv4Addr::LOCALHOST.into())));
    Ok(hosts)
}

/// `--label` over the lines of `--label-file`.
fn labels(parsed: &Parsed) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    for path in parsed.list("label-file") {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        labels.extend(Pair::labels(lines.map(str::parse).collect::<Result<_, Error>>()?));
    }
    labels.extend(Pair::labels(parsed.list("label").into_iter().map(str::parse).collect::<Result<_, Error>>()?));
    Ok(labels)
}

/// `-v`: a path of this machine, the name of a volume, or a path in the container alone, which
/// needs nothing: it is there anyway.
fn volume(invocation: &Invocation, text: &str) -> Result<Option<Volume>, Failure> {
    let Some((source, rest)) = text.split_once(':') else {
        if text.starts_with('/') {
            return Ok(None);
        }
        return Err(Failure::daemon(format!("invalid volume specification: '{text}'")));
    };
    if source.contains('/') && !source.starts_with(['/', '.', '~']) {
        return Err(Failure::daemon(format!(
            "create {source}: {source:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
             allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    if source.contains('/') || source.starts_with('.') || source.starts_with('~') {
        return Ok(Some(text.parse::<Volume>()?));
    }
    let folder = named(invocation, source)?;
    Ok(Some(format!("{}:{rest}", folder.display()).parse::<Volume>()?))
}

/// `--mount`: of type volume as a bind of the volume's folder.
fn mount(invocation: &Invocation, text: &str) -> Result<MountFlag, Failure> {
    let fields: Vec<&str> = text.split(',').collect();
    let is_volume = fields.contains(&"type=volume") || !fields.iter().any(|field| field.starts_with("type="));
    if !is_volume {
        return Ok(text.parse()?);
    }
    let mut written = vec!["type=bind".to_owned()];
    for field in fields.into_iter().filter(|field| *field != "type=volume") {
        match field.split_once('=') {
            Some(("source" | "src", name)) => {
                let folder = named(invocation, name)?;
                std::fs::create_dir_all(&folder).map_err(|error| Error::io("make", &folder, error))?;
                written.push(format!("source={}", folder.display()));
            }
            _ => written.push(field.to_owned()),
        }
    }
    Ok(written.join(",").parse()?)
}

/// The folder of a named volume.
pub(super) fn named(invocation: &Invocation, name: &str) -> Result<PathBuf, Failure> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let right = name.len() > 1 && name.bytes().all(letter) && !name.starts_with(['.', '-', '_']);
    if !right {
        return Err(Failure::daemon(format!(
            "create {name}: {name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed"
        )));
    }
    Ok(invocation.mpimg().store()?.root().join(VOLUMES).join(name))
}
