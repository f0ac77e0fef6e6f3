//! Logging in and out.
//!
//! Refuses to store a credential that the registry does not accept.

use reqwest::Method;

use super::auth::{Credential, CredentialSources, CredentialStore, Scope};
use super::client::Client;
use super::endpoint::{ApiRequest, RequestTarget};
use crate::error::Result;
use crate::oci::Repository;

impl Client {
    /// Where [`Client::login`] would store a credential for `registry`.
    ///
    /// # Errors
    /// `Usage` if neither `DOCKER_CONFIG` nor `HOME` is set; `Auth` if docker's config.json cannot be read.
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

    /// Forgets what is stored for `registry`; whether docker's config.json knew it.
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
        let ping = ApiRequest {
            target: RequestTarget::Path("/v2/".into()),
            ..ApiRequest::new(Method::GET, &route.path, "", Scope::none())
        };
        let response = route.endpoint.send_with_retry(&ping, None).await?;
        if response.status().is_success() { Ok(()) } else { Err(route.endpoint.login_error(response, &ping, true).await) }
    }
}
