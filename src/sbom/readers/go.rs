//! Go: the build information that the linker puts into a program (`debug/buildinfo`).

use crate::sbom::package::{PackageKind, PackageRecord};

/// How the information begins. It is at an address that 16 divides.
pub(super) const MAGIC: &[u8] = b"\xff Go buildinf:";
const HEADER: usize = 32;
/// Around the list of modules are marks of 16 bytes (cmd/go/internal/modload, `infoStart` and
/// `infoEnd`).
const MARK: usize = 16;

/// What stands at the beginning of `bytes`. `None`: nothing, or what Go before 1.18 wrote, which
/// only holds addresses.
pub(super) fn build_info(bytes: &[u8]) -> Option<Vec<PackageRecord>> {
    let inline = *bytes.get(15)? & 2 != 0;
    let rest = bytes.get(HEADER..).filter(|_| inline)?;
    let (version, rest) = string(rest)?;
    let (modules, _) = string(rest)?;
    let version = std::str::from_utf8(version).ok()?;
    // `go1.22.1`, `go1.22.1 X:boringcrypto`, `devel go1.23-…`
    let number = version.split_whitespace().find_map(|word| word.strip_prefix("go"))?;
    let mut found = vec![PackageRecord::new(PackageKind::Go, "stdlib", number)];
    let marked = modules.len() > 2 * MARK && modules[modules.len() - MARK - 1] == b'\n';
    if marked {
        found.extend(listed(std::str::from_utf8(&modules[MARK..modules.len() - MARK]).ok()?));
    }
    Some(found)
}

/// A length as a varint, and as many bytes.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut shift) = (0_u64, 0);
    for (position, byte) in bytes.iter().enumerate().take(5) {
        length |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return bytes.get(position + 1..)?.split_at_checked(usize::try_from(length).ok()?);
        }
    }
    None
}

fn listed(text: &str) -> Vec<PackageRecord> {
    let setting = |key: &str| text.lines().find_map(|line| line.strip_prefix("build\t")?.strip_prefix(key)?.strip_prefix('='));
    let mut modules: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        let mut columns = line.split('\t');
        let (kind, path, version) = (columns.next(), columns.next(), columns.next().unwrap_or_default());
        match (kind, path) {
            (Some("mod"), Some(path)) => modules.push((path, own_version(version, setting("vcs.revision"), setting("vcs.time")))),
            (Some("dep"), Some(path)) => modules.push((path, version.to_owned())),
            // What is compiled in place of the last one. A folder has no version, and is no name to
            // look anything up by.
            (Some("=>"), Some(path)) if !path.starts_with(['.', '/']) => {
                modules.pop();
                modules.push((path, version.to_owned()));
            }
            _ => {}
        }
    }
    let module = |(path, version): &(&str, String)| {
        let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut found = PackageRecord::new(PackageKind::Go, name, version);
        found.namespace = namespace.to_owned();
        found
    };
    modules.iter().map(module).collect()
}

/// The program's own module, built in its folder, has no version: then the commit stands for it as
/// Go writes such a version.
fn own_version(version: &str, revision: Option<&str>, time: Option<&str>) -> String {
    match (version, revision, time) {
        ("(devel)" | "", Some(revision), Some(time)) => {
            let digits: String = time.chars().filter(char::is_ascii_digit).take(14).collect();
            format!("v0.0.0-{digits}-{}", revision.get(..12).unwrap_or(revision))
        }
        _ => version.to_owned(),
    }
}
