//! What a command's root file system holds besides the files of the image: a list that names no way
//! of putting it there.
//!
//! [`RootPlan::new`] is the only place that knows the list. Each kind of isolation has an executor:
//! [`mounted_root`](super::mounted_root) mounts, [`copied_root`](super::copied_root) puts devices
//! and copies into a private tree, `emulated/place.rs` puts things in place, and `emulated/view.rs`
//! says what a path means. What an executor cannot give (a terminal without devpts) it
//! leaves out; what the list hides or protects it may skip where the thing itself is not there.

use std::borrow::Cow;

use super::files;
use crate::layer::LayerPath;
use crate::sandbox::{IsolationKind, Mount, RunSpec};

/// Everything to be put into a root file system, in order: what is inside a folder comes after the
/// folder.
#[derive(Debug)]
pub(super) struct RootPlan<'a> {
    pub(super) entries: Vec<Entry<'a>>,
}

/// One thing at one place.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// Where; links of the image are followed as in a chroot.
    pub(super) target: LayerPath,
    pub(super) content: Content<'a>,
}

/// What stands at a place.
#[derive(Debug)]
pub(super) enum Content<'a> {
    /// Processes, and what the kernel tells of itself (proc(5)).
    Proc,
    /// sysfs(5), read-only.
    Sys,
    /// An empty file system in memory.
    Memory(Memory),
    /// Pseudoterminals of the command's own (devpts).
    Terminals,
    /// POSIX message queues (mq_overview(7)).
    MessageQueues,
    /// A character device, mode 666.
    Device { major: u32, minor: u32 },
    /// The terminal that is the command's standard input.
    Console,
    /// A symbolic link.
    Link(&'static str),
    /// A folder in the memory file system that it lies in.
    Folder { mode: u32 },
    /// An executable file in the memory file system that it lies in.
    Script(&'a [u8]),
    /// A file of its own that hides what the image has there and never gets into a layer.
    File(File<'a>),
    /// Nothing of what is there may be seen.
    Hidden,
    /// What is there may not be written to.
    ReadOnly,
    /// Mounts of the step that need this machine's files: all but tmpfs and secret. The number is
    /// the place in [`RunSpec::mounts`].
    Mount(usize, &'a Mount),
}

/// An empty file system in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// Permission bits of its root; where not given, those of the folder that it covers, or 1777
    /// (as runc).
    pub(super) mode: Option<u32>,
    /// Bytes at most; half of the memory where not given.
    pub(super) size: Option<u64>,
    /// Whether programs in it can be started.
    pub(super) executable: bool,
    /// Whether devices in it work.
    pub(super) devices: bool,
}

#[derive(Debug)]
pub(super) struct File<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) readonly: bool,
    /// Left out where the image does not have its folder.
    pub(super) optional: bool,
}

/// Name, major and minor number (moby, oci/defaults.go and runc, specconv.AllowedDevices).
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links that every container has (OCI runtime specification, "Default Devices" and "Dev symbolic
/// links").
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// moby, oci/defaults.go.
const HIDDEN: [&str; 14] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
    "sys/kernel/debug",
    "sys/kernel/security",
];

/// moby, oci/defaults.go.
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// Bytes of /dev and /dev/shm (moby, oci/defaults.go).
const SMALL: Option<u64> = Some(64 << 20);

/// Has apt not look whether it has become the user that it fetches as, which it cannot with one id.
const APT_WITH_ONE_ID: &[u8] = b"APT::Sandbox::Verify::IDs \"false\";\nAPT::Sandbox::Verify::Regain \"false\";\n";

impl<'a> RootPlan<'a> {
    /// What a command of `spec` finds with this kind of isolation.
    pub(super) fn new(isolation: IsolationKind, spec: &'a RunSpec) -> Self {
        let mut plan = Self { entries: Vec::new() };
        plan.kernel();
        plan.devices(spec);
        plan.files(isolation, spec);
        plan.mounts(spec);
        plan
    }

    fn add(&mut self, target: impl AsRef<str>, content: Content<'a>) {
        self.entries.push(Entry { target: LayerPath::parse(target.as_ref()).unwrap_or_default(), content });
    }

    fn kernel(&mut self) {
        self.add("proc", Content::Proc);
        self.add("sys", Content::Sys);
        HIDDEN.iter().for_each(|path| self.add(path, Content::Hidden));
        READ_ONLY.iter().for_each(|path| self.add(path, Content::ReadOnly));
    }

