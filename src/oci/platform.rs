//! Platforms: `os/architecture[/variant]`, with the synonyms that docker accepts.
//!
//! An unknown word is kept as it is; an empty one is an error.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// What a binary runs on (image specification, image-index.md, `platform`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, …: Go's name. Empty where an image does not tell.
    #[serde(default)]
    pub architecture: String,
    /// `linux`, `windows`, … Empty where an image does not tell.
    #[serde(default)]
    pub os: String,
    /// `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Default for Platform {
    /// linux/amd64: what a Cloud Proxy runs.
    fn default() -> Self {
        Self { architecture: "amd64".into(), os: "linux".into(), variant: None }
    }
}

impl Platform {
    /// Parses `os/architecture[/variant]`; a bare architecture means linux.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorKind::Usage, format!("`{text}` is not a platform"))
                .with_hint("write it as os/architecture, such as linux/amd64")
        };
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || !part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))) {
            return Err(wrong());
        }
        let (os, architecture, variant) = match parts[..] {
            [os] if os == "linux" || os == "windows" => (os, std::env::consts::ARCH, None),
            [architecture] => ("linux", architecture, None),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(wrong()),
        };
        let (architecture, variant) = normal(&architecture.to_ascii_lowercase(), variant);
        Ok(Self { architecture, os: os.to_ascii_lowercase(), variant })
    }

    /// The platform of this machine, with linux as the system: images are for linux wherever they
    /// are built.
    pub fn host() -> Self {
        let (architecture, variant) = normal(std::env::consts::ARCH, None);
        Self { architecture, os: "linux".into(), variant }
    }

    /// Whether neither system nor architecture is given: images that are made of nothing by
    /// `crane append` say so.
    pub fn is_unspecified(&self) -> bool {
        self.os.is_empty() && self.architecture.is_empty()
    }

    /// This platform, with what is not given taken from `other`.
    #[must_use]
    pub fn or(&self, other: &Platform) -> Self {
        let own_or = |own: &String, other: &String| if own.is_empty() { other.clone() } else { own.clone() };
        let variant = match self.architecture.is_empty() {
            true => other.variant.clone(),
            false => self.variant.clone(),
        };
        Self { architecture: own_or(&self.architecture, &other.architecture), os: own_or(&self.os, &other.os), variant }
    }

    /// Whether an image for `self` can be used where `wanted` is asked for. What either side leaves
    /// out fits.
    pub fn fits(&self, wanted: &Platform) -> bool {
        let same_variant = match (&self.variant, &wanted.variant) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        let same = |ours: &str, theirs: &str| ours.is_empty() || theirs.is_empty() || ours == theirs;
        same(&self.os, &wanted.os) && same(&self.architecture, &wanted.architecture) && same_variant
    }
}

/// Go's names for other systems' names (containerd's platforms package, `normalizeArch`).
fn normal(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let (architecture, variant) = match (architecture, variant) {
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386", variant) => ("386", variant),
        ("aarch64" | "arm64", Some("8" | "v8") | None) => ("arm64", None),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", Some("v7")),
        ("armel", _) => ("arm", Some("v6")),
        ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        other => other,
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &'_ str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
        write!(f, "{}/{}", shown(&self.os), shown(&self.architecture))?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synonyms_become_gos_names() {
        for (text, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("amd64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/arm/v6", "linux/arm/v6"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), normal, "{text}");
        }
    }

    #[test]
    fn empty_parts_and_too_many_parts_are_refused() {
        for text in ["", "/", "linux/", "a/b/c/d", "linux/am d64"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_variant_fits_any() {
        let arm = Platform::parse("linux/arm/v7").unwrap();
        assert!(arm.fits(&Platform { architecture: "arm".into(), os: "linux".into(), variant: None }));
        assert!(!arm.fits(&Platform::parse("linux/arm/v6").unwrap()));
    }

    #[test]
    fn what_is_not_told_fits_and_becomes_what_is_wanted() {
        let unspecified = Platform { architecture: String::new(), os: String::new(), variant: None };
        let arm = Platform::parse("linux/arm/v7").unwrap();
        assert!(unspecified.is_unspecified() && unspecified.fits(&arm) && !arm.is_unspecified());
        assert_eq!((unspecified.or(&arm), arm.or(&Platform::default())), (arm.clone(), arm));
        assert_eq!(unspecified.to_string(), "unknown/unknown");
    }
}
