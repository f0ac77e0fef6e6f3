//! manifest.txt: the file that makes a folder an Integration SDK project.
//!
//! Refuses what `mp-build` would only trip over later: a missing name, a version that is not x.y.z,
//! several adapter kinds.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::json;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Reference, Tag};

/// The file's name.
const MANIFEST: &str = "manifest.txt";

/// An Integration SDK project: a folder with a manifest.txt.
#[derive(Debug, Clone)]
pub struct Project {
    path: PathBuf,
    name: String,
    version: String,
    adapter_kinds: Vec<String>,
    /// The files that manifest.txt names, each with its key.
    files: Vec<(&'static str, String)>,
}

impl Project {
    /// Whether `path` is a folder that holds a file manifest.txt: the SDK's own test.
    pub fn is_project(path: &Path) -> bool {
        path.is_dir() && path.join(MANIFEST).is_file()
    }

    /// The project whose subfolder `path` is; the innermost, if there are several.
    pub fn around(path: &Path) -> Option<PathBuf> {
        let path = path.canonicalize().ok()?;
        path.ancestors().skip(1).find(|folder| Self::is_project(folder)).map(Path::to_owned)
    }

    /// Reads the project in the folder `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join(MANIFEST);
        if !Self::is_project(path) {
            let hint = match Self::around(path) {
                Some(project) => format!("name the project's folder: `{}`", project.display()),
                None => format!("run the command in the folder that holds {MANIFEST}, or name that folder"),
            };
            return Err(
                Error::new(ErrorKind::Project, format!("`{}` is not an Integration SDK project", path.display())).with_hint(hint)
            );
        }
        let manifest = json::read_object(&file)?;
        let name = string(&manifest, "name", &file)?;
        let version = string(&manifest, "version", &file)?;
        check_version(&version, &file)?;
        let adapter_kinds = adapter_kinds(&manifest, &file)?;
        let named =
            |key| manifest.get(key).and_then(Value::as_str).filter(|name| !name.is_empty()).map(|name| (key, name.to_owned()));
        let files = ["eula_file", "pak_icon"].into_iter().filter_map(named).collect();
        Ok(Self { path: path.to_owned(), name, version, adapter_kinds, files })
    }

    /// Checks what a .pak needs besides the image: one adapter kind, and the files that
    /// manifest.txt names.
    ///
    /// # Errors
    /// [`ErrorKind::Project`]: something is missing.
    pub fn check_pak(&self) -> Result<()> {
        self.kind()?;
        match self.files.iter().find(|(_, name)| !self.path.join(name).is_file()) {
            None => Ok(()),
            Some((key, name)) => {
                let what = format!("names the file `{name}` as `{key}`, which is not in the project");
                Err(wrong(&self.path.join(MANIFEST), &what).with_hint(format!("add the file, or leave `{key}` empty: \"\"")))
            }
        }
    }

    /// The project's folder, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `name` of the manifest, such as `iSDK_MyAdapter`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `version` of the manifest: x.y.z.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The adapter kind. The product takes exactly one a container; none or several are an error.
    pub fn kind(&self) -> Result<&str> {
        let file = self.path.join(MANIFEST);
        match self.adapter_kinds.as_slice() {
            [kind] => Ok(kind),
            [] => Err(wrong(&file, "names no adapter kind")
                .with_hint("set `adapter_kinds` in it to a list that holds the adapter kind key of describe.xml")),
            kinds => Err(wrong(&file, &format!("names {} adapter kinds: {}", kinds.len(), kinds.join(", "))).with_hint(
                "leave one in `adapter_kinds`: a management pack has one container, and a container one adapter kind",
            )),
        }
    }

    /// The name of the image in the local store, as `mp-build` forms it: `<name in lower
    /// case>-test:<version>`.
    pub fn image_name(&self) -> Result<Reference> {
        let text = format!("{}-test:{}", self.name.to_lowercase(), self.version);
        Reference::parse(&text).map_err(|error| {
            wrong(&self.path.join(MANIFEST), &format!("has the name `{}`, which cannot name an image", self.name))
                .with_source(error)
                .with_hint("use letters, digits and `_` in `name`")
        })
    }

    /// The tag that `mp-build` pushes to: `<version>_<unix time>`, the time in seconds with its
    /// fraction, as Python writes it.
    pub fn tag_at(&self, time: std::time::SystemTime) -> Result<Tag> {
        let seconds = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        // Rust's Debug and Python's repr() both give the shortest text that reads back as the same
        // number.
        Tag::parse(&format!("{}_{seconds:?}", self.version))
    }
}

fn wrong(file: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Project, format!("`{}` {what}", file.display()))
}

