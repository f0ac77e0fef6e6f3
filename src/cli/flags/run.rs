//! What RUN steps have around them: `--network`, `--add-host`, `--shm-size`, `--ulimit`, in
//! docker's words.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::parsed;
use crate::build::BuildRequest;
use crate::dockerfile::Network;
use crate::error::{Error, ErrorKind};
use crate::sandbox::Ulimit;
use crate::size::{Units, parse_size};

/// What RUN steps have around them.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "RUN options")]
pub(crate) struct RunFlags {
    /// The network of RUN steps that do not say otherwise: `default` and `host` are this machine's,
    /// `none` has no way out
    #[arg(long, value_enum, value_name = "MODE", hide_short_help = true)]
    network: Option<NetworkFlag>,

    /// Add a line to /etc/hosts in RUN; the address `host-gateway` is this machine
    #[arg(long, value_name = "HOST:ADDRESS", value_parser = parsed::<HostFlag>, hide_short_help = true)]
    add_host: Vec<HostFlag>,

    /// The size of /dev/shm in RUN: 128m, 1g [default: 64m]
    #[arg(long, value_name = "SIZE", value_parser = memory_size, hide_short_help = true)]
    shm_size: Option<u64>,

    /// Limit a resource of RUN: nofile=1024:2048, nproc=100, …; -1 is no limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = parsed::<Ulimit>, hide_short_help = true)]
    ulimit: Vec<Ulimit>,
}

/// Docker's networks that a build can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NetworkFlag {
    /// This machine's
    Default,
    /// A loopback interface alone
    None,
    /// This machine's
    Host,
}

/// One `--add-host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostFlag {
    name: String,
    address: IpAddr,
}

impl FromStr for HostFlag {
    type Err = Error;

    /// Docker's forms: `NAME:ADDRESS`, `NAME=ADDRESS`, an IPv6 address also in brackets.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Usage, format!("`{text}` {why}")).with_hint("write HOST:ADDRESS, such as db:10.0.0.5")
        };
        let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(|| wrong("has no address"))?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(wrong("has no name of a host"));
        }
        let address = match address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address) {
            // RUN has this machine's network.
            "host-gateway" => Ipv4Addr::LOCALHOST.into(),
            address => address.parse().map_err(|_| wrong(&format!("has `{address}`, which is not an IP address")))?,
        };
        Ok(Self { name: name.to_owned(), address })
    }
}

impl HostFlag {
    /// The name and the address.
    pub(crate) fn into_pair(self) -> (String, IpAddr) {
        (self.name, self.address)
    }
}

/// A size of memory: as docker, with a factor of 1024 in any case (go-units, `RAMInBytes`).
pub(crate) fn memory_size(text: &str) -> Result<u64, String> {
    match parse_size(text, Units::Memory) {
        None => Err("write it in bytes, or as 128m, 1g".into()),
        Some(0) => Err("it must be more than 0".into()),
        Some(bytes) => Ok(bytes),
    }
}

impl RunFlags {
    /// Puts the flags into the request.
    pub(super) fn put_into(self, request: &mut BuildRequest) {
        request.network = match self.network {
            None | Some(NetworkFlag::Default) => Network::Default,
            Some(NetworkFlag::None) => Network::None,
            Some(NetworkFlag::Host) => Network::Host,
        };
        request.extra_hosts = self.add_host.into_iter().map(HostFlag::into_pair).collect();
        request.shm_size = self.shm_size;
        request.ulimits = self.ulimit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_as_docker_takes_them() {
        for (text, name, address) in [
            ("db:10.0.0.5", "db", "10.0.0.5"),
            ("db=10.0.0.5", "db", "10.0.0.5"),
            ("six:::1", "six", "::1"),
            ("six=[fe80::1]", "six", "fe80::1"),
            ("host.docker.internal:host-gateway", "host.docker.internal", "127.0.0.1"),
        ] {
            assert_eq!(text.parse::<HostFlag>().unwrap(), HostFlag { name: name.into(), address: address.parse().unwrap() });
        }
        for text in ["db", "db:", ":1.2.3.4", "db:example.com", "a b:1.2.3.4"] {
            assert!(text.parse::<HostFlag>().is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_counted_in_powers_of_two() {
        for (text, bytes) in [("64m", 64 << 20), ("1g", 1 << 30), ("1.5GB", 3 << 29), ("2048", 2048), ("1MiB", 1 << 20)] {
            assert_eq!(memory_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "m", "1x", "-1"] {
            assert!(memory_size(text).is_err(), "{text}");
        }
    }
}
