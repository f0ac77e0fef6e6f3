//! Where configuration and credentials may come from on this machine. Of credentials, only the
//! registry and the place are read.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Settings;
use crate::project::GlobalConfig;

/// Variables that change what mpimg does. Only whether they are set is reported: some hold secrets.
const VARIABLES: [&str; 18] = [
    "MPIMG_HOME",
    "MPIMG_CONFIG",
    "MPIMG_LOG",
    "SOURCE_DATE_EPOCH",
    "DOCKER_CONFIG",
    "DOCKER_AUTH_CONFIG",
    "REGISTRY_AUTH_FILE",
    "CONTAINERS_REGISTRIES_CONF",
    "COSIGN_PASSWORD",
    "SSL_CERT_FILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "NO_COLOR",
    "CI",
];

/// Those that are set.
pub(super) fn variables() -> Vec<&'static str> {
    VARIABLES.into_iter().filter(|name| std::env::var_os(name).is_some()).collect()
}

/// A file that is read if it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigurationFile {
    /// Its path.
    pub path: PathBuf,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether it exists.
    pub exists: bool,
    holds_credentials: bool,
}

impl ConfigurationFile {
    fn new(path: PathBuf, purpose: &'static str) -> Self {
        Self { exists: path.is_file(), path, purpose, holds_credentials: false }
    }

    fn with_credentials(path: PathBuf, purpose: &'static str) -> Self {
        Self { holds_credentials: true, ..Self::new(path, purpose) }
    }
}

/// A login that is stored; its password is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredCredential {
    /// The registry.
    pub registry: String,
    /// The file, variable or credential helper that has it.
    pub place: String,
}

/// The files that are read if they exist, in the order in which they count.
pub(super) fn files() -> Vec<ConfigurationFile> {
    let variable = |name: &str| crate::project::variable(name).map(PathBuf::from);
    let home = variable("HOME");
    let below_home = |below: &str| home.as_ref().map(|home| home.join(below));
    let config_home = variable("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let in_config = |below: &str| config_home.as_ref().map(|folder| folder.join(below));
    let registries = match variable("CONTAINERS_REGISTRIES_CONF") {
        Some(path) => vec![path],
        None => in_config("containers/registries.conf").into_iter().chain(["/etc/containers/registries.conf".into()]).collect(),
    };
    let docker = variable("DOCKER_CONFIG").or_else(|| below_home(".docker")).map(|folder| folder.join("config.json"));
    let runtime = variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
    let podman = [variable("REGISTRY_AUTH_FILE"), runtime, in_config("containers/auth.json")];
    let plain = ConfigurationFile::new;
    let secret = ConfigurationFile::with_credentials;
    let own = Settings::places(&crate::project::variable).into_iter().map(|path| plain(path, "mpimg's settings"));
    let mut files: Vec<_> = own.collect();
    files.extend(registries.into_iter().map(|path| plain(path, "mirrors and insecure registries")));
    files.extend(docker.map(|path| secret(path, "docker's credentials")));
    files.extend(podman.into_iter().flatten().map(|path| secret(path, "podman's credentials")));
    files.extend(GlobalConfig::path().map(|path| plain(path, "the Integration SDK's settings")));
    files
}

/// The logins in these files and in `DOCKER_AUTH_CONFIG`.
pub(super) fn credentials(files: &[ConfigurationFile]) -> Vec<StoredCredential> {
    let mut found = Vec::new();
    if let Some(text) = std::env::var_os("DOCKER_AUTH_CONFIG") {
        found.extend(registries(text.as_encoded_bytes(), "DOCKER_AUTH_CONFIG"));
    }
    for file in files.iter().filter(|file| file.holds_credentials && file.exists) {
        found.extend(read(&file.path));
    }
    found
}

fn read(path: &Path) -> Vec<StoredCredential> {
    let place = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => registries(&bytes, &place),
        Err(error) => vec![unknown(format!("{place} cannot be read: {error}"))],
    }
}

fn unknown(place: String) -> StoredCredential {
    StoredCredential { registry: "?".into(), place }
}

/// The registries in a file of docker's format; the values are not looked at.
fn registries(bytes: &[u8], place: &str) -> Vec<StoredCredential> {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else {
        return vec![unknown(format!("{place} is not JSON"))];
    };
    let credential = |registry: &str, place: String| StoredCredential { registry: registry.into(), place };
    let keys = |name: &str| document.get(name).and_then(Value::as_object).into_iter().flatten();
    let helper = |value: &Value| format!("docker-credential-{}, {place}", value.as_str().unwrap_or("?"));
    let helpers = keys("credHelpers").map(|(host, name)| credential(host, helper(name)));
    let direct = keys("auths").map(|(host, _)| credential(host, place.to_owned()));
    let all = document.get("credsStore").map(|name| credential("all others", helper(name)));
    helpers.chain(direct).chain(all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_listed_by_registry_and_place_alone() {
        let file =
            br#"{"auths":{"ghcr.io":{"auth":"aHVudGVyMg=="}},"credsStore":"pass","credHelpers":{"x.amazonaws.com":"ecr-login"}}"#;
        let found = registries(file, "config.json");
        let shown: Vec<_> = found.iter().map(|found| (found.registry.as_str(), found.place.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("x.amazonaws.com", "docker-credential-ecr-login, config.json"),
                ("ghcr.io", "config.json"),
                ("all others", "docker-credential-pass, config.json"),
            ]
        );
        assert!(!format!("{found:?}").contains("aHVudGVyMg"));
        assert_eq!(registries(b"{", "config.json")[0].place, "config.json is not JSON");
    }
}
