//! Containers on disk: a folder each, which its monitor writes and everybody else reads.
//!
//! A container lives as long as its `lock` is held: the kernel gives that up with the monitor,
//! however it dies. What dead ones left is cleaned up by the next process that looks.
//!
//! Does not trust numbers of processes: they are shown, and never acted on.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::{ContainerSpec, PortMapping};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Digest;
use crate::sandbox::{Exit, IsolationKind};
use crate::store::Store;

const CONTAINERS: &str = "containers";
const RECORD: &str = "container.json";
/// Room on the disk for the last record, which tells how the container ended.
const SPARE: &str = "spare";
/// Bytes by which that one may be longer than the one before.
const LONGER: usize = 256;
/// A container that is being made has its folder under a name of this beginning; no longer than
/// this.
const NEW: &str = ".new-";
const MAKING: Duration = Duration::from_secs(60);

/// [`ContainerInfo::network`] where it is this machine's.
pub(super) const HOST: &str = "host";

/// What is known of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContainerInfo {
    /// 12 hexadecimal digits.
    pub id: String,
    /// The name it was given.
    pub name: Option<String>,
    /// The image as its starter named it.
    pub image: String,
    /// The digest of the image's manifest.
    pub digest: Digest,
    /// Program and arguments.
    pub command: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Its published ports; `host` is what is really listened on.
    pub ports: Vec<PortMapping>,
    /// The limit of its memory in bytes.
    pub memory: Option<u64>,
    /// Its network in words, once it is known.
    pub network: Option<String>,
    /// The isolation it runs on, once it is known.
    #[serde(alias = "rung")]
    pub isolation: Option<IsolationKind>,
    /// Process 1 of its namespace (without namespaces: its command), as this machine numbers it.
    pub pid: Option<i32>,
    /// What it is doing.
    pub state: ContainerState,
    /// What it was asked to be.
    #[serde(default)]
    pub spec: ContainerSpec,
    /// The signal that asks its command to end.
    pub(super) stop_signal: i32,
    /// The process that everything in it descends from.
    pub(super) helper: Option<u32>,
    /// Where its memory is counted and limited.
    pub(super) cgroup: Option<Cgroup>,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// It was made and has never been started.
    Created,
    /// It is being set up.
    Starting,
    /// Its command runs.
    Running,
    /// Its command has ended.
    Ended(Outcome),
    /// Its monitor was killed, and all of it with that.
    Lost,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcome {
    /// How its command ended.
    pub exit: Exit,
    /// Whether the limit of its memory made the kernel kill something in it.
    pub out_of_memory: bool,
    /// When, in seconds since 1970.
    pub finished: i64,
}

impl Outcome {
    /// The status as a shell tells it: that of the command, or 128 and the signal's number.
    pub fn status(&self) -> u8 {
        match self.exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128_u8.saturating_add(signal),
        }
    }
}

