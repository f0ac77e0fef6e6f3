//! containers-registries.conf(5), version 2: a repository's location, its mirrors, and what may be
//! insecure.
//!
//! Version 1 of the format and wildcards in `location` are errors. Short names go to Docker Hub,
//! whatever the file says: the same Dockerfile must mean the same image everywhere.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::environment::Environment;
use super::host::host_of;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::oci::Repository;

/// The file's content that matters here.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RegistriesConf {
    #[serde(default, rename = "registry")]
    registries: Vec<RegistryTable>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct RegistryTable {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    #[serde(rename = "mirror")]
    mirrors: Vec<MirrorTable>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct MirrorTable {
    location: String,
    insecure: bool,
    pull_from_mirror: PullFrom,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFrom {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

/// A place where a repository can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryLocation {
    /// `host[:port]`.
    pub(crate) registry: String,
    /// The repository's path there.
    pub(crate) path: String,
    pub(crate) insecure: bool,
}

impl RegistriesConf {
    /// Reads the file of the options, of the environment, of the user or of the system, the first
    /// there is, with its drop-in folder `registries.conf.d`.
    pub(crate) fn read(given: Option<&Path>, environment: &Environment) -> Result<Self> {
        let named = given.map(Path::to_owned).or_else(|| environment.path("CONTAINERS_REGISTRIES_CONF"));
        if let Some(path) = named {
            return Self::read_file(&path);
        }
        let user = environment.config_home("containers/registries.conf").filter(|path| path.is_file());
        let path = user.unwrap_or_else(|| PathBuf::from("/etc/containers/registries.conf"));
        let mut conf = if path.is_file() { Self::read_file(&path)? } else { Self::default() };
        for drop_in in drop_ins(&path.with_file_name("registries.conf.d")) {
            conf.merge(Self::read_file(&drop_in)?);
        }
        Ok(conf)
    }

    fn read_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        Self::parse(&text)
            .map_err(|error| Error::new(error.kind(), format!("cannot read `{}`", path.display())).with_source(error))
    }

    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().context(ErrorKind::Usage, || "not TOML".into())?;
        if table.contains_key("registries") {
            return Err(Error::new(ErrorKind::Unsupported, "it is in version 1 of the format")
                .with_hint("write it in version 2: one `[[registry]]` table a registry (man 5 containers-registries.conf)"));
        }
        table.try_into().context(ErrorKind::Usage, || "not in the form of containers-registries.conf(5)".into())
    }

    /// Later files replace entries of the same prefix.
    fn merge(&mut self, later: Self) {
        self.registries.retain(|old| !later.registries.iter().any(|new| new.key() == old.key()));
        self.registries.extend(later.registries);
    }

    /// With further mirrors before the others: `host[:port][/path]` of Docker Hub,
    /// `REGISTRY=host[:port][/path]` of another registry.
    #[must_use]
    pub(crate) fn with_mirrors(mut self, mirrors: &[String]) -> Self {
        let plain = |location: &str| location.split_once("://").map_or(location, |(_, rest)| rest).to_owned();
        // The first that is given is asked first.
        for mirror in mirrors.iter().rev() {
            let (registry, location) = mirror.split_once('=').unwrap_or(("docker.io", mirror));
            let at = self.registries.iter().position(|entry| entry.key() == registry).unwrap_or_else(|| {
                self.registries.push(RegistryTable { location: registry.into(), ..RegistryTable::default() });
                self.registries.len() - 1
            });
            self.registries[at].mirrors.insert(0, MirrorTable { location: plain(location), ..MirrorTable::default() });
        }
        self
    }

    /// Where a push into `repository` goes.
    pub(crate) fn destination(&self, repository: &Repository) -> Result<RegistryLocation> {
        self.resolve(repository).map(|(place, _)| place)
    }

    /// Where a pull from `repository` may come from, in the order to try: mirrors, then the
    /// registry itself.
    pub(crate) fn sources(&self, repository: &Repository, by_digest: bool) -> Result<Vec<RegistryLocation>> {
        let (primary, entry) = self.resolve(repository)?;
        let name = repository.to_string();
        let mirrors = entry.into_iter().flat_map(|entry| {
            let key = entry.key();
            let name = &name;
            entry
                .mirrors
                .iter()
                .filter(move |mirror| {
                    let digest_only = mirror.pull_from_mirror == PullFrom::DigestOnly || entry.mirror_by_digest_only;
                    if by_digest { mirror.pull_from_mirror != PullFrom::TagOnly } else { !digest_only }
                })
                .filter_map(move |mirror| place(&mirror.location, rest(name, key)?, mirror.insecure))
        });
        Ok(mirrors.chain([primary.clone()]).collect())
    }

    fn resolve(&self, repository: &Repository) -> Result<(RegistryLocation, Option<&RegistryTable>)> {
        let name = repository.to_string();
        let fitting = self.registries.iter().filter(|entry| rest(&name, entry.key()).is_some());
        let Some(entry) = fitting.max_by_key(|entry| entry.key().len()) else {
            let place =
                RegistryLocation { registry: repository.registry().into(), path: repository.path().into(), insecure: false };
            return Ok((place, None));
        };
        if entry.blocked {
            return Err(Error::new(ErrorKind::Usage, format!("registries.conf blocks `{}`", entry.key())));
        }
        let location = if entry.location.is_empty() { None } else { Some(entry.location.as_str()) };
        let moved = location.and_then(|location| place(location, rest(&name, entry.key())?, entry.insecure));
        let own =
            RegistryLocation { registry: repository.registry().into(), path: repository.path().into(), insecure: entry.insecure };
        Ok((moved.unwrap_or(own), Some(entry)))
    }
}

