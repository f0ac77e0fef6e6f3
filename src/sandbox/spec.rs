//! What one RUN step needs: command, environment, user, root file system, mounts.
//!
//! Secrets are never shown: their `Debug` shows no byte, and a spec travels over a socket, not in
//! arguments.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layer::LayerPath;

use super::{Ulimit, User};

/// The address of a command whose network has an uplink ([`RunSpec::uplink`]), in a network of 24
/// bits.
pub const UPLINK_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
/// The largest packet on the uplink, in bytes.
pub const UPLINK_MTU: u16 = 1500;

/// One command and everything around it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunSpec {
    /// Program and arguments. The program is searched in the `PATH` of `env` inside the root file
    /// system.
    pub argv: Vec<Vec<u8>>,
    /// The environment. `PATH` and `HOME` are added where they are missing, `HOME` from the root
    /// file system's passwd.
    pub env: Vec<(String, String)>,
    /// Environment variables whose values never appear in a message or in `Debug`.
    pub secret_env: Vec<(String, SecretBytes)>,
    /// Working directory; it must exist, unless `make_cwd` says otherwise.
    pub cwd: LayerPath,
    /// Whether a missing working directory is made: in a step owned by its user, and part of what
    /// the step changed (as BuildKit); in a container owned by root (as docker).
    pub make_cwd: bool,
    /// Whose process it is.
    pub user: User,
    /// The same as `USER` names it, looked up in the root file system's own passwd and group; wins
    /// over `user`.
    pub user_name: Option<String>,
    /// The root file system.
    pub root: RootSpec,
    /// Inodes of a [`RootSpec::Tree`] that have several names: on `emulated`, one that the command
    /// changes by one of them becomes a file of its own, as where an overlay copies it up.
    pub linked: Vec<u64>,
    /// What `RUN --mount` asks for, in the step's order; the plan mounts parents first.
    pub mounts: Vec<Mount>,
    /// `RUN --network`.
    pub network: NetworkAccess,
    /// `RUN --security`.
    pub security: Security,
    /// The host name inside.
    pub hostname: String,
    /// A heredoc with a `#!` line: a file of this name and content in `/dev/pipes`, mode 755, which
    /// `argv` starts.
    pub script: Option<(String, Vec<u8>)>,
    /// Further lines of `/etc/hosts`.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// It is the command of a container, not a step of a build: it has an `/etc/hostname` of its
    /// own, and may write to that, to `/etc/hosts` and to `/etc/resolv.conf`.
    pub container: bool,
    /// Give a network of the command's own an uplink: an interface to other machines, whose packets
    /// [`Running::wait`](super::Running::wait) hands out.
    pub uplink: bool,
    /// The name servers of `/etc/resolv.conf`; `None`: this machine's file.
    pub name_servers: Option<Vec<IpAddr>>,
    /// Standard input is a terminal, which becomes the command's controlling one.
    pub terminal: bool,
    /// Bytes of private writable memory that each process may have (`RLIMIT_DATA`).
    pub data_limit: Option<u64>,
    /// Limits of other resources, in order.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`; 64 MiB without it. Without effect where nothing can be mounted.
    pub shm_size: Option<u64>,
}

impl RunSpec {
    /// `argv` as root in `/` of `root`, with an empty environment, the host's network and no
    /// mounts.
    pub fn new(argv: impl IntoIterator<Item = impl Into<Vec<u8>>>, root: RootSpec) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            secret_env: Vec::new(),
            cwd: LayerPath::root(),
            make_cwd: false,
            user: User::default(),
            user_name: None,
            root,
            mounts: Vec::new(),
            network: NetworkAccess::default(),
            security: Security::default(),
            hostname: "buildkitsandbox".into(),
            script: None,
            extra_hosts: Vec::new(),
            container: false,
            uplink: false,
            name_servers: None,
            terminal: false,
            data_limit: None,
            linked: Vec::new(),
            ulimits: Vec::new(),
            shm_size: None,
        }
    }
}

