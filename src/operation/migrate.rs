//! Bringing the Dockerfile of an old project up to the installed SDK: base images that nobody can
//! pull any more give way to those that the SDK builds.
//!
//! Nothing is written before [`Migration::write`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use similar::TextDiff;

use super::{Mpimg, blocking};
use crate::build::{BuildRequest, expect_folder};
use crate::context::existing_dockerfile;
use crate::dockerfile::{ArgDeclaration, Base, Dockerfile, Instruction, Located, PlanOptions, mount_from};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Transport;
use crate::oci::Platform;
use crate::project::{InstalledSdk, SdkBaseImage, replace_file};

/// A project whose Dockerfile may be old.
#[derive(Debug, Clone)]
pub struct MigrateRequest {
    /// The project's folder.
    pub context: PathBuf,
    /// The Dockerfile; `Dockerfile` in the folder without it.
    pub dockerfile: Option<PathBuf>,
}

impl MigrateRequest {
    /// The project in the folder `context`.
    pub fn new(context: impl Into<PathBuf>) -> Self {
        Self { context: context.into(), dockerfile: None }
    }
}

/// A base image that gives way to another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BaseChange {
    /// The line of the Dockerfile, from 1.
    pub line: usize,
    /// The image as written.
    pub from: String,
    /// What is written instead.
    pub to: String,
}

/// What is to be changed in a Dockerfile.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Migration {
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// The changes, by line.
    pub changes: Vec<BaseChange>,
    /// Images that need a change which is to be made by hand, because variables make up their
    /// names.
    pub left: Vec<String>,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Migration {
    /// The change as a unified diff; empty if there is none.
    pub fn diff(&self) -> String {
        let (before, after) = (String::from_utf8_lossy(&self.before), String::from_utf8_lossy(&self.after));
        let name = self.dockerfile.strip_prefix(".").unwrap_or(&self.dockerfile).display().to_string();
        TextDiff::from_lines(&before, &after).unified_diff().header(&name, &name).to_string()
    }

    /// Writes the Dockerfile; mode, owner and a symbolic link stay.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: it cannot be written, or has changed since it was read.
    pub fn write(&self) -> Result<()> {
        let file = &self.dockerfile;
        if std::fs::read(file).map_err(|error| Error::io("read", file, error))? != self.before {
            return Err(Error::new(ErrorKind::Io, format!("`{}` has changed in the meantime", file.display()))
                .with_hint("look at the change again"));
        }
        replace_file(file, &self.after).map_err(|error| Error::io("write", file, error))
    }
}

impl Mpimg {
    /// What is to be changed in a project's Dockerfile so that it can be built with the installed
    /// SDK.
    ///
    /// # Errors
    /// [`ErrorKind::Dockerfile`], [`ErrorKind::Io`]: the Dockerfile is wrong, or cannot be read.
    /// [`ErrorKind::NotFound`]: it needs a change, and no SDK is installed, or none with a base
    /// image of that language.
    pub async fn migration(&self, request: MigrateRequest) -> Result<Migration> {
        blocking(move || migration(&request, || InstalledSdk::find(&request.context))).await
    }

    /// The base images of a build that nobody can pull, that are not in the local store, and that
    /// the installed SDK has others for: what [`SdkBase::Installed`](crate::build::SdkBase) would
    /// replace. Empty where the Dockerfile cannot be read: the build says why.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: the store cannot be read.
    pub async fn replaceable_bases(&self, request: &BuildRequest) -> Result<Vec<BaseChange>> {
        let migrate = MigrateRequest { context: request.context.clone(), dockerfile: request.dockerfile.clone() };
        let Ok(Migration { mut changes, .. }) = self.migration(migrate).await else { return Ok(Vec::new()) };
        if !changes.is_empty() {
            let store = self.store()?;
            for index in (0..changes.len()).rev() {
                if let Ok(Transport::Store(reference)) = Transport::parse(&changes[index].from)
                    && store.resolve(&reference)?.is_some()
                {
                    changes.remove(index);
                }
            }
        }
        Ok(changes)
    }
}

