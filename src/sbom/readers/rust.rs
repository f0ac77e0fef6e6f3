//! Rust: `Cargo.lock`, and the list that cargo-auditable puts into a program (section `.dep-v0`).

use serde::Deserialize;

use crate::sbom::package::{Checksum, PackageKind, PackageRecord};

/// The packages of a Cargo.lock. A file of another kind, whatever its name, has none.
pub(super) fn lock(text: &str) -> Vec<PackageRecord> {
    let lock: toml::Table = text.parse().unwrap_or_default();
    let listed = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let one = |entry: &toml::Value| {
        let text = |key: &str| entry.get(key).and_then(toml::Value::as_str);
        let mut found = PackageRecord::new(PackageKind::Rust, text("name")?, text("version")?);
        let is_sha256 = |sum: &&str| sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        found.checksum = text("checksum").filter(is_sha256).map(|sum| Checksum::Sha256(sum.to_lowercase()));
        Some(found)
    };
    listed.filter_map(one).collect()
}

#[derive(Deserialize)]
struct Auditable {
    packages: Vec<AuditablePackage>,
}

#[derive(Deserialize)]
struct AuditablePackage {
    name: String,
    version: String,
    #[serde(default)]
    kind: Option<String>,
}

/// How a list in a program begins (rust-secure-code/cargo-auditable, PARSING.md).
pub(super) const AUDITABLE: &[u8] = b"{\"packages\":";

/// The crates in a program; those that only built it are not in it.
pub(super) fn auditable(json: &[u8]) -> Option<Vec<PackageRecord>> {
    let listed: Auditable = serde_json::from_slice(json).ok()?;
    let in_program = |package: &AuditablePackage| package.kind.as_deref() != Some("build");
    let packages = listed.packages.iter().filter(|package| in_program(package));
    Some(packages.map(|package| PackageRecord::new(PackageKind::Rust, &package.name, &package.version)).collect())
}
