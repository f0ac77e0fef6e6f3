//! A package as a bill of materials names it, and its package URL (purl).

use serde::{Deserialize, Serialize};

use super::owned_paths::OwnedPaths;

/// Whose package it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PackageKind {
    /// dpkg's.
    Debian,
    /// pip's, or of any other Python installer.
    Python,
    /// A crate of a program: a Cargo.lock beside it says so, or what cargo-auditable wrote into it.
    Rust,
    /// rpm's.
    Rpm,
    /// Alpine's.
    Apk,
    /// A jar, or what its Maven files say is in it.
    Java,
    /// A JDK or JRE.
    JavaRuntime,
    /// npm's, yarn's or pnpm's.
    Npm,
    /// A module that a Go program was built of, and the standard library.
    Go,
    /// RubyGems'.
    Gem,
    /// A module for PowerShell.
    PowerShell,
}

impl PackageKind {
    /// Its name in Python and in JSON: part of the interface, never changed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Python => "python",
            Self::Rust => "rust",
            Self::Rpm => "rpm",
            Self::Apk => "apk",
            Self::Java => "java",
            Self::JavaRuntime => "java-runtime",
            Self::Npm => "npm",
            Self::Go => "go",
            Self::Gem => "gem",
            Self::PowerShell => "powershell",
        }
    }

    /// The type in a package URL. There is none for JDKs and for PowerShell's gallery.
    fn purl_type(self) -> &'static str {
        match self {
            Self::Debian => "deb",
            Self::Python => "pypi",
            Self::Rust => "cargo",
            Self::Rpm => "rpm",
            Self::Apk => "apk",
            Self::Java => "maven",
            Self::Npm => "npm",
            Self::Go => "golang",
            Self::Gem => "gem",
            Self::JavaRuntime | Self::PowerShell => "generic",
        }
    }

    /// Whether it is the distribution's, so that its package URL names that.
    pub(super) fn of_distribution(self) -> bool {
        matches!(self, Self::Debian | Self::Rpm | Self::Apk)
    }
}

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Whose it is.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// Its version; empty where nothing tells it.
    pub version: String,
    /// Its package URL (purl): what scanners look it up by.
    pub purl: String,
    /// Its licences: SPDX expressions where mpimg can tell, else the words of the package.
    /// Sorted.
    pub licenses: Vec<String>,
    /// Its digest where it is known: of a jar, or of what a crate was unpacked from.
    pub checksum: Option<Checksum>,
    /// Where it was found. Sorted.
    pub places: Vec<PackagePlace>,
}

/// A digest of the packed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Checksum {
    /// Of a jar as it is in the image; Maven Central is asked by it.
    Sha1(String),
    /// Of a crate.
    Sha256(String),
}

impl Checksum {
    /// The algorithm as most programs write it: `sha1`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha1(_) => "sha1",
            Self::Sha256(_) => "sha256",
        }
    }

    /// The digest, in lower case.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha1(hex) | Self::Sha256(hex) => hex,
        }
    }
}

/// Where a package was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackagePlace {
    /// The database or file in the image that tells of it; `!/` leads into an archive.
    pub path: String,
    /// The layer that brought it, counted from the lowest, from 0.
    pub layer: usize,
}

/// A package as a file of a layer tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackageRecord {
    pub(super) kind: PackageKind,
    /// Maven's group, npm's scope, the host and folders of a Go module: parts with `/` between.
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) qualifiers: Vec<(String, String)>,
    /// As the package tells them.
    pub(super) licenses: Vec<String>,
    pub(super) checksum: Option<Checksum>,
    /// Where in an archive it is: `!/BOOT-INF/lib/a.jar`.
    pub(super) inside: String,
    /// The files that it owns, from the root of the image; a folder with all that it holds ends in
    /// `/`.
    pub(super) owns: OwnedPaths,
}