fn migration(request: &MigrateRequest, sdk: impl FnOnce() -> Option<InstalledSdk>) -> Result<Migration> {
    let path = request.dockerfile.clone().unwrap_or_else(|| request.context.join("Dockerfile"));
    let path = existing_dockerfile(&path).into_owned();
    expect_folder(&request.context)?;
    let before = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
    let shown = path.display().to_string();
    let dockerfile = Dockerfile::parse(&shown, &before)?;
    let mut names = Names { sdk: Some(sdk), found: None, folder: request.context.clone() };
    let mut lines: Vec<Vec<u8>> = before.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let mut changes = Vec::new();
    for (name, place) in written_names(&dockerfile) {
        let Some(to) = names.in_place(&name, &place)? else { continue };
        for number in place.lines() {
            let line = &mut lines[number - 1];
            if let Some(start) = find_name(line, name.as_bytes()) {
                line.splice(start..start + name.len(), to.bytes());
                changes.push(BaseChange { line: number, from: name.clone(), to: to.clone() });
                break;
            }
        }
    }
    changes.sort_by_key(|change| change.line);
    let after = lines.concat();
    let left = left_over(&Dockerfile::parse(&shown, &after)?, &mut names);
    Ok(Migration { dockerfile: path, changes, left, before, after })
}

/// What the installed SDK has in place of an image; it is looked for once, and only if a Dockerfile
/// needs it.
struct Names<F> {
    sdk: Option<F>,
    found: Option<InstalledSdk>,
    /// Where it is looked for.
    folder: PathBuf,
}

impl<F: FnOnce() -> Option<InstalledSdk>> Names<F> {
    fn in_place(&mut self, name: &str, place: &Located<()>) -> Result<Option<String>> {
        let Ok(Transport::Store(reference)) = Transport::parse(name) else { return Ok(None) };
        let Some(base) = SdkBaseImage::of(&reference) else { return Ok(None) };
        if let Some(sdk) = self.sdk.take() {
            self.found = sdk();
        }
        let Some(sdk) = &self.found else {
            // What a registry had is to be changed in any case; what an SDK builds may be what the
            // next one builds.
            let error = InstalledSdk::missing(&self.folder);
            return Err(error.wrap(format!("`{name}` needs another image in its place")).with_snippet(place.snippet_of(name)));
        };
        base.in_place(sdk).map_err(|error| error.with_snippet(place.snippet_of(name)))
    }
}

/// Each word of the Dockerfile that may be an image's name, with its place: of FROM, a default of
/// ARG, `--from`.
fn written_names(dockerfile: &Dockerfile) -> Vec<(String, Located<()>)> {
    let mut names = Vec::new();
    let defaults = |names: &mut Vec<_>, arguments: &[ArgDeclaration], place: Located<()>| {
        // As written: quotes are taken away only when a variable is expanded.
        let bare = |default: &str| default.trim_matches(['"', '\'']).to_owned();
        names.extend(arguments.iter().filter_map(|argument| Some((bare(argument.default.as_deref()?), place.with(())))));
    };
    for arguments in &dockerfile.global_args {
        defaults(&mut names, arguments, arguments.with(()));
    }
    for stage in &dockerfile.stages {
        names.push((stage.base.value().clone(), stage.base.with(())));
        for step in &stage.instructions {
            match step.value() {
                Instruction::Arg(arguments) => defaults(&mut names, arguments, step.with(())),
                Instruction::Copy(copy) => names.extend(copy.from.clone().map(|from| (from, step.with(())))),
                Instruction::Run(run) => {
                    let from = run.mounts.iter().filter_map(|mount| mount_from(mount));
                    names.extend(from.map(|from| (from, step.with(()))));
                }
                _ => {}
            }
        }
    }
    names
}

/// Where `name` stands in the line as a word of its own.
fn find_name(line: &[u8], name: &[u8]) -> Option<usize> {
    let outside = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"._-/:@".contains(byte));
    let windows = line.windows(name.len()).enumerate();
    let mut starts = windows.filter(|(_, window)| *window == name).map(|(start, _)| start);
    starts
        .find(|start| outside(start.checked_sub(1).and_then(|before| line.get(before))) && outside(line.get(start + name.len())))
}

