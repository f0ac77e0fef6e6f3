//! Where configuration and credentials may come from on this machine.
//!
//! Refuses to show a secret: of credentials, only whose they are and where.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Variables that change what mpimg does. Only whether they are set is told: some hold secrets.
const VARIABLES: [&str; 15] = [
    "MPIMG_HOME",
    "SOURCE_DATE_EPOCH",
    "DOCKER_CONFIG",
    "DOCKER_AUTH_CONFIG",
    "REGISTRY_AUTH_FILE",
    "CONTAINERS_REGISTRIES_CONF",
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

/// A file that mpimg reads if it is there.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) what: &'static str,
    pub(super) there: bool,
    holds_credentials: bool,
}

impl File {
    fn new(path: PathBuf, what: &'static str) -> Self {
        Self { there: path.is_file(), path, what, holds_credentials: false }
    }

    fn with_credentials(path: PathBuf, what: &'static str) -> Self {
        Self { holds_credentials: true, ..Self::new(path, what) }
    }

    /// As `--json` tells it.
    pub(super) fn json(&self) -> Value {
        json!({ "path": self.path.display().to_string(), "what": self.what, "there": self.there })
    }
}

/// The files that mpimg reads if they are there, in the order in which they count.
pub(super) fn files() -> Vec<File> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
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
    let mut files: Vec<File> = registries.into_iter().map(|path| File::new(path, "mirrors and insecure registries")).collect();
    files.extend(docker.map(|path| File::with_credentials(path, "docker's credentials")));
    files.extend(podman.into_iter().flatten().map(|path| File::with_credentials(path, "podman's credentials")));
    files.extend(crate::project::GlobalConfig::path().map(|path| File::new(path, "the Integration SDK's settings")));
    files
}

/// Registries with a login, and where it is.
pub(super) fn credentials(files: &[File]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(text) = std::env::var_os("DOCKER_AUTH_CONFIG") {
        found.extend(registries(text.as_encoded_bytes(), "DOCKER_AUTH_CONFIG"));
    }
    for file in files.iter().filter(|file| file.holds_credentials && file.there) {
        found.extend(read(&file.path));
    }
    found
}

fn read(path: &Path) -> Vec<(String, String)> {
    let place = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => registries(&bytes, &place),
        Err(error) => vec![("?".into(), format!("{place} cannot be read: {error}"))],
    }
}

/// The names of registries in a file of docker's format; its values are not looked at.
fn registries(bytes: &[u8], place: &str) -> Vec<(String, String)> {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else {
        return vec![("?".into(), format!("{place} is not JSON"))];
    };
    let keys = |name: &str| document.get(name).and_then(Value::as_object).into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let helpers =
        keys("credHelpers").map(|(host, helper)| (host.clone(), format!("docker-credential-{}, {place}", text(helper))));
    let all =
        document.get("credsStore").map(|helper| ("all others".into(), format!("docker-credential-{}, {place}", text(helper))));
    let direct = keys("auths").map(|(host, _)| (host.clone(), place.to_owned()));
    helpers.chain(direct).chain(all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_by_registry_and_place_alone() {
        let file =
            br#"{"auths":{"ghcr.io":{"auth":"aHVudGVyMg=="}},"credsStore":"pass","credHelpers":{"x.amazonaws.com":"ecr-login"}}"#;
        let found = registries(file, "config.json");
        assert_eq!(
            found,
            [
                ("x.amazonaws.com", "docker-credential-ecr-login, config.json"),
                ("ghcr.io", "config.json"),
                ("all others", "docker-credential-pass, config.json"),
            ]
            .map(|(whose, place)| (whose.to_owned(), place.to_owned()))
        );
        assert!(!format!("{found:?}").contains("aHVudGVyMg"));
        assert_eq!(registries(b"{", "config.json")[0].1, "config.json is not JSON");
    }
}
