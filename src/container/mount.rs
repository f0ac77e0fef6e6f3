//! Docker's long form of mounts: `--mount type=TYPE,FIELD=VALUE,…`.
//!
//! Refuses types that need a daemon (`volume`) or an engine (`image`, `npipe`), and how mounts
//! spread.

use std::str::FromStr;

use super::{TmpfsMount, Volume};
use crate::error::{Error, ErrorKind, Result};

/// What `--mount` may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountFlag {
    /// A file system in memory.
    Tmpfs(TmpfsMount),
    /// A folder or file of this machine, which must be there.
    Bind(Volume),
}

impl FromStr for MountFlag {
    type Err = Error;

    /// Reads `type=tmpfs,…` as [`TmpfsMount`] does, and
    /// `type=bind,source=PATH,target=PATH[,readonly]`.
    fn from_str(text: &str) -> Result<Self> {
        if !text.split(',').any(|field| field == "type=bind") {
            return text.parse().map(Self::Tmpfs);
        }
        let wrong = |why: String| {
            Error::new(ErrorKind::Usage, format!("mount `{text}` {why}"))
                .with_hint("write type=bind,source=/PATH,target=/PATH, and `readonly` where it is")
        };
        let (mut source, mut target, mut readonly) = (None, None, false);
        for field in text.split(',').filter(|field| *field != "type=bind") {
            match field.split_once('=').unwrap_or((field, "true")) {
                ("source" | "src", path) if !path.is_empty() => source = Some(path),
                ("target" | "destination" | "dst", path) => target = Some(path),
                ("readonly" | "ro", "true" | "1") => readonly = true,
                ("readonly" | "ro", "false" | "0") => readonly = false,
                (key, _) => return Err(wrong(format!("has the field `{key}`"))),
            }
        }
        match (source, target) {
            (Some(source), Some(target)) => Volume::new(source, target, readonly).map(Self::Bind),
            _ => Err(wrong("lacks source or target".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_mount_is_a_volume_in_other_words() {
        let mount = |text: &str| text.parse::<MountFlag>();
        let volume = |readonly| MountFlag::Bind(Volume { source: "/a".into(), target: "/b".into(), readonly });
        for (text, expected) in [
            ("type=bind,source=/a,target=/b", volume(false)),
            ("src=/a,type=bind,dst=/b,readonly", volume(true)),
            ("type=bind,src=/a,destination=/b,ro=true", volume(true)),
            ("type=bind,src=/a,destination=/b,readonly=false", volume(false)),
            ("type=tmpfs,target=/t", MountFlag::Tmpfs(TmpfsMount { target: "/t".into(), size: None, mode: 0o1777 })),
        ] {
            assert_eq!(mount(text).unwrap(), expected, "{text}");
        }
        for text in [
            "type=bind",
            "type=bind,src=/a",
            "type=bind,src=,dst=/b",
            "type=bind,src=/a,dst=b",
            "type=volume,src=a,dst=/b",
            "type=bind,src=/a,dst=/b,ro=maybe",
            "type=bind,src=/a,dst=/b,bind-propagation=rshared",
            "src=/a,dst=/b",
        ] {
            assert_eq!(mount(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }
}