impl RunSpec {
    /// Whether nothing that the command writes is of use before its step has ended: then it need
    /// not wait for the disk. What a folder outside of the step keeps is of use at once, and
    /// commands with all privileges may have disks of their own.
    pub(super) fn may_skip_fsync(&self) -> bool {
        let lasting =
            |mount: &Mount| matches!(mount, Mount::Cache { readonly: false, .. } | Mount::Volume { readonly: false, .. });
        !self.container && self.security == Security::Sandbox && !self.mounts.iter().any(lasting)
    }

    /// This spec for a helper that does not share this process's working directory.
    pub(super) fn with_absolute_paths(&self) -> Result<Self> {
        let mut spec = self.clone();
        match &mut spec.root {
            RootSpec::Overlay { lower, upper, work } => {
                lower.iter_mut().chain([upper, work]).try_for_each(make_absolute)?;
            }
            RootSpec::Tree { path } => make_absolute(path)?,
        }
        for mount in &mut spec.mounts {
            match mount {
                Mount::Bind { source, .. } => source.make_absolute()?,
                Mount::Cache { folder, room, seed, .. } => {
                    make_absolute(folder)?;
                    make_absolute(room)?;
                    seed.as_mut().map_or(Ok(()), BindSource::make_absolute)?;
                }
                Mount::Ssh { socket, .. } => make_absolute(socket)?,
                Mount::Volume { source, .. } => make_absolute(source)?,
                Mount::Tmpfs { .. } | Mount::MemoryFile { .. } => {}
            }
        }
        Ok(spec)
    }
}

impl BindSource {
    fn make_absolute(&mut self) -> Result<()> {
        match self {
            Self::Host { root, .. } => make_absolute(root),
            Self::Stack { lower, .. } => lower.iter_mut().try_for_each(make_absolute),
        }
    }
}

fn make_absolute(path: &mut PathBuf) -> Result<()> {
    *path = std::path::absolute(&*path).map_err(|error| Error::io("find", &*path, error))?;
    Ok(())
}

/// The root file system of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootSpec {
    /// Unpacked layers under an upper folder that takes the changes. For isolations
    /// that can mount (not [`IsolationKind::needs_tree`](super::IsolationKind::needs_tree)).
    Overlay {
        /// Folders of unpacked layers, topmost first. May be empty (`FROM scratch`).
        lower: Vec<PathBuf>,
        /// Takes the changes; empty before the step. It must be on a file system that overlay can
        /// write to (not itself an overlay).
        upper: PathBuf,
        /// Room for the kernel and for writes that are thrown away; on the file system of `upper`;
        /// may be removed afterwards.
        work: PathBuf,
    },
    /// A complete tree that belongs to this step alone. For isolations that cannot mount
    /// ([`IsolationKind::needs_tree`](super::IsolationKind::needs_tree)).
    Tree {
        /// Its root.
        path: PathBuf,
    },
}

