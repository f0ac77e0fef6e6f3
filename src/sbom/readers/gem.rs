//! RubyGems: what it writes to `specifications/` when it installs a gem.

use super::text::{all_quoted, quoted};
use crate::sbom::package::{PackageKind, PackageRecord};

/// A gemspec as RubyGems writes it. One that a person wrote is Ruby code, and can say its name in
/// any way: such a one is passed over unless it says it in RubyGems' words.
pub(super) fn gemspec(text: &str, specifications: &str) -> Option<PackageRecord> {
    // `# stub: rake 13.0.6 ruby lib`
    let stub = text.lines().take(5).find_map(|line| line.strip_prefix("# stub: "));
    let mut stub = stub.into_iter().flat_map(str::split_whitespace);
    let value = |key: &str| {
        let line = text.lines().map(str::trim_start).find_map(|line| {
            let (object, rest) = line.split_once('.')?;
            let rest = rest.strip_prefix(key)?.trim_start().strip_prefix('=')?;
            object.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(rest.trim_start())
        })?;
        Some(line.strip_prefix("Gem::Version.new(").unwrap_or(line))
    };
    let name = stub.next().or_else(|| value("name").and_then(quoted))?;
    let version = stub.next().or_else(|| value("version").and_then(quoted))?;
    let platform = stub.next().filter(|platform| *platform != "ruby");
    let mut found = PackageRecord::new(PackageKind::Gem, name, version);
    found.qualify("platform", platform.unwrap_or_default());
    found.licenses = value("licenses").or_else(|| value("license")).map(all_quoted).unwrap_or_default();
    // `…/specifications/default/` are those of Ruby itself.
    let home = specifications.trim_end_matches("/default").trim_end_matches("specifications");
    let suffix = platform.map(|platform| format!("-{platform}")).unwrap_or_default();
    found.owns.push(format!("{home}gems/{name}-{version}{suffix}/"));
    Some(found)
}
