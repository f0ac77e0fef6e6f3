//! mpimg's own configuration file: what a user or a machine sets for every build.
//!
//! The first of these that exists counts: `$MPIMG_CONFIG`, `mpimg/config.toml` in the XDG
//! configuration folder, /etc/mpimg/config.toml.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Policy;
use crate::build::{RunMount, RunSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::project::variable;
use crate::sandbox::SecretBytes;
use crate::store::CacheLimit;

/// What the configuration file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// `[run]`: what RUN gets of this machine.
    pub run: RunSettings,
    /// `[store]`: how much the build cache may take.
    pub cache_limit: CacheLimit,
    /// `[policy]`: what is demanded of images that are pushed.
    pub policy: Policy,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    run: RunTable,
    store: StoreTable,
    policy: PolicyTable,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PolicyTable {
    signed_by: Option<Vec<PathBuf>>,
    sbom: bool,
    provenance: bool,
    bases: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreTable {
    cache_limit: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RunTable {
    ca_files: Vec<PathBuf>,
    env: BTreeMap<String, String>,
    mounts: Vec<String>,
}

impl Settings {
    /// Reads the configuration file; without one, nothing is set.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: it is wrong; [`ErrorKind::Io`]: it cannot be read.
    pub fn read() -> Result<Self> {
        let environment = variable;
        match Self::places(&environment).into_iter().find(|path| path.exists() || Self::is_named(path, &environment)) {
            Some(path) => Self::read_from(&path),
            None => Ok(Self::default()),
        }
    }

    /// Where the file may be, in the order in which the places count.
    pub(super) fn places(environment: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = set("MPIMG_CONFIG") {
            return vec![path];
        }
        let home = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        home.map(|folder| folder.join("mpimg/config.toml")).into_iter().chain(["/etc/mpimg/config.toml".into()]).collect()
    }

    /// Whether `MPIMG_CONFIG` names the file: then it must exist.
    fn is_named(path: &Path, environment: &dyn Fn(&str) -> Option<OsString>) -> bool {
        environment("MPIMG_CONFIG").is_some_and(|named| Path::new(&named) == path)
    }

    /// Reads a configuration file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_from(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        let wrong = |why: String| {
            Error::new(ErrorKind::Usage, format!("`{}` is wrong: {why}", path.display()))
                .with_hint("docs/configuration.md lists the tables and keys")
        };
        // Its message shows the line, which may hold a password.
        let Document { run, store, policy } = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            wrong(format!("{}{}", error.message(), line.map(|line| format!(" (line {line})")).unwrap_or_default()))
        })?;
        let folder = std::path::absolute(path).map_err(|error| Error::io("find", path, error))?;
        let folder = folder.parent().unwrap_or(Path::new("/"));
        let mounts: Vec<RunMount> =
            run.mounts.iter().map(|mount| mount.parse()).collect::<Result<_>>().map_err(|error| wrong(error.to_string()))?;
        let env = run.env.into_iter().map(|(name, value)| (name, SecretBytes::new(value))).collect();
        let cache_limit = store.cache_limit.map_or(Ok(CacheLimit::default()), |limit| limit.parse::<CacheLimit>());
        let cache_limit = cache_limit.map_err(|error| wrong(error.to_string()))?;
        let PolicyTable { signed_by, sbom, provenance, bases } = policy;
        // Whoever writes an empty list may mean that nothing is allowed.
        let empty = |name: &str| wrong(format!("`{name}` is empty: name what is allowed, or leave it out to allow anything"));
        if signed_by.as_ref().is_some_and(Vec::is_empty) {
            return Err(empty("signed_by"));
        }
        if bases.as_ref().is_some_and(Vec::is_empty) {
            return Err(empty("bases"));
        }
        let (signed_by, bases) = (signed_by.unwrap_or_default(), bases.unwrap_or_default());
        let bases =
            bases.iter().map(|base| base.parse()).collect::<Result<_>>().map_err(|error: Error| wrong(error.to_string()))?;
        let signed_by = signed_by.into_iter().map(|path| folder.join(path)).collect();
        let policy = Policy { signed_by, sbom, provenance, bases };
        Ok(Self { cache_limit, policy, run: RunSettings { ca_files: run.ca_files, env, mounts }.relative_to(folder) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Settings::read_from(&path).map(|mut settings| {
            let run = &mut settings.run;
            run.ca_files.iter_mut().chain(run.mounts.iter_mut().map(|mount| &mut mount.source)).for_each(|path| {
                if let Ok(inside) = path.strip_prefix(folder.path()) {
                    *path = Path::new("FOLDER").join(inside);
                }
            });
            settings
        })
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let settings = read(
            "[run]\nca_files = ['corp.pem', '/etc/b.pem']\nmounts = ['pip.conf:/etc/pip.conf']\n[run.env]\nPIP_INDEX_URL = 'https://a:b@c'\n",
        );
        let run = settings.unwrap().run;
        assert_eq!(run.ca_files, [Path::new("FOLDER/corp.pem"), Path::new("/etc/b.pem")]);
        assert_eq!(run.mounts[0].to_string(), "FOLDER/pip.conf:/etc/pip.conf");
        assert_eq!(run.env["PIP_INDEX_URL"].reveal(), b"https://a:b@c");
        assert_eq!(read("").unwrap(), Settings::default());
        let policy = read("[policy]\nsigned_by = ['/k.pub']\nsbom = true\nbases = ['python']\n").unwrap().policy;
        assert!(policy.sbom && !policy.provenance && policy.signed_by == [Path::new("/k.pub")] && policy.bases.len() == 1);
        assert_eq!(read("[store]\ncache_limit = '30%'\n").unwrap().cache_limit, CacheLimit::Percent(30));
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line_and_no_value_is_shown() {
        for (text, expected) in [
            ("[run]\nca_file = 'x'\n", "unknown field `ca_file`"),
            ("[run.env]\nTOKEN = 'hunter2\n", "(line 2)"),
            ("[store]\ncache_limit = 'much'\n", "is not a limit of the build cache"),
            ("[policy]\nbases = ['Not a name']\n", "does not name base images"),
            ("[policy]\nbases = []\n", "`bases` is empty"),
            ("[policy]\nsigned_by = []\n", "`signed_by` is empty"),
            ("[run]\n\nmounts = ['hunter2']\n", "is not a mount for RUN"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!text.contains("TOKEN") || !error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_users_file_comes_before_the_machines() {
        let places = |set: &[(&str, &str)]| {
            let set: BTreeMap<String, OsString> = set.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
            Settings::places(&|name| set.get(name).cloned())
        };
        let machine = Path::new("/etc/mpimg/config.toml");
        assert_eq!(places(&[("HOME", "/h")]), [Path::new("/h/.config/mpimg/config.toml"), machine]);
        assert_eq!(places(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), [Path::new("/x/mpimg/config.toml"), machine]);
        assert_eq!(places(&[("HOME", "/h"), ("MPIMG_CONFIG", "/c")]), [Path::new("/c")]);
    }
}