impl RegistryTable {
    fn key(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }
}

/// What of `name` comes after `prefix`; `None` if it is not below it. `*.example.com` fits every
/// host below.
fn rest<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    if let Some(domain) = prefix.strip_prefix("*.") {
        let (registry, _) = name.split_once('/')?;
        return host_of(registry).strip_suffix(domain)?.ends_with('.').then(|| &name[registry.len()..]);
    }
    name.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `location` with what comes after the prefix appended.
fn place(location: &str, rest: &str, insecure: bool) -> Option<RegistryLocation> {
    let whole = format!("{}{rest}", location.trim_end_matches('/'));
    let (registry, path) = whole.split_once('/')?;
    Some(RegistryLocation { registry: registry.to_owned(), path: path.to_owned(), insecure })
}

fn drop_ins(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "conf")).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf() -> RegistriesConf {
        RegistriesConf::parse(
            r#"
            unqualified-search-registries = ["quay.io"]
            short-name-mode = "enforcing"
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "mirror.example.com:5000/hub"
            insecure = true
            [[registry.mirror]]
            location = "digests.example.com"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "example.com/old"
            location = "new.example.com/moved"
            [[registry]]
            prefix = "*.lab.example.com"
            insecure = true
            [[registry]]
            prefix = "bad.example.com"
            blocked = true
            "#,
        )
        .unwrap()
    }

    fn sources(name: &str, by_digest: bool) -> Vec<String> {
        let places = conf().sources(&Repository::parse(name).unwrap(), by_digest).unwrap();
        let show = |place: RegistryLocation| {
            format!("{}/{}{}", place.registry, place.path, if place.insecure { " insecure" } else { "" })
        };
        places.into_iter().map(show).collect()
    }

    #[test]
    fn mirrors_come_first_and_the_registry_last() {
        assert_eq!(sources("python", false), ["mirror.example.com:5000/hub/library/python insecure", "docker.io/library/python"]);
        assert_eq!(
            sources("python", true),
            [
                "mirror.example.com:5000/hub/library/python insecure",
                "digests.example.com/library/python",
                "docker.io/library/python"
            ]
        );
    }

    #[test]
    fn mirrors_that_are_given_are_asked_in_their_order() {
        let given = ["one.example.com", "gcr.io=two.example.com/gcr", "https://three.example.com"].map(str::to_owned);
        let conf = RegistriesConf::default().with_mirrors(&given);
        let hosts = |name: &str| {
            let places = conf.sources(&Repository::parse(name).unwrap(), false).unwrap();
            places.into_iter().map(|place| format!("{}/{}", place.registry, place.path)).collect::<Vec<_>>()
        };
        assert_eq!(hosts("a/b"), ["one.example.com/a/b", "three.example.com/a/b", "docker.io/a/b"]);
        assert_eq!(hosts("gcr.io/a"), ["two.example.com/gcr/a", "gcr.io/a"]);
        assert_eq!(hosts("quay.io/a"), ["quay.io/a"]);
    }

    #[test]
    fn a_prefix_is_replaced_by_its_location_at_whole_components() {
        assert_eq!(sources("example.com/old/app", false), ["new.example.com/moved/app"]);
        assert_eq!(sources("example.com/older/app", false), ["example.com/older/app"]);
    }

    #[test]
    fn wildcards_fit_hosts_below_only() {
        assert_eq!(sources("r.lab.example.com:5000/app", false), ["r.lab.example.com:5000/app insecure"]);
        assert_eq!(sources("lab.example.com/app", false), ["lab.example.com/app"]);
        assert_eq!(sources("collab.example.com/app", false), ["collab.example.com/app"]);
    }

    #[test]
    fn a_blocked_registry_is_an_error_and_so_is_version_1() {
        let repository = Repository::parse("bad.example.com/app").unwrap();
        assert_eq!(conf().destination(&repository).unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(RegistriesConf::parse("[registries.search]\nregistries = []").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
