//! The container repository of a management pack: the SDK's check of what is typed, and what goes
//! into `<kind>.conf`.
//!
//! Refuses tags and digests: a repository is where an image goes, not which one.
//!
//! Source: SDK 1.3, `input_validators.ContainerRegistryValidator` and `mp_build._tag_and_push`. In
//! two things it is left on purpose. A first part `localhost` or with a port is a host without a
//! dot too, as docker reads it; the SDK would take the port for a tag. And a name without a
//! namespace is refused at once; the SDK lets it through and then fails to log in to a registry of
//! that name.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Repository, expect_path};

/// Where an adapter's image is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerRepository(Repository);

/// The entries of `<kind>.conf` that tell the product where to pull from. `Display` writes them as
/// the file has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfEntries {
    /// `REGISTRY`: host and port; `None` where the product's own default registry is to be used.
    pub registry: Option<String>,
    /// `REPOSITORY`: the path, with a slash before it.
    pub repository: String,
    /// `DIGEST`: of the manifest that was pushed.
    pub digest: Digest,
}

impl ContainerRepository {
    /// Parses `host[:port]/path`, or `namespace/name` for Docker Hub.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(ErrorKind::Usage, format!("`{text}` is not a container repository: {why}")).with_hint(
                "write it as HOST[:PORT]/PATH, such as harbor.example.com/project/adapter, or as NAMESPACE/NAME for Docker Hub",
            )
        };
        if text.starts_with("https://") || text.starts_with("http://") {
            return Repository::parse(text).map(Self);
        }
        expect_path(text.strip_suffix('/').unwrap_or(text))?;
        check_letters(text).map_err(wrong)?;
        let (host, path) = split_host(text);
        if let Some(path) = path.filter(|path| !path.is_empty()).or(host.is_none().then_some(text)) {
            if let Some((_, tag)) = path.split_once(':') {
                return Err(wrong(format!("it must not have a tag, and `:{tag}` looks like one")));
            }
        } else {
            return Err(wrong("it has no path after the host".into()));
        }
        if let Some((_, port)) = host.and_then(|host| host.split_once(':')) {
            check_port(port).map_err(wrong)?;
        }
        if !text.contains('/') {
            return Err(wrong("it has neither a host nor a namespace".into()));
        }
        Repository::parse(text).map(Self).map_err(|error| wrong("no registry accepts that path".into()).with_source(error))
    }

    /// The repository as registries know it.
    pub fn repository(&self) -> &Repository {
        &self.0
    }

    /// What `<kind>.conf` says of `digest` in this repository. With `use_default_registry` the host
    /// is left out.
    pub fn conf_entries(&self, digest: &Digest, use_default_registry: bool) -> ConfEntries {
        ConfEntries {
            registry: (!use_default_registry).then(|| self.0.registry().to_owned()),
            repository: format!("/{}", self.0.path()),
            digest: *digest,
        }
    }
}

impl FromStr for ContainerRepository {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for ContainerRepository {
    /// As the SDK writes it to config.json: Docker Hub's host is always there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for ConfEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            writeln!(f, "REGISTRY={registry}")?;
        }
        writeln!(f, "REPOSITORY={}", self.repository)?;
        writeln!(f, "DIGEST={}", self.digest)
    }
}

/// The host with its port, and the path; the host is `None` for Docker Hub's short form.
fn split_host(text: &str) -> (Option<&str>, Option<&str>) {
    match text.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), Some(path)),
        _ => (None, None),
    }
}

fn check_letters(text: &str) -> Result<(), String> {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let (Some(first), Some(last)) = (text.chars().next(), text.chars().next_back()) else {
        return Err("it is empty".into());
    };
    let foreign: String = text.chars().filter(|letter| !plain(*letter) && !"-_./:".contains(*letter)).collect();
    if !foreign.is_empty() {
        let capitals = foreign.chars().all(|letter| letter.is_ascii_uppercase());
        return Err(if capitals { "it has capital letters".into() } else { format!("it has `{foreign}` in it") });
    }
    match (plain(first), plain(last)) {
        (false, _) => Err(format!("it starts with `{first}` and not with a letter or digit")),
        (_, false) => Err(format!("it ends with `{last}` and not with a letter or digit")),
        _ => Ok(()),
    }
}

fn check_port(port: &str) -> Result<(), String> {
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("its port `{port}` is not a number"));
    }
    port.parse::<u16>().map(drop).map_err(|_| format!("its port {port} is not between 0 and 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_become_what_mp_build_writes() {
        let digest = Digest::of("x");
        for (text, written, registry, path) in [
            (
                "harbor.example.com/project/adapter",
                "harbor.example.com/project/adapter",
                "harbor.example.com",
                "/project/adapter",
            ),
            ("harbor.example.com:443/a/b-c_d", "harbor.example.com:443/a/b-c_d", "harbor.example.com:443", "/a/b-c_d"),
            ("127.0.0.1:5000/hello", "127.0.0.1:5000/hello", "127.0.0.1:5000", "/hello"),
            ("localhost:5000/hello", "localhost:5000/hello", "localhost:5000", "/hello"),
            ("user/repo", "docker.io/user/repo", "docker.io", "/user/repo"),
            ("docker.io/user/repo", "docker.io/user/repo", "docker.io", "/user/repo"),
            (
                "1234.dkr.ecr.eu-west-1.amazonaws.com/mp",
                "1234.dkr.ecr.eu-west-1.amazonaws.com/mp",
                "1234.dkr.ecr.eu-west-1.amazonaws.com",
                "/mp",
            ),
        ] {
            let repository = ContainerRepository::parse(text).unwrap();
            assert_eq!(repository.to_string(), written);
            let entries = repository.conf_entries(&digest, false);
            assert_eq!(entries.to_string(), format!("REGISTRY={registry}\nREPOSITORY={path}\nDIGEST={digest}\n"));
            let entries = repository.conf_entries(&digest, true);
            assert_eq!(entries.to_string(), format!("REPOSITORY={path}\nDIGEST={digest}\n"));
        }
    }

    #[test]
    fn what_the_sdk_refuses_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "it is empty"),
            ("Harbor.example.com/a", "it has capital letters"),
            ("harbor.example.com/a b!", "it has ` !` in it"),
            ("-harbor.example.com/a", "it starts with `-` and not with a letter or digit"),
            ("harbor.example.com/a/", "it ends with `/` and not with a letter or digit"),
            ("harbor.example.com/a:1.0", "it must not have a tag, and `:1.0` looks like one"),
            ("user/repo:latest", "it must not have a tag, and `:latest` looks like one"),
            ("repo:latest", "it must not have a tag, and `:latest` looks like one"),
            ("harbor.example.com:65536/a", "its port 65536 is not between 0 and 65535"),
            ("harbor.example.com:4a/a", "its port `4a` is not a number"),
            ("repo", "it has neither a host nor a namespace"),
            ("harbor.example.com/a..b", "no registry accepts that path"),
        ] {
            let error = ContainerRepository::parse(text).unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is not a container repository: {why}"));
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_host_alone_is_told_to_lack_its_path() {
        for host in ["harbor.example.com", "harbor.example.com/", "localhost:5000", "harbor.example.com:8443/"] {
            let error = ContainerRepository::parse(host).unwrap_err();
            let host = host.trim_end_matches('/');
            assert_eq!(error.to_string(), format!("`{host}` is a host without a path"));
        }
    }

    #[test]
    fn any_port_of_the_range_is_accepted() {
        for port in [0, 80, 65535] {
            assert!(ContainerRepository::parse(&format!("harbor.example.com:{port}/a")).is_ok(), "{port}");
        }
    }
}
