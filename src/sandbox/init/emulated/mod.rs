//! The isolation for a process that may do nothing: no root, no capabilities, no namespaces, no
//! mounts (a pod of Kubernetes' "restricted" standard). What a command may only do as root of a
//! file system of its own is emulated by a supervisor.
//!
//! ```text
//! mpimg ──socket──► helper: the supervisor
//!                     ├─ the command, under a system-call filter (`filter`)
//!                     └─ its descendants, traced by the supervisor, killed with it
//! ```
//! A call that names a file waits (seccomp_unotify(2)) until the supervisor has resolved the path
//! inside the step's tree (`walk`), done what was asked for, and handed the descriptor over. The
//! path is read once, so no other thread can change it in between. Owners, modes, devices and file
//! capabilities are a table by inode (`layer::owner_table`), ids and capabilities of each thread a
//! model (`credentials`). What the kernel must do in the process itself is made by ptrace
//! (`traced`); execve starts a loader (`loader`) that maps the program.
//!
//! It is not a boundary: the command runs as the user that runs mpimg, in the same namespaces.

mod attributes;
mod copy_up;
mod credentials;
mod descriptors;
mod dispatch;
mod elf;
mod examine;
mod exec;
mod filter;
mod identity;
mod loader;
mod memory;
mod nodes;
mod open;
mod permissions;
mod place;
mod placement;
mod proc;
mod ptrace;
mod second_filter;
mod short_name;
mod signals;
mod sockets;
mod state;
mod supervise;
mod threads;
mod traced;
mod view;
mod walk;

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::descriptors::{expect_mounted_with, open_folder, remove_tree};
use super::owners::Owners;
use super::plan::RootPlan;
use super::substitute_mounts::SubstituteMounts;
use super::{command, overlay, ssh, stubs, volumes};
use crate::layer::LayerPath;
use crate::layer::owner_table::{OwnerTable, Row, inode_of, split_mode};
use crate::layer::owners::Record;
use crate::sandbox::setup_error::{SetupError, Step as _};
use crate::sandbox::{Exit, IsolationKind, NetworkAccess, RootSpec, RunSpec};

/// Returns how the command ended and the paths whose ctime this function has changed.
pub(super) fn run(spec: &RunSpec, probe: bool, control: &UnixStream) -> Result<(Exit, Vec<LayerPath>), SetupError> {
    let RootSpec::Tree { path } = &spec.root else {
        return Err(SetupError::new("a step with isolation `emulated` with an overlay", None));
    };
    if spec.network != NetworkAccess::Host {
        return Err(SetupError::new("a network of its own with isolation `emulated`", Some(Errno::PERM.raw_os_error())));
    }
    // Every path depends on it, so a message names it and not the first path.
    rustix::fs::openat2(rustix::fs::CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
        .step(|| "openat2".into())?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    // Of a root that asks for this isolation: the kernel must refuse what it refuses others.
    set_capabilities(None, none).step(|| "capset".into())?;
    let aside = path.with_extension("aside");
    overlay::make_folder(path)?;
    expect_mounted_with(path, &[("exec", StatVfsMountFlags::NOEXEC)])?;
    overlay::make_folder(&aside)?;
    if probe {
        put_program(path)?;
    }
    let failed = |error: crate::Error| SetupError::new(error.to_string(), None);
    let mut table = OwnerTable::read(path).map_err(failed)?.unwrap_or_default();
    make_lasting_folders(path, spec, &mut table)?;
    let mounts = SubstituteMounts::new(open_folder(path)?, open_folder(&aside)?);
    let mut placed = place::Placed::new(mounts, table);
    let outcome = ssh::listen(&Owners::Recorded(Default::default()), spec, &aside)
        .and_then(ssh::Agents::serve)
        .and_then(|agents| start(&mut placed, spec, &aside, agents, control));
    let touched = placed.mounts.touched();
    let (exit, table) = match outcome {
        Ok((exit, table)) => (Ok(exit), table),
        Err(error) => (Err(error), std::mem::take(&mut placed.table)),
    };
    let restored = placed.restore(table, path);
    let _ = remove_tree(&aside);
    let exit = exit?;
    restored.map(|()| (exit, touched))
}

fn start(
    placed: &mut place::Placed,
    spec: &RunSpec,
    aside: &Path,
    agents: ssh::Server,
    control: &UnixStream,
) -> Result<(Exit, OwnerTable), SetupError> {
    let view = placed.fill(&RootPlan::new(IsolationKind::Emulated, spec), aside)?;
    let volumes = volumes::note(placed.mounts.tree(), spec)?;
    let command = command::prepare(IsolationKind::Emulated, spec, placed.mounts.tree(), None)?;
    let loader = aside.join("loader");
    write_program(&loader, &loader::image())?;
    let device = rustix::fs::fstat(placed.mounts.tree()).step(|| "examine the tree".into())?.st_dev;
    let setup = supervise::Setup {
        view,
        table: placed.table.clone(),
        linked: spec.linked.iter().map(|inode| (device, *inode)).collect(),
        loader: loader.as_os_str().as_bytes().to_vec(),
    };
    let exit = supervise::run(&command, setup, agents, control);
    // Also of a command that failed or was killed: its logs are what somebody wants then.
    volumes::copy_all_back(&volumes).and(exit)
}

fn make_lasting_folders(tree: &Path, spec: &RunSpec, table: &mut OwnerTable) -> Result<(), SetupError> {
    stubs::make_lasting_folders(&open_folder(tree)?, spec, &mut |folder, user, mode| {
        let (on_disk, recorded) = split_mode(FileType::Directory, mode);
        rustix::fs::fchmod(folder, Mode::from_raw_mode(on_disk))?;
        let record = Record { uid: user.uid, gid: user.gid, mode: recorded, device: None };
        table.set(inode_of(&rustix::fs::fstat(folder)?), Row { record, capability: None });
        Ok(())
    })
}

/// In a rehearsal there is nothing else to run.
fn put_program(tree: &Path) -> Result<(), SetupError> {
    let folder = tree.join("bin");
    std::fs::create_dir(&folder).step(|| "make a program".into())?;
    write_program(&folder.join("true"), &loader::program_that_succeeds())
}

fn write_program(path: &Path, image: &[u8]) -> Result<(), SetupError> {
    let step = || format!("write `{}`", path.display());
    std::fs::write(path, image).step(step)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).step(step)
}