/// The folder of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn of(store: &Store, id: &str) -> Self {
        Self(store.root().join(CONTAINERS).join(id))
    }

    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// A pipe: a line is an order to the monitor.
    pub(super) fn orders(&self) -> PathBuf {
        self.0.join("orders")
    }

    /// Holds what goes when the command ends.
    pub(super) fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }

    pub(super) fn read(&self) -> Result<ContainerInfo> {
        let path = self.0.join(RECORD);
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, "the container is gone"),
            _ => Error::io("read", &path, error),
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("`{}` is damaged", path.display()))
                .with_hint(format!("remove the folder `{}`", self.0.display()))
                .with_source(error)
        })
    }

    /// Writes what is known, whole or not at all.
    pub(super) fn write(&self, info: &ContainerInfo) -> Result<()> {
        let path = self.0.join(RECORD);
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            file.write_all(&serde_json::to_vec_pretty(info)?)?;
            file.persist(&path).map_err(|error| error.error).map(drop)
        };
        write().map_err(|error| Error::io("write", &path, error))
    }

    /// Takes room for [`write_last`](Self::write_last): a container that has filled the disk shall
    /// not lose its exit status by that.
    pub(super) fn reserve(&self, info: &ContainerInfo) -> io::Result<()> {
        std::fs::write(self.0.join(SPARE), vec![b' '; serde_json::to_vec_pretty(info)?.len() + LONGER])
    }

    /// As [`write`](Self::write), in the room that was reserved. Spaces at its end do JSON no harm.
    pub(super) fn write_last(&self, info: &ContainerInfo) -> Result<()> {
        let spare = self.0.join(SPARE);
        let write = || {
            OpenOptions::new().write(true).open(&spare)?.write_all(&serde_json::to_vec_pretty(info)?)?;
            std::fs::rename(&spare, self.0.join(RECORD))
        };
        write().or_else(|_| self.write(info))
    }

    /// Whether its monitor (or, for a moment, its starter) lives.
    pub(super) fn is_alive(&self) -> bool {
        match File::open(self.0.join("lock")).map(|lock| lock.try_lock_shared()) {
            Ok(Err(TryLockError::WouldBlock)) => true,
            Ok(_) => false,
            // Gone: then the container is, too. One that belongs to somebody else counts as living.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Returns once nobody holds the lock: to be called when its holder has closed it, which the
    /// kernel tells a moment before it gives the lock up.
    pub(super) fn wait_for_lock(&self) {
        let _ = File::open(self.0.join("lock")).and_then(|lock| lock.lock_shared());
    }

    /// Removes what goes when the command ends. Nothing of the container may run any more.
    pub(super) fn remove_scratch(&self, isolation: Option<IsolationKind>) -> Result<()> {
        let _ = std::fs::remove_file(self.orders());
        match isolation {
            Some(isolation) if self.scratch().exists() => isolation.remove_tree(&self.scratch()),
            _ => Ok(()),
        }
    }

    /// Removes all of it. Nothing of the container may run any more.
    pub(super) fn remove(&self, isolation: Option<IsolationKind>) -> Result<()> {
        self.remove_scratch(isolation)?;
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &self.0, error)),
            _ => Ok(()),
        }
    }

    /// Notes the death of a monitor that could not do so itself, and removes what it left.
    fn mark_lost(&self, mut info: ContainerInfo) -> Result<ContainerInfo> {
        if let Some(cgroup) = info.cgroup.take() {
            cgroup.remove();
        }
        self.remove_scratch(info.isolation)?;
        info.state = ContainerState::Lost;
        // On a full disk the next look says the same.
        let _ = self.write_last(&info);
        Ok(info)
    }

    /// What is known, after a look whether the container still lives.
    pub(super) fn look(&self) -> Result<ContainerInfo> {
        let info = self.read()?;
        match info.state {
            ContainerState::Starting | ContainerState::Running if !self.is_alive() => match self.read()? {
                // It may have ended in between.
                again if matches!(again.state, ContainerState::Starting | ContainerState::Running) => self.mark_lost(again),
                again => Ok(again),
            },
            _ => Ok(info),
        }
    }
}

/// A container that is being made: its folder and the lock that says that it lives.
pub(super) struct Making {
    pub(super) folder: Folder,
    pub(super) lock: File,
}

