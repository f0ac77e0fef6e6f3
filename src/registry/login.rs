//! Logging in and out. A credential that the registry does not accept is not stored.

use super::auth::{Credential, CredentialSources, CredentialStore};
use super::client::Client;
use super::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Repository;

impl Client {
    /// Where [`Client::login`] would store a credential for `registry`.
    ///
    /// # Errors
    /// `Usage` if neither `DOCKER_CONFIG` nor `HOME` is set; `Auth` if docker's config.json cannot
    /// be read.
    pub fn credential_store(&self, registry: &str) -> Result<CredentialStore> {
        self.options().credentials.store_for(&self.options().environment, registry)
    }

    /// Tries the credential with `registry`, then stores it where docker would.
    ///
    /// # Errors
    /// `Auth` if the registry refuses it (nothing is stored then), or a helper fails; `Network`.
    pub async fn login(&self, registry: &str, credential: &Credential) -> Result<CredentialStore> {
        self.try_credential(registry, credential).await.map_err(|error| error.wrap(format!("cannot log in to `{registry}`")))?;
        self.options().credentials.store(&self.options().environment, registry, credential).await
    }

    /// The user name and password that are stored for all of `registry`.
    #[cfg(feature = "cli")]
    pub(crate) async fn stored_login(&self, registry: &str) -> Option<Credential> {
        let found = self.options().credentials.find(&self.options().environment, registry, "").await;
        found.credential.filter(|credential| matches!(credential, Credential::Basic { .. }))
    }

    /// Removes what is stored for `registry`; whether docker's config.json knew it.
    ///
    /// # Errors
    /// `Auth` if a helper fails; `Io` if the file cannot be written.
    pub async fn logout(&self, registry: &str) -> Result<bool> {
        self.options().credentials.erase(&self.options().environment, registry).await
    }

    async fn try_credential(&self, registry: &str, credential: &Credential) -> Result<()> {
        let explicit = vec![(registry.to_owned(), credential.clone())];
        let client = self.with_credentials(CredentialSources { explicit, ..CredentialSources::default() });
        // Any repository would do: the question is about the registry.
        let route = client.destination(&Repository::parse(&format!("{registry}/login"))?)?;
        let deadline = self.options().retry.login_deadline;
        let tried = tokio::time::timeout(deadline, route.endpoint.try_login(&route.path)).await;
        let response = tried.map_err(|_| {
            let message = format!("`{registry}` did not answer within {} s", deadline.as_secs());
            Error::new(ErrorKind::Network, message).with_hint("try again later, or ask who runs the registry")
        })??;
        match response.status().is_success() {
            true => Ok(()),
            false => Err(route.endpoint.login_error(response, &Endpoint::version_check(&route.path)).await),
        }
    }
}
