//! Limits of resources that a command has (setrlimit(2)), by docker's names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// A resource, by docker's name and the kernel's number (asm-generic/resource.h).
const RESOURCES: [(&str, u32); 15] = [
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

/// A limit: `NAME=SOFT[:HARD]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// The kernel's number of the resource.
    resource: u32,
    /// What counts; `None`: no limit.
    soft: Option<u64>,
    /// Up to where the command may raise it.
    hard: Option<u64>,
}

impl Ulimit {
    /// The kernel's number of the resource, the soft and the hard limit.
    pub(super) fn parts(&self) -> (u32, Option<u64>, Option<u64>) {
        (self.resource, self.soft, self.hard)
    }

    fn name(&self) -> &'static str {
        RESOURCES.iter().find(|(_, number)| *number == self.resource).map_or("unknown", |(name, _)| name)
    }
}

impl FromStr for Ulimit {
    type Err = Error;

    /// Reads `nofile=1024:2048`, `nproc=100`, `core=-1` (docker, go-units, `ParseUlimit`): -1 is no
    /// limit.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Usage, format!("`{text}` is not a limit: {why}"))
                .with_hint("write NAME=SOFT[:HARD], such as nofile=1024:2048; -1 is no limit")
        };
        let (name, limits) = text.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
        let known = RESOURCES.iter().find(|(known, _)| *known == name);
        let (_, resource) = known.ok_or_else(|| wrong(&format!("`{name}` is not the name of a resource")))?;
        let number = |text: &str| match text {
            "-1" => Ok(None),
            text => text.parse().map(Some).map_err(|_| wrong(&format!("`{text}` is not a number"))),
        };
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let (soft, hard) = (number(soft)?, number(hard)?);
        if let Some(hard) = hard
            && soft.is_none_or(|soft| soft > hard)
        {
            return Err(wrong("the soft limit is above the hard one"));
        }
        Ok(Self { resource: *resource, soft, hard })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
        write!(f, "{}={}:{}", self.name(), number(self.soft), number(self.hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_docker_reads_them() {
        for (text, shown) in [
            ("nofile=1024:2048", "nofile=1024:2048"),
            ("nproc=7", "nproc=7:7"),
            ("core=-1", "core=-1:-1"),
            ("cpu=1:-1", "cpu=1:-1"),
        ] {
            assert_eq!(text.parse::<Ulimit>().unwrap().to_string(), shown);
        }
        for text in ["", "nofile", "files=1", "nofile=", "nofile=a", "nofile=2:1", "nofile=-1:5"] {
            assert!(text.parse::<Ulimit>().unwrap_err().hint().is_some(), "{text}");
        }
    }
}
