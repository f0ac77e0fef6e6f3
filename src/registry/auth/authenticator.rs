//! One registry's authentication: what it asked for, and the tokens it gave.
//!
//! Refuses to answer a challenge before it was made: a registry that asks nobody is never shown a credential.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use url::Url;

use super::aws::ecr;
use super::challenge::{Challenge, Scope};
use super::credential::Credential;
use super::sources::CredentialSources;
use super::token::{BearerToken, TokenRequest, fixed};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::registry::environment::Environment;
use crate::registry::host::{RegistryKind, canonical, is_loopback};
use crate::registry::transport::Transport;

/// How long a rejected password is not asked for again.
const RENEWAL: Duration = Duration::from_secs(60);

/// Authentication with one registry.
pub(crate) struct Authenticator {
    registry: String,
    insecure: bool,
    sources: CredentialSources,
    environment: Environment,
    progress: Progress,
    known: Mutex<AuthState>,
    /// Credentials by repository path, and whether one was looked for in files only; held while one is looked up or a token is asked for, so that it is done once.
    credentials: tokio::sync::Mutex<Credentials>,
}

type Credentials = HashMap<(String, bool), Option<Credential>>;

#[derive(Default)]
struct AuthState {
    challenge: Option<Challenge>,
    tokens: HashMap<Scope, BearerToken>,
    /// When ECR was last asked for a password because the one before was rejected.
    renewed: Option<Instant>,
}

impl Authenticator {
    /// Nothing is known and nothing is read yet.
    pub(crate) fn new(
        registry: &str,
        insecure: bool,
        sources: CredentialSources,
        environment: Environment,
        progress: Progress,
    ) -> Self {
        let (known, credentials) = Default::default();
        Self { registry: registry.to_owned(), insecure, sources, environment, progress, known, credentials }
    }

    /// Takes note of what the registry asks for.
    pub(crate) fn challenged(&self, challenge: Challenge) {
        self.known().challenge = Some(challenge);
    }

    /// Whether the registry has asked for anything yet.
    pub(crate) fn is_challenged(&self) -> bool {
        self.known().challenge.is_some()
    }

    /// Whether there is a credential for `path`.
    pub(crate) async fn has_credential(&self, transport: &Arc<Transport>, path: &str, scope: &Scope) -> bool {
        let mut credentials = self.credentials.lock().await;
        self.credential(&mut credentials, transport, path, scope).await.is_some()
    }

    /// The header for a request with `scope` on `path`, other than the one that was `rejected`; `None`: go without.
    pub(crate) async fn header(
        &self,
        transport: &Arc<Transport>,
        path: &str,
        scope: &Scope,
        rejected: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        let challenge = self.known().challenge.clone();
        let (realm, service) = match &challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => {
                return Ok(match self.basic(transport, path, scope).await {
                    Some(header) if Some(&header) == rejected => self.renewed(transport, path, header).await,
                    other => other,
                });
            }
            Some(Challenge::Bearer { realm, service }) => (realm, service.as_deref()),
        };
        if let Some(header) = self.cached(scope, rejected) {
            return Ok(Some(header));
        }
        let mut credentials = self.credentials.lock().await;
        // Another task may have got it meanwhile.
        if let Some(header) = self.cached(scope, rejected) {
            return Ok(Some(header));
        }
        let credential = self.credential(&mut credentials, transport, path, scope).await;
        if let Some(Credential::RegistryToken(token)) = &credential {
            return Ok(fixed(token).filter(|header| Some(header) != rejected));
        }
        let realm = self.realm(realm)?;
        let request = TokenRequest {
            registry: &self.registry,
            realm: &realm,
            service,
            scope,
            credential: credential.as_ref(),
            insecure: self.insecure,
        };
        let token = request.send(transport).await?;
        self.known().tokens.insert(scope.clone(), token.clone());
        Ok(Some(token.header))
    }

    fn cached(&self, scope: &Scope, rejected: Option<&HeaderValue>) -> Option<HeaderValue> {
        let known = self.known();
        let token = known.tokens.get(scope).filter(|token| token.is_fresh() && Some(&token.header) != rejected)?;
        Some(token.header.clone())
    }

    async fn basic(&self, transport: &Arc<Transport>, path: &str, scope: &Scope) -> Option<HeaderValue> {
        let mut credentials = self.credentials.lock().await;
        self.credential(&mut credentials, transport, path, scope).await?.basic_header()
    }

    /// A fresh password in the place of the one that was rejected. ECR's last 12 hours: what `docker login` stored yesterday, or
    /// what this process got, may have expired. Rights that are missing look the same: so not again and again.
    async fn renewed(&self, transport: &Arc<Transport>, path: &str, rejected: HeaderValue) -> Option<HeaderValue> {
        let given = self.sources.explicit.iter().any(|(name, _)| canonical(name) == canonical(&self.registry));
        if self.sources.anonymous || given || RegistryKind::of(&self.registry) != RegistryKind::Ecr {
            return None;
        }
        let mut credentials = self.credentials.lock().await;
        // Another task may have got it meanwhile.
        let current = credentials.get(&(path.to_owned(), false)).cloned().flatten().and_then(|found| found.basic_header());
        if let Some(header) = current.filter(|header| *header != rejected) {
            return Some(header);
        }
        let last = self.known().renewed.replace(Instant::now());
        if last.is_some_and(|last| last.elapsed() < RENEWAL) {
            return None;
        }
        // Without an identity the registry's own refusal says more than ours.
        let fresh = ecr::credential(&self.registry, &self.environment, transport).await.ok().flatten()?;
        let header = fresh.basic_header();
        credentials.insert((path.to_owned(), false), Some(fresh));
        header
    }

    async fn credential(
        &self,
        cache: &mut Credentials,
        transport: &Arc<Transport>,
        path: &str,
        scope: &Scope,
    ) -> Option<Credential> {
        // Reading from ECR Public needs no identity: the search for one would only cost time.
        let is_public = canonical(&self.registry) == "public.ecr.aws";
        let key = (path.to_owned(), is_public && !scope.writes());
        if let Some(found) = cache.get(&key) {
            return found.clone();
        }
        let mut lookup = self.sources.find(&self.environment, &self.registry, path).await;
        if lookup.credential.is_none() && !self.sources.anonymous && !key.1 {
            match ecr::credential(&self.registry, &self.environment, transport).await {
                Ok(found) => lookup.credential = found,
                Err(error) => lookup.trouble.push(error),
            }
        }
        for error in lookup.trouble {
            let causes = error.causes();
            let message = std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": ");
            self.progress.warn(&message, error.hint());
        }
        cache.insert(key, lookup.credential.clone());
        lookup.credential
    }

    /// The token server's address; plain HTTP only where the registry itself may be.
    fn realm(&self, text: &str) -> Result<Url> {
        let wrong = |why: &str| Error::new(ErrorKind::Auth, format!("registry names a token server `{text}` {why}"));
        let url = Url::parse(text).map_err(|error| wrong("that is no address").with_source(error))?;
        let plain_is_right = self.insecure || is_loopback(&self.registry);
        match url.scheme() {
            "https" => Ok(url),
            "http" if plain_is_right => Ok(url),
            "http" => Err(wrong("without encryption").with_hint(
                "set the registry up to name its token server by https, or allow it with `insecure` in registries.conf",
            )),
            _ => Err(wrong("that is neither http nor https")),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, AuthState> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
