//! What a container shall be: docker's words for it, read from docker's forms.
//!
//! Refuses named volumes, UDP and port ranges: there is no daemon that could own or serve them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::image::RunConfig;
use crate::layer::LayerPath;
use crate::sandbox::{IsolationMode, Ulimit};
use crate::size::{Units, parse_size};

/// How an image is run. The default is what the image itself says, with nothing of this machine but
/// its network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// A name to find it by, besides its ID.
    pub name: Option<String>,
    /// Instead of the image's entrypoint; the image's default arguments are dropped then, too. An
    /// empty list means none.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of the image's default arguments, where not empty.
    pub command: Vec<String>,
    /// Added to the image's environment, over variables of the same name.
    pub env: Vec<(String, String)>,
    /// Variables of the image's environment that it does not have.
    pub without_env: Vec<String>,
    /// Instead of the image's user: `NAME|UID[:GROUP|GID]`.
    pub user: Option<String>,
    /// Instead of the image's working directory; made where it is missing.
    pub workdir: Option<String>,
    /// The host name inside; the container's ID where not given.
    pub hostname: Option<String>,
    /// Folders and files of this machine.
    pub volumes: Vec<Volume>,
    /// File systems in memory.
    pub tmpfs: Vec<TmpfsMount>,
    /// Ports of the container that this machine listens on.
    pub ports: Vec<PortMapping>,
    /// Bytes of memory that all processes together may have.
    pub memory: Option<u64>,
    /// Bytes of swap beside that memory; as much again where not given. A kernel may not limit
    /// swap.
    pub swap: Option<u64>,
    /// Limits of other resources, each for one process.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`; 64 MiB without it. Without effect where nothing can be mounted.
    pub shm_size: Option<u64>,
    /// Further lines of `/etc/hosts`.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// What its starter wants it to be found by.
    pub labels: BTreeMap<String, String>,
    /// Which network it sees.
    pub network: NetworkMode,
    /// Which isolation; see [`Isolation::detect`](crate::sandbox::Isolation::detect).
    pub isolation: IsolationMode,
    /// Keep standard input open and pass it on (only of
    /// [`Container::attach`](super::Container::attach)).
    pub interactive: bool,
    /// Give it a terminal.
    pub terminal: bool,
    /// Forget the container when its command ends: no log, no exit status.
    pub remove: bool,
    /// Keep what the command has written until the container is removed, to be looked at when it
    /// has ended.
    pub keep_changes: bool,
    /// The number of a process of this machine: when that is gone, however it ended, the container
    /// is killed and forgotten.
    pub end_with: Option<u32>,
}

impl ContainerSpec {
    /// An image's configuration with what the container was asked to be over it.
    pub(crate) fn over(&self, image: &RunConfig) -> RunConfig {
        let mut config = image.clone();
        config.env.retain(|pair| !self.without_env.iter().any(|name| pair.split('=').next() == Some(name)));
        for (name, value) in &self.env {
            config.set_env(name, value);
        }
        config.labels.extend(self.labels.clone());
        config.user = self.user.clone().unwrap_or(config.user);
        config.working_dir = self.workdir.clone().unwrap_or(config.working_dir);
        if let Some(entrypoint) = &self.entrypoint {
            (config.entrypoint, config.cmd) = (Some(entrypoint.clone()), None);
        }
        if !self.command.is_empty() {
            config.cmd = Some(self.command.clone());
        }
        config
    }
}

/// A folder or file of this machine inside a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// On this machine. A folder that is missing is made.
    pub source: PathBuf,
    /// In the container: an absolute path.
    pub target: String,
    /// Whether the container may only read it.
    pub readonly: bool,
}

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TmpfsMount {
    /// In the container: an absolute path.
    pub target: String,
    /// Bytes at most; half of the memory where not given.
    pub size: Option<u64>,
    /// Permission bits; docker's default is 1777.
    pub mode: u32,
}

/// A TCP port of a container and where this machine listens for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The address to listen on; all of them where not given.
    pub ip: Option<IpAddr>,
    /// The port to listen on; 0 takes a free one, which [`ContainerInfo`](super::ContainerInfo)
    /// tells.
    pub host: u16,
    /// The container's port.
    pub container: u16,
}

/// Which network a container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NetworkMode {
    /// This machine's where no ports are published; else one of its own where that works, else this
    /// machine's.
    #[default]
    Auto,
    /// This machine's: a published port must be the container's own.
    Host,
    /// One of its own: ports are forwarded.
    Private,
    /// One of its own without a way out; published ports are forwarded all the same.
    None,
}

