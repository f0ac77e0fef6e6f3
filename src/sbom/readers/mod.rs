//! What a file of a layer tells of packages: databases, metadata, archives and programs, each as
//! its layer is read.
//!
//! Keeps nothing of what it reads, unpacks nothing to a disk, and does not fail because of it: what
//! is too large or damaged is a notice.
//!
//! What a reader finds is stored for each layer: a change here needs a new `MAGIC` in `facts.rs`.

mod apk;
mod debian;
mod gem;
mod go;
mod java;
mod maven_groups;
mod npm;
mod powershell;
mod program;
mod python;
mod rpm;
mod rust;
mod text;
mod window;
mod zip;

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use self::zip::{Budget, Stopped};
use super::owned_paths::OwnedPaths;
use super::package::{Distribution, PackageRecord};
use crate::layer::{Entry, Kind};

/// The largest text that is read, in bytes; a large system's dpkg status has 10 MB.
const LARGEST_TEXT: u64 = 64 << 20;
/// The largest database of rpm's, in bytes; that of a server with everything has 200 MB.
const LARGEST_RPM: u64 = 256 << 20;
/// The most packages of one file.
const MOST_PACKAGES: usize = 100_000;
/// How much an archive and the archives in it may unpack to: this many bytes, or this many times
/// its own size, whichever is more.
const UNPACKED: u64 = 512 << 20;
const UNPACKED_TIMES: u64 = 100;

/// What a file tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fact {
    /// Packages that are installed.
    Packages(Vec<PackageRecord>),
    /// Files that belong to a package, from the root of the image.
    Owned(OwnedPaths),
    /// The licences of the package whose documentation this is.
    Licenses(Vec<String>),
    /// Which distribution it is.
    Release(Distribution),
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    DpkgStatus,
    DpkgList,
    DpkgCopyright,
    PythonMetadata,
    PythonRecord,
    CargoLock,
    Release,
    Apk,
    Rpm(rpm::Form),
    Npm,
    Gem,
    PowerShell,
    JavaRuntime,
    Archive,
    /// A program, if its first bytes say so.
    Other,
}

impl FileKind {
    fn of(path: &str) -> Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let in_folder = |suffixes: [&str; 3]| suffixes.iter().any(|suffix| folder.ends_with(suffix));
        let documents = || folder.strip_prefix("usr/share/doc/").is_some_and(|name| !name.contains('/'));
        match name {
            "status" if folder == "var/lib/dpkg" => Self::DpkgStatus,
            // distroless images keep checksums beside the parts.
            _ if folder == "var/lib/dpkg/status.d" && !name.ends_with(".md5sums") => Self::DpkgStatus,
            _ if folder == "var/lib/dpkg/info" && name.ends_with(".list") => Self::DpkgList,
            "copyright" if documents() => Self::DpkgCopyright,
            "METADATA" if in_folder([".dist-info", ".DIST-INFO", ".egg-info"]) => Self::PythonMetadata,
            "PKG-INFO" if folder.ends_with(".egg-info") => Self::PythonMetadata,
            "RECORD" if folder.ends_with(".dist-info") => Self::PythonRecord,
            _ if name.ends_with(".egg-info") => Self::PythonMetadata,
            "Cargo.lock" => Self::CargoLock,
            "os-release" if matches!(folder, "etc" | "usr/lib") => Self::Release,
            "installed" if matches!(folder, "lib/apk/db" | "usr/lib/apk/db") => Self::Apk,
            "package.json" => Self::Npm,
            "release" => Self::JavaRuntime,
            _ if name.ends_with(".gemspec") && in_folder(["specifications", "specifications/default", "/specifications"]) => {
                Self::Gem
            }
            _ if name.ends_with(".psd1") => Self::PowerShell,
            _ if java::is_archive(name) => Self::Archive,
            _ => rpm::Form::of(path).map_or(Self::Other, Self::Rpm),
        }
    }
}

/// What the file `entry` tells, if anything, and what of it could not be read.
pub(super) fn read(entry: &Entry, content: &mut dyn Read) -> io::Result<(Option<Fact>, Option<String>)> {
    let (Kind::File { size }, Ok(path)) = (&entry.kind, std::str::from_utf8(entry.path.as_bytes())) else {
        return Ok((None, None));
    };
    let kind = FileKind::of(path);
    match kind {
        FileKind::Other => return Ok((program(content)?, None)),
        FileKind::Archive => return archive(path, *size, content),
        _ => {}
    }
    let largest = if matches!(kind, FileKind::Rpm(_)) { LARGEST_RPM } else { LARGEST_TEXT };
    if *size > largest {
        return Ok((None, Some(format!("`/{path}` has {size} bytes, more than such a file should: it was not read"))));
    }
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes)?;
    Ok(match facts_of(kind, path, &bytes) {
        Some(Fact::Packages(mut packages)) if packages.len() > MOST_PACKAGES => {
            packages.truncate(MOST_PACKAGES);
            (
                Some(Fact::Packages(packages)),
                Some(format!("`/{path}` lists more than {MOST_PACKAGES} packages: the others were left out")),
            )
        }
        fact => {
            let notice = unread(kind, path, &bytes, fact.is_some()).map(|what| format!("`/{path}` is {what}"));
            (fact, notice)
        }
    })
}