impl PackageRecord {
    pub(super) fn new(kind: PackageKind, name: &str, version: &str) -> Self {
        Self {
            kind,
            namespace: String::new(),
            name: name.to_owned(),
            version: version.to_owned(),
            qualifiers: Vec::new(),
            licenses: Vec::new(),
            checksum: None,
            inside: String::new(),
            owns: OwnedPaths::default(),
        }
    }

    pub(super) fn qualify(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.qualifiers.push((key.to_owned(), value.to_owned()));
        }
    }

    /// Its package URL in a distribution (package-url/purl-spec, PURL-TYPES).
    pub(super) fn purl(&self, distribution: Option<&Distribution>) -> String {
        let mut qualifiers = self.qualifiers.clone();
        let (mut namespace, mut name) = (self.namespace.clone(), self.name.clone());
        match self.kind {
            PackageKind::Debian | PackageKind::Rpm | PackageKind::Apk => {
                namespace = match (distribution, self.kind) {
                    // The type's definition names Red Hat's packages after the vendor.
                    (Some(distribution), PackageKind::Rpm) if distribution.id == "rhel" => "redhat".into(),
                    (Some(distribution), _) => distribution.id.clone(),
                    (None, PackageKind::Debian) => "debian".into(),
                    (None, PackageKind::Apk) => "alpine".into(),
                    (None, _) => String::new(),
                };
                if let Some(Distribution { id, version: Some(version) }) = distribution {
                    qualifiers.push(("distro".into(), format!("{id}-{version}")));
                }
                if self.kind != PackageKind::Rpm {
                    name = name.to_lowercase();
                }
            }
            // As PyPI compares names, and lists of vulnerabilities have them (PEP 503):
            // `boolean.py` is `boolean-py`.
            PackageKind::Python => {
                let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
                name = parts.collect::<Vec<_>>().join("-").to_lowercase();
            }
            _ => {}
        }
        qualifiers.sort();
        let mut purl = format!("pkg:{}/", self.kind.purl_type());
        for part in namespace.split('/').filter(|part| !part.is_empty()) {
            purl += &encoded(part);
            purl.push('/');
        }
        purl += &encoded(&name);
        if !self.version.is_empty() {
            purl.push('@');
            purl += &encoded(&self.version);
        }
        for (number, (key, value)) in qualifiers.iter().enumerate() {
            purl.push(if number == 0 { '?' } else { '&' });
            purl += &format!("{key}={}", encoded(value));
        }
        purl
    }
}

/// The distribution as os-release(5) names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Distribution {
    pub(super) id: String,
    pub(super) version: Option<String>,
}

/// Percent-encoded as package URLs want it.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_as_their_types_want_them() {
        let distribution = Distribution { id: "rhel".into(), version: Some("9.4".into()) };
        let mut rpm = PackageRecord::new(PackageKind::Rpm, "NetworkManager", "1.46-8.el9");
        rpm.qualify("epoch", "1");
        rpm.qualify("arch", "x86_64");
        let mut npm = PackageRecord::new(PackageKind::Npm, "core", "7.0.0");
        npm.namespace = "@babel".into();
        let mut go = PackageRecord::new(PackageKind::Go, "v3", "v3.1.0+incompatible");
        go.namespace = "github.com/Masterminds/semver".into();
        let python = PackageRecord::new(PackageKind::Python, "Ruamel_Yaml", "0.18");
        let nameless = PackageRecord::new(PackageKind::Gem, "rake", "");
        for (found, purl) in [
            (rpm, "pkg:rpm/redhat/NetworkManager@1.46-8.el9?arch=x86_64&distro=rhel-9.4&epoch=1"),
            (npm, "pkg:npm/%40babel/core@7.0.0"),
            (go, "pkg:golang/github.com/Masterminds/semver/v3@v3.1.0%2Bincompatible"),
            (python, "pkg:pypi/ruamel-yaml@0.18"),
            (nameless, "pkg:gem/rake"),
        ] {
            assert_eq!(found.purl(Some(&distribution)), purl);
        }
    }
}
