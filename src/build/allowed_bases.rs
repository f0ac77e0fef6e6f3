//! Which images may be built on and copied from.

use std::fmt;
use std::str::FromStr;

use crate::dockerfile::{Base, Plan};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Transport;
use crate::oci::{Reference, Repository};

/// Images that may be built on: a repository, or all below a host or a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedBase {
    /// `HOST/PATH`
    Repository(Repository),
    /// `HOST/*` or `HOST/PATH/*`, as what names begin with.
    Below(String),
}

impl AllowedBase {
    /// Whether an image is one of them. What is in a layout or an archive comes from no repository.
    pub fn allows(&self, name: &str) -> bool {
        let Ok(Transport::Store(name) | Transport::Registry(name)) = Transport::parse(name) else { return false };
        self.allows_repository(&name)
    }

    fn allows_repository(&self, name: &Reference) -> bool {
        match self {
            Self::Repository(repository) => name.repository() == repository,
            Self::Below(start) => format!("{}/{}", name.registry(), name.path()).starts_with(start.as_str()),
        }
    }
}

impl FromStr for AllowedBase {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(ErrorKind::Usage, format!("`{text}` does not name base images: {why}"))
                .with_hint("write a repository as HOST/PATH, or HOST/* or HOST/PATH/* for all below it")
        };
        match text.strip_suffix("/*") {
            Some(start) if start.is_empty() || start.contains('*') => {
                Err(wrong("`*` stands for all below a host or a path".into()))
            }
            Some(start) => Ok(Self::Below(format!("{start}/"))),
            None => Repository::parse(text).map(Self::Repository).map_err(|error| wrong(error.to_string())),
        }
    }
}

impl fmt::Display for AllowedBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(repository) => repository.fmt(f),
            Self::Below(start) => write!(f, "{start}*"),
        }
    }
}

/// An error if a stage stands on, or copies from, an image that is none of `allowed`.
pub(super) fn check(allowed: &[AllowedBase], plan: &Plan, stands_for: impl Fn(&str) -> String) -> Result<()> {
    for stage in &plan.stages {
        let base = match &stage.base {
            Base::Image(name) => Some(name),
            _ => None,
        };
        for name in base.into_iter().chain(&stage.images) {
            expect_allowed(&stands_for(name), allowed).map_err(|error| error.with_snippet(stage.from.snippet()))?;
        }
    }
    Ok(())
}

/// An error if an image is none of `allowed`, where there are any.
pub(crate) fn expect_allowed(image: &str, allowed: &[AllowedBase]) -> Result<()> {
    if allowed.is_empty() || allowed.iter().any(|allowed| allowed.allows(image)) {
        return Ok(());
    }
    let names: Vec<String> = allowed.iter().map(|allowed| format!("`{allowed}`")).collect();
    Err(Error::new(ErrorKind::Policy, format!("`{image}` is not an image that may be built on here"))
        .with_hint(format!("`bases` in `[policy]` of mpimg's configuration allows {}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_registries_know_them() {
        for (allowed, yes, no) in [
            ("python", "python:3.11-slim", "python-evil"),
            (
                "docker.io/library/python",
                "python@sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
                "a/python",
            ),
            ("harbor.example.com/base/*", "harbor.example.com/base/java/17:1", "harbor.example.com/baseless:1"),
            ("harbor.example.com/*", "docker://harbor.example.com/a:1", "harbor.example.com.evil.org/a:1"),
            ("docker.io/*", "busybox", "oci:busybox"),
        ] {
            let allowed: AllowedBase = allowed.parse().unwrap();
            assert_eq!((allowed.allows(yes), allowed.allows(no)), (true, false), "{allowed}");
        }
        for wrong in ["", "/*", "a*/*", "Not A Name"] {
            assert_eq!(wrong.parse::<AllowedBase>().unwrap_err().kind(), ErrorKind::Usage, "{wrong}");
        }
    }
}
