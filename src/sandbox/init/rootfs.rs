//! Builds the file systems that a command sees: the overlay, /proc, /sys, /dev, the files of /etc, the step's own mounts.
//!
//! Refuses what Docker hides: the same paths of /proc and /sys are masked or read-only.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive, mount_remount};

use super::overlay::{Upper, make_folder, mount_stack};
use super::owners::Owners;
use super::stubs::{Stubs, Target};
use super::{SetupError, fd_path, files, mounts, process};
use crate::layer::LayerPath;
use crate::sandbox::wire::Step as _;
use crate::sandbox::{IsolationKind, RootSpec, RunSpec};

const HARDENED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Hidden (moby, oci/defaults.go).
const MASKED: [&str; 14] = [
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

/// Read-only (moby, oci/defaults.go).
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// A root file system that is ready to be entered.
pub(super) struct Prepared {
    pub(super) root: OwnedFd,
    pub(super) stubs: Stubs,
}

/// Everything that mounts need to know.
pub(super) struct Stage {
    pub(super) isolation: IsolationKind,
    pub(super) owners: Owners,
    pub(super) root: OwnedFd,
    pub(super) stubs: Stubs,
    /// Room on disk for writes that are thrown away.
    pub(super) work: PathBuf,
    /// Room in memory, for secrets.
    pub(super) memory: PathBuf,
    files: usize,
}

pub(super) fn build(isolation: IsolationKind, spec: &RunSpec) -> Result<Prepared, SetupError> {
    let RootSpec::Overlay { lower, upper, work } = &spec.root else {
        return Err(SetupError::new("mount a private tree", None));
    };
    make_folder(work)?;
    let owners = Owners::new(isolation, &spec.user);
    make_folder(upper)?;
    owners.begin(upper)?;
    let upper = Upper { folder: upper, work: &work.join("overlay") };
    let root = mount_stack(isolation, lower, Some(upper), &work.join("root"))?;
    let memory = work.join("memory");
    make_folder(&memory)?;
    mount("tmpfs", &memory, "tmpfs", HARDENED, c"mode=0700").step(|| "mount tmpfs".into())?;
    let mut stage = Stage { isolation, owners, root, stubs: Stubs::default(), work: work.clone(), memory, files: 0 };
    stage.kernel_files()?;
    stage.devices(spec)?;
    for (path, content) in [
        ("etc/hosts", files::hosts(spec)),
        ("etc/hostname", files::hostname(spec)),
        ("etc/resolv.conf", files::resolv_conf(spec)),
    ] {
        let source = stage.memory_file(&content, 0o644, 0, 0)?;
        stage.bind(&source, &layer_path(path), Target::File, true)?;
    }
    if isolation == IsolationKind::SingleId && spec.user.uid == 0 {
        stage.settings_of_apt()?;
    }
    for (index, mount) in spec.mounts.iter().enumerate() {
        mounts::add(&mut stage, mount, index)?;
    }
    Ok(Prepared { root: stage.root, stubs: stage.stubs })
}

impl Stage {
    /// A file in memory that is gone with this namespace.
    pub(super) fn memory_file(&mut self, content: &[u8], mode: u32, uid: u32, gid: u32) -> Result<OwnedFd, SetupError> {
        let path = self.memory.join(self.files.to_string());
        self.files += 1;
        let step = || "write a file in memory".to_owned();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).step(step)?;
        let mut file = std::fs::File::from(file);
        file.write_all(content).step(step)?;
        let file = OwnedFd::from(file);
        self.owners.give(&file, uid, gid, mode).step(step)?;
        Ok(file)
    }

    /// Binds what `source` is open on to `target`.
    pub(super) fn bind(&mut self, source: &OwnedFd, target: &LayerPath, kind: Target, readonly: bool) -> Result<(), SetupError> {
        let step = || format!("bind `{target}`");
        let place = self.stubs.target(&self.root, target, kind)?;
        mount_bind(fd_path(source), fd_path(&place)).step(step)?;
        if readonly {
            // Reopened: `place` is what the mount covers.
            let mounted = self.reopen(target)?;
            read_only(&mounted).step(step)?;
        }
        Ok(())
    }

    /// As [`bind`](Self::bind), with everything that is mounted below `source`.
    pub(super) fn bind_all(
        &mut self,
        source: &OwnedFd,
        target: &LayerPath,
        kind: Target,
        readonly: bool,
    ) -> Result<(), SetupError> {
        let step = || format!("bind `{target}`");
        let place = self.stubs.target(&self.root, target, kind)?;
        mount_bind_recursive(fd_path(source), fd_path(&place)).step(step)?;
        if readonly {
            let mounted = self.reopen(target)?;
            match process::read_only_recursively(&mounted) {
                // Older than Linux 5.12: then what is mounted below keeps its own flags.
                Err(Errno::NOSYS | Errno::PERM) => read_only(&mounted).step(step)?,
                done => done.step(step)?,
            }
        }
        Ok(())
    }

    /// What is at `target` now, mounts included.
    fn reopen(&self, target: &LayerPath) -> Result<OwnedFd, SetupError> {
        let resolve = rustix::fs::ResolveFlags::IN_ROOT;
        let opened = rustix::fs::openat2(&self.root, target.as_path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
        opened.step(|| format!("open `{target}`"))
    }

    pub(super) fn mount_at(
        &mut self,
        target: &LayerPath,
        kind: &str,
        flags: MountFlags,
        options: &str,
    ) -> Result<(), SetupError> {
        let place = self.stubs.target(&self.root, target, Target::Folder)?;
        let step = || format!("mount {kind} on `{target}`");
        let options = std::ffi::CString::new(options).map_err(|_| SetupError::new(step(), None))?;
        mount(kind, fd_path(&place), kind, flags, options.as_c_str()).step(step)
    }

    /// apt fetches as a user of its own and looks whether it has become that user, which is impossible with one id.
    fn settings_of_apt(&mut self) -> Result<(), SetupError> {
        let folder = layer_path("etc/apt/apt.conf.d");
        if !self.reopen(&folder).and_then(|folder| is_folder(&folder).step(|| "examine apt's settings".into())).unwrap_or(false) {
            return Ok(());
        }
        let source =
            self.memory_file(b"APT::Sandbox::Verify::IDs \"false\";\nAPT::Sandbox::Verify::Regain \"false\";\n", 0o644, 0, 0)?;
        self.bind(&source, &layer_path("etc/apt/apt.conf.d/zz-mpimg-one-id"), Target::File, true)
    }

    fn kernel_files(&mut self) -> Result<(), SetupError> {
        match self.mount_at(&layer_path("proc"), "proc", HARDENED, "") {
            // A container that masks parts of its own /proc forbids a fresh one, but not a copy with the masks.
            Err(error) if error.errno == Some(Errno::PERM.raw_os_error()) => self.bind_tree("/proc", "proc")?,
            mounted => mounted?,
        }
        match self.mount_at(&layer_path("sys"), "sysfs", HARDENED | MountFlags::RDONLY, "") {
            Err(error) if error.errno == Some(Errno::PERM.raw_os_error()) => {
                self.bind_tree("/sys", "sys")?;
                let sys = self.reopen(&layer_path("sys"))?;
                process::read_only_recursively(&sys).step(|| "make /sys read-only".into())?;
            }
            mounted => mounted?,
        }
        MASKED.iter().try_for_each(|path| self.mask(path))?;
        READ_ONLY.iter().try_for_each(|path| self.protect(path))
    }

    fn bind_tree(&mut self, source: &str, target: &str) -> Result<(), SetupError> {
        let place = self.stubs.target(&self.root, &layer_path(target), Target::Folder)?;
        mount_bind_recursive(source, fd_path(&place)).step(|| format!("bind `{source}`"))
    }

    fn mask(&self, path: &str) -> Result<(), SetupError> {
        let Ok(place) = self.reopen(&layer_path(path)) else { return Ok(()) };
        let folder = rustix::fs::fstat(&place).is_ok_and(|stat| stat.st_mode & 0o170000 == 0o040000);
        if folder {
            let flags = HARDENED | MountFlags::RDONLY;
            mount("tmpfs", fd_path(&place), "tmpfs", flags, c"mode=0755,size=0k").step(|| format!("mask `{path}`"))
        } else {
            mount_bind("/dev/null", fd_path(&place)).step(|| format!("mask `{path}`"))
        }
    }

    fn protect(&self, path: &str) -> Result<(), SetupError> {
        let Ok(place) = self.reopen(&layer_path(path)) else { return Ok(()) };
        let step = || format!("make `{path}` read-only");
        mount_bind_recursive(fd_path(&place), fd_path(&place)).step(step)?;
        read_only(&self.reopen(&layer_path(path))?).step(step)
    }

    fn devices(&mut self, spec: &RunSpec) -> Result<(), SetupError> {
        let nosuid = MountFlags::NOSUID | MountFlags::STRICTATIME;
        self.mount_at(&layer_path("dev"), "tmpfs", nosuid, "mode=0755,size=65536k")?;
        let dev = self.reopen(&layer_path("dev"))?;
        let step = || "set up /dev".to_owned();
        let create = |name: &str, mode: u32| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&dev, name, flags, Mode::from_raw_mode(mode)).step(step)
        };
        for name in DEVICES {
            let place = create(name, 0o666)?;
            mount_bind(format!("/dev/{name}"), fd_path(&place)).step(|| format!("bind /dev/{name}"))?;
        }
        // Where programs look for the name of their terminal: its own is one of this machine's /dev/pts. They can do without.
        if spec.terminal
            && let Ok(terminal) = std::fs::read_link("/proc/self/fd/0")
        {
            let _ = mount_bind(terminal, fd_path(&create("console", 0o600)?));
        }
        for (name, text) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            rustix::fs::symlinkat(text, &dev, name).step(step)?;
        }
        let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
        let pts = layer_path("dev/pts");
        match self.mount_at(&pts, "devpts", quiet, "newinstance,ptmxmode=0666,mode=0620,gid=5") {
            // Group 5 does not exist where only one id is mapped.
            Err(error) if error.errno == Some(Errno::INVAL.raw_os_error()) => {
                self.mount_at(&pts, "devpts", quiet, "newinstance,ptmxmode=0666,mode=0620")?;
            }
            mounted => mounted?,
        }
        self.mount_at(&layer_path("dev/shm"), "tmpfs", HARDENED, "mode=1777,size=65536k")?;
        self.mount_at(&layer_path("dev/mqueue"), "mqueue", HARDENED, "")?;
        let Some((name, content)) = &spec.script else { return Ok(()) };
        rustix::fs::mkdirat(&dev, "pipes", Mode::from_raw_mode(0o755)).step(step)?;
        let file = create(&format!("pipes/{name}"), 0o755)?;
        std::fs::File::from(file).write_all(content).step(step)
    }
}

/// A path that this program itself names.
pub(super) fn layer_path(path: &str) -> LayerPath {
    LayerPath::parse(path).unwrap_or_default()
}

/// Makes the mount at `place` read-only. Flags that a user namespace may not take away are kept.
pub(super) fn read_only(place: &OwnedFd) -> Result<(), Errno> {
    use rustix::fs::StatVfsMountFlags as Now;
    let now = rustix::fs::fstatvfs(place)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (is, keep) in [
        (Now::NOSUID, MountFlags::NOSUID),
        (Now::NODEV, MountFlags::NODEV),
        (Now::NOEXEC, MountFlags::NOEXEC),
        (Now::NOATIME, MountFlags::NOATIME),
        (Now::NODIRATIME, MountFlags::NODIRATIME),
        (Now::RELATIME, MountFlags::RELATIME),
    ] {
        if now.contains(is) {
            flags |= keep;
        }
    }
    mount_remount(fd_path(place), flags, c"")
}

pub(super) fn is_folder(path: &OwnedFd) -> Result<bool, Errno> {
    Ok(rustix::fs::fstat(path)?.st_mode & 0o170000 == 0o040000)
}
