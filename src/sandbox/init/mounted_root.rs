//! Executes a [`RootPlan`] where mounts are possible: an overlay of the image's layers with
//! everything else mounted on it.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind};

use super::descriptors::{fd_path, is_folder, make_device, open_folder};
use super::mounter::{HARDENED, Mounter, read_only_recursively};
use super::overlay::{Upper, make_folder, mount_stack};
use super::owners::Owners;
use super::plan::{Content, Entry, File, Memory, RootPlan};
use super::stubs::{Stubs, Target};
use super::{sources, ssh};
use crate::error::{Error, ErrorKind};
use crate::layer::LayerPath;
use crate::sandbox::setup_error::{SetupError, Step as _};
use crate::sandbox::{BindSource, IsolationKind, Mount, RootSpec, RunSpec};

/// A root file system that is ready to be entered.
pub(super) struct Prepared {
    pub(super) root: OwnedFd,
    pub(super) stubs: Stubs,
}

/// Mounts everything that `plan` asks for.
pub(super) fn build(isolation: IsolationKind, spec: &RunSpec, plan: &RootPlan<'_>) -> Result<Prepared, SetupError> {
    let RootSpec::Overlay { lower, upper, work } = &spec.root else {
        return Err(SetupError::new("mount a private tree", None));
    };
    make_folder(work)?;
    let owners = Owners::new(isolation, &spec.user);
    make_folder(upper)?;
    owners.begin(upper)?;
    let upper = Upper { folder: upper, work: &work.join("overlay") };
    let root = mount_stack(isolation, lower, Some(upper), &work.join("root"))?;
    owners.make_lasting_folders(&root, spec)?;
    let memory = work.join("memory");
    make_folder(&memory)?;
    mount("tmpfs", &memory, "tmpfs", HARDENED, c"mode=0700").step(|| "mount tmpfs".into())?;
    let mut mounter = Mounter { isolation, owners, root, stubs: Stubs::default(), work: work.clone(), memory, files: 0 };
    plan.entries.iter().try_for_each(|entry| put(&mut mounter, entry))?;
    Ok(Prepared { root: mounter.root, stubs: mounter.stubs })
}

fn put(mounter: &mut Mounter, Entry { target, content }: &Entry<'_>) -> Result<(), SetupError> {
    match content {
        Content::Proc => proc(mounter, target),
        Content::Sys => sys(mounter, target),
        Content::Memory(memory) => mount_memory(mounter, target, memory),
        Content::Terminals => mount_terminals(mounter, target),
        Content::MessageQueues => mounter.mount_at(target, "mqueue", HARDENED, ""),
        Content::Device { major, minor } => {
            let (folder, name) = parent(mounter, target)?;
            match make_device(&folder, name, *major, *minor) {
                // A user namespace has no devices of its own. This machine's cannot be removed, as
                // one in BuildKit can.
                Err(Errno::PERM) => {
                    let place = create(mounter, target, 0o666)?;
                    mount_bind(target.to_string(), fd_path(&place)).step(|| format!("bind {target}"))
                }
                made => made.step(|| format!("create `{target}`")),
            }
        }
        Content::Console => {
            // Where programs look for the name of their terminal: its own is one of this machine's
            // /dev/pts. They can do without.
            if let Ok(terminal) = std::fs::read_link("/proc/self/fd/0") {
                let _ = mount_bind(terminal, fd_path(&create(mounter, target, 0o600)?));
            }
            Ok(())
        }
        Content::Link(text) => {
            let (folder, name) = parent(mounter, target)?;
            rustix::fs::symlinkat(*text, &folder, name).step(|| format!("create `{target}`"))
        }
        Content::Folder { mode } => {
            let (folder, name) = parent(mounter, target)?;
            rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(*mode)).step(|| format!("create `{target}`"))
        }
        Content::Script(bytes) => {
            let file = create(mounter, target, 0o755)?;
            std::fs::File::from(file).write_all(bytes).step(|| format!("write `{target}`"))
        }
        Content::File(file) => bind_file(mounter, target, file),
        Content::Hidden => mounter.hide(target),
        Content::ReadOnly => mounter.protect(target),
        Content::Mount(index, mount) => bind_mount(mounter, target, mount, *index),
    }
}

fn proc(mounter: &mut Mounter, target: &LayerPath) -> Result<(), SetupError> {
    match mounter.mount_at(target, "proc", HARDENED, "") {
        // A container that masks parts of its own /proc forbids a fresh one, but not a copy with
        // the masks.
        Err(error) if error.errno == Some(Errno::PERM.raw_os_error()) => mounter.bind_host_tree("/proc", target),
        mounted => mounted,
    }
}

fn sys(mounter: &mut Mounter, target: &LayerPath) -> Result<(), SetupError> {
    match mounter.mount_at(target, "sysfs", HARDENED | MountFlags::RDONLY, "") {
        Err(error) if error.errno == Some(Errno::PERM.raw_os_error()) => {
            mounter.bind_host_tree("/sys", target)?;
            read_only_recursively(&mounter.reopen(target)?).step(|| "make /sys read-only".into())
        }
        mounted => mounted,
    }
}

fn mount_memory(mounter: &mut Mounter, target: &LayerPath, memory: &Memory) -> Result<(), SetupError> {
    let mut flags = MountFlags::NOSUID;
    if !memory.executable {
        flags |= MountFlags::NOEXEC;
    }
    flags |= if memory.devices { MountFlags::STRICTATIME } else { MountFlags::NODEV };
    let covered = || mounter.reopen(target).ok().and_then(|folder| rustix::fs::fstat(&folder).ok());
    let mode = memory.mode.or_else(|| covered().map(|stat| stat.st_mode & 0o7777)).unwrap_or(0o1777);
    let size = memory.size.map(|size| format!(",size={size}")).unwrap_or_default();
    mounter.mount_at(target, "tmpfs", flags, &format!("mode={mode:o}{size}"))
}