fn usage(message: String, hint: &str) -> Error {
    Error::new(ErrorKind::Usage, message).with_hint(hint)
}

impl FromStr for Volume {
    type Err = Error;

    /// Reads `-v`: `HOST:CONTAINER[:OPTIONS]` with `ro` or `rw` among the options (SELinux' `z` and
    /// `Z` are accepted and mean nothing).
    fn from_str(text: &str) -> Result<Self> {
        const HINT: &str = "write HOST:CONTAINER or HOST:CONTAINER:ro, both as paths";
        let wrong = |why: &str| usage(format!("volume `{text}` {why}"), HINT);
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts[..] {
            [source, target] => (source, target, "rw"),
            [source, target, options] => (source, target, options),
            _ => return Err(wrong("is not of the form HOST:CONTAINER")),
        };
        if source.is_empty() || !source.contains('/') && !source.starts_with('.') {
            return Err(usage(
                format!("volume `{text}` has a name instead of a path before the colon"),
                &format!("there are no named volumes; a folder of that name is `./{text}`"),
            ));
        }
        let mut readonly = false;
        for option in options.split(',') {
            match option {
                "ro" => readonly = true,
                "rw" | "z" | "Z" => {}
                _ => return Err(wrong(&format!("has the option `{option}`, which mpimg does not support"))),
            }
        }
        Self::new(source, target, readonly)
    }
}

impl Volume {
    /// A volume; `target` must be an absolute path other than `/`.
    pub fn new(source: impl AsRef<Path>, target: impl Into<String>, readonly: bool) -> Result<Self> {
        let target = target.into();
        inside(&target)?;
        Ok(Self { source: source.as_ref().to_owned(), target, readonly })
    }
}

/// A mount target as the sandbox wants it.
pub(super) fn inside(target: &str) -> Result<LayerPath> {
    let wrong =
        || usage(format!("`{target}` is not a place for a mount"), "name an absolute path in the container, such as /var/log");
    if !target.starts_with('/') {
        return Err(wrong());
    }
    LayerPath::clean(target).ok().filter(|path| !path.is_root()).ok_or_else(wrong)
}

impl FromStr for TmpfsMount {
    type Err = Error;

    /// Reads `--mount type=tmpfs,target=PATH[,tmpfs-size=SIZE][,tmpfs-mode=MODE]`.
    fn from_str(text: &str) -> Result<Self> {
        const HINT: &str = "write type=tmpfs,target=/PATH[,tmpfs-size=64m][,tmpfs-mode=1777]; folders are mounted with -v";
        let wrong = |why: String| usage(format!("mount `{text}` {why}"), HINT);
        let (mut kind, mut tmpfs) = (None, Self { target: String::new(), size: None, mode: 0o1777 });
        for field in text.split(',') {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key {
                "type" => kind = Some(value),
                "target" | "destination" | "dst" => tmpfs.target = value.to_owned(),
                "tmpfs-size" => tmpfs.size = Some(parse_memory(value)?),
                "tmpfs-mode" => {
                    let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                    tmpfs.mode = mode.ok_or_else(|| wrong(format!("has the mode `{value}`")))?;
                }
                _ => return Err(wrong(format!("has the field `{key}`"))),
            }
        }
        if kind != Some("tmpfs") {
            return Err(wrong("is not of type tmpfs".into()));
        }
        inside(&tmpfs.target)?;
        Ok(tmpfs)
    }
}

impl FromStr for PortMapping {
    type Err = Error;

    /// Reads `-p`: `[[IP:]HOST:]CONTAINER[/tcp]`; without HOST, or with 0, a free port is taken.
    fn from_str(text: &str) -> Result<Self> {
        const HINT: &str = "write [IP:]HOST:CONTAINER, such as 8080:8080 or 127.0.0.1:9000:8080";
        let wrong = |why: &str| usage(format!("port `{text}` {why}"), HINT);
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        if protocol != "tcp" {
            return Err(wrong("is not for TCP, and nothing else can be published"));
        }
        let number = |port: &str| port.parse::<u16>().map_err(|_| wrong("has no port number from 0 to 65535"));
        let (rest, container) = ports.rsplit_once(':').unwrap_or(("", ports));
        let container = number(container)?;
        if container == 0 {
            return Err(wrong("names no port of the container"));
        }
        let (ip, host) = match rest.rsplit_once(':') {
            Some((ip, host)) => (ip, host),
            None => ("", rest),
        };
        let ip = match ip.trim_start_matches('[').trim_end_matches(']') {
            "" => None,
            ip => Some(ip.parse().map_err(|_| wrong("has no IP address in front"))?),
        };
        Ok(Self { ip, host: if host.is_empty() { 0 } else { number(host)? }, container })
    }
}

