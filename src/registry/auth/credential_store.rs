//! Storing and removing credentials where `docker login` and `docker logout` do.
//!
//! Invariants: nothing else in docker's config.json changes; the file is replaced as a whole, and
//! only its owner can read it.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::credential::Credential;
use super::docker_config::{AuthFile, location};
use super::helper;
use super::sources::CredentialSources;
use crate::error::{Error, ErrorKind, Result};
use crate::registry::environment::Environment;
use crate::registry::host::{canonical, server_key};

/// Where a credential is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialStore {
    /// With this credential helper: `docker-credential-<name>`.
    Helper(String),
    /// In this file, in clear but for base64: tell the user before.
    File(PathBuf),
}

impl CredentialSources {
    /// Where a credential for `registry` would be stored.
    pub(crate) fn store_for(&self, environment: &Environment, registry: &str) -> Result<CredentialStore> {
        let path = self.docker_config(environment).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "there is no file to store credentials in").with_hint("set `DOCKER_CONFIG` or `HOME`")
        })?;
        let helper = AuthFile::read(&path)?.and_then(|file| file.helper_for(registry).map(str::to_owned));
        Ok(helper.map_or(CredentialStore::File(path), CredentialStore::Helper))
    }

    /// Stores a credential for `registry`.
    pub(crate) async fn store(
        &self,
        environment: &Environment,
        registry: &str,
        credential: &Credential,
    ) -> Result<CredentialStore> {
        let store = self.store_for(environment, registry)?;
        let key = server_key(registry);
        let (username, secret) = match credential {
            Credential::Basic { username, password } => (username.as_str(), password),
            Credential::IdentityToken { token, .. } => ("<token>", token),
            Credential::RegistryToken(_) | Credential::EncodedPair(_) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "only a user name and password or an identity token can be stored",
                ));
            }
        };
        let path = self.docker_config(environment);
        match &store {
            CredentialStore::Helper(name) => helper::store(environment, name, &key, username, secret).await?,
            CredentialStore::File(_) => {}
        }
        if let Some(path) = path {
            // With a helper docker leaves an empty entry behind, which shows that there is a login.
            let entry = match &store {
                CredentialStore::Helper(_) => Value::Object(Map::new()),
                CredentialStore::File(_) => entry(credential),
            };
            edit(&path, |auths| {
                auths.insert(key, entry);
            })?;
        }
        Ok(store)
    }

    /// Removes what is stored for `registry`; whether there was anything.
    pub(crate) async fn erase(&self, environment: &Environment, registry: &str) -> Result<bool> {
        let mut found = false;
        if let CredentialStore::Helper(name) = self.store_for(environment, registry)? {
            let key = server_key(registry);
            // What was put there by another program has no entry in the file.
            found = matches!(helper::find(environment, &name, &key).await, Ok(Some(_)));
            helper::erase(environment, &name, &key).await?;
        }
        let Some(path) = self.docker_config(environment).filter(|path| path.is_file()) else { return Ok(found) };
        edit(&path, |auths| {
            let before = auths.len();
            auths.retain(|key, _| location(key) != canonical(registry));
            found |= auths.len() != before;
        })?;
        Ok(found)
    }
}

fn entry(credential: &Credential) -> Value {
    match credential {
        Credential::Basic { username, password } => {
            serde_json::json!({ "auth": STANDARD.encode(format!("{username}:{password}")) })
        }
        Credential::IdentityToken { username, token } => {
            let user = username.as_deref().unwrap_or("<token>");
            serde_json::json!({ "auth": STANDARD.encode(format!("{user}:")), "identitytoken": token })
        }
        Credential::RegistryToken(token) => serde_json::json!({ "registrytoken": token }),
        Credential::EncodedPair(pair) => serde_json::json!({ "auth": STANDARD.encode(pair) }),
    }
}

/// Changes the file's `auths` and nothing else.
fn edit(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<()> {
    let wrong = || {
        Error::new(ErrorKind::Auth, format!("`{}` is not in docker's form", path.display())).with_hint(super::docker_config::MEND)
    };
    let target = target(path);
    let _lock = lock(&target).map_err(|error| Error::io("write", path, error))?;
    let file = match std::fs::read(&target) {
        Ok(text) if text.trim_ascii().is_empty() => None,
        // The parser's own error could quote a secret.
        Ok(text) => serde_json::from_slice(&text).map_err(|_| wrong())?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("read", path, error)),
    };
    let mut file: Map<String, Value> = file.unwrap_or_default();
    let auths = file.entry("auths").or_insert(Value::Null);
    if auths.is_null() {
        *auths = Value::Object(Map::new());
    }
    change(auths.as_object_mut().ok_or_else(wrong)?);
    let text = serde_json::to_vec_pretty(&file).map_err(|_| wrong())?;
    write_private(path, &text).map_err(|error| Error::io("write", path, error))
}