fn mount_terminals(mounter: &mut Mounter, target: &LayerPath) -> Result<(), SetupError> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    match mounter.mount_at(target, "devpts", flags, "newinstance,ptmxmode=0666,mode=0620,gid=5") {
        // Group 5 does not exist where only one id is mapped.
        Err(error) if error.errno == Some(Errno::INVAL.raw_os_error()) => {
            mounter.mount_at(target, "devpts", flags, "newinstance,ptmxmode=0666,mode=0620")
        }
        mounted => mounted,
    }
}

/// The folder in memory that `target` lies in, and its name there.
fn parent<'a>(mounter: &Mounter, target: &'a LayerPath) -> Result<(OwnedFd, &'a [u8]), SetupError> {
    let folder = mounter.reopen(&target.parent().unwrap_or_default())?;
    Ok((folder, target.name().unwrap_or_default()))
}

fn create(mounter: &Mounter, target: &LayerPath, mode: u32) -> Result<OwnedFd, SetupError> {
    let (folder, name) = parent(mounter, target)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(mode)).step(|| format!("create `{target}`"))
}

fn bind_file(mounter: &mut Mounter, target: &LayerPath, file: &File<'_>) -> Result<(), SetupError> {
    if file.optional {
        let folder = mounter.reopen(&target.parent().unwrap_or_default());
        if !folder.is_ok_and(|folder| is_folder(&folder).unwrap_or(false)) {
            return Ok(());
        }
    }
    let source = mounter.memory_file(&file.bytes, file.mode, file.uid, file.gid)?;
    mounter.bind(&source, target, Target::File, file.readonly)
}

fn bind_mount(mounter: &mut Mounter, target: &LayerPath, mount: &Mount, index: usize) -> Result<(), SetupError> {
    match mount {
        Mount::Bind { source, writable, .. } => {
            let source = open_source(mounter, source, index)?;
            let kind = sources::kind_of(&source)?;
            if !writable {
                return mounter.bind(&source, target, kind, true);
            }
            let copy = disposable(mounter, source, kind, index)?;
            mounter.bind(&copy, target, kind, false)
        }
        Mount::Cache { folder, room, mode, uid, gid, readonly, seed, .. } => {
            let folder = sources::cache_folder(folder, room, |parent, name| {
                let source = seed.as_ref().map(|source| open_source(mounter, source, index)).transpose()?;
                sources::make_cache(&mounter.owners, source.as_ref(), parent, name, (*uid, *gid, *mode))
            })?;
            mounter.bind(&folder, target, Target::Folder, *readonly)
        }
        Mount::Volume { source, readonly, .. } => {
            let source = sources::open_volume(source)?;
            let kind = sources::kind_of(&source)?;
            mounter.bind_all(&source, target, kind, *readonly).map_err(|error| match error.errno {
                Some(errno) if errno == Errno::NOTDIR.raw_os_error() => other_kind(target, kind),
                _ => error,
            })
        }
        Mount::Ssh { .. } => {
            let name = LayerPath::parse(ssh::socket_name(index)).unwrap_or_default();
            let socket = sources::open_in(&open_folder(&mounter.work)?, &name)?;
            mounter.bind(&socket, target, Target::File, true)
        }
        // The plan has these as memory and as files.
        Mount::Tmpfs { .. } | Mount::MemoryFile { .. } => Ok(()),
    }
}

/// A volume that is a folder where the image has a file, or the other way round.
fn other_kind(target: &LayerPath, kind: Target) -> SetupError {
    let (is, has) = match kind {
        Target::Folder => ("folder", "file"),
        Target::File => ("file", "folder"),
    };
    let message = format!("a {is} cannot be mounted on `{target}`, which is a {has} in the image");
    SetupError::refused(&Error::new(ErrorKind::Usage, message).with_hint(format!("mount a {has} there, or the {is} elsewhere")))
}

fn open_source(mounter: &Mounter, source: &BindSource, index: usize) -> Result<OwnedFd, SetupError> {
    let (root, path) = match source {
        BindSource::Host { root, path } => (open_folder(root)?, path),
        BindSource::Stack { lower, path } => {
            let at = mounter.work.join(format!("stack-{index}"));
            (mount_stack(mounter.isolation, lower, None, &at)?, path)
        }
    };
    sources::open_in(&root, path)
}

/// Something that looks like `source` and may be written to.
fn disposable(mounter: &Mounter, source: OwnedFd, kind: Target, index: usize) -> Result<OwnedFd, SetupError> {
    let at = |what: &str| mounter.work.join(format!("bind-{index}-{what}"));
    if kind == Target::Folder {
        let (upper, work) = (at("upper"), at("work"));
        make_folder(&upper)?;
        // The upper folder's own owner and mode are those that the mount shows.
        mounter.owners.copy_folder(&source, &open_folder(&upper)?).step(|| "copy the source of a mount".into())?;
        let lower = [PathBuf::from(fd_path(&source))];
        return mount_stack(mounter.isolation, &lower, Some(Upper { folder: &upper, work: &work }), &at("root"));
    }
    let copy = at("file");
    let step = || "copy the source of a mount".to_owned();
    std::fs::copy(fd_path(&source), &copy).step(step)?;
    let stat = rustix::fs::fstat(&source).step(step)?;
    let copy = rustix::fs::open(&copy, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).step(step)?;
    mounter.owners.give(&copy, stat.st_uid, stat.st_gid, stat.st_mode & 0o7777).step(step)?;
    Ok(copy)
}
