//! Where credentials are found: what the caller gives, then the files of docker and podman and
//! their helpers.
//!
//! A file or helper that fails is reported, and the search goes on: the registry may need no
//! credential at all.

use std::path::PathBuf;

use super::credential::Credential;
use super::docker_config::{AuthFile, AuthLookup};
use super::helper;
use crate::error::{Error, ErrorKind, Result};
use crate::registry::environment::Environment;
use crate::registry::host::{canonical, server_key};

/// Where credentials are looked for: `explicit`, `auth_file`, `DOCKER_AUTH_CONFIG`,
/// `REGISTRY_AUTH_FILE`, docker's config.json, podman's auth.json. For ECR an AWS identity comes
/// last; with `anonymous`, nothing is asked.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// For the registry of this name (`harbor.example.com`): from flags or a prompt.
    pub explicit: Vec<(String, Credential)>,
    /// The folder of docker's config.json; `None`: `DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config_dir: Option<PathBuf>,
    /// A file in the form of docker's config.json or podman's auth.json, looked at before
    /// `DOCKER_AUTH_CONFIG` and in place of docker's config.json; what is stored goes there.
    pub auth_file: Option<PathBuf>,
    /// Use no credential at all.
    pub anonymous: bool,
}

/// What was found, and what stood in the way of finding more.
pub(crate) struct CredentialLookup {
    pub(crate) credential: Option<Credential>,
    /// Where it was found, for the log.
    pub(crate) source: Option<String>,
    /// A helper or file that failed; the work goes on without it.
    pub(crate) trouble: Vec<Error>,
}

impl CredentialSources {
    /// The path of docker's config.json, or of the file that was given in its place.
    pub(crate) fn docker_config(&self, environment: &Environment) -> Option<PathBuf> {
        if let Some(file) = &self.auth_file {
            return Some(file.clone());
        }
        let folder = self.docker_config_dir.clone();
        let folder = folder.or_else(|| environment.path("DOCKER_CONFIG")).or_else(|| environment.home(".docker"));
        Some(folder?.join("config.json"))
    }

    /// The credential for `path` in `registry`.
    pub(crate) async fn find(&self, environment: &Environment, registry: &str, path: &str) -> CredentialLookup {
        let mut lookup = CredentialLookup { credential: None, source: None, trouble: Vec::new() };
        if self.anonymous {
            return lookup;
        }
        let registry = canonical(registry);
        lookup.credential =
            self.explicit.iter().find(|(name, _)| canonical(name) == registry).map(|(_, credential)| credential.clone());
        lookup.source = lookup.credential.as_ref().map(|_| "given by the caller".to_owned());
        if lookup.credential.is_none() {
            for (source, file) in self.files(environment, &mut lookup.trouble) {
                match from_file(environment, &file, registry, path, &mut lookup.trouble).await {
                    Ok(found) => lookup.credential = found,
                    Err(error) => lookup.trouble.push(error),
                }
                if lookup.credential.is_some() {
                    lookup.source = Some(source);
                    break;
                }
            }
        }
        lookup
    }

    /// Whether a credential was given for `registry`, or a file names it; no helper is asked.
    pub(crate) fn name(&self, environment: &Environment, registry: &str) -> bool {
        if self.anonymous {
            return false;
        }
        let registry = canonical(registry);
        // What is wrong with a file is told by who needs it.
        self.explicit.iter().any(|(name, _)| canonical(name) == registry)
            || self.files(environment, &mut Vec::new()).iter().any(|(_, file)| file.names(registry))
    }

    fn files(&self, environment: &Environment, trouble: &mut Vec<Error>) -> Vec<(String, AuthFile)> {
        let mut files = Vec::new();
        if let Some(path) = &self.auth_file {
            read(&mut files, trouble, path.clone());
        }
        if let Some(text) = environment.var("DOCKER_AUTH_CONFIG") {
            match AuthFile::parse(text.as_encoded_bytes()) {
                Ok(file) => files.push(("DOCKER_AUTH_CONFIG".to_owned(), file)),
                Err(error) => trouble.push(Error::new(ErrorKind::Auth, "cannot read `DOCKER_AUTH_CONFIG`").with_source(error)),
            }
        }
        let docker = if self.auth_file.is_some() { None } else { self.docker_config(environment) };
        let paths = [
            environment.path("REGISTRY_AUTH_FILE"),
            docker,
            Some(podman_runtime(environment)),
            environment.config_home("containers/auth.json"),
        ];
        for path in paths.into_iter().flatten() {
            read(&mut files, trouble, path);
        }
        files
    }
}

