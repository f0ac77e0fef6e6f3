//! Packages in layers: the package databases as they are after the last layer.
//!
//! Refuses to unpack anything: databases are read from the tars, whiteouts applied to them alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::layer::{Kind, read_entries};

/// The largest database that is read, in bytes; dpkg's of a large system has 10 MB.
const LARGEST: u64 = 64 << 20;

const DPKG: &str = "var/lib/dpkg/status";
const DPKG_PARTS: &str = "var/lib/dpkg/status.d/";
const CARGO_LOCK: &str = "Cargo.lock";
const RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// Whose package it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PackageKind {
    /// dpkg's.
    Debian,
    /// pip's, or of any other Python installer.
    Python,
    /// A crate of a program, as a Cargo.lock beside it says.
    Rust,
}

impl PackageKind {
    /// Its name in Python: part of the interface, never changed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Python => "python",
            Self::Rust => "rust",
        }
    }
}

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Whose it is.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its package URL (purl): what scanners look it up by.
    pub purl: String,
}

/// The package databases of the layers seen so far.
#[derive(Debug, Default)]
pub struct Scan {
    files: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Scan {
    /// Takes in the uncompressed tar of the next layer, lowest first.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: the layer is damaged, or a database is larger than 64 MiB.
    pub fn add(&mut self, tar: impl Read) -> Result<()> {
        let mut new: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        read_entries(tar, |entry, content| {
            let path = entry.path.as_bytes();
            match &entry.kind {
                Kind::Directory => {}
                Kind::OpaqueWhiteout => self.remove_below(path),
                _ => {
                    self.files.remove(path);
                    self.remove_below(path);
                }
            }
            if !is_database(path) {
                return Ok(());
            }
            match &entry.kind {
                Kind::File { size } if *size > LARGEST => {
                    let message = format!("`{}` has {size} bytes, more than a package database should", entry.path);
                    return Err(Error::new(ErrorKind::Corrupt, message));
                }
                Kind::File { .. } => {
                    let mut bytes = Vec::new();
                    content.read_to_end(&mut bytes).context(ErrorKind::Corrupt, || format!("cannot read `{}`", entry.path))?;
                    new.insert(path.to_vec(), bytes);
                }
                Kind::Hardlink { target } => {
                    let bytes = new.get(target.as_bytes()).cloned();
                    new.extend(bytes.map(|bytes| (path.to_vec(), bytes)));
                }
                _ => {}
            }
            Ok(())
        })?;
        self.files.append(&mut new);
        Ok(())
    }

    fn remove_below(&mut self, folder: &[u8]) {
        let start = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
        let below: Vec<Vec<u8>> =
            self.files.range(start.clone()..).map(|(path, _)| path.clone()).take_while(|path| path.starts_with(&start)).collect();
        below.iter().for_each(|path| drop(self.files.remove(path)));
    }

    /// What is installed, sorted, each package once.
    pub fn packages(&self) -> Vec<Package> {
        let distribution = self.distribution();
        let mut found = BTreeSet::new();
        for (path, content) in &self.files {
            let (path, content) = (String::from_utf8_lossy(path), String::from_utf8_lossy(content));
            if path == DPKG || path.starts_with(DPKG_PARTS) {
                found.extend(content.split("\n\n").filter_map(|stanza| debian(stanza, &distribution)));
            } else if is_cargo_lock(&path) {
                found.extend(crates(&content));
            } else if !RELEASE.contains(&&*path) {
                found.extend(python(&content));
            }
        }
        found.into_iter().collect()
    }

    /// `ID` and `VERSION_ID` of os-release(5).
    fn distribution(&self) -> (String, Option<String>) {
        let text = RELEASE.iter().find_map(|path| self.files.get(path.as_bytes()));
        let text = text.map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            Some(line.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
        };
        (value("ID").unwrap_or_else(|| "debian".into()), value("VERSION_ID"))
    }
}

fn is_database(path: &[u8]) -> bool {
    let Ok(path) = std::str::from_utf8(path) else { return false };
    // distroless images keep checksums beside the parts.
    let part = path.strip_prefix(DPKG_PARTS).is_some_and(|name| !name.ends_with(".md5sums"));
    let python = path.ends_with(".dist-info/METADATA") || path.ends_with(".egg-info/PKG-INFO");
    path == DPKG || part || python || RELEASE.contains(&path) || is_cargo_lock(path)
}

fn is_cargo_lock(path: &str) -> bool {
    path == CARGO_LOCK || path.strip_suffix(CARGO_LOCK).is_some_and(|folder| folder.ends_with('/'))
}

/// The value of a field of a stanza (deb822, or the head of a Python metadata file).
fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    let of_line = |line: &'a str| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    };
    stanza.lines().take_while(|line| !line.is_empty()).find_map(of_line).filter(|value| !value.is_empty())
}

