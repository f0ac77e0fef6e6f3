//! The isolation without namespaces: the helper puts devices and files into the step's own tree, starts the command in a chroot, and afterwards
//! kills everything that descends from it.
//!
//! Refuses to be called a boundary: the command sees the machine's processes and network as its parent container does.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions};
use rustix::thread::{CapabilitySet, capabilities};

use super::child::exit_of;
use super::emulated_mounts::EmulatedMounts;
use super::owners::Owners;
use super::process::{Fork, exit_now, fork};
use super::rootfs::layer_path;
use super::{
    SetupError, attended, command, copy, die_with_parent, files, mounts, open_folder, orphans, overlay, pipe, ssh, stubs, volumes,
};
use crate::layer::LayerPath;
use crate::sandbox::wire::{Step as _, read_message, write_message};
use crate::sandbox::{BindSource, Exit, IsolationKind, Mount, Network, RootSpec, RunSpec};

/// Name, major and minor number.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Files of the machine's /proc that say nothing of its processes.
const PROC_FILES: [&str; 7] = ["cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "uptime", "version"];

/// Returns how the command ended and the paths whose ctime this function has changed.
pub(super) fn run(spec: &RunSpec, probe: bool, control: &UnixStream) -> Result<(Exit, Vec<LayerPath>), SetupError> {
    let RootSpec::Tree { path } = &spec.root else {
        return Err(SetupError::new("a step with isolation `chroot` with an overlay", None));
    };
    if spec.network != Network::Host {
        return Err(SetupError::new("a network of its own with isolation `chroot`", Some(Errno::PERM.raw_os_error())));
    }
    let own = capabilities(None).step(|| "capget".into())?.effective;
    if !own.contains(CapabilitySet::SYS_CHROOT) {
        let uid = rustix::process::geteuid().as_raw();
        return Err(SetupError::new(format!("chroot as uid {uid} without CAP_SYS_CHROOT"), Some(Errno::PERM.raw_os_error())));
    }
    let aside = path.with_extension("aside");
    overlay::make_folder(path)?;
    overlay::make_folder(&aside)?;
    let mut mounts = EmulatedMounts::new(open_folder(path)?, open_folder(&aside)?);
    let outcome = ssh::listen(&Owners::OnDisk, spec, &aside).and_then(ssh::Agents::serve).and_then(|agents| {
        prepare(&mut mounts, spec, &aside)?;
        let volumes = volumes::note(mounts.tree(), spec)?;
        let command = command::prepare(IsolationKind::Chroot, spec, mounts.tree(), None)?;
        let exit = supervise(&command, mounts.tree(), agents, probe, control);
        // Also of a command that failed or was killed: its logs are what somebody wants then.
        volumes.iter().try_for_each(volumes::Volume::copy_back).and(exit)
    });
    let touched = mounts.touched();
    let restored = mounts.restore();
    let _ = super::remove_tree(&aside);
    let exit = outcome?;
    restored.map(|()| (exit, touched))
}

fn prepare(mounts: &mut EmulatedMounts, spec: &RunSpec, aside: &Path) -> Result<(), SetupError> {
    proc_files(mounts, spec)?;
    mounts.put_folder(&layer_path("sys"), 0o555)?;
    let dev = mounts.put_folder(&layer_path("dev"), 0o755)?;
    for (name, major, minor) in DEVICES {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)
            .step(|| format!("mknod /dev/{name}"))?;
    }
    let step = || "set up /dev".to_owned();
    rustix::fs::mkdirat(&dev, "shm", Mode::from_raw_mode(0o777)).step(step)?;
    rustix::fs::chmodat(&dev, "shm", Mode::from_raw_mode(0o1777), rustix::fs::AtFlags::empty()).step(step)?;
    for (name, text) in
        [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")]
    {
        rustix::fs::symlinkat(text, &dev, name).step(step)?;
    }
    for (path, content) in [
        ("etc/hosts", files::hosts(spec)),
        ("etc/hostname", files::hostname(spec)),
        ("etc/resolv.conf", files::resolv_conf(spec)),
    ] {
        put_file(mounts, &layer_path(path), &content, 0o644, 0, 0)?;
    }
    for (index, mount) in spec.mounts.iter().enumerate() {
        put_mount(mounts, mount, index, aside)?;
    }
    let Some((name, content)) = &spec.script else { return Ok(()) };
    put_file(mounts, &layer_path(&format!("dev/pipes/{name}")), content, 0o755, 0, 0)
}

/// A still picture of /proc. `self/exe` is there for Java alone: its launcher finds its libraries by it.
fn proc_files(mounts: &mut EmulatedMounts, spec: &RunSpec) -> Result<(), SetupError> {
    let java = java(mounts.tree(), spec);
    let proc = mounts.put_folder(&layer_path("proc"), 0o555)?;
    let step = || "set up /proc".to_owned();
    rustix::fs::mkdirat(&proc, "self", Mode::from_raw_mode(0o555)).step(step)?;
    let write = |name: &str, content: &[u8]| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&proc, name, flags, Mode::from_raw_mode(0o444)).step(step)?;
        rustix::io::write(&file, content).step(step).map(drop)
    };
    for name in PROC_FILES {
        write(name, &std::fs::read(format!("/proc/{name}")).unwrap_or_default())?;
    }
    rustix::fs::symlinkat("self/mounts", &proc, "mounts").step(step)?;
    write("self/mounts", b"rootfs / rootfs rw 0 0\n")?;
    match java {
        Some(java) => rustix::fs::symlinkat(format!("{java}"), &proc, "self/exe").step(step),
        None => Ok(()),
    }
}

