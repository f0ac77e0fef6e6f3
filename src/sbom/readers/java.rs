//! Java: jars, the archives in them, and what their manifest and Maven's files say.

use std::collections::BTreeMap;
use std::io::{self, Read};

use sha1::{Digest as _, Sha1};

use super::maven_groups::group_of;
use super::text::field;
use super::window::Window;
use super::zip::{self, Budget, Stopped};
use crate::oci::hex;
use crate::sbom::package::{Checksum, PackageKind, PackageRecord};

/// How the names of archives end that are searched: jars, and packages of application servers,
/// Jenkins, Karaf, NiFi and Liferay.
const ARCHIVES: [&str; 10] = [".jar", ".war", ".ear", ".par", ".sar", ".nar", ".kar", ".jpi", ".hpi", ".lpkg"];
/// Archives in archives: a Spring Boot application has one in one.
const DEEPEST: usize = 6;
/// The largest manifest or pom.properties that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Whether a file is searched as an archive.
pub(super) fn is_archive(path: &str) -> bool {
    ARCHIVES.iter().any(|suffix| path.ends_with(suffix))
}

/// What Maven writes about each artifact in a jar.
struct Maven {
    group: String,
    artifact: String,
    version: String,
}

/// Why archives in archives were not all read.
const TOO_DEEP: &str = "archives lie more than six deep in archives there";
const DAMAGED_INSIDE: &str = "an archive in it is damaged, or of a form that is not read";

/// The packages of the archive `path`, and why it was not read to its end, if so.
pub(super) fn packages(
    path: &str,
    content: &mut dyn Read,
    budget: &mut Budget,
    most: usize,
) -> (Vec<PackageRecord>, Option<Stopped>) {
    let mut search = Search { budget, most, passed_over: None };
    let mut found = Vec::new();
    let stopped = search.archive(path, "", content, 0, &mut found).err();
    (found, stopped.or(search.passed_over.map(Stopped::Unreadable)))
}

/// What one archive and all those in it share.
struct Search<'b> {
    budget: &'b mut Budget,
    /// How many packages are kept.
    most: usize,
    /// Why an archive in it was not read, of the first one.
    passed_over: Option<&'static str>,
}

impl Search<'_> {
    fn archive(
        &mut self,
        path: &str,
        inside: &str,
        content: &mut dyn Read,
        depth: usize,
        found: &mut Vec<PackageRecord>,
    ) -> Result<(), Stopped> {
        let mut hashed = Hashed { inner: content, hasher: Sha1::new() };
        let mut archive = Window::new(&[], &mut hashed);
        let (mut manifest, mut maven, mut nested) = (String::new(), Vec::new(), Vec::new());
        // What an archive in this one unpacks counts for both: the budget is shared by turns.
        let mut total = Budget(self.budget.0);
        let mut is_archive = false;
        let read = zip::read(&mut archive, &mut total, &mut |name, content| {
            is_archive = true;
            if name == "META-INF/MANIFEST.MF" {
                manifest = text(content)?;
            } else if name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties") {
                maven.extend(properties(&text(content)?));
            } else if self::is_archive(name) && depth == DEEPEST {
                self.passed_over.get_or_insert(TOO_DEEP);
            } else if self::is_archive(name) {
                let inside = format!("{inside}!/{name}");
                match self.archive(name, &inside, content, depth + 1, &mut nested) {
                    Ok(()) => {}
                    Err(Stopped::Unreadable(_)) => drop(self.passed_over.get_or_insert(DAMAGED_INSIDE)),
                    Err(stopped) => return Err(stopped),
                }
            }
            match nested.len() + maven.len() > self.most {
                true => Err(Stopped::Budget),
                false => Ok(()),
            }
        });
        self.budget.0 = self.budget.0.min(total.0);
        let whole = read.is_ok() && io::copy(&mut archive, &mut io::sink()).is_ok();
        let sum = hashed.hasher.finalize();
        let sum = hex(&sum);
        if !is_archive && read.is_err() {
            return read.map_err(|stopped| match stopped {
                Stopped::Unreadable(_) => Stopped::Unreadable("it is not an archive"),
                stopped => stopped,
            });
        }
        let mut own = described(path, &manifest, &maven);
        own.checksum = whole.then_some(Checksum::Sha1(sum));
        let rest = maven.iter().filter(|one| (&one.artifact, &one.group) != (&own.name, &own.namespace));
        let rest: Vec<PackageRecord> = rest.map(|one| package(&one.group, &one.artifact, &one.version)).collect();
        for mut one in std::iter::once(own).chain(rest) {
            one.inside = inside.to_owned();
            found.push(one);
        }
        found.append(&mut nested);
        read
    }
}

