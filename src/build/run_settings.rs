//! What RUN gets of this machine without a word in the Dockerfile: certificate authorities,
//! variables, files. It is in no layer, no configuration, no history and no key of the build cache.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::sandbox::SecretBytes;

/// What RUN gets of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunSettings {
    /// PEM files with certificate authorities that pip, apt, curl, wget, git, Node, Java and Python
    /// trust besides the image's own.
    pub ca_files: Vec<PathBuf>,
    /// Variables; they win over the Dockerfile's. Values are never shown.
    pub env: BTreeMap<String, SecretBytes>,
    /// Files and folders, read-only.
    pub mounts: Vec<RunMount>,
}

/// A file or folder of this machine that RUN sees, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// The file or folder.
    pub source: PathBuf,
    /// Where RUN sees it: an absolute path.
    pub target: String,
}

impl RunSettings {
    /// These settings with `others` added, whose variables win.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        self.ca_files.extend(others.ca_files);
        self.env.extend(others.env);
        self.mounts.extend(others.mounts);
        self
    }

    /// Relative paths as of `folder`.
    #[must_use]
    pub fn relative_to(mut self, folder: &Path) -> Self {
        let files = self.ca_files.iter_mut().chain(self.mounts.iter_mut().map(|mount| &mut mount.source));
        files.for_each(|path| *path = folder.join(&*path));
        self
    }
}

impl FromStr for RunMount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((source, target)) if !source.is_empty() && target.starts_with('/') && !target.contains(':') => {
                Ok(Self { source: source.into(), target: target.to_owned() })
            }
            _ => Err(Error::new(ErrorKind::Usage, format!("`{text}` is not a mount for RUN"))
                .with_hint("write SOURCE:TARGET, such as /etc/pip.conf:/etc/pip.conf; it is always read-only")),
        }
    }
}

impl fmt::Display for RunMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source.display(), self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_two_paths() {
        let mount: RunMount = "pip.conf:/etc/pip.conf".parse().unwrap();
        assert_eq!((mount.source.to_str(), mount.target.as_str()), (Some("pip.conf"), "/etc/pip.conf"));
        for wrong in ["", "/a", ":/a", "/a:b", "/a:/b:rw"] {
            assert!(wrong.parse::<RunMount>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_added_wins() {
        let settings =
            |value: &str| RunSettings { env: [("A".into(), SecretBytes::new(value))].into(), ..RunSettings::default() };
        assert_eq!(settings("1").with(settings("2")), settings("2"));
        assert!(!format!("{:?}", settings("hunter2")).contains("hunter2"));
    }
}
