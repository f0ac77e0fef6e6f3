//! Python's installers: `*.dist-info` and `*.egg-info`, as folders and as files, and which files
//! are theirs.

use super::text::{field, fields};
use crate::sbom::owned_paths::OwnedPaths;
use crate::sbom::package::{PackageKind, PackageRecord};

/// A `METADATA` or `PKG-INFO` (core metadata specifications).
pub(super) fn metadata(text: &str) -> Option<PackageRecord> {
    let mut found = PackageRecord::new(PackageKind::Python, field(text, "Name")?, field(text, "Version")?);
    found.licenses = match field(text, "License-Expression") {
        Some(expression) => vec![expression.to_owned()],
        None => match field(text, "License").filter(|text| text.len() < 80 && !text.eq_ignore_ascii_case("unknown")) {
            Some(license) => vec![license.to_owned()],
            None => {
                let classes = fields(text, "Classifier").filter_map(|class| class.strip_prefix("License :: "));
                classes.map(|class| class.rsplit(" :: ").next().unwrap_or(class).to_owned()).collect()
            }
        },
    };
    Some(found)
}

/// The paths in a `RECORD`, from the root of the image; `folder` is what the RECORD's folder is in.
pub(super) fn record(text: &str, folder: &str) -> OwnedPaths {
    let path = |line: &str| {
        let quoted = line.strip_prefix('"').and_then(|rest| rest.split_once("\",").map(|(path, _)| path.replace("\"\"", "\"")));
        quoted.unwrap_or_else(|| line.split(',').next().unwrap_or_default().to_owned())
    };
    text.lines().map(path).filter(|path| !path.is_empty()).map(|path| joined(folder, &path)).collect()
}

/// `path`, as seen from `folder`; one that begins with `/` is whole.
pub(super) fn joined(folder: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