/// Writes a file of secrets for its owner alone, whole or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let target = target(path);
    let mut file = tempfile::NamedTempFile::new_in(private_folder(&target)?)?;
    file.write_all(bytes)?;
    // With sudo the file is another user's, who must still be able to read it.
    if let Ok(before) = std::fs::metadata(&target) {
        let _ = std::os::unix::fs::fchown(file.as_file(), Some(before.uid()), Some(before.gid()));
    }
    file.as_file().sync_all()?;
    file.persist(&target)?;
    Ok(())
}

/// The file itself: a link, as dotfile managers make them, stays one, even if it leads to what is
/// not there yet.
fn target(path: &Path) -> PathBuf {
    let linked = || Some(path.parent()?.join(std::fs::read_link(path).ok()?));
    std::fs::canonicalize(path).ok().or_else(linked).unwrap_or_else(|| path.to_owned())
}

fn private_folder(path: &Path) -> std::io::Result<&Path> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    Ok(folder)
}

/// Keeps other logins of ours from changing the file meanwhile. Its folder is locked: a lock's own
/// file would stay behind.
fn lock(path: &Path) -> std::io::Result<std::fs::File> {
    let folder = std::fs::File::open(private_folder(path)?)?;
    // Where a file system knows no locks, there are none.
    use rustix::fs::{FlockOperation, flock};
    if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        tracing::debug!(path = %path.display(), "waiting for another login");
        let _ = flock(&folder, FlockOperation::LockExclusive);
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn sources(folder: &Path) -> CredentialSources {
        CredentialSources { docker_config_dir: Some(folder.into()), ..CredentialSources::default() }
    }

    #[tokio::test]
    async fn a_login_is_found_again_and_the_rest_of_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, r#"{"psFormat":"table","auths":{"other":{"auth":"dTpw"}}}"#).unwrap();
        let (sources, environment) = (sources(folder.path()), Environment::fixed::<&str, &str>([]));
        let credential = Credential::basic("u", "p:q");
        let store = sources.store(&environment, "docker.io", &credential).await.unwrap();
        assert_eq!(store, CredentialStore::File(path.clone()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("psFormat") && text.contains("https://index.docker.io/v1/"), "{text}");
        assert_eq!(sources.find(&environment, "docker.io", "a/b").await.credential, Some(credential));
        assert!(sources.erase(&environment, "docker.io").await.unwrap());
        assert!(!sources.erase(&environment, "docker.io").await.unwrap());
        assert_eq!(sources.find(&environment, "docker.io", "a/b").await.credential, None);
        assert!(sources.find(&environment, "other", "a/b").await.credential.is_some());
    }

    #[tokio::test]
    async fn a_helper_keeps_the_secret_and_the_file_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("docker-credential-test");
        let kept = folder.path().join("kept");
        // Keeps what it is told to store; gives it back, or docker's words for nothing.
        let script = format!(
            "#!/bin/sh\ncase $1 in store) cat >{0};; get) cat >/dev/null; cat {0} 2>/dev/null || {{ echo credentials not found in \
             native keychain; exit 1; }};; erase) cat >/dev/null; rm -f {0};; esac\n",
            kept.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("config.json"), r#"{"credsStore":"test"}"#).unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let (sources, environment) = (sources(folder.path()), Environment::fixed([("PATH", path)]));
        assert_eq!(sources.find(&environment, "r.example.com", "a").await.credential, None);
        let credential = Credential::basic("user", "hunter2");
        let store = sources.store(&environment, "r.example.com", &credential).await.unwrap();
        assert_eq!(store, CredentialStore::Helper("test".into()));
        assert!(!std::fs::read_to_string(folder.path().join("config.json")).unwrap().contains("hunter2"));
        assert_eq!(sources.find(&environment, "r.example.com", "a").await.credential, Some(credential));
        sources.erase(&environment, "r.example.com").await.unwrap();
        assert!(!kept.exists());
    }

    #[tokio::test]
    async fn a_helper_that_is_missing_is_trouble_with_a_remedy_and_not_the_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), r#"{"credHelpers":{"r.example.com":"gone"}}"#).unwrap();
        let environment = Environment::fixed([("PATH", folder.path())]);
        let lookup = sources(folder.path()).find(&environment, "r.example.com", "a").await;
        assert_eq!(lookup.credential, None);
        assert!(lookup.trouble[0].hint().unwrap().contains("docker-credential-gone"));
    }
}
