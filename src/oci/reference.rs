//! References: registry, repository, and a tag or digest, normalised as docker does (`python:3` is
//! `docker.io/library/python:3`).
//!
//! The grammar is the distribution specification's; see [`name`].

use std::fmt;
use std::str::FromStr;

use super::{Digest, name};
use crate::error::{Error, ErrorKind, Result};

const DEFAULT_TAG: &str = "latest";

/// A registry and a repository in it, such as `harbor.example.com/mp/nsx`, without tag or digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: String,
    path: String,
}

/// A tag: 1 to 128 characters, `[A-Za-z0-9_][A-Za-z0-9._-]*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// A repository with a tag, a digest or both. Without either it means the tag `latest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Repository {
    /// Parses `[registry[:port]/]path`; a tag or digest is an error, and so is a host alone.
    pub fn parse(text: &str) -> Result<Self> {
        expect_path(text)?;
        let reference = Reference::parse_exact(text)?;
        if reference.tag.is_some() || reference.digest.is_some() {
            return Err(Error::new(ErrorKind::Usage, format!("`{text}` is not a repository: it has a tag or digest"))
                .with_hint(format!("leave out what comes after `{}`", reference.repository.path)));
        }
        Ok(reference.repository)
    }

    /// Host and port, as written: `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path inside the registry, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// This repository at another registry.
    #[must_use]
    pub fn at(&self, registry: &str) -> Self {
        Self { registry: registry.to_owned(), path: self.path.clone() }
    }

    /// A reference to `tag` in this repository.
    pub fn with_tag(&self, tag: Tag) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag), digest: None }
    }

    /// A reference to `digest` in this repository.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }

    /// As people write it: Docker Hub's registry and `library/` are left out, where the rest still
    /// means the same.
    pub fn familiar(&self) -> String {
        let short = match (self.registry.as_str(), self.path.strip_prefix("library/")) {
            ("docker.io", Some(name)) if !name.contains('/') => name,
            ("docker.io", _) => &self.path,
            _ => return self.to_string(),
        };
        // `docker.io/a.b/c` without its registry would be `c` in the registry `a.b`.
        let same = Reference::parse_exact(short).is_ok_and(|reference| reference.repository == *self);
        if same { short.to_owned() } else { self.to_string() }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl FromStr for Repository {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Tag {
    /// Parses a tag.
    pub fn parse(text: &str) -> Result<Self> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let right = matches!(text.as_bytes(), [first, rest @ ..]
            if word(*first) && rest.len() < 128 && rest.iter().all(|byte| word(*byte) || b".-".contains(byte)));
        if !right {
            return Err(Error::new(ErrorKind::Usage, format!("`{text}` is not a tag"))
                .with_hint("a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and starts with a letter, digit or `_`"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Reference {
    /// Whether a tag or a digest is written in the name `text`, which otherwise means the tag
    /// `latest` or the whole repository.
    #[cfg(feature = "cli")]
    pub(crate) fn has_tag_or_digest(text: &str) -> bool {
        text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']))
    }

    /// Parses `[registry[:port]/]path[:tag][@digest]`. Without tag and digest, the tag is `latest`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut reference = Self::parse_exact(text)?;
        if reference.tag.is_none() && reference.digest.is_none() {
            reference.tag = Some(Tag(DEFAULT_TAG.into()));
        }
        Ok(reference)
    }

    /// The same, of what a registry is asked for: a host alone is an error. As a name of the local
    /// store, `my.app` is an image; at Docker Hub, where it would be looked for, nothing is called
    /// so, and who writes it means the registry of that name.
    pub fn parse_remote(text: &str) -> Result<Self> {
        expect_path(text)?;
        Self::parse(text)
    }

    fn parse_exact(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(ErrorKind::Usage, format!("`{text}` is not an image reference: {why}"))
                .with_hint("write it as [HOST[:PORT]/]PATH[:TAG][@DIGEST], in lower case but for the tag")
        };
        expect_no_scheme(text)?;
        let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
        // A colon before the last slash belongs to the port.
        let last = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[last..].find(':') {
            Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
            None => (rest, None),
        };
        let (registry, path) = name::split(name).map_err(wrong)?;
        Ok(Self {
            repository: Repository { registry, path },
            tag: tag.map(Tag::parse).transpose()?,
            digest: digest.map(Digest::parse).transpose()?,
        })
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Host and port.
    pub fn registry(&self) -> &str {
        self.repository.registry()
    }

    /// The path inside the registry.
    pub fn path(&self) -> &str {
        self.repository.path()
    }

    /// The tag, where there is one.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, where there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest if there is one, else the tag.
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_string(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// As people write it: Docker Hub's registry and `library/` are left out.
    pub fn familiar(&self) -> String {
        self.show(&self.repository.familiar())
    }

    fn show(&self, name: &str) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        let digest = self.digest.iter().map(|digest| format!("@{digest}"));
        std::iter::once(name.to_owned()).chain(tag).chain(digest).collect()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(&self.repository.to_string()))
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// An error if the text is an address as browsers have them.
pub(crate) fn expect_no_scheme(text: &str) -> Result<()> {
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "https" | "http")) else {
        return Ok(());
    };
    let message = format!("`{text}` is an address, not an image reference");
    let rest = rest.trim_end_matches('/');
    Err(Error::new(ErrorKind::Usage, message).with_hint(format!("leave out the `{scheme}://`: `{rest}`")))
}

/// An error if the text is a host, with or without its port, and nothing else.
pub(crate) fn expect_path(text: &str) -> Result<()> {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_port = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    if text.contains(['/', '@']) || !is_port || !(host.contains('.') || host == "localhost" && port.is_some()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Usage, format!("`{text}` is a host without a path"))
        .with_hint(format!("write it as HOST[:PORT]/PATH: `{text}/project/adapter`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_as_docker_does() {
        for (text, normal, familiar) in [
            ("python", "docker.io/library/python:latest", "python:latest"),
            ("base-adapter:python-1.2.0", "docker.io/library/base-adapter:python-1.2.0", "base-adapter:python-1.2.0"),
            ("user/repo", "docker.io/user/repo:latest", "user/repo:latest"),
            ("index.docker.io/user/repo:1", "docker.io/user/repo:1", "user/repo:1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000/a/b:latest"),
            // Found by benches/fuzz: the short form would name another registry.
            ("docker.io/er.io/a", "docker.io/er.io/a:latest", "docker.io/er.io/a:latest"),
            ("harbor.example.com/p/a:1.0_2", "harbor.example.com/p/a:1.0_2", "harbor.example.com/p/a:1.0_2"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), normal);
            assert_eq!(reference.familiar(), familiar);
        }
    }

    #[test]
    fn a_digest_alone_has_no_tag() {
        let digest = Digest::of("x");
        let reference = Reference::parse(&format!("a/b@{digest}")).unwrap();
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.digest(), Some(&digest));
        assert_eq!(reference.target(), digest.to_string());
        let both = Reference::parse(&format!("a/b:1@{digest}")).unwrap();
        assert_eq!(both.tag().unwrap().as_str(), "1");
        assert_eq!(both.to_string(), format!("docker.io/a/b:1@{digest}"));
    }

    #[test]
    fn a_repository_has_neither_tag_nor_digest() {
        assert_eq!(Repository::parse("localhost:5000/a").unwrap().to_string(), "localhost:5000/a");
        assert!(Repository::parse("localhost:5000/a:1").is_err());
    }

    #[test]
    fn a_host_alone_is_no_repository_but_may_name_an_image_of_the_store() {
        for host in ["harbor.example.com", "harbor.example.com:443", "localhost:5000", "127.0.0.1:5000"] {
            for error in [Repository::parse(host).unwrap_err(), Reference::parse_remote(host).unwrap_err()] {
                assert_eq!(error.to_string(), format!("`{host}` is a host without a path"));
                assert!(error.hint().unwrap().contains(&format!("`{host}/project/adapter`")));
            }
            assert!(Reference::parse(host).is_ok(), "{host}");
        }
        for name in ["python", "python:3", "python:3.11", "localhost", "my.app:latest", "localhost:5000/a", "h.example.com/a:1"] {
            assert!(Reference::parse_remote(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn wrong_references_are_refused_with_a_hint() {
        for text in ["", "UPPER/case", "a b", "a:", "a@sha256:00", "host:70000/a/b", "/a", "a//b", "a/b:ta g"] {
            let error = Reference::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{text}");
        }
    }
}