/// Makes the folder of a new container whose record is `info`.
///
/// # Errors
/// [`ErrorKind::Usage`]: another container has the name.
pub(super) fn make(store: &Store, info: &ContainerInfo) -> Result<Making> {
    let all = store.root().join(CONTAINERS);
    let failed = |error| Error::io("make", &all, error);
    DirBuilder::new().recursive(true).mode(0o700).create(&all).map_err(failed)?;
    let gate = OpenOptions::new().create(true).append(true).open(all.join(".gate")).map_err(failed)?;
    gate.lock().map_err(failed)?;
    if let Some(name) = &info.name {
        let taken = list(store)?.into_iter().find(|(_, other)| other.name.as_ref() == Some(name) || other.id == *name);
        if let Some((_, other)) = taken {
            return Err(Error::new(ErrorKind::Usage, format!("container `{}` has the name `{name}`", other.id))
                .with_hint(format!("remove it with `mpimg stop --rm {name}`, or choose another name")));
        }
    }
    let new = Folder::at(all.join(format!("{NEW}{}", info.id)));
    let make = || {
        DirBuilder::new().mode(0o700).create(new.path())?;
        let lock = File::create(new.path().join("lock"))?;
        lock.lock()?;
        rustix::fs::mkfifoat(rustix::fs::CWD, new.orders(), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        Ok(lock)
    };
    let lock = make().map_err(failed)?;
    new.write(info)?;
    let folder = Folder::of(store, &info.id);
    std::fs::rename(new.path(), folder.path()).map_err(failed)?;
    Ok(Making { folder, lock })
}

/// Takes a container that was made before to start it; its lock says from now on that it lives.
///
/// # Errors
/// [`ErrorKind::Usage`]: it lives already.
pub(super) fn take(folder: &Folder) -> Result<Making> {
    let path = folder.path().join("lock");
    let lock = File::options().write(true).open(&path).map_err(|error| Error::io("open", &path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(Making { folder: folder.clone(), lock }),
        Err(TryLockError::WouldBlock) => Err(Error::new(ErrorKind::Usage, "the container is running already")),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path, error)),
    }
}

/// All containers of the store, newest first. What dead ones left is cleaned up on the way.
pub(super) fn list(store: &Store) -> Result<Vec<(Folder, ContainerInfo)>> {
    let all = store.root().join(CONTAINERS);
    let entries = match std::fs::read_dir(&all) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| Error::io("read", &all, error))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("read", &all, error))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(NEW) {
            forget_unfinished(&entry.path());
        }
        if name.starts_with('.') {
            continue;
        }
        let folder = Folder::at(entry.path());
        match folder.look() {
            Ok(info) => found.push((folder, info)),
            // Removed while we look.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // One that is damaged must not stop work on the others; a command that names it gets
            // the error.
            Err(error) => tracing::warn!(container = name, %error, "cannot read the container's record"),
        }
    }
    found.sort_by(|(_, a), (_, b)| (b.created, &b.id).cmp(&(a.created, &a.id)));
    Ok(found)
}

/// A starter that was killed between two steps leaves a folder that nothing speaks of.
fn forget_unfinished(path: &Path) {
    let old = path
        .metadata()
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|made| SystemTime::now().duration_since(made).is_ok_and(|age| age > MAKING));
    if old {
        let _ = std::fs::remove_dir_all(path);
    }
}

/// The container that a name, an ID or the unmistakable beginning of one means.
///
/// # Errors
/// [`ErrorKind::NotFound`]: there is none, or more than one.
pub(super) fn find(store: &Store, name: &str) -> Result<(Folder, ContainerInfo)> {
    let all = list(store)?;
    let exact = all.iter().find(|(_, info)| info.id == name || info.name.as_deref() == Some(name));
    if let Some(found) = exact {
        return Ok(found.clone());
    }
    let damaged = Folder::of(store, name);
    if !name.is_empty() && !name.contains('/') && damaged.path().is_dir() {
        // Listed above unless it cannot be read.
        return damaged.look().map(|info| (damaged, info));
    }
    let mut alike = all.into_iter().filter(|(_, info)| !name.is_empty() && info.id.starts_with(name));
    match (alike.next(), alike.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(Error::new(ErrorKind::NotFound, format!("more than one container's ID begins with `{name}`"))
            .with_hint("give more of it: `mpimg ps -a` lists them")),
        _ => Err(Error::new(ErrorKind::NotFound, format!("there is no container `{name}`"))
            .with_hint("`mpimg ps -a` lists what is there")),
    }
}
