//! Tags and referrers, through oci-client.
//!
//! oci-client serves here and not for pulls and pushes: its blob reads cannot be retried with our back-off or shown, it reads
//! the system's certificates even for plain HTTP, it keeps a rejected token, and its uploads cannot be taken up again. What
//! it is asked for here is small and idempotent, and its fallback to the referrers tag is right. It gets our token and asks
//! for none itself. Refuses client certificates, which it does not know.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::token_cache::{RegistryToken, RegistryTokenType};
use oci_client::{Reference, RegistryOperation};
use reqwest::header::HeaderValue;

use super::auth::Scope;
use super::client::{Client, Route};
use super::host::{host_of, is_loopback};
use super::tls;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::oci::{Descriptor, Digest, MediaType, Repository, Tag};

/// Tags asked for at once; registries may give fewer.
const PAGE: usize = 1000;

impl Client {
    /// All tags of `repository`, in order.
    ///
    /// # Errors
    /// `Auth`, `Network`; `Registry` with the registry's answer.
    pub async fn tags(&self, repository: &Repository) -> Result<BTreeSet<Tag>> {
        let route = self.destination(repository)?;
        let lister = self.lister(&route).await?;
        let reference = Reference::with_tag(route.endpoint.authority().to_owned(), route.path.clone(), "latest".to_owned());
        let mut tags = BTreeSet::new();
        let mut last: Option<String> = None;
        loop {
            let page = lister.list_tags(&reference, &RegistryAuth::Anonymous, Some(PAGE), last.as_deref());
            let page = self.transport().unless_cancelled(page).await?;
            let page = page.context(ErrorKind::Registry, || format!("cannot list the tags of `{}`", repository.familiar()))?;
            last = page.tags.last().cloned();
            let before = tags.len();
            // What the specification does not allow as a tag cannot be asked for either.
            tags.extend(page.tags.iter().filter_map(|tag| Tag::parse(tag).ok()));
            // A registry that does not know `last` sends the same page again.
            if tags.len() == before {
                return Ok(tags);
            }
        }
    }

    /// What refers to `digest`: signatures, SBOMs (distribution specification, "Listing Referrers").
    ///
    /// # Errors
    /// As [`Client::tags`].
    pub async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        let route = self.destination(repository)?;
        let lister = self.lister(&route).await?;
        let reference = Reference::with_digest(route.endpoint.authority().to_owned(), route.path.clone(), digest.to_string());
        lister.store_auth_if_needed(route.endpoint.authority(), &RegistryAuth::Anonymous).await;
        let index = self.transport().unless_cancelled(lister.pull_referrers(&reference, None)).await?;
        let index = index.context(ErrorKind::Registry, || format!("cannot list what refers to `{digest}`"))?;
        let descriptor = |entry: oci_client::manifest::ImageIndexEntry| {
            let size = u64::try_from(entry.size).map_err(|_| Error::new(ErrorKind::Corrupt, "a referrer has a negative size"))?;
            let media_type = MediaType::from(entry.artifact_type.unwrap_or(entry.media_type));
            let annotations = entry.annotations.unwrap_or_default();
            Ok(Descriptor { annotations, ..Descriptor::new(media_type, Digest::parse(&entry.digest)?, size) })
        };
        index.manifests.into_iter().map(descriptor).collect()
    }

    /// An oci-client that speaks to the route's registry as we do, with our token.
    async fn lister(&self, route: &Route) -> Result<oci_client::Client> {
        let Route { endpoint, path } = route;
        let header = endpoint.authorize(path, &Scope::pull(path)).await?;
        tls::install_provider();
        let authority = endpoint.authority();
        let encrypted = endpoint.is_encrypted();
        let own = is_loopback(authority);
        let authorities = endpoint.transport.authorities(authority)?.into_iter();
        let config = ClientConfig {
            protocol: if encrypted { ClientProtocol::Https } else { ClientProtocol::Http },
            accept_invalid_certificates: endpoint.insecure(),
            extra_root_certificates: authorities.map(|data| Certificate { encoding: CertificateEncoding::Der, data }).collect(),
            connect_timeout: Some(endpoint.transport.policy.connect_timeout),
            read_timeout: Some(endpoint.transport.policy.stall_timeout),
            // A proxy that nothing is asked of keeps the environment's from being asked for this machine's own registry.
            https_proxy: own.then(|| "http://127.0.0.1".to_owned()),
            no_proxy: own.then(|| host_of(authority).to_owned()),
            ..ClientConfig::default()
        };
        let lister = oci_client::Client::try_from(config).context(ErrorKind::Network, || "cannot set up oci-client".into())?;
        let reference = Reference::with_tag(authority.to_owned(), path.clone(), "latest".to_owned());
        if let Some(token) = header.as_ref().and_then(token) {
            lister.tokens.insert(&reference, RegistryOperation::Pull, token).await;
        }
        Ok(lister)
    }
}

/// Our header as oci-client keeps tokens.
fn token(header: &HeaderValue) -> Option<RegistryTokenType> {
    let text = header.to_str().ok()?;
    if let Some(token) = text.strip_prefix("Bearer ") {
        return Some(RegistryTokenType::Bearer(RegistryToken::Token { token: token.to_owned() }));
    }
    let pair = String::from_utf8(STANDARD.decode(text.strip_prefix("Basic ")?).ok()?).ok()?;
    let (username, password) = pair.split_once(':')?;
    Some(RegistryTokenType::Basic(username.to_owned(), password.to_owned()))
}
