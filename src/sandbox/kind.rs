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
        !self.needs_tree()
    }

    /// Whether nothing can be mounted: steps then run on a complete tree of their own
    /// ([`RootSpec::Tree`](super::RootSpec::Tree)).
    pub fn needs_tree(self) -> bool {
        matches!(self, Self::Chroot | Self::Emulated)
    }

    pub(super) fn has_user_namespace(self) -> bool {
        matches!(self, Self::UserNamespace | Self::SingleId)
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
        Ok(match text {
            "auto" => Self::Auto,
            "root" => Self::Forced(IsolationKind::Root),
            "userns" => Self::Forced(IsolationKind::UserNamespace),
            "single" => Self::Forced(IsolationKind::SingleId),
            "chroot" => Self::Forced(IsolationKind::Chroot),
            "emulated" => Self::Forced(IsolationKind::Emulated),
            _ => {
                return Err(Error::new(ErrorKind::Usage, format!("`{text}` is not an isolation"))
                    .with_hint("use auto, root, userns, single, chroot or emulated"));
            }
        })
    }
}
