//! Executes a [`RootPlan`] where nothing can be mounted: devices are made, and files and folders
//! are copied or moved into the tree for the time of the step.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};

use super::descriptors::{is_folder, make_device, open_folder, write_all};
use super::owners::Owners;
use super::plan::{Content, Entry, File, RootPlan};
use super::substitute_mounts::SubstituteMounts;
use super::{copy, sources, ssh, stubs};
use crate::dockerfile::DEFAULT_PATH;
use crate::layer::LayerPath;
use crate::sandbox::setup_error::{SetupError, Step as _};
use crate::sandbox::{BindSource, Mount, RunSpec};

/// Files of the machine's /proc that say nothing of its processes.
const PROC_FILES: [&str; 7] = ["cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "uptime", "version"];

/// Puts everything that `plan` asks for into the tree. `aside` is a folder beside it, for sockets.
pub(super) fn build(mounts: &mut SubstituteMounts, spec: &RunSpec, plan: &RootPlan<'_>, aside: &Path) -> Result<(), SetupError> {
    plan.entries.iter().try_for_each(|Entry { target, content }| match content {
        Content::Proc => proc_files(mounts, spec, target),
        Content::Sys => mounts.put_folder(target, 0o555).map(drop),
        Content::Memory(memory) => {
            let mode = memory.mode.unwrap_or_else(|| mode_of(mounts.tree(), target).unwrap_or(0o1777));
            mounts.put_folder(target, mode).map(drop)
        }
        Content::Folder { mode } => mounts.put_folder(target, *mode).map(drop),
        Content::Device { major, minor } => mounts.put(target, |folder, name| make_device(folder, name, *major, *minor)),
        Content::Link(text) => mounts.put(target, |folder, name| rustix::fs::symlinkat(*text, folder, name)),
        Content::Script(bytes) => put_file(mounts, target, bytes, 0o755, 0, 0),
        Content::File(File { optional: true, .. }) if !has_parent(mounts.tree(), target) => Ok(()),
        Content::File(File { bytes, mode, uid, gid, .. }) => put_file(mounts, target, bytes, *mode, *uid, *gid),
        Content::Mount(index, mount) => put_mount(mounts, target, mount, *index, aside),
        // Without devpts and mqueue nothing can be in them.
        Content::Terminals => mounts.put_folder(target, 0o755).map(drop),
        Content::MessageQueues => mounts.put_folder(target, 0o1777).map(drop),
        // /proc and /sys hold nothing that needs to be hidden.
        Content::Console | Content::Hidden | Content::ReadOnly => Ok(()),
    })
}

/// Permission bits of what is at `path`.
fn mode_of(tree: &OwnedFd, path: &LayerPath) -> Option<u32> {
    let place = stubs::resolve(tree, path).ok()?;
    let stat = rustix::fs::statat(tree, place.as_path(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(stat.st_mode & 0o7777)
}

fn has_parent(tree: &OwnedFd, path: &LayerPath) -> bool {
    let place = stubs::resolve(tree, &path.parent().unwrap_or_default());
    place.is_ok_and(|place| stubs::open_folder(tree, &place).is_ok_and(|folder| is_folder(&folder).unwrap_or(false)))
}

/// A snapshot of /proc. `self/exe` is there for Java alone: its launcher finds its libraries
/// by it.
fn proc_files(mounts: &mut SubstituteMounts, spec: &RunSpec, target: &LayerPath) -> Result<(), SetupError> {
    let java = find_java(mounts.tree(), spec);
    let proc = mounts.put_folder(target, 0o555)?;
    let step = || "set up /proc".to_owned();
    rustix::fs::mkdirat(&proc, "self", Mode::from_raw_mode(0o555)).step(step)?;
    let write = |name: &str, content: &[u8]| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&proc, name, flags, Mode::from_raw_mode(0o444)).step(step)?;
        write_all(&file, content).step(step)
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

fn find_java(tree: &OwnedFd, spec: &RunSpec) -> Option<LayerPath> {
    let variable = |name: &str| spec.env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let home = variable("JAVA_HOME").map(|home| format!("{home}/bin"));
    let folders = home.into_iter().chain(variable("PATH").unwrap_or(DEFAULT_PATH).split(':').map(str::to_owned));
    folders.filter_map(|folder| stubs::resolve(tree, &LayerPath::clean(format!("{folder}/java")).ok()?).ok()).find(|path| {
        let found = rustix::fs::statat(tree, path.as_path(), AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    })
}

fn put_file(
    mounts: &mut SubstituteMounts,
    path: &LayerPath,
    content: &[u8],
    mode: u32,
    uid: u32,
    gid: u32,
) -> Result<(), SetupError> {
    mounts.put_mount(path, |folder, name| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
        write_all(&file, content)?;
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
    sources::open_in(&open_folder(root)?, path)
}

fn put_mount(
    mounts: &mut SubstituteMounts,
    target: &LayerPath,
    mount: &Mount,
    index: usize,
    aside: &Path,
) -> Result<(), SetupError> {
    match mount {
        Mount::Bind { source, .. } => {
            let source = open_source(source)?;
            mounts.put_mount(target, |folder, name| copy::copy(&source, folder, name))
        }
        Mount::Cache { folder, room, mode, uid, gid, seed, readonly, .. } => {
            let source = sources::cache_folder(folder, room, |parent, name| {
                let source = seed.as_ref().map(open_source).transpose()?;
                sources::make_cache(&Owners::OnDisk, source.as_ref(), parent, name, (*uid, *gid, *mode))
            })?;
            if *readonly {
                // Nothing keeps the command from writing, but it writes into a copy.
                return mounts.put_mount(target, |folder, name| copy::copy(&source, folder, name));
            }
            mounts.lend(target, folder)
        }
        Mount::Volume { source, .. } => {
            let source = sources::open_volume(source)?;
            mounts.put_mount(target, |folder, name| copy::copy(&source, folder, name))
        }
        Mount::Ssh { .. } => {
            let socket = open_folder(aside)?;
            mounts.put_mount(target, |folder, name| rustix::fs::renameat(&socket, ssh::socket_name(index), folder, name))
        }
        // The plan has these as memory and as files.
        Mount::Tmpfs { .. } | Mount::MemoryFile { .. } => Ok(()),
    }
}