fn read(files: &mut Vec<(String, AuthFile)>, trouble: &mut Vec<Error>, path: PathBuf) {
    match AuthFile::read(&path) {
        Ok(file) => files.extend(file.map(|file| (path.display().to_string(), file))),
        Err(error) => trouble.push(error),
    }
}

/// Where `podman login` stores (containers-auth.json(5)).
fn podman_runtime(environment: &Environment) -> PathBuf {
    let own = || PathBuf::from(format!("/run/containers/{}", rustix::process::getuid().as_raw()));
    let folder = environment.path("XDG_RUNTIME_DIR").map_or_else(own, |folder| folder.join("containers"));
    folder.join("auth.json")
}

async fn from_file(
    environment: &Environment,
    file: &AuthFile,
    registry: &str,
    path: &str,
    trouble: &mut Vec<Error>,
) -> Result<Option<Credential>> {
    match file.find(registry, path)? {
        AuthLookup::Nothing => Ok(None),
        AuthLookup::Credential(credential) => Ok(Some(credential)),
        AuthLookup::Helper { helper, otherwise } => match helper::find(environment, &helper, &server_key(registry)).await {
            Ok(found) => Ok(found.or(otherwise)),
            // A helper that is not here, as Docker Desktop's in WSL, does not make what stands
            // beside it wrong.
            Err(error) => {
                trouble.push(error);
                Ok(otherwise)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(sources: &CredentialSources, environment: &Environment, registry: &str) -> Option<Credential> {
        let lookup = sources.find(environment, registry, "mp/nsx").await;
        assert!(lookup.trouble.is_empty(), "{:?}", lookup.trouble);
        lookup.credential
    }

    #[test]
    fn debug_shows_no_secret() {
        let credential = Credential::basic("user", "hunter2");
        let sources = CredentialSources { explicit: vec![("r".into(), credential.clone())], ..CredentialSources::default() };
        assert!(!format!("{credential:?} {sources:?} {:?}", credential.basic_header()).contains("hunter2"));
    }

    #[tokio::test]
    async fn each_place_comes_before_those_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let auth = |user: &str| format!(r#"{{"auths":{{"r.example.com":{{"username":"{user}","password":"p"}}}}}}"#);
        for (file, user) in [
            ("authfile", "flag"),
            ("auth.json", "REGISTRY_AUTH_FILE"),
            ("docker/config.json", "docker"),
            ("run/containers/auth.json", "podman's runtime folder"),
            ("home/.config/containers/auth.json", "podman's home"),
        ] {
            std::fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            std::fs::write(at(file), auth(user)).unwrap();
        }
        let mut sources = CredentialSources {
            explicit: vec![("r.example.com".into(), Credential::basic("explicit", "p"))],
            auth_file: Some(at("authfile")),
            ..CredentialSources::default()
        };
        let mut variables: Vec<(&str, std::ffi::OsString)> = vec![
            ("DOCKER_AUTH_CONFIG", auth("DOCKER_AUTH_CONFIG").into()),
            ("REGISTRY_AUTH_FILE", at("auth.json").into()),
            ("DOCKER_CONFIG", at("docker").into()),
            ("XDG_RUNTIME_DIR", at("run").into()),
            ("HOME", at("home").into()),
        ];
        let environment = |variables: &[(&str, std::ffi::OsString)]| Environment::fixed(variables.iter().cloned());
        let user = |name: &str| Some(Credential::basic(name, "p"));
        let all = environment(&variables);
        assert_eq!(find(&sources, &all, "r.example.com").await, user("explicit"));
        assert_eq!(find(&sources, &all, "other.example.com").await, None);
        sources.explicit.clear();
        assert_eq!(find(&sources, &all, "r.example.com").await, user("flag"));
        sources.auth_file = None;
        for expected in ["DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "docker", "podman's runtime folder", "podman's home"] {
            assert_eq!(find(&sources, &environment(&variables), "r.example.com").await, user(expected), "{expected}");
            variables.remove(0);
        }
        sources.anonymous = true;
        assert_eq!(find(&sources, &all, "r.example.com").await, None);
        assert!(!sources.name(&all, "r.example.com"));
        sources.anonymous = false;
        assert!(sources.name(&all, "r.example.com") && !sources.name(&all, "other.example.com"));
    }

    #[tokio::test]
    async fn docker_hub_is_found_under_each_of_its_names() {
        let nothing = Environment::fixed::<&str, &str>([]);
        for name in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            let sources =
                CredentialSources { explicit: vec![(name.into(), Credential::basic("u", "p"))], ..CredentialSources::default() };
            assert!(find(&sources, &nothing, "docker.io").await.is_some(), "{name}");
        }
    }
}
