//! Programs that mpimg stands in for: the name by which it is started decides, such as a link
//! `docker` in PATH.
//!
//! Each has a folder of its own beside this one, with its words and what it prints. Here is what
//! they share.

#[cfg(test)]
pub(super) mod document;
mod files;
mod flags;
mod start;
mod template;

use std::ffi::OsString;
use std::path::Path;

pub(super) use files::make_parent;
pub(super) use flags::{Check, Effect, Flag, Parsed, WrongFlag};
pub(super) use start::{longest_name, look_at_flags, terminal, words};
pub(super) use template::{Missing, Template};

/// A program that mpimg stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DropIn {
    /// The command line of Docker.
    Docker,
    /// kaniko's executor.
    Kaniko,
    /// buildah.
    Buildah,
}

impl DropIn {
    /// The program whose name these arguments begin with, if it is one of them.
    pub(super) fn of(arguments: &[OsString]) -> Option<Self> {
        let name = Path::new(arguments.first()?).file_name()?.to_str()?;
        match name {
            "docker" => Some(Self::Docker),
            "executor" | "kaniko" => Some(Self::Kaniko),
            "buildah" => Some(Self::Buildah),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_wherever_the_link_is() {
        let of = |name: &str| DropIn::of(&[name.into(), "build".into()]);
        for name in ["docker", "/usr/bin/docker", "./docker"] {
            assert_eq!(of(name), Some(DropIn::Docker), "{name}");
        }
        assert_eq!(of("/usr/bin/buildah"), Some(DropIn::Buildah));
        for name in ["executor", "/kaniko/executor", "kaniko"] {
            assert_eq!(of(name), Some(DropIn::Kaniko), "{name}");
        }
        for name in ["mpimg", "/docker/mpimg", "docker-compose", ""] {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!(DropIn::of(&[]), None);
    }
}
