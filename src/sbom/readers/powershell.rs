//! PowerShell: the manifest of a module, `NAME.psd1`.

use super::text::quoted;
use crate::sbom::package::{PackageKind, PackageRecord};

/// A manifest that tells a version. Other files of this kind are data.
pub(super) fn manifest(bytes: &[u8], name: &str) -> Option<PackageRecord> {
    let text = decoded(bytes);
    let value = |key: &str| {
        text.lines().map(str::trim_start).find_map(|line| {
            let matches = line.get(..key.len())?.eq_ignore_ascii_case(key);
            quoted(line[key.len()..].trim_start().strip_prefix('=')?.trim_start()).filter(|value| matches && !value.is_empty())
        })
    };
    let version = value("ModuleVersion")?.to_owned();
    let version = match value("Prerelease") {
        Some(prerelease) => format!("{version}-{}", prerelease.trim_start_matches('-')),
        None => version,
    };
    let mut found = PackageRecord::new(PackageKind::PowerShell, name, &version);
    found.namespace = "powershell".to_owned();
    Some(found)
}

/// Windows' editors write UTF-16 with a byte-order mark.
fn decoded(bytes: &[u8]) -> String {
    let units = |from: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| from([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xFF, 0xFE, ..] => units(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => units(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).trim_start_matches('\u{feff}').to_owned(),
    }
}
