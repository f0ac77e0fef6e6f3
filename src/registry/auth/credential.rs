//! Credentials and the places they come from.
//!
//! Refuses to show them.

use std::fmt;
use std::path::PathBuf;

/// What a registry accepts as proof of who asks. Its Debug shows nothing.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// A user name and a password or access token.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// An OAuth2 refresh token, exchanged for access tokens (docker's `identitytoken`).
    IdentityToken(String),
    /// A token that is sent as it is (docker's `registrytoken`).
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

/// Where credentials are looked for, in this order: `explicit`, the environment, docker's and podman's files.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// For the registry of this name (`harbor.example.com`): from flags or a prompt.
    pub explicit: Vec<(String, Credential)>,
    /// The folder of docker's config.json; `None`: `DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config_dir: Option<PathBuf>,
    /// Ask nobody: no file, no environment, no helper. `explicit` still counts.
    pub nothing_stored: bool,
}