/// A file-system mount of one step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Mount {
    /// A folder or file from outside; writes, where allowed, are thrown away.
    Bind {
        /// From where.
        source: BindSource,
        /// To where; created for the time of the step.
        target: LayerPath,
        /// `rw`: writes are allowed and thrown away.
        writable: bool,
    },
    /// A folder that outlives the step; writes stay.
    Cache {
        /// The folder on this machine; created with `mode` and owner where it is missing.
        folder: PathBuf,
        /// Where it is made before it gets its name: a path on its file system where nothing is. It
        /// goes when the step has ended or is killed.
        room: PathBuf,
        /// To where.
        target: LayerPath,
        /// Permission bits of a new folder.
        mode: u32,
        /// Owner of a new folder.
        uid: u32,
        /// Group of a new folder.
        gid: u32,
        /// `ro`.
        readonly: bool,
        /// What a folder that is missing begins with, owners and modes included.
        seed: Option<BindSource>,
    },
    /// A folder or file of this machine as it is; writes stay. Where nothing can be mounted
    /// ([`IsolationKind::needs_tree`](super::IsolationKind::needs_tree)), it is copied in, and what
    /// has changed is copied back at the end.
    Volume {
        /// The folder or file.
        source: PathBuf,
        /// To where.
        target: LayerPath,
        /// `ro`.
        readonly: bool,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// To where.
        target: LayerPath,
        /// Bytes at most; half of the memory where not given.
        size: Option<u64>,
        /// Permission bits of its root; where not given, those of the folder that it covers, or
        /// 1777 (as runc).
        mode: Option<u32>,
    },
    /// A file in memory, read-only: a secret, or a setting that this machine adds.
    MemoryFile {
        /// Its content.
        bytes: SecretBytes,
        /// To where.
        target: LayerPath,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// The agent's socket on this machine.
        socket: PathBuf,
        /// To where; `SSH_AUTH_SOCK` is the caller's to set.
        target: LayerPath,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

impl Mount {
    /// Where it is mounted.
    pub(crate) fn target(&self) -> &LayerPath {
        match self {
            Self::Bind { target, .. }
            | Self::Cache { target, .. }
            | Self::Volume { target, .. }
            | Self::Tmpfs { target, .. }
            | Self::MemoryFile { target, .. }
            | Self::Ssh { target, .. } => target,
        }
    }

    /// Whether nothing may be written there.
    pub(super) fn is_readonly(&self) -> bool {
        match self {
            Self::Bind { writable, .. } => !writable,
            Self::Cache { readonly, .. } | Self::Volume { readonly, .. } => *readonly,
            Self::MemoryFile { .. } => true,
            Self::Tmpfs { .. } | Self::Ssh { .. } => false,
        }
    }
}

/// What a bind mount shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum BindSource {
    /// A folder or file of this machine (the build context). Links in `path` cannot lead out of
    /// `root`.
    Host {
        /// A folder, by absolute path.
        root: PathBuf,
        /// The path in it.
        path: LayerPath,
    },
    /// A path in a stack of unpacked layers (another stage or image), topmost first.
    Stack {
        /// Folders of unpacked layers, topmost first.
        lower: Vec<PathBuf>,
        /// The path in them.
        path: LayerPath,
    },
}

/// The network that a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NetworkAccess {
    /// The network of this machine.
    #[default]
    Host,
    /// A loopback interface only.
    None,
    /// A loopback interface only, whose ports [`Remote::dial`](super::Remote::dial) reaches.
    Private,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Security {
    /// Docker's default capabilities and a system-call filter.
    #[default]
    Sandbox,
    /// All capabilities that the isolation has, no filter.
    Insecure,
}

/// Bytes that never appear in a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Keeps `bytes` out of sight.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(…)")
    }
}

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It returned this status; 126 and 127 also where it could not be started, as a shell would
    /// say.
    Code(u8),
    /// It was killed by this signal.
    Signal(u8),
}

impl Exit {
    /// Whether it succeeded.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

/// What is known after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOutcome {
    /// How the command ended.
    pub exit: Exit,
    /// Whether it was told of an effect that did not happen: with one id for all, a program became
    /// another user, and what it made is root's. What the step changed is not what root would have
    /// changed.
    pub pretended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_spec_shows_no_secret() {
        let root = RootSpec::Tree { path: "/t".into() };
        let mut spec = RunSpec::new(["true"], root);
        spec.secret_env.push(("TOKEN".into(), SecretBytes::new("hunter2")));
        let target = LayerPath::parse("run/secrets/a").unwrap();
        spec.mounts.push(Mount::MemoryFile { bytes: SecretBytes::new("hunter2"), target, mode: 0o400, uid: 0, gid: 0 });
        assert!(!format!("{spec:?}").contains("hunter2"));
    }
}
