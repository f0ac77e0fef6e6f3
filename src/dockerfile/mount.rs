//! `RUN --mount`: each type with what it has, and nothing else.
//!
//! Only what the text says; the build makes the mounts.

use super::Base;

/// A file-system mount of one RUN. Targets are absolute; BuildKit's defaults are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountRequest {
    /// `type=bind`: a file or folder of the build context, a stage or an image.
    Bind {
        /// Where.
        target: String,
        /// What, relative to the root of `from`; `/` is all of it.
        source: String,
        /// A stage or an image; `None` is the build context.
        from: Option<Base>,
        /// Writes are possible, and lost afterwards.
        read_write: bool,
    },
    /// `type=cache`: a folder that outlives the build.
    Cache {
        /// Where.
        target: String,
        /// Its name; the target where none is written.
        id: String,
        /// What an empty cache starts from: a folder below the root of `from`; `/` is all of it.
        source: String,
        /// A stage or an image; `None` is an empty folder.
        from: Option<Base>,
        /// `readonly`
        read_only: bool,
        /// `sharing`
        sharing: Sharing,
        /// Whether an owner or a mode is written: then it is another cache than the one of the same
        /// name without.
        owned: bool,
        /// Permission bits of a new cache.
        mode: u32,
        /// Owner of a new cache.
        uid: u32,
        /// Group of a new cache.
        gid: u32,
    },
    /// `type=tmpfs`: memory.
    Tmpfs {
        /// Where.
        target: String,
        /// The limit in bytes; `None` is the kernel's default.
        size: Option<u64>,
    },
    /// `type=secret`: a file or variable from outside that never enters the image.
    Secret {
        /// Its name.
        id: String,
        /// The file's path, unless the secret is only a variable.
        target: Option<String>,
        /// The variable's name, if the secret is also or only a variable.
        env: Option<String>,
        /// Whether the step fails without it.
        required: bool,
        /// Permission bits of the file.
        mode: u32,
        /// Owner of the file.
        uid: u32,
        /// Group of the file.
        gid: u32,
    },
    /// `type=ssh`: the socket of an SSH agent.
    Ssh {
        /// Its name, `default` where none is written.
        id: String,
        /// The socket; `/run/buildkit/ssh_agent.N` where none is written.
        target: String,
        /// Whether the step fails without it.
        required: bool,
        /// Permission bits of the socket.
        mode: u32,
        /// Owner of the socket.
        uid: u32,
        /// Group of the socket.
        gid: u32,
    },
}

/// How builds that run at the same time use a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// All use it at the same time.
    #[default]
    Shared,
    /// Each build has its own.
    Private,
    /// One after the other.
    Locked,
}
