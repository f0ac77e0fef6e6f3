//! The kinds of isolation, and what `--isolation` asks for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// How the commands of RUN are isolated, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum IsolationKind {
    /// Root with namespaces and overlay.
    Root,
    /// A user namespace with a range of ids.
    UserNamespace,
    /// A user namespace with one id.
    SingleId,
    /// `chroot` without namespaces: no security boundary.
    Chroot,
    /// No privileges at all: a supervisor answers the system calls that need them. No security
    /// boundary.
    Emulated,
}

/// What `--isolation` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IsolationMode {
    /// The best kind that works.
    #[default]
    Auto,
    /// This kind or none.
    Forced(IsolationKind),
}

impl IsolationKind {
    /// All kinds, best first.
    pub const ALL: [Self; 5] = [Self::Root, Self::UserNamespace, Self::SingleId, Self::Chroot, Self::Emulated];

    /// Whether commands are kept from the machine: with `chroot` and `emulated` they are not.
    pub fn is_boundary(self) -> bool {
        match self {
            Self::Root | Self::UserNamespace | Self::SingleId => true,
            Self::Chroot | Self::Emulated => false,
        }
    }

    /// Whether nothing can be mounted: steps then run on a complete tree of their own
    /// ([`RootSpec::Tree`](super::RootSpec::Tree)).
    pub fn needs_tree(self) -> bool {
        match self {
            Self::Root | Self::UserNamespace | Self::SingleId => false,
            Self::Chroot | Self::Emulated => true,
        }
    }

    /// Whether only root can have it.
    pub(crate) fn needs_root(self) -> bool {
        match self {
            Self::Root | Self::Chroot => true,
            Self::UserNamespace | Self::SingleId | Self::Emulated => false,
        }
    }

    /// Whether a process can join a container that runs with it.
    #[cfg(feature = "run")]
    pub(crate) fn can_be_joined(self) -> bool {
        match self {
            Self::Root | Self::UserNamespace | Self::Chroot => true,
            Self::SingleId | Self::Emulated => false,
        }
    }

    /// Whether the kernel itself executes a command, and so finds the emulator of another platform.
    pub(crate) fn can_run_foreign_platforms(self) -> bool {
        match self {
            Self::Root | Self::UserNamespace | Self::SingleId | Self::Chroot => true,
            Self::Emulated => false,
        }
    }

    /// Whether a file on disk has the owner that a command sees.
    pub(crate) fn has_host_owners(self) -> bool {
        match self {
            Self::Root | Self::Chroot => true,
            Self::UserNamespace | Self::SingleId | Self::Emulated => false,
        }
    }

    /// Whether all files on disk belong to one id, and their owners are recorded in attributes of
    /// the files. Then layers are unpacked once for each user that runs commands: the mode on disk
    /// is what that user may do.
    pub(crate) fn records_owners_in_xattrs(self) -> bool {
        match self {
            Self::SingleId => true,
            Self::Root | Self::UserNamespace | Self::Chroot | Self::Emulated => false,
        }
    }

    /// Whether owners and modes are in a table beside the tree
    /// ([`OwnerTable`](crate::layer::owner_table::OwnerTable)).
    pub(crate) fn has_owner_table(self) -> bool {
        match self {
            Self::Emulated => true,
            Self::Root | Self::UserNamespace | Self::SingleId | Self::Chroot => false,
        }
    }

    pub(super) fn has_user_namespace(self) -> bool {
        match self {
            Self::UserNamespace | Self::SingleId => true,
            Self::Root | Self::Chroot | Self::Emulated => false,
        }
    }

    /// Whether a command finds its own process in /proc.
    pub(super) fn has_proc_self(self) -> bool {
        match self {
            Self::Root | Self::UserNamespace | Self::SingleId | Self::Emulated => true,
            Self::Chroot => false,
        }
    }

    /// Whether its helper may always install a filter of system calls. Without namespaces that
    /// takes a capability that the container around may lack; the container has a filter of its
    /// own.
    pub(super) fn can_filter_calls(self) -> bool {
        match self {
            Self::Root | Self::UserNamespace | Self::SingleId | Self::Emulated => true,
            Self::Chroot => false,
        }
    }
}

impl fmt::Display for IsolationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::UserNamespace => "userns",
            Self::SingleId => "single",
            Self::Chroot => "chroot",
            Self::Emulated => "emulated",
        })
    }
}

impl FromStr for IsolationMode {
    type Err = Error;

    /// Reads the value of `--isolation`: `auto`, `root`, `userns`, `single`, `chroot` or
    /// `emulated`.
    fn from_str(text: &str) -> Result<Self> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let kind = IsolationKind::ALL.into_iter().find(|kind| kind.to_string() == text);
        kind.map(Self::Forced).ok_or_else(|| {
            let words: Vec<String> = IsolationKind::ALL.iter().map(ToString::to_string).collect();
            Error::new(ErrorKind::Usage, format!("`{text}` is not an isolation"))
                .with_hint(format!("use auto or one of {}", words.join(", ")))
        })
    }
}