fn java(tree: &OwnedFd, spec: &RunSpec) -> Option<LayerPath> {
    let variable = |name: &str| spec.env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let home = variable("JAVA_HOME").map(|home| format!("{home}/bin"));
    let folders = home.into_iter().chain(variable("PATH").unwrap_or(command::DEFAULT_PATH).split(':').map(str::to_owned));
    folders.filter_map(|folder| stubs::resolve(tree, &LayerPath::clean(format!("{folder}/java")).ok()?).ok()).find(|path| {
        let found = rustix::fs::statat(tree, path.as_path(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    })
}

fn put_file(
    mounts: &mut EmulatedMounts,
    path: &LayerPath,
    content: &[u8],
    mode: u32,
    uid: u32,
    gid: u32,
) -> Result<(), SetupError> {
    mounts.put(path, |folder, name| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut rest = content;
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&file, rest)?..];
        }
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
    })
}

fn open_source(source: &BindSource) -> Result<OwnedFd, SetupError> {
    let (root, path) = match source {
        BindSource::Host { root, path } => (root, path),
        BindSource::Stack { lower, path } => match lower.as_slice() {
            [tree] => (tree, path),
            _ => return Err(SetupError::new("bind a stack of layers with isolation `chroot`", None)),
        },
    };
    mounts::open_in(&open_folder(root)?, path)
}

fn put_mount(mounts: &mut EmulatedMounts, mount: &Mount, index: usize, aside: &Path) -> Result<(), SetupError> {
    match mount {
        Mount::Bind { source, target, .. } => {
            let source = open_source(source)?;
            mounts.put(target, |folder, name| copy::copy(&source, folder, name))
        }
        Mount::Cache { folder, target, mode, uid, gid, seed, readonly } => {
            if let Some((source, room)) = seed.as_ref().filter(|_| !folder.exists()) {
                mounts::plant(&open_source(source)?, room, folder)?;
            }
            drop(mounts::cache_folder(&Owners::OnDisk, folder, *mode, *uid, *gid)?);
            if *readonly {
                // Nothing keeps the command from writing, but it writes into a copy.
                let source = open_folder(folder)?;
                return mounts.put(target, |folder, name| copy::copy(&source, folder, name));
            }
            mounts.lend(target, folder)
        }
        Mount::Volume { source, target, .. } => {
            let source = mounts::open_volume(source)?;
            mounts.put(target, |folder, name| copy::copy(&source, folder, name))
        }
        Mount::Tmpfs { target, mode, .. } => mounts.put_folder(target, *mode).map(drop),
        Mount::Secret { bytes, target, mode, uid, gid } => put_file(mounts, target, bytes.reveal(), *mode, *uid, *gid),
        Mount::Ssh { target, .. } => {
            let socket = open_folder(aside)?;
            mounts.put(target, |folder, name| rustix::fs::renameat(&socket, ssh::socket_name(index), folder, name))
        }
    }
}

fn supervise(
    command: &command::Command<'_>,
    tree: &OwnedFd,
    agents: ssh::Server,
    probe: bool,
    control: &UnixStream,
) -> Result<Exit, SetupError> {
    // Orphans come to this process instead of leaving it.
    orphans::adopt().step(|| "prctl(PR_SET_CHILD_SUBREAPER)".into())?;
    let (alive, keep_alive) = pipe()?;
    let (reports, report) = pipe()?;
    let pid = match fork().step(|| "fork".into())? {
        Fork::Child => {
            drop((keep_alive, reports));
            let entered = die_with_parent(&OwnedFd::from(alive)).and_then(|()| enter(tree));
            let rehearsed = if probe { entered.and_then(|()| device_works()).and_then(|()| command.rehearse()) } else { entered };
            exit_now(match rehearsed {
                Ok(()) if probe => 0,
                Ok(()) => command.become_it(),
                Err(error) => i32::from(write_message(&report, &error).is_err()),
            })
        }
        Fork::Parent(pid) => pid,
    };
    drop((report, alive));
    let exit = attended::tell_start(control, pid).and_then(|()| wait_or_hang_up(pid, control));
    drop(agents);
    orphans::kill_descendants();
    drop(keep_alive);
    match read_message::<SetupError>(reports).step(|| "start the command".into())? {
        Some(error) => Err(error),
        None => exit,
    }
}

fn enter(tree: &OwnedFd) -> Result<(), SetupError> {
    rustix::process::fchdir(tree).step(|| "enter the tree".into())?;
    rustix::process::chroot(".").step(|| "chroot".into())
}

/// A file system that is mounted nodev lets devices be made but not used.
fn device_works() -> Result<(), SetupError> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).step(|| "open /dev/null inside".into()).map(drop)
}

fn wait_or_hang_up(pid: Pid, control: &UnixStream) -> Result<Exit, SetupError> {
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).step(|| "pidfd_open".into())?;
    loop {
        let mut fds = [PollFd::new(&process, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            polled => polled.step(|| "wait for the command".into())?,
        };
        if fds[0].revents().is_empty() {
            if !attended::obey(control, |signal| {
                let _ = rustix::process::pidfd_send_signal(&process, signal);
            }) {
                return Err(SetupError::new("wait for the command (the caller is gone)", None));
            }
            continue;
        }
        let ended = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG).step(|| "wait".into())?;
        if let Some(exit) = ended.and_then(|(_, status)| exit_of(status)) {
            return Ok(exit);
        }
    }
}