impl fmt::Display for PortMapping {
    /// As docker shows it: `0.0.0.0:8080->8080/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let container = self.container;
        match self.ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}->{container}/tcp", self.host),
            Some(ip) => write!(f, "{ip}:{}->{container}/tcp", self.host),
            None => write!(f, "0.0.0.0:{}->{container}/tcp", self.host),
        }
    }
}

impl FromStr for NetworkMode {
    type Err = Error;

    /// Reads `--network`: `auto`, `host`, `private` (or `bridge`, docker's word) or `none`.
    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "auto" | "default" => Self::Auto,
            "host" => Self::Host,
            "private" | "bridge" => Self::Private,
            "none" => Self::None,
            _ => return Err(usage(format!("there is no network `{text}`"), "use auto, host, private or none")),
        })
    }
}

/// Reads a size as docker reads `--memory`: bytes, or with `b`, `k`, `m`, `g`, `t` (also `kb`,
/// `kib`, …) as powers of 1024.
///
/// # Errors
/// [`ErrorKind::Usage`]: no size.
pub fn parse_memory(text: &str) -> Result<u64> {
    let wrong = || usage(format!("`{text}` is not a size of memory"), "write it in bytes, or as 512m or 2g");
    parse_size(text, Units::Memory).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        let port = |ip: Option<&str>, host, container| PortMapping { ip: ip.map(|ip| ip.parse().unwrap()), host, container };
        for (text, expected) in [
            ("8080:80", port(None, 8080, 80)),
            ("80", port(None, 0, 80)),
            ("0:80", port(None, 0, 80)),
            (":80/tcp", port(None, 0, 80)),
            ("127.0.0.1:1:2", port(Some("127.0.0.1"), 1, 2)),
            ("127.0.0.1::2", port(Some("127.0.0.1"), 0, 2)),
            ("[::1]:1:2", port(Some("::1"), 1, 2)),
        ] {
            assert_eq!(text.parse::<PortMapping>().unwrap(), expected, "{text}");
        }
        for text in ["", "a:1", "1:b", "8080:0", "1:2/udp", "host:1:2", "65536:1", "8000-8001:80"] {
            assert_eq!(text.parse::<PortMapping>().unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
        assert_eq!(port(None, 1, 2).to_string(), "0.0.0.0:1->2/tcp");
        assert_eq!(port(Some("::1"), 1, 2).to_string(), "[::1]:1->2/tcp");
    }

    #[test]
    fn volumes_have_paths_on_both_sides() {
        let volume = |text: &str| text.parse::<Volume>();
        assert_eq!(volume("/a:/b").unwrap(), Volume { source: "/a".into(), target: "/b".into(), readonly: false });
        assert_eq!(volume("./a:/b:ro,z").unwrap(), Volume { source: "./a".into(), target: "/b".into(), readonly: true });
        for text in ["/a", "name:/b", "/a:b", "/a:/", "/a:/b:rx", ":/b", "/a:/b:ro:x"] {
            assert_eq!(volume(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }

    #[test]
    fn tmpfs_mounts_are_open_to_all_unless_said_otherwise() {
        let mount = |text: &str| text.parse::<TmpfsMount>();
        assert_eq!(mount("type=tmpfs,target=/t").unwrap(), TmpfsMount { target: "/t".into(), size: None, mode: 0o1777 });
        let sized = TmpfsMount { target: "/t".into(), size: Some(1 << 20), mode: 0o700 };
        assert_eq!(mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700").unwrap(), sized);
        for text in ["type=bind,target=/t", "target=/t", "type=tmpfs", "type=tmpfs,target=/t,tmpfs-mode=9"] {
            assert_eq!(mount(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }

    #[test]
    fn memory_is_counted_in_powers_of_1024() {
        for (text, bytes) in [("1024m", 1 << 30), ("1g", 1 << 30), ("64MB", 64 << 20), ("1.5k", 1536), ("100", 100), ("7b", 7)] {
            assert_eq!(parse_memory(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "m", "-1m", "0", "1x", "99999999999t"] {
            assert_eq!(parse_memory(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }
}
