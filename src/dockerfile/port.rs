//! Ports of EXPOSE: `8080`, `53/udp`, `8000-8010`, with the addresses that docker tolerates.
//!
//! Protocols other than tcp, udp and sctp, and ranges that end before they start, are errors.

use std::fmt;
use std::net::IpAddr;

use super::{Port, Protocol};

/// Reads one word. Addresses and the host's ports are checked and dropped, as BuildKit does. The
/// error is a message without a location.
pub(super) fn parse_ports(word: &str) -> Result<Vec<Port>, String> {
    let mut parts = word.rsplitn(3, ':');
    let port = parts.next().unwrap_or_default();
    let host_port = parts.next();
    let address = parts.next();
    let (ports, protocol) = match port.split_once('/') {
        Some((ports, protocol)) => (ports, protocol),
        None => (port, ""),
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => return Err(format!("`{other}` is not a protocol: use tcp, udp or sctp")),
    };
    let (first, last) = range(ports)?;
    if let Some(address) = address.filter(|address| !address.is_empty()) {
        let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
        bare.parse::<IpAddr>().map_err(|_| format!("`{address}` is not an IP address"))?;
    }
    if let Some(host) = host_port.filter(|host| !host.is_empty()) {
        let (first_host, last_host) = range(host)?;
        if last_host - first_host != last - first && first != last {
            return Err(format!("`{host}` and `{ports}` are ranges of different lengths"));
        }
    }
    Ok((first..=last).map(|number| Port { number, protocol }).collect())
}

/// Whether a word has an address or a host's port, which EXPOSE cannot use.
pub(super) fn has_host_part(word: &str) -> bool {
    word.contains(':')
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u16>().ok(),
        false => None,
    };
    let wrong = || format!("`{text}` is not a port: use a number up to 65535 or a range such as 8000-8010");
    match text.split_once('-') {
        None => number(text).map(|port| (port, port)).ok_or_else(wrong),
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok((first, last)),
            (Some(_), Some(_)) => Err(format!("the range `{text}` ends before it starts")),
            _ => Err(wrong()),
        },
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_normalised() {
        for (word, ports) in [
            ("8080", &["8080/tcp"][..]),
            ("53/udp", &["53/udp"]),
            ("53/UDP", &["53/udp"]),
            ("9/sctp", &["9/sctp"]),
            ("80/", &["80/tcp"]),
            ("8000-8002", &["8000/tcp", "8001/tcp", "8002/tcp"]),
            ("8080:80", &["80/tcp"]),
            ("127.0.0.1:8080:80/udp", &["80/udp"]),
            ("[::1]::80", &["80/tcp"]),
            ("8000-8010:80", &["80/tcp"]),
            ("65535", &["65535/tcp"]),
        ] {
            let found: Vec<String> = parse_ports(word).unwrap().iter().map(Port::to_string).collect();
            assert_eq!(found, ports, "{word}");
        }
        for wrong in ["", "x", "65536", "-1", "+1", "80/icmp", "90-80", "1-2-3", "host:80:80", "80-81:80-82", "/tcp"] {
            assert!(parse_ports(wrong).is_err(), "{wrong}");
        }
    }
}