    fn devices(&mut self, spec: &'a RunSpec) {
        let dev = Memory { mode: Some(0o755), size: SMALL, executable: true, devices: true };
        self.add("dev", Content::Memory(dev));
        for (name, major, minor) in DEVICES {
            self.add(format!("dev/{name}"), Content::Device { major, minor });
        }
        if spec.terminal {
            self.add("dev/console", Content::Console);
        }
        for (name, text) in LINKS {
            self.add(format!("dev/{name}"), Content::Link(text));
        }
        self.add("dev/pts", Content::Terminals);
        let size = spec.shm_size.or(SMALL);
        self.add("dev/shm", Content::Memory(Memory { mode: Some(0o1777), size, executable: false, devices: false }));
        self.add("dev/mqueue", Content::MessageQueues);
        if let Some((name, content)) = &spec.script {
            self.add("dev/pipes", Content::Folder { mode: 0o755 });
            self.add(format!("dev/pipes/{name}"), Content::Script(content));
        }
    }

    fn files(&mut self, isolation: IsolationKind, spec: &RunSpec) {
        // As Docker binds them: BuildKit's steps cannot write to them, a container's command can.
        let file =
            |bytes| File { bytes: Cow::Owned(bytes), mode: 0o644, uid: 0, gid: 0, readonly: !spec.container, optional: false };
        self.add("etc/hosts", Content::File(file(files::hosts(spec))));
        self.add("etc/resolv.conf", Content::File(file(files::resolv_conf(spec))));
        // BuildKit leaves a step the image's own: what is written there belongs to the layer.
        if spec.container {
            self.add("etc/hostname", Content::File(file(files::hostname(spec))));
        }
        if isolation.records_owners_in_xattrs() && spec.user.uid == 0 {
            let settings = File { optional: true, readonly: true, ..file(APT_WITH_ONE_ID.to_vec()) };
            self.add("etc/apt/apt.conf.d/zz-mpimg-one-id", Content::File(settings));
        }
    }

    /// The step's own mounts, parents first, whatever their order in the line.
    fn mounts(&mut self, spec: &'a RunSpec) {
        let mut mounts: Vec<(usize, &Mount)> = spec.mounts.iter().enumerate().collect();
        mounts.sort_by_key(|(_, mount)| mount.target().components().count());
        for (index, mount) in mounts {
            let content = match mount {
                Mount::Tmpfs { size, mode, .. } => {
                    Content::Memory(Memory { mode: *mode, size: *size, executable: true, devices: false })
                }
                Mount::MemoryFile { bytes, mode, uid, gid, .. } => Content::File(File {
                    bytes: Cow::Borrowed(bytes.reveal()),
                    mode: *mode,
                    uid: *uid,
                    gid: *gid,
                    readonly: true,
                    optional: false,
                }),
                other => Content::Mount(index, other),
            };
            self.entries.push(Entry { target: mount.target().clone(), content });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::RootSpec;

    fn spec() -> RunSpec {
        RunSpec::new(["true"], RootSpec::Tree { path: "/t".into() })
    }

    fn tmpfs(target: &str) -> Mount {
        Mount::Tmpfs { target: LayerPath::parse(target).unwrap(), size: None, mode: None }
    }

    fn position(plan: &RootPlan<'_>, target: &str) -> Option<usize> {
        plan.entries.iter().position(|entry| entry.target.to_string() == target)
    }

    #[test]
    fn a_step_keeps_the_images_hostname_and_a_container_gets_its_own() {
        let mut spec = spec();
        assert_eq!(position(&RootPlan::new(IsolationKind::Root, &spec), "/etc/hostname"), None);
        spec.container = true;
        let plan = RootPlan::new(IsolationKind::Chroot, &spec);
        let at = position(&plan, "/etc/hostname").unwrap();
        assert!(
            matches!(&plan.entries[at].content, Content::File(file) if &*file.bytes == b"buildkitsandbox\n" && !file.readonly)
        );
    }

    #[test]
    fn everything_comes_after_the_folder_that_it_is_in_and_each_place_once() {
        let mut spec = spec();
        (spec.terminal, spec.container) = (true, true);
        spec.script = Some(("EOF".into(), b"#!/bin/sh\n".to_vec()));
        spec.mounts = vec![tmpfs("a/b/c"), tmpfs("d"), tmpfs("a"), tmpfs("a/b")];
        for isolation in IsolationKind::ALL {
            let plan = RootPlan::new(isolation, &spec);
            for (index, entry) in plan.entries.iter().enumerate() {
                let later = &plan.entries[index + 1..];
                assert!(
                    later.iter().all(|other| entry.target.ancestors().all(|folder| folder != other.target)),
                    "{}",
                    entry.target
                );
                assert!(later.iter().all(|other| other.target != entry.target), "{}", entry.target);
            }
            let own: Vec<String> = plan.entries[plan.entries.len() - 4..].iter().map(|entry| entry.target.to_string()).collect();
            assert_eq!(own, ["/d", "/a", "/a/b", "/a/b/c"]);
        }
    }
}
