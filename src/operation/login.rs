//! Logging in and out, where docker would.
//!
//! Invariant: credentials that the registry does not accept are not stored.

use super::Mpimg;
use crate::error::Result;
use crate::registry::{Credential, CredentialStore};

impl Mpimg {
    /// Tries a user name and password or token with a registry, then stores them with docker's
    /// credential helper or in its config.json, in clear but for base64.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`](crate::ErrorKind::Auth): the registry refuses them, or the helper fails.
    pub async fn login(&self, registry: &str, username: &str, password: &str) -> Result<CredentialStore> {
        self.client().login(&registry_name(registry), &Credential::basic(username, password)).await
    }

    /// User name and password that are stored for a registry.
    #[cfg(feature = "cli")]
    pub(crate) async fn stored_login(&self, registry: &str) -> Option<(String, String)> {
        match self.client().stored_login(&registry_name(registry)).await? {
            Credential::Basic { username, password } => Some((username, password)),
            _ => None,
        }
    }

    /// Forgets what [`Mpimg::login`] stored; whether there was anything.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`](crate::ErrorKind::Auth): the helper fails;
    /// [`ErrorKind::Io`](crate::ErrorKind::Io): the file.
    pub async fn logout(&self, registry: &str) -> Result<bool> {
        self.client().logout(&registry_name(registry)).await
    }
}

/// A registry's name. People paste addresses: `https://harbor.example.com/` means
/// `harbor.example.com`.
pub fn registry_name(text: &str) -> String {
    let bare = text.trim_start_matches("https://").trim_start_matches("http://");
    let host = bare.split('/').next().unwrap_or(bare);
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".into(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_however_it_is_pasted() {
        for text in ["harbor.example.com", "https://harbor.example.com/", "harbor.example.com/v2/"] {
            assert_eq!(registry_name(text), "harbor.example.com");
        }
        assert_eq!(registry_name("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(registry_name("localhost:5000"), "localhost:5000");
    }
}
