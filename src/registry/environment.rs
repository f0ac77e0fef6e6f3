//! Environment variables and the home folder, as this process has them or as a caller sets them.
//! The process's own environment is never changed.

use std::collections::BTreeMap;
#[cfg(feature = "aws")]
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::project::variable;

/// Where environment variables are read: the process's own, or a fixed set (a library caller's, a
/// test's).
#[derive(Clone, Default)]
pub struct Environment(Option<BTreeMap<String, OsString>>);

impl Environment {
    /// The process's own environment.
    pub fn process() -> Self {
        Self(None)
    }

    /// Exactly these variables.
    pub fn fixed<K: Into<String>, V: Into<OsString>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(Some(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// The value of `name`; an empty one counts as unset. Of a process without `HOME` it is that of
    /// the password file.
    pub(crate) fn var(&self, name: &str) -> Option<OsString> {
        match &self.0 {
            None => variable(name),
            Some(fixed) => fixed.get(name).filter(|value| !value.is_empty()).cloned(),
        }
    }

    /// All variables that are text.
    #[cfg(feature = "aws")]
    pub(crate) fn vars(&self) -> HashMap<String, String> {
        match &self.0 {
            // Unlike `vars`, `vars_os` does not panic at a value that is not text.
            None => {
                std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok())).collect()
            }
            Some(fixed) => fixed.iter().filter_map(|(name, value)| Some((name.clone(), value.to_str()?.to_owned()))).collect(),
        }
    }

    /// The value of `name` as a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.var(name).map(PathBuf::from)
    }

    /// `below` in the user's home folder.
    pub(crate) fn home(&self, below: &str) -> Option<PathBuf> {
        Some(self.path("HOME")?.join(below))
    }

    /// `below` in the user's folder for configuration.
    pub(crate) fn config_home(&self, below: &str) -> Option<PathBuf> {
        Some(self.path("XDG_CONFIG_HOME").or_else(|| self.home(".config"))?.join(below))
    }
}

impl std::fmt::Debug for Environment {
    // The values may be secrets: DOCKER_AUTH_CONFIG, AWS_SECRET_ACCESS_KEY.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Environment(fixed)" } else { "Environment(process)" })
    }
}