fn package(group: &str, artifact: &str, version: &str) -> PackageRecord {
    let mut found = PackageRecord::new(PackageKind::Java, artifact, version);
    // A package URL of Maven's must have a group; syft takes the name where there is none.
    found.namespace = if group.is_empty() { artifact.to_owned() } else { group.to_owned() };
    found
}

fn text(content: &mut dyn Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    content.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A pom.properties.
fn properties(text: &str) -> Option<Maven> {
    let values: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim())).collect();
    let value = |key: &str| values.get(key).filter(|value| !value.is_empty()).map(|value| (*value).to_owned());
    Some(Maven { group: value("groupId")?, artifact: value("artifactId")?, version: value("version")? })
}

/// The jar itself: what Maven says of the artifact that the file is named after; else file name and
/// manifest. That there is one artifact alone tells nothing: it may be what was copied into the
/// jar.
fn described(path: &str, manifest: &str, maven: &[Maven]) -> PackageRecord {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let (name, version) = split_name(stem);
    // `log4j-1.2-api-2.17` is `log4j-1.2-api`; `wagon-http-shaded-3.5` has `wagon-http` in it, and
    // is another artifact.
    let is_version =
        |rest: &str| rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()));
    let same = |one: &&Maven| stem.strip_prefix(&*one.artifact).is_some_and(|rest| rest.is_empty() || is_version(rest));
    let longest = maven.iter().filter(same).max_by_key(|one| one.artifact.len());
    if let Some(one) = longest {
        return package(&one.group, &one.artifact, &one.version);
    }
    let unfolded = manifest.replace("\r\n", "\n").replace("\n ", "");
    let value = |keys: &[&str]| keys.iter().find_map(|key| field(&unfolded, key)).map(str::to_owned);
    let version = match version {
        "" => value(&["Implementation-Version", "Specification-Version", "Bundle-Version"]).unwrap_or_default(),
        version => version.to_owned(),
    };
    let is_group = |text: &&str| text.contains('.') && !text.contains([' ', '/']);
    let told = |key: &str| {
        let text = field(&unfolded, key)?.split(';').next().unwrap_or_default().trim();
        Some(text).filter(is_group)
    };
    // `GROUP#ARTIFACT;VERSION`, as Netflix's plugin for Gradle writes it.
    let titled = || field(&unfolded, "Implementation-Title")?.split_once('#').map(|(group, _)| group).filter(is_group);
    let group = told("Implementation-Vendor-Id")
        .or_else(titled)
        .or_else(|| group_of(name))
        .or_else(|| told("Bundle-SymbolicName"))
        .or_else(|| told("Automatic-Module-Name").filter(|module| is_domain(module)))
        .or_else(|| told("Extension-Name"));
    let mut found = package(group.unwrap_or_default(), name, &version);
    found.licenses = value(&["Bundle-License"]).filter(|license| license.len() < 100).into_iter().collect();
    found
}

/// Whether a module's name begins as groups do, with a domain from behind: `io.netty.buffer`, and
/// not `spring.core`.
fn is_domain(module: &str) -> bool {
    const LONG: [&str; 8] = ["com", "org", "net", "edu", "gov", "dev", "java", "javax"];
    let first = module.split('.').next().unwrap_or_default();
    first.len() == 2 || LONG.contains(&first) || matches!(first, "jakarta" | "info" | "cloud" | "app" | "tech" | "software")
}

/// The `release` file of a JDK or JRE.
pub(super) fn runtime(text: &str) -> Option<PackageRecord> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches('"')).filter(|value| !value.is_empty())
    };
    let version = value("JAVA_VERSION")?;
    let mut found = PackageRecord::new(PackageKind::JavaRuntime, "openjdk", value("JAVA_RUNTIME_VERSION").unwrap_or(version));
    // Vulnerabilities of all builds of OpenJDK are listed as Oracle's; syft writes the same.
    found.namespace = "oracle".to_owned();
    Some(found)
}

/// `commons-lang3-3.12.0` is `commons-lang3` in version `3.12.0`.
fn split_name(stem: &str) -> (&str, &str) {
    let dashes = stem.match_indices('-').map(|(at, _)| at);
    let at = dashes.filter(|at| *at > 0).find(|at| stem[at + 1..].starts_with(|letter: char| letter.is_ascii_digit()));
    at.map_or((stem, ""), |at| (&stem[..at], &stem[at + 1..]))
}

/// Reads through a hash.
struct Hashed<R> {
    inner: R,
    hasher: Sha1,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
