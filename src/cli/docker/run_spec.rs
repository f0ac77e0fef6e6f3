//! The flags of `docker run` as what a container shall be.

use std::path::PathBuf;

use super::session::{Failure, Session};
use crate::cli::command::read_env_file;
use crate::cli::drop_in::Parsed;
use crate::cli::flags::Pair;
use crate::container::{ContainerSpec, MountFlag, NetworkMode, PortMapping, TmpfsMount, Volume, parse_memory};
use crate::error::{Error, ErrorKind};

/// Where named volumes are in the local store.
pub(super) const VOLUMES: &str = "volumes";

/// What a container shall be.
pub(super) fn spec(session: &Session, parsed: &Parsed) -> Result<ContainerSpec, Failure> {
    let mut env = Vec::new();
    for path in parsed.list("env-file") {
        env.extend(read_env_file(path.as_ref())?);
    }
    let pairs = parsed.list("env").into_iter().map(str::parse).collect::<Result<Vec<Pair>, Error>>()?;
    env.extend(Pair::environment(pairs, |name| std::env::var(name).ok()));
    let mut volumes = Vec::new();
    for text in parsed.list("volume") {
        volumes.extend(volume(session, text)?);
    }
    let mut tmpfs = Vec::new();
    for text in parsed.list("mount") {
        match mount(session, text)? {
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
        let option = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
        tmpfs.push(TmpfsMount {
            target: target.to_owned(),
            size: option("size").map(parse_memory).transpose()?,
            mode: option("mode").and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o1777),
        });
    }
    let word = |flag: &str| parsed.value(flag).filter(|value| !value.is_empty()).map(str::to_owned);
    Ok(ContainerSpec {
        name: word("name"),
        entrypoint: parsed.value("entrypoint").map(|program| match program {
            "" => Vec::new(),
            program => vec![program.to_owned()],
        }),
        command: parsed.arguments[1..].to_vec(),
        env,
        user: word("user"),
        workdir: word("workdir"),
        hostname: word("hostname"),
        volumes,
        tmpfs,
        ports: parsed.list("publish").into_iter().map(str::parse).collect::<Result<Vec<PortMapping>, Error>>()?,
        memory: parsed.value("memory").filter(|memory| *memory != "0").map(parse_memory).transpose()?,
        network: network(parsed)?,
        interactive: parsed.is("interactive"),
        terminal: parsed.is("tty"),
        ..ContainerSpec::default()
    })
}

fn network(parsed: &Parsed) -> Result<NetworkMode, Failure> {
    match parsed.list("network").into_iter().chain(parsed.list("net")).next_back() {
        // Docker's default is a bridge; whoever asks for it has no wish that this machine's network does not fulfil.
        None | Some("bridge" | "default") => Ok(NetworkMode::Auto),
        Some("host") => Ok(NetworkMode::Host),
        Some("none") => Ok(NetworkMode::None),
        Some(other) => {
            Err(Error::new(ErrorKind::Unsupported, format!("there is no network `{other}`: containers share this machine's"))
                .with_hint("leave out --network: a container finds another one's port on localhost")
                .into())
        }
    }
}

/// `-v`: a path of this machine, the name of a volume, or a path in the container alone, which needs nothing: it is there anyway.
fn volume(session: &Session, text: &str) -> Result<Option<Volume>, Failure> {
    let Some((source, rest)) = text.split_once(':') else {
        if text.starts_with('/') {
            return Ok(None);
        }
        return Err(Failure::daemon(format!("invalid volume specification: '{text}'")));
    };
    if source.contains('/') || source.starts_with('.') || source.starts_with('~') {
        return Ok(Some(text.parse::<Volume>()?));
    }
    let folder = named(session, source)?;
    Ok(Some(format!("{}:{rest}", folder.display()).parse::<Volume>()?))
}

/// `--mount`: of type volume as a bind of the volume's folder.
fn mount(session: &Session, text: &str) -> Result<MountFlag, Failure> {
    let fields: Vec<&str> = text.split(',').collect();
    let is_volume = fields.contains(&"type=volume") || !fields.iter().any(|field| field.starts_with("type="));
    if !is_volume {
        return Ok(text.parse()?);
    }
    let mut written = vec!["type=bind".to_owned()];
    for field in fields.into_iter().filter(|field| *field != "type=volume") {
        match field.split_once('=') {
            Some(("source" | "src", name)) => {
                let folder = named(session, name)?;
                std::fs::create_dir_all(&folder).map_err(|error| Error::io("make", &folder, error))?;
                written.push(format!("source={}", folder.display()));
            }
            _ => written.push(field.to_owned()),
        }
    }
    Ok(written.join(",").parse()?)
}

/// The folder of a named volume.
pub(super) fn named(session: &Session, name: &str) -> Result<PathBuf, Failure> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let right = name.len() > 1 && name.bytes().all(letter) && !name.starts_with(['.', '-', '_']);
    if !right {
        return Err(Failure::daemon(format!(
            "create {name}: {name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed"
        )));
    }
    Ok(session.mpimg().store()?.root().join(VOLUMES).join(name))
}
