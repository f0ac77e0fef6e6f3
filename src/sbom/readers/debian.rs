//! dpkg: `status`, its parts in distroless images, the lists of files, and the licences in
//! copyright files.

use std::collections::BTreeSet;

use super::text::{field, fields};
use crate::sbom::owned_paths::OwnedPaths;
use crate::sbom::package::{PackageKind, PackageRecord};

/// The packages of a status file whose files are there.
pub(super) fn status(text: &str) -> Vec<PackageRecord> {
    text.split("\n\n").filter_map(package).collect()
}

fn package(stanza: &str) -> Option<PackageRecord> {
    // A removed package stays in the database as long as it has configuration files; one whose
    // installation broke off has its files. Parts of distroless images have no status.
    let is_gone = |status: &str| status.ends_with(" not-installed") || status.ends_with(" config-files");
    if field(stanza, "Status").is_some_and(is_gone) {
        return None;
    }
    let mut found =
        PackageRecord::new(PackageKind::Debian, field(stanza, "Package")?, field(stanza, "Version").unwrap_or_default());
    found.qualify("arch", field(stanza, "Architecture").unwrap_or_default());
    // `glibc (2.36-9)`: the version is there if it is another one.
    let source = field(stanza, "Source").unwrap_or_default().replace(" (", "@").replace(')', "");
    found.qualify("upstream", &source);
    Some(found)
}

/// The paths in an `info/*.list`.
pub(super) fn list(bytes: &[u8]) -> OwnedPaths {
    bytes.split(|byte| *byte == b'\n').filter(|line| line.len() > 2).map(<[u8]>::trim_ascii_start).collect()
}

/// The licences that a copyright file names: the short names of a machine-readable one (Debian's
/// copyright-format 1.0), and the common licences that another one refers to.
pub(super) fn copyright(text: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    let readable = text.trim_start().get(..7).is_some_and(|start| start.eq_ignore_ascii_case("format:"));
    if readable {
        let stanzas = text.split("\n\n").map(str::trim_start);
        found.extend(stanzas.flat_map(|stanza| fields(stanza, "License")).map(str::to_owned));
    }
    if found.is_empty() {
        const COMMON: &str = "/usr/share/common-licenses/";
        let names = text.split(COMMON).skip(1).map(|rest| {
            let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '.' | '-' | '+'));
            rest[..end.unwrap_or(rest.len())].trim_end_matches('.').to_owned()
        });
        found.extend(names.filter(|name| !name.is_empty()));
    }
    found.into_iter().collect()
}
