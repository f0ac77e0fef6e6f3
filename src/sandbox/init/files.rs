//! Files that every step sees: hosts, resolv.conf, hostname, and what is read from the image's own.
//!
//! Of an image, only regular files of a sane size are read, and only inside it.

use std::fmt::Write as _;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, OFlags, ResolveFlags};

use crate::layer::open_inside;
use crate::sandbox::RunSpec;

/// Real passwd files are far smaller.
const MAX_READ: u64 = 8 << 20;

/// `/etc/hosts`, as BuildKit writes it.
pub(super) fn hosts(spec: &RunSpec) -> Vec<u8> {
    let mut text = format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", spec.hostname);
    for (name, address) in &spec.extra_hosts {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text.into_bytes()
}

/// The machine's `/etc/resolv.conf` where the network is the machine's too.
pub(super) fn resolv_conf(spec: &RunSpec) -> Vec<u8> {
    match &spec.name_servers {
        Some(servers) => servers.iter().map(|server| format!("nameserver {server}\n")).collect::<String>().into_bytes(),
        None => std::fs::read("/etc/resolv.conf").unwrap_or_default(),
    }
}

pub(super) fn hostname(spec: &RunSpec) -> Vec<u8> {
    format!("{}\n", spec.hostname).into_bytes()
}

/// Reads a file of the image; empty where it is missing or no sane file.
pub(super) fn read_inside(root: &OwnedFd, path: &str) -> Vec<u8> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let Ok(fd) = open_inside(root, path, flags, resolve) else { return Vec::new() };
    let regular = rustix::fs::fstat(&fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let mut bytes = Vec::new();
    if regular && std::fs::File::from(fd).take(MAX_READ).read_to_end(&mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}