/// Names that still need a change, once variables have their defaults.
fn left_over<F: FnOnce() -> Option<InstalledSdk>>(dockerfile: &Dockerfile, names: &mut Names<F>) -> Vec<String> {
    let options = PlanOptions { platform: Platform::default(), build_platform: Platform::host(), ..PlanOptions::default() };
    let stages = dockerfile.stages.len();
    let mut left = BTreeMap::new();
    // A plan has the stages that its target needs: each is one once.
    for stage in 0..stages {
        let Ok(plan) = dockerfile.plan(&PlanOptions { target: Some(stage.to_string()), ..options.clone() }) else { continue };
        for stage in plan.stages {
            if let Base::Image(name) = &stage.base
                && let Ok(Some(_)) = names.in_place(name, &stage.from.with(()))
            {
                left.entry(*stage.from.lines().start()).or_insert_with(|| name.clone());
            }
        }
    }
    left.into_iter().map(|(line, name)| format!("{name} (line {line})")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// An SDK that builds `python-1.2.0` and `java-1.2.0`.
    fn sdk(folder: &Path) -> InstalledSdk {
        let site = folder.join("venv/lib/python3.11/site-packages");
        let package = site.join("vmware_aria_operations_integration_sdk");
        std::fs::create_dir_all(&package).unwrap();
        std::fs::create_dir_all(site.join("images/base-python-adapter")).unwrap();
        let versions = r#"{"base_image": {"language": "Python", "path": "base-python-adapter", "version": "1.2.0"},
            "secondary_images": [{"language": "Java", "path": "java-adapter", "version": "1.2.0"}]}"#;
        std::fs::write(package.join("container_versions.json"), versions).unwrap();
        std::fs::create_dir_all(folder.join("venv/bin")).unwrap();
        ["activate", "python"].iter().for_each(|name| std::fs::write(folder.join("venv/bin").join(name), "").unwrap());
        InstalledSdk::find(folder).unwrap()
    }

    fn migrate(text: &str) -> Result<Migration> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Dockerfile"), text).unwrap();
        let sdk = sdk(folder.path());
        let migration = migration(&MigrateRequest::new(folder.path()), || Some(sdk))?;
        migration.write()?;
        assert_eq!(std::fs::read(folder.path().join("Dockerfile")).unwrap(), migration.after);
        Ok(migration)
    }

    const DEAD: &str = "projects.packages.broadcom.com/vmware_aria_operations_integration_sdk/base-adapter";

    #[test]
    fn only_the_names_of_base_images_that_are_gone_change() {
        let text = format!(
            "# {DEAD}:python-1.0.0 was used\r\nARG BASE=\"{DEAD}:python-1.0.0\"\nFROM gradle:8 AS build\nFROM \\\n  {DEAD}:java-1.0.0\n\
             COPY --from={DEAD}:python-1.0.0 /a \\\n  /b\nFROM base-adapter:python-1.2.0\nFROM base-adapter:python-0.11.0 AS x\nFROM ${{BASE}}\n\
             RUN <<END\nFROM {DEAD}:python-1.0.0\nEND"
        );
        let migration = migrate(&text).unwrap();
        let after = String::from_utf8(migration.after.clone()).unwrap();
        assert_eq!(
            after,
            format!(
                "# {DEAD}:python-1.0.0 was used\r\nARG BASE=\"base-adapter:python-1.2.0\"\nFROM gradle:8 AS build\nFROM \\\n  \
                 base-adapter:java-1.2.0\nCOPY --from=base-adapter:python-1.2.0 /a \\\n  /b\nFROM base-adapter:python-1.2.0\n\
                 FROM base-adapter:python-1.2.0 AS x\nFROM ${{BASE}}\nRUN <<END\nFROM {DEAD}:python-1.0.0\nEND"
            )
        );
        assert_eq!(migration.changes.iter().map(|change| change.line).collect::<Vec<_>>(), [2, 5, 6, 9]);
        assert_eq!(migration.left, Vec::<String>::new());
        let diff = migration.diff();
        assert!(diff.contains("\n-FROM base-adapter:python-0.11.0 AS x\n+FROM base-adapter:python-1.2.0 AS x\n"), "{diff}");
    }

    #[test]
    fn what_variables_make_up_is_left_and_named() {
        let migration = migrate(&format!("ARG TAG=python-1.0.0\nFROM {DEAD}:${{TAG}}\n")).unwrap();
        assert_eq!(migration.changes, []);
        assert_eq!(migration.left, [format!("{DEAD}:python-1.0.0 (line 2)")]);
        assert_eq!(migration.diff(), "");
    }

    #[test]
    fn an_image_without_a_language_is_an_error_at_its_place() {
        let error = migrate(&format!("FROM {DEAD}\n")).unwrap_err();
        assert!(error.to_string().starts_with("the installed SDK has no base image to put in place of"), "{error}");
        assert_eq!(error.hint(), Some("it builds python-1.2.0, java-1.2.0: name the one that suits the adapter in FROM"));
        assert_eq!(error.snippet().map(|snippet| (snippet.line, snippet.column)), Some((1, 5)));
    }

    #[test]
    fn a_dockerfile_that_changed_in_the_meantime_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("Dockerfile");
        std::fs::write(&file, format!("FROM {DEAD}:python-1.0.0\n")).unwrap();
        let migration = migration(&MigrateRequest::new(folder.path()), || Some(sdk(folder.path()))).unwrap();
        std::fs::write(&file, "FROM scratch\n").unwrap();
        assert!(migration.write().is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"FROM scratch\n");
    }
}
