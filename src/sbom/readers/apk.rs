//! Alpine's `lib/apk/db/installed` (apk-tools, "Apk spec").

use crate::sbom::package::{PackageKind, PackageRecord};

/// The packages, with the files that they own.
pub(super) fn installed(text: &str) -> Vec<PackageRecord> {
    text.split("\n\n").filter_map(package).collect()
}

fn package(stanza: &str) -> Option<PackageRecord> {
    let field = |key: &str| stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    let mut found = PackageRecord::new(PackageKind::Apk, field("P")?, field("V").unwrap_or_default());
    found.qualify("arch", field("A").unwrap_or_default());
    found.qualify("upstream", field("o").filter(|origin| *origin != found.name).unwrap_or_default());
    found.licenses = field("L").filter(|license| !license.is_empty()).map(str::to_owned).into_iter().collect();
    let mut folder = "";
    for line in stanza.lines() {
        match line.split_at_checked(2) {
            Some(("F:", path)) => folder = path,
            Some(("R:", name)) => found.owns.push(format!("{folder}/{name}")),
            _ => {}
        }
    }
    Some(found)
}
