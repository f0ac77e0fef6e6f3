//! config.json of a project, and the SDK's global one.
//!
//! Reads tolerantly (a missing file or key, null and the empty text all mean "not set"). Writes one
//! key of the project's file and nothing else, whole or not at all; never writes the global file.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::replace::replace_file;
use super::{ContainerRepository, json};
use crate::error::{Error, ErrorKind, Result};

const CONFIG: &str = "config.json";
const CONTAINER_REPOSITORY: &str = "container_repository";
/// What SDK 1.0 and 1.1 read where `container_repository` is not set
/// (`CONFIG_FALLBACK_CONTAINER_REGISTRY_KEY`).
const DOCKER_REGISTRY: &str = "docker_registry";
const CONTAINER_PUSH_REPOSITORY: &str = "container_push_repository";
const USE_DEFAULT_REGISTRY: &str = "use_default_registry";
const DEFAULT_MEMORY_LIMIT: &str = "default_memory_limit";
const DEFAULT_CONTAINER_REGISTRY_PATH: &str = "default_container_registry_path";

/// What `mp-build` takes where `default_memory_limit` is not set, in MB.
const MEMORY_LIMIT: u64 = 1024;

/// config.json of a project.
#[derive(Debug, Clone)]
pub struct ProjectConfig {
    file: PathBuf,
    container_repository: Option<String>,
    container_push_repository: Option<String>,
    use_default_registry: bool,
    default_memory_limit: u64,
}

