//! A control group a container, where this machine lets one be made: its memory is limited and
//! counted there, for all its processes together.
//!
//! Does not guess: a group counts only if the limit could be written to it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How long the kernel may take to let go of a group whose processes are dead.
const GRACE: Duration = Duration::from_secs(2);

/// A control group with the controller for memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cgroup {
    folder: PathBuf,
    /// Of version 2, where one tree has all controllers.
    unified: bool,
}

/// A hierarchy that has the memory controller: where it is mounted, and the group that this process
/// is in.
struct Hierarchy {
    mount: PathBuf,
    own: PathBuf,
    unified: bool,
}

impl Cgroup {
    /// Makes a group for the container `id` with a limit of `memory` bytes, and of `swap` bytes
    /// beside it, below this process's own group or, where that may not have both processes and
    /// groups (version 2), below one that it is in.
    pub(super) fn create(id: &str, memory: Option<u64>, swap: Option<u64>) -> io::Result<Self> {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
        let own = std::fs::read_to_string("/proc/self/cgroup")?;
        let found = hierarchy(&mountinfo, &own).ok_or(io::ErrorKind::NotFound)?;
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for parent in found.own.ancestors().take_while(|parent| parent.starts_with(&found.mount)) {
            let group = Self { folder: parent.join(format!("mpimg-{id}")), unified: found.unified };
            match group.set_up(parent, memory, swap) {
                Ok(()) => return Ok(group),
                Err(error) => {
                    let _ = std::fs::remove_dir(&group.folder);
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    fn set_up(&self, parent: &Path, memory: Option<u64>, swap: Option<u64>) -> io::Result<()> {
        if self.unified {
            let enabled = std::fs::read_to_string(parent.join("cgroup.subtree_control"))?;
            if !enabled.split_whitespace().any(|controller| controller == "memory") {
                std::fs::write(parent.join("cgroup.subtree_control"), "+memory")?;
            }
        }
        std::fs::create_dir(&self.folder)?;
        // Being able to move a process in is the point of it all.
        std::fs::OpenOptions::new().write(true).open(self.folder.join("cgroup.procs"))?;
        let Some(memory) = memory else { return Ok(()) };
        std::fs::write(self.folder.join(self.name("memory.max", "memory.limit_in_bytes")), memory.to_string())?;
        // As docker: swap for as much again. A kernel may not count swap at all.
        let swap = swap.unwrap_or(memory);
        let swap = if self.unified { swap } else { memory.saturating_add(swap) };
        let _ = std::fs::write(self.folder.join(self.name("memory.swap.max", "memory.memsw.limit_in_bytes")), swap.to_string());
        Ok(())
    }

    fn name(&self, unified: &'static str, old: &'static str) -> &'static str {
        if self.unified { unified } else { old }
    }

    /// Moves a process in; what it starts from then on is in, too.
    pub(super) fn add(&self, pid: u32) -> io::Result<()> {
        std::fs::write(self.folder.join("cgroup.procs"), pid.to_string())
    }

    /// The processes in it.
    pub(super) fn processes(&self) -> Vec<i32> {
        let text = std::fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Bytes in use, without what the kernel only caches and can drop (as docker shows it).
    pub(super) fn memory(&self) -> Option<u64> {
        let path = self.folder.join(self.name("memory.current", "memory.usage_in_bytes"));
        let all: u64 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
        let cached = self.field("memory.stat", self.name("inactive_file", "total_inactive_file")).unwrap_or(0);
        Some(all.saturating_sub(cached))
    }

    /// Whether the kernel has killed something for the limit's sake.
    pub(super) fn out_of_memory(&self) -> bool {
        self.field(self.name("memory.events", "memory.oom_control"), "oom_kill").is_some_and(|count| count > 0)
    }

    fn field(&self, file: &str, name: &str) -> Option<u64> {
        let text = std::fs::read_to_string(self.folder.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }

    /// Kills what is in it and removes it.
    pub(super) fn remove(&self) {
        let until = Instant::now() + GRACE;
        while self.folder.exists() {
            let _ = std::fs::write(self.folder.join("cgroup.kill"), "1");
            for pid in self.processes() {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            if std::fs::remove_dir(&self.folder).is_ok() || Instant::now() > until {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Finds the hierarchy with the memory controller in the texts of `/proc/self/mountinfo` and
/// `/proc/self/cgroup` (proc(5), cgroups(7)).
fn hierarchy(mountinfo: &str, own: &str) -> Option<Hierarchy> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        Some((*left.get(3)?, *left.get(4)?, *right.first()?, *right.get(2)?))
    });
    let mounts: Vec<_> = mounts.collect();
    let has_memory = |options: &str| options.split(',').any(|option| option == "memory");
    let old = mounts.iter().find(|(_, _, kind, options)| *kind == "cgroup" && has_memory(options));
    let unified = mounts.iter().find(|(_, _, kind, _)| *kind == "cgroup2");
    let (root, mount, unified) =
        old.map(|found| (found.0, found.1, false)).or_else(|| unified.map(|found| (found.0, found.1, true)))?;
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let this = if unified { controllers.is_empty() } else { has_memory(controllers) };
        this.then_some(path)
    })?;
    // In a container the mount shows a part of the tree: what is above its root cannot be seen.
    let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or(path);
    Some(Hierarchy { mount: mount.into(), own: Path::new(mount).join(below.trim_start_matches('/')), unified })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mountinfo: &str, own: &str) -> (PathBuf, bool) {
        let found = hierarchy(mountinfo, own).unwrap();
        assert!(found.own.starts_with(found.mount));
        (found.own, found.unified)
    }

    #[test]
    fn the_hierarchy_with_memory_is_found_in_both_versions() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(found(unified, "0::/user.slice/a.scope\n"), ("/sys/fs/cgroup/user.slice/a.scope".into(), true));
        let old = "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                   33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(found(old, "4:memory:/a/b\n0::/\n"), ("/sys/fs/cgroup/memory/a/b".into(), false));
        let inside = "32 23 0:28 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(found(inside, "4:memory:/docker/1\n"), ("/sys/fs/cgroup/memory".into(), false));
        assert!(hierarchy("1 2 0:3 / / rw - ext4 /dev/vda rw\n", "0::/\n").is_none());
    }
}
