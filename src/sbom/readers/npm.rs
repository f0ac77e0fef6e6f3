//! npm: the `package.json` of an installed package.

use serde_json::Value;

use crate::sbom::package::{PackageKind, PackageRecord};

/// Whether a package.json is an installed package's own: those below it may be anything.
pub(super) fn is_installed(path: &str) -> bool {
    let Some(inside) = path.strip_suffix("/package.json").and_then(|folder| folder.rsplit_once("node_modules/")) else {
        return false;
    };
    match inside.1.split_once('/') {
        None => true,
        Some((scope, name)) => scope.starts_with('@') && !name.contains('/'),
    }
}

pub(super) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// A package.json with a name and a version. Others configure folders of a package.
pub(super) fn package(bytes: &[u8], folder: &str) -> Option<PackageRecord> {
    let json: Value = serde_json::from_slice(bytes).ok()?;
    let text = |key: &str| json[key].as_str().filter(|text| !text.is_empty());
    let (name, version) = (text("name")?, text("version")?);
    let (scope, name) = name.split_once('/').unwrap_or(("", name));
    let mut found = PackageRecord::new(PackageKind::Npm, name, version);
    found.namespace = scope.to_owned();
    // A text; or what npm took before 2014: an object, or a list of objects under another name.
    let license = |value: &Value| value.as_str().or_else(|| value["type"].as_str()).map(str::to_owned);
    found.licenses = match license(&json["license"]) {
        Some(license) => vec![license],
        None => json["licenses"].as_array().into_iter().flatten().filter_map(license).collect(),
    };
    // What belongs to the application itself is not the package manager's.
    if folder.split('/').any(|part| part == "node_modules") {
        found.owns.push(format!("{folder}/"));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_s_own_file_is_told_from_those_in_it() {
        for (path, own) in [
            ("app/node_modules/a/package.json", true),
            ("node_modules/@s/a/package.json", true),
            ("node_modules/a/node_modules/b/package.json", true),
            ("node_modules/a/test/broken/package.json", false),
            ("node_modules/@s/a/test/package.json", false),
            ("app/package.json", false),
        ] {
            assert_eq!(is_installed(path), own, "{path}");
        }
    }
}
