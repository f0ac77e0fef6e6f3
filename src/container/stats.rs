//! What a container uses at this moment, as docker counts it.
//!
//! Processes that have ended, where nothing counted them, are not in the sum: their reading and
//! writing is gone with them.

use std::collections::{BTreeMap, BTreeSet};

use super::ContainerInfo;
use crate::error::{Error, ErrorKind, Result};
use crate::store::process_stat;

/// What a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of memory in use, without caches that can be dropped.
    pub memory: u64,
    /// The limit in bytes: the container's, else the machine's memory.
    pub memory_limit: u64,
    /// Nanoseconds of processor time since the start.
    pub cpu: u64,
    /// Nanoseconds of processor time that all processors together have had since the machine's
    /// start, idle time included.
    pub system_cpu: u64,
    /// How many processors there are.
    pub processors: u32,
    /// Bytes read from disks.
    pub read: u64,
    /// Bytes written to disks.
    pub written: u64,
    /// Bytes received by its own network; 0 on the machine's.
    pub received: u64,
    /// Bytes sent by its own network; 0 on the machine's.
    pub sent: u64,
    /// How many processes.
    pub processes: u32,
}

/// Measures a running container.
///
/// # Errors
/// [`ErrorKind::NotFound`]: nothing of it runs.
pub(super) fn measure(info: &ContainerInfo) -> Result<Stats> {
    let pids = processes(info);
    if pids.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("container `{}` is not running", info.id)));
    }
    let page = rustix::param::page_size() as u64;
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let mut stats = Stats { processes: u32::try_from(pids.len()).unwrap_or(u32::MAX), ..Stats::default() };
    let mut resident = 0;
    for pid in &pids {
        let file = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        resident += file("statm").split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * page;
        // utime, stime, cutime, cstime.
        let stat = process_stat::read(format!("/proc/{pid}/stat").as_ref()).unwrap_or_default();
        let times = process_stat::fields_after_name(&stat).skip(11).take(4);
        stats.cpu += times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * tick;
        let io = file("io");
        let field = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0);
        stats.read += field("read_bytes:");
        stats.written += field("write_bytes:");
    }
    stats.memory = info.cgroup.as_ref().and_then(super::cgroup::Cgroup::memory).unwrap_or(resident);
    let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = machine.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    stats.memory_limit = info.memory.unwrap_or(total.unwrap_or(0) * 1024);
    let system = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq: what docker's `system_cpu_usage` is the sum
    // of.
    let first = system.lines().next().unwrap_or_default().split_whitespace().skip(1).take(7);
    stats.system_cpu = first.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * tick;
    stats.processors = system.lines().filter(|line| line.starts_with("cpu")).count().saturating_sub(1) as u32;
    if let Some(pid) = info.pid.filter(|_| info.network.as_deref().is_some_and(|network| network != super::record::HOST)) {
        (stats.received, stats.sent) = traffic(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default());
    }
    Ok(stats)
}

/// The container's processes, as this machine numbers them.
pub(super) fn processes(info: &ContainerInfo) -> BTreeSet<i32> {
    let Some(helper) = info.helper.and_then(|helper| i32::try_from(helper).ok()) else { return BTreeSet::new() };
    // What was started in it later (exec) has another parent, and its PID namespace.
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = info.pid.and_then(namespace).filter(|own| std::fs::read_link("/proc/self/ns/pid").is_ok_and(|this| this != *own));
    let mut found = BTreeSet::new();
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Some(stat) = process_stat::read(&entry.path().join("stat")) else { continue };
        if own.is_some() && namespace(pid) == own {
            found.insert(pid);
        }
        children.entry(process_stat::parent(&stat).unwrap_or(0)).or_default().push(pid);
    }
    let mut next = vec![helper];
    while let Some(pid) = next.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            found.insert(*child);
            next.push(*child);
        }
    }
    found
}

/// Bytes received and sent by all interfaces but the loopback, in the text of `/proc/PID/net/dev`.
fn traffic(text: &str) -> (u64, u64) {
    let interfaces = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    let counted = interfaces.map(|(_, counters)| {
        let number = |index| counters.split_whitespace().nth(index).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        (number(0), number(8))
    });
    counted.fold((0, 0), |(received, sent), (r, s)| (received + r, sent + s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_of_the_loopback_does_not_count() {
        let text = "Inter-|   Receive      |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n    \
                    lo: 900 1 0 0 0 0 0 0 900 1 0 0 0 0 0 0\n  tap0: 5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n";
        assert_eq!(traffic(text), (5, 7));
    }
}