fn string(manifest: &Map<String, Value>, key: &str, file: &Path) -> Result<String> {
    match manifest.get(key) {
        // The SDK strips the version before it splits it; a stray space in a name would only break
        // the image's name.
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Some(Value::String(_)) => Err(wrong(file, &format!("has an empty `{key}`"))),
        Some(Value::Null) | None => Err(wrong(file, &format!("has no `{key}`"))),
        Some(_) => Err(wrong(file, &format!("has a `{key}` that is not a text"))),
    }
    .map_err(|error| error.with_hint(format!("set `{key}` in it to a text in double quotes")))
}

/// The first three parts become Major-, Minor- and Implementation-Version of the pak; the whole
/// becomes part of a tag.
fn check_version(version: &str, file: &Path) -> Result<()> {
    let parts: Vec<&str> = version.split('.').collect();
    if parts.len() >= 3 && parts.iter().all(|part| !part.is_empty()) && Tag::parse(version).is_ok() {
        return Ok(());
    }
    Err(wrong(file, &format!("has the version `{version}`, which is not of the form x.y.z"))
        .with_hint("write `version` as three numbers with dots, such as 1.0.0"))
}

fn adapter_kinds(manifest: &Map<String, Value>, file: &Path) -> Result<Vec<String>> {
    let not_a_list = || {
        wrong(file, "has `adapter_kinds` that are not a list of texts")
            .with_hint("write it as a list with one text, such as [\"MyAdapter\"]")
    };
    match manifest.get("adapter_kinds") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(kinds)) => kinds.iter().map(|kind| kind.as_str().map(str::to_owned).ok_or_else(not_a_list)).collect(),
        Some(_) => Err(not_a_list()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn project(manifest: &str) -> Result<Project> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MANIFEST), manifest).unwrap();
        Project::open(folder.path())
    }

    #[test]
    fn what_a_pak_needs_is_checked() {
        let check = |fields: &str| project(&format!(r#"{{"name": "a", "version": "1.0.0", {fields}}}"#)).unwrap().check_pak();
        assert!(check(r#""adapter_kinds": ["A"], "eula_file": "", "pak_icon": null"#).is_ok());
        for (fields, expected) in [
            (r#""adapter_kinds": []"#, "names no adapter kind"),
            (r#""adapter_kinds": ["A", "B"]"#, "names 2 adapter kinds: A, B"),
            (
                r#""adapter_kinds": ["A"], "eula_file": "eula.txt""#,
                "names the file `eula.txt` as `eula_file`, which is not in the project",
            ),
        ] {
            let error = check(fields).unwrap_err();
            assert!(error.to_string().ends_with(expected), "{error}");
        }
    }

    #[test]
    fn a_project_is_named_as_mp_build_names_it() {
        let project =
            project(r#"{"name": "iSDK_HelloAdapter", "version": " 1.0.2 ", "adapter_kinds": ["HelloAdapter"]}"#).unwrap();
        assert_eq!(project.image_name().unwrap().familiar(), "isdk_helloadapter-test:1.0.2");
        assert_eq!(project.kind().unwrap(), "HelloAdapter");
        let time = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        assert_eq!(project.tag_at(time).unwrap().as_str(), "1.0.2_1700000000.123456");
        assert_eq!(project.tag_at(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap().as_str(), "1.0.2_1700000000.0");
    }

    #[test]
    fn no_kind_and_several_kinds_are_told_apart() {
        let none = project(r#"{"name": "a", "version": "1.0.0"}"#).unwrap();
        assert!(none.kind().unwrap_err().to_string().ends_with("manifest.txt` names no adapter kind"));
        let two = project(r#"{"name": "a", "version": "1.0.0", "adapter_kinds": ["A", "B"]}"#).unwrap();
        assert!(two.kind().unwrap_err().to_string().ends_with("names 2 adapter kinds: A, B"));
    }

    #[test]
    fn a_manifest_that_mp_build_would_trip_over_is_refused_with_a_remedy() {
        for (manifest, message) in [
            (r#"{"version": "1.0.0"}"#, "has no `name`"),
            (r#"{"name": "a", "version": "1.0"}"#, "has the version `1.0`, which is not of the form x.y.z"),
            (r#"{"name": "a", "version": "1..0"}"#, "has the version `1..0`, which is not of the form x.y.z"),
            (r#"{"name": 1, "version": "1.0.0"}"#, "has a `name` that is not a text"),
            (r#"{"name": "a", "version": "1.0.0", "adapter_kinds": "A"}"#, "has `adapter_kinds` that are not a list of texts"),
            (r#"["name"]"#, "is not a JSON object"),
        ] {
            let error = project(manifest).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Project);
            assert!(error.to_string().ends_with(message), "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn a_folder_without_manifest_is_no_project() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!Project::is_project(folder.path()));
        let error = Project::open(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with("is not an Integration SDK project"), "{error}");
        std::fs::create_dir(folder.path().join(MANIFEST)).unwrap();
        assert!(!Project::is_project(folder.path()), "a folder of that name is not the file");
    }
}