/// What is wrong with a file that a package manager has put there and that tells nothing. Of other
/// files, some have the same name by chance.
fn unread(kind: FileKind, path: &str, bytes: &[u8], told: bool) -> Option<&'static str> {
    let lacks = |field: &str| {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        !bytes.trim_ascii().is_empty() && !lines.any(|line| line.starts_with(field.as_bytes()))
    };
    let what = match kind {
        // A database that cannot be read hides all that is installed.
        FileKind::Rpm(_) if !told => "not a database of rpm's, or a damaged one",
        FileKind::Apk if lacks("P:") => "not a database of apk's, or a damaged one",
        FileKind::DpkgStatus if lacks("Package:") => "not a database of dpkg's, or a damaged one",
        FileKind::PythonMetadata if !told => "without a name and a version: the package whose it is was left out",
        FileKind::Npm if !told && npm::is_installed(path) && !npm::is_json(bytes) => {
            "not JSON: the package whose it is was left out"
        }
        _ => return None,
    };
    Some(what)
}

fn facts_of(kind: FileKind, path: &str, bytes: &[u8]) -> Option<Fact> {
    // Windows' editors begin a text with a mark of its byte order.
    let text = || String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    let one = |found: Option<PackageRecord>| found.map(|found| Fact::Packages(vec![found]));
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let above = folder.rsplit_once('/').map_or("", |(above, _)| above);
    Some(match kind {
        FileKind::DpkgStatus => Fact::Packages(debian::status(&text())),
        FileKind::DpkgList => Fact::Owned(debian::list(bytes)),
        FileKind::DpkgCopyright => Fact::Licenses(debian::copyright(&text())),
        FileKind::PythonMetadata => one(python::metadata(&text()))?,
        FileKind::PythonRecord => Fact::Owned(python::record(&text(), above)),
        FileKind::CargoLock => Fact::Packages(rust::lock(&text())),
        FileKind::Release => Fact::Release(release(&text())?),
        FileKind::Apk => Fact::Packages(apk::installed(&text())),
        FileKind::Rpm(form) => Fact::Packages(rpm::packages(form, bytes)?),
        FileKind::Npm => one(npm::package(bytes, folder))?,
        FileKind::JavaRuntime => one(java::runtime(&text()))?,
        FileKind::Gem => one(gem::gemspec(&text(), folder))?,
        FileKind::PowerShell => one(powershell::manifest(bytes, name.trim_end_matches(".psd1")).map(|mut found| {
            found.owns.push(format!("{folder}/"));
            found
        }))?,
        FileKind::Archive | FileKind::Other => return None,
    })
}

/// `ID` and `VERSION_ID` of os-release(5).
fn release(text: &str) -> Option<Distribution> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    Some(Distribution { id: value("ID")?, version: value("VERSION_ID") })
}

fn program(content: &mut dyn Read) -> io::Result<Option<Fact>> {
    let mut start = Vec::new();
    content.take(4).read_to_end(&mut start)?;
    if !program::is_program(&start) {
        return Ok(None);
    }
    let found = program::packages(&start, content)?;
    Ok(Some(found).filter(|found| !found.is_empty()).map(Fact::Packages))
}

fn archive(path: &str, size: u64, content: &mut dyn Read) -> io::Result<(Option<Fact>, Option<String>)> {
    let mut budget = Budget(UNPACKED.max(size.saturating_mul(UNPACKED_TIMES)));
    let (found, stopped) = java::packages(path, content, &mut budget, MOST_PACKAGES);
    let notice = match stopped {
        None => None,
        Some(Stopped::Io(error)) => return Err(error),
        Some(Stopped::Budget) => {
            Some(format!("`/{path}` unpacks to more than an archive of its size should: it was read in part"))
        }
        Some(Stopped::Unreadable(why)) => Some(format!("`/{path}` was not read to its end: {why}")),
    };
    Ok((Some(found).filter(|found| !found.is_empty()).map(Fact::Packages), notice))
}