impl ProjectConfig {
    /// Reads config.json in the project's folder; without one, nothing is set.
    pub fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(CONFIG);
        let entries = read(&file)?;
        Ok(Self {
            container_repository: match text(&entries, CONTAINER_REPOSITORY, &file)? {
                Some(repository) => Some(repository),
                None => text(&entries, DOCKER_REGISTRY, &file)?,
            },
            container_push_repository: text(&entries, CONTAINER_PUSH_REPOSITORY, &file)?,
            use_default_registry: match set(&entries, USE_DEFAULT_REGISTRY) {
                None => false,
                Some(value) => value.as_bool().ok_or_else(|| wrong(&file, USE_DEFAULT_REGISTRY, "true or false"))?,
            },
            default_memory_limit: match set(&entries, DEFAULT_MEMORY_LIMIT) {
                None => MEMORY_LIMIT,
                Some(value) => value.as_u64().ok_or_else(|| wrong(&file, DEFAULT_MEMORY_LIMIT, "a number of MB"))?,
            },
            file,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Where the product pulls from, as written; [`ContainerRepository::parse`] checks it.
    pub fn container_repository(&self) -> Option<&str> {
        self.container_repository.as_deref()
    }

    /// Where to push instead, as written.
    pub fn container_push_repository(&self) -> Option<&str> {
        self.container_push_repository.as_deref()
    }

    /// Whether the pak leaves the registry's host out, so that the product takes its own default.
    pub fn use_default_registry(&self) -> bool {
        self.use_default_registry
    }

    /// Memory of the adapter's container, in MB.
    pub fn default_memory_limit(&self) -> u64 {
        self.default_memory_limit
    }

    /// Writes `container_repository`, and keeps all else that the file holds now.
    ///
    /// The file is replaced in one step, keeps its mode and owner, and is made where there was
    /// none.
    pub fn set_container_repository(&mut self, repository: &ContainerRepository) -> Result<()> {
        let value = repository.to_string();
        // Read again: the file may have changed during a long push.
        let before = match json::read_text(&self.file) {
            Err(_) if !self.file.exists() => "{}".to_owned(),
            text => text?,
        };
        let after = json::with_key(&before, &self.file, CONTAINER_REPOSITORY, &Value::from(value.as_str()))?;
        replace_file(&self.file, after.as_bytes()).map_err(|error| Error::io("write", &self.file, error))?;
        self.container_repository = Some(value);
        Ok(())
    }
}

/// The SDK's configuration for all projects of a user.
#[derive(Debug, Clone, Default)]
pub struct GlobalConfig {
    default_container_registry_path: Option<String>,
}

impl GlobalConfig {
    /// Reads the file at [`path`](Self::path); without one, nothing is set.
    pub fn read() -> Result<Self> {
        Self::path().map_or_else(|| Ok(Self::default()), |file| Self::read_from(&file))
    }

    /// Reads a global configuration from `file`; without it, nothing is set.
    pub fn read_from(file: &Path) -> Result<Self> {
        let path = text(&read(file)?, DEFAULT_CONTAINER_REGISTRY_PATH, file)?;
        Ok(Self { default_container_registry_path: path })
    }

    /// `$HOME/.vmware-aria-operations-integration-sdk/config.json`, on Windows
    /// `%LocalAppData%\VMware\Aria Operations Integration SDK\config.json`; `None` where the
    /// variable is not set.
    pub fn path() -> Option<PathBuf> {
        let (variable, folder): (_, &[&str]) = if cfg!(windows) {
            ("LocalAppData", &["VMware", "Aria Operations Integration SDK"])
        } else {
            ("HOME", &[".vmware-aria-operations-integration-sdk"])
        };
        let base = super::variable::variable(variable)?;
        Some(std::iter::once(base.as_os_str()).chain(folder.iter().map(AsRef::as_ref)).chain([CONFIG.as_ref()]).collect())
    }

    /// What `mp-build` offers when it asks for a repository: the configured path with the adapter
    /// kind in lower case appended, nothing between them.
    pub fn default_repository(&self, kind: &str) -> Option<String> {
        self.default_container_registry_path.as_ref().map(|path| format!("{path}{}", kind.to_lowercase()))
    }
}

fn read(file: &Path) -> Result<Map<String, Value>> {
    match json::read_object(file) {
        Err(_) if !file.exists() => Ok(Map::new()),
        entries => entries,
    }
}

fn set<'a>(entries: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    entries.get(key).filter(|value| !value.is_null() && value.as_str() != Some(""))
}

fn text(entries: &Map<String, Value>, key: &str, file: &Path) -> Result<Option<String>> {
    set(entries, key).map(|value| value.as_str().map(str::to_owned).ok_or_else(|| wrong(file, key, "a text"))).transpose()
}

fn wrong(file: &Path, key: &str, expected: &str) -> Error {
    Error::new(ErrorKind::Project, format!("`{key}` in `{}` is not {expected}", file.display()))
        .with_hint(format!("set `{key}` to {expected}, or remove it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(CONFIG);
        std::fs::write(&file, text).unwrap();
        (folder, file)
    }

    #[test]
    fn missing_null_and_empty_all_mean_not_set() {
        let empty = tempfile::tempdir().unwrap();
        let (nulls, _) = config(
            "\u{feff}{\"container_repository\": null, \"container_push_repository\": \"\", \
            \"default_memory_limit\": null, \"use_default_registry\": null}",
        );
        for folder in [&empty, &nulls] {
            let config = ProjectConfig::read(folder.path()).unwrap();
            assert_eq!(config.container_repository(), None);
            assert_eq!(config.container_push_repository(), None);
            assert!(!config.use_default_registry());
            assert_eq!(config.default_memory_limit(), 1024);
        }
    }

    #[test]
    fn the_key_of_old_sdks_counts_where_the_new_one_is_not_set() {
        for (text, expected) in [
            (r#"{"docker_registry": "h.example.com/old", "container_repository": null}"#, Some("h.example.com/old")),
            (
                r#"{"docker_registry": "h.example.com/old", "container_repository": "h.example.com/new"}"#,
                Some("h.example.com/new"),
            ),
            (r#"{"docker_registry": null}"#, None),
        ] {
            let (folder, _) = config(text);
            assert_eq!(ProjectConfig::read(folder.path()).unwrap().container_repository(), expected);
        }
    }

    #[test]
    fn the_repository_is_written_and_all_else_kept() {
        let (folder, file) = config(r#"{"use_default_registry": true, "mine": [1, 2.0], "default_memory_limit": 512}"#);
        let mut config = ProjectConfig::read(folder.path()).unwrap();
        assert!(config.use_default_registry());
        config.set_container_repository(&ContainerRepository::parse("user/repo").unwrap()).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(
            text,
            "{\n    \"container_repository\": \"docker.io/user/repo\",\n    \"default_memory_limit\": 512,\n    \
             \"mine\": [\n        1,\n        2.0\n    ],\n    \"use_default_registry\": true\n}"
        );
        assert_eq!(ProjectConfig::read(folder.path()).unwrap().container_repository(), Some("docker.io/user/repo"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn mode_and_symbolic_link_of_the_file_are_kept() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, file) = config("{}");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let project = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&file, project.path().join(CONFIG)).unwrap();
        let mut config = ProjectConfig::read(project.path()).unwrap();
        config.set_container_repository(&ContainerRepository::parse("h.example.com/a").unwrap()).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
        assert!(project.path().join(CONFIG).is_symlink());
        drop(folder);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named() {
        let (folder, _) = config(r#"{"container_repository": 5}"#);
        let error = ProjectConfig::read(folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("`container_repository` in `"), "{error}");
        assert_eq!(error.hint(), Some("set `container_repository` to a text, or remove it"));
    }

    #[test]
    fn a_config_that_is_no_json_is_an_error_and_stays_as_it_is() {
        let (folder, file) = config("{}");
        let mut config = ProjectConfig::read(folder.path()).unwrap();
        std::fs::write(&file, "{").unwrap();
        assert!(config.set_container_repository(&ContainerRepository::parse("h.example.com/a").unwrap()).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{");
    }

    #[test]
    fn the_kind_is_appended_in_lower_case_to_the_default_path() {
        let (_folder, file) = config(r#"{"default_container_registry_path": "harbor.example.com/project/", "projects": ["/x"]}"#);
        let global = GlobalConfig::read_from(&file).unwrap();
        assert_eq!(global.default_repository("HelloAdapter").unwrap(), "harbor.example.com/project/helloadapter");
        assert_eq!(GlobalConfig::default().default_repository("A"), None);
    }
}