fn debian(stanza: &str, (id, release): &(String, Option<String>)) -> Option<Package> {
    let stanza = stanza.trim_start_matches('\n');
    // Removed packages keep a stanza for their configuration; distroless parts have no state.
    if field(stanza, "Status").is_some_and(|status| !status.ends_with(" installed")) {
        return None;
    }
    let (name, version) = (field(stanza, "Package")?, field(stanza, "Version")?);
    let mut qualifiers = Vec::new();
    qualifiers.extend(field(stanza, "Architecture").map(|architecture| format!("arch={}", encoded(architecture))));
    qualifiers.extend(release.iter().map(|release| format!("distro={}-{}", encoded(id), encoded(release))));
    let query = if qualifiers.is_empty() { String::new() } else { format!("?{}", qualifiers.join("&")) };
    let purl = format!("pkg:deb/{}/{}@{}{query}", encoded(id), encoded(&name.to_lowercase()), encoded(version));
    Some(Package { kind: PackageKind::Debian, name: name.to_owned(), version: version.to_owned(), purl })
}

fn python(metadata: &str) -> Option<Package> {
    let (name, version) = (field(metadata, "Name")?, field(metadata, "Version")?);
    // Package URL specification, type pypi: lower case, dashes.
    let purl = format!("pkg:pypi/{}@{}", encoded(&name.to_lowercase().replace('_', "-")), encoded(version));
    Some(Package { kind: PackageKind::Python, name: name.to_owned(), version: version.to_owned(), purl })
}

/// The packages of a Cargo.lock. What is no such file, whatever its name, has none.
fn crates(text: &str) -> Vec<Package> {
    let lock: toml::Table = text.parse().unwrap_or_default();
    let listed = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let one = |entry: &toml::Value| {
        let text = |key: &str| entry.get(key).and_then(toml::Value::as_str);
        let (name, version) = (text("name")?, text("version")?);
        let purl = format!("pkg:cargo/{}@{}", encoded(name), encoded(version));
        Some(Package { kind: PackageKind::Rust, name: name.to_owned(), version: version.to_owned(), purl })
    };
    listed.filter_map(one).collect()
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

    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn purls(layers: &[&[(&str, &str)]]) -> Vec<String> {
        let mut scan = Scan::default();
        layers.iter().for_each(|files| scan.add(&tar(files)[..]).unwrap());
        scan.packages().into_iter().map(|package| package.purl).collect()
    }

    const SITE: &str = "usr/lib/python3/site-packages";

    #[test]
    fn both_databases_are_read_and_removed_packages_left_out() {
        let status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u4\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n";
        let metadata = "Metadata-Version: 2.1\nName: Ruamel_Yaml\nVersion: 0.18.6\n\nName: not this\n";
        let found = purls(&[&[
            (DPKG, status),
            ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
            (&format!("{SITE}/ruamel.dist-info/METADATA"), metadata),
            ("var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n"),
            ("var/lib/dpkg/status.d/tzdata.md5sums", "Package: no\nVersion: 1\n"),
        ]]);
        assert_eq!(
            found,
            [
                "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12",
                "pkg:deb/debian/tzdata@2024a-0?arch=all&distro=debian-12",
                "pkg:pypi/ruamel-yaml@0.18.6",
            ]
        );
    }

    #[test]
    fn crates_are_those_of_a_lock_file() {
        let lock = "version = 4\n[[package]]\nname = \"tokio\"\nversion = \"1.2.3+x\"\nsource = \"registry+a\"\n[[package]]\nname = \"own\"\n\
                    version = \"0.1.0\"\n";
        let found = purls(&[&[("usr/src/Cargo.lock", lock), ("My-Cargo.lock", lock), ("Cargo.lock", "not TOML")]]);
        assert_eq!(found, ["pkg:cargo/own@0.1.0", "pkg:cargo/tokio@1.2.3%2Bx"]);
    }

    #[test]
    fn the_last_layer_that_says_something_counts() {
        let package = |name: &str, version: &str| {
            (format!("{SITE}/{name}.dist-info/METADATA"), format!("Name: {name}\nVersion: {version}\n"))
        };
        let (a, b, c) = (package("a", "1"), package("b", "1"), package("a", "2"));
        let below: &[(&str, &str)] = &[(&a.0, &a.1), (&b.0, &b.1)];
        assert_eq!(purls(&[below]), ["pkg:pypi/a@1", "pkg:pypi/b@1"]);
        assert_eq!(purls(&[below, &[(&c.0, &c.1)]]), ["pkg:pypi/a@2", "pkg:pypi/b@1"]);
        assert_eq!(purls(&[below, &[(&format!("{SITE}/.wh.b.dist-info"), "")]]), ["pkg:pypi/a@1"]);
        assert_eq!(purls(&[below, &[(&c.0, &c.1), (&format!("{SITE}/.wh..wh..opq"), "")]]), ["pkg:pypi/a@2"]);
    }
}
