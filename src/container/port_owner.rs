//! Which process listens on a TCP port of this machine (proc(5): `/proc/net/tcp`, `/proc/PID/fd`).
//!
//! A container on this machine's network listens on its published ports itself, so whatever answers
//! there need not be the container.

use std::collections::BTreeSet;

use super::MONITOR_NAME;
use super::stats;
use super::{ContainerInfo, ContainerState, PortMapping};

/// `TCP_LISTEN` as `/proc/net/tcp` shows it.
const LISTEN: &str = "0A";

/// Who listens on a published port.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortOwner {
    /// Nobody yet.
    Nobody,
    /// The container, or mpimg on its behalf.
    Container,
    /// A process outside of the container, by name and number where this user may see them.
    Other(Option<String>),
}

impl ContainerInfo {
    /// Who listens now on each of its published ports, in the order of [`ports`](Self::ports).
    pub fn port_owners(&self) -> Vec<PortOwner> {
        self.ports.iter().map(|port| self.port_owner(port)).collect()
    }

    fn port_owner(&self, port: &PortMapping) -> PortOwner {
        match (self.state, self.network.as_deref()) {
            (ContainerState::Running, Some(super::record::HOST)) => {}
            // Its monitor listens, and forwards what comes to the container.
            (ContainerState::Running, _) => return PortOwner::Container,
            _ => return PortOwner::Nobody,
        }
        let listening = listening(port.host);
        if listening.is_empty() {
            return PortOwner::Nobody;
        }
        let owned: BTreeSet<u64> = stats::processes(self).into_iter().flat_map(|pid| sockets(&pid.to_string())).collect();
        match listening.difference(&owned).next() {
            None => PortOwner::Container,
            Some(inode) => PortOwner::Other(process_of(*inode)),
        }
    }
}

/// The process that listens on a port of this machine, by name and number, if there is one and this
/// user may see it.
pub(super) fn listener(port: u16) -> Option<String> {
    listening(port).into_iter().find_map(process_of)
}

/// The inodes of the sockets that listen on a port, on whatever address.
fn listening(port: u16) -> BTreeSet<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| inodes(table, port)).collect()
}

fn inodes(table: &str, port: u16) -> impl Iterator<Item = u64> {
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        (local == port && *fields.get(3)? == LISTEN).then_some(())?;
        fields.get(9)?.parse().ok()
    })
}

/// The inodes of the sockets that a process has open.
fn sockets(pid: &str) -> impl Iterator<Item = u64> + use<> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| {
        let link = std::fs::read_link(entry.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

fn process_of(inode: u64) -> Option<String> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut processes = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let pid = processes.find(|pid| sockets(pid).any(|open| open == inode))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(match name.trim_end() {
        MONITOR_NAME => format!("another container (process {pid}; `mpimg ps` lists it)"),
        name => format!("`{name}` (process {pid})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_listen_on_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
                     1: 0100007F:1F90 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n   \
                     2: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
        assert_eq!(inodes(table, 8080).collect::<Vec<_>>(), [4711]);
    }

    #[test]
    fn this_process_is_found_by_a_port_that_it_listens_on() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = listener(socket.local_addr().unwrap().port()).unwrap();
        assert!(found.ends_with(&format!("(process {})", std::process::id())), "{found}");
    }
}
