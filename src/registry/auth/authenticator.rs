//! One registry's authentication: its challenge, and the tokens that answer it.
//!
//! Invariant: no credential is sent before the registry has challenged; one that never does is
//! never sent any.

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

/// What is known about a login when a registry refuses a request.
#[derive(Debug, Clone)]
pub(crate) enum LoginState {
    /// There is no credential.
    Missing,
    /// The registry does not accept the credential: it is wrong, expired or disabled.
    Refused { username: Option<String>, given: bool },
    /// The registry accepts the credential: the account lacks the right.
    Accepted,
    /// A Basic credential, still to be tried on its own.
    Untried { header: HeaderValue, username: Option<String>, given: bool },
    /// It could not be found out.
    Unknown,
}

/// Authentication with one registry.
pub(crate) struct Authenticator {
    registry: String,
    insecure: bool,
    sources: CredentialSources,
    environment: Environment,
    progress: Progress,
    state: Mutex<AuthState>,
    /// Credentials by repository path, and whether only files were searched. Locked while a
    /// credential is looked up or a token requested, so that each is done once.
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
        let (state, credentials) = Default::default();
        Self { registry: registry.to_owned(), insecure, sources, environment, progress, state, credentials }
    }

    /// Takes note of what the registry asks for. Harbor asks for Basic where a token is not
    /// accepted: its token server is known by then, and stays.
    pub(crate) fn challenged(&self, challenge: Challenge) {
        let mut state = self.state();
        if challenge != Challenge::Basic || !matches!(state.challenge, Some(Challenge::Bearer { .. })) {
            state.challenge = Some(challenge);
        }
    }

    /// Whether the registry has asked for anything yet.
    pub(crate) fn is_challenged(&self) -> bool {
        self.state().challenge.is_some()
    }

    /// What the registry calls itself to its token server.
    pub(crate) fn service(&self) -> Option<String> {
        match &self.state().challenge {
            Some(Challenge::Bearer { service, .. }) => service.clone(),
            _ => None,
        }
    }

    /// The credential for `path`.
    pub(crate) async fn credential(&self, transport: &Arc<Transport>, path: &str) -> Option<Credential> {
        let mut credentials = self.lock_credentials().await;
        self.find_credential(&mut credentials, transport, path, &Scope::push(path)).await
    }

    /// The header for a request with `scope` on `path`, other than the one that was `rejected`;
    /// `None`: go without.
    pub(crate) async fn header(
        &self,
        transport: &Arc<Transport>,
        path: &str,
        scope: &Scope,
        rejected: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        let challenge = self.state().challenge.clone();
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
        let mut credentials = self.lock_credentials().await;
        // Another task may have got it meanwhile.
        if let Some(header) = self.cached(scope, rejected) {
            return Ok(Some(header));
        }
        let credential = self.find_credential(&mut credentials, transport, path, scope).await;
        if let Some(Credential::RegistryToken(token)) = &credential {
            return Ok(fixed(token).filter(|header| Some(header) != rejected));
        }
        let token = self.request_token(transport, realm, service, scope, credential.as_ref()).await?;
        self.state().tokens.insert(scope.clone(), token.clone());
        Ok(Some(token.header))
    }

    async fn request_token(
        &self,
        transport: &Transport,
        realm: &str,
        service: Option<&str>,
        scope: &Scope,
        credential: Option<&Credential>,
    ) -> Result<BearerToken> {
        let named = realm;
        let realm = self.realm(realm)?;
        let request = TokenRequest {
            registry: &self.registry,
            realm: &realm,
            service,
            scope,
            credential,
            insecure: self.insecure,
            given: self.is_given(),
            progress: &self.progress,
        };
        let token = request.send(transport).await;
        let (registry, with_credential, received) = (&*self.registry, credential.is_some(), token.is_ok());
        tracing::debug!(registry, %scope, realm = realm.host_str(), with_credential, received, "token requested");
        token.map_err(|error| {
            match named.starts_with("http:") && realm.scheme() == "https" && error.kind() == ErrorKind::Network {
                true => error
                    .wrap(format!("`{registry}` names its token server without encryption, and https does not work there"))
                    .with_hint("set the registry up to name its token server by https (Harbor: `external_url`)"),
                false => error,
            }
        })
    }

    /// What is known about the login for `path`, after the registry has refused a request.
    ///
    /// Harbor gives a login that is wrong, expired or disabled an anonymous token, and refuses only
    /// a token request without a scope: that tells a bad login from a missing right.
    pub(crate) async fn login_state(&self, transport: &Arc<Transport>, path: &str) -> LoginState {
        let Some(credential) = self.credential(transport, path).await else { return LoginState::Missing };
        let (username, given) = (credential.username().map(str::to_owned), self.is_given());
        let challenge = self.state().challenge.clone();
        match challenge {
            Some(Challenge::Bearer { realm, service }) if !matches!(credential, Credential::RegistryToken(_)) => {
                let scope = Scope::none();
                match self.request_token(transport, &realm, service.as_deref(), &scope, Some(&credential)).await {
                    Ok(_) => LoginState::Accepted,
                    Err(error) if error.kind() == ErrorKind::Auth => LoginState::Refused { username, given },
                    Err(_) => LoginState::Unknown,
                }
            }
            Some(Challenge::Bearer { .. }) | None => LoginState::Unknown,
            Some(Challenge::Basic) => match credential.basic_header() {
                Some(header) => LoginState::Untried { header, username, given },
                None => LoginState::Unknown,
            },
        }
    }

    /// The credential as Basic authentication has it, for a registry that has not asked for one.
    pub(crate) async fn basic_header(&self, transport: &Arc<Transport>, path: &str) -> Option<HeaderValue> {
        self.basic(transport, path, &Scope::none()).await
    }

    /// Whether the caller gave the credential of this registry.
    pub(crate) fn is_given(&self) -> bool {
        self.sources.explicit.iter().any(|(name, _)| canonical(name) == canonical(&self.registry))
    }

    /// Whether somebody has logged in to the registry, as far as that is told without asking a
    /// helper.
    pub(crate) fn may_have_login(&self) -> bool {
        self.sources.name(&self.environment, &self.registry)
    }

    async fn lock_credentials(&self) -> tokio::sync::MutexGuard<'_, Credentials> {
        if let Ok(credentials) = self.credentials.try_lock() {
            return credentials;
        }
        tracing::debug!(registry = self.registry, "waiting for another request's credential or token");
        self.credentials.lock().await
    }

    fn cached(&self, scope: &Scope, rejected: Option<&HeaderValue>) -> Option<HeaderValue> {
        let state = self.state();
        let token = state.tokens.get(scope).filter(|token| token.is_fresh() && Some(&token.header) != rejected)?;
        Some(token.header.clone())
    }

    async fn basic(&self, transport: &Arc<Transport>, path: &str, scope: &Scope) -> Option<HeaderValue> {
        let mut credentials = self.credentials.lock().await;
        self.find_credential(&mut credentials, transport, path, scope).await?.basic_header()
    }

    /// A fresh password in the place of the one that was rejected. ECR's last 12 hours: what
    /// `docker login` stored yesterday, or what this process got, may have expired. Rights that are
    /// missing look the same: so not again and again.
    async fn renewed(&self, transport: &Arc<Transport>, path: &str, rejected: HeaderValue) -> Option<HeaderValue> {
        if self.sources.anonymous || self.is_given() || RegistryKind::of(&self.registry) != RegistryKind::Ecr {
            return None;
        }
        let mut credentials = self.credentials.lock().await;
        // Another task may have got it meanwhile.
        let current = credentials.get(&(path.to_owned(), false)).cloned().flatten().and_then(|found| found.basic_header());
        if let Some(header) = current.filter(|header| *header != rejected) {
            return Some(header);
        }
        let last = self.state().renewed.replace(Instant::now());
        if last.is_some_and(|last| last.elapsed() < RENEWAL) {
            return None;
        }
        // Without an identity the registry's own refusal says more than ours.
        let fresh = ecr::credential(&self.registry, &self.environment, transport).await.ok().flatten()?;
        let header = fresh.basic_header();
        credentials.insert((path.to_owned(), false), Some(fresh));
        header
    }

    async fn find_credential(
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
                Ok(found) => {
                    lookup.source = found.as_ref().map(|_| "AWS".to_owned());
                    lookup.credential = found;
                }
                Err(error) => lookup.trouble.push(error),
            }
        }
        let found = match &lookup.credential {
            None => "none",
            Some(Credential::Basic { .. }) => "user name and password",
            Some(Credential::IdentityToken { .. }) => "identity token",
            Some(Credential::RegistryToken(_)) => "registry token",
            Some(Credential::EncodedPair(_)) => "user name and password in bytes",
        };
        let source = lookup.source.as_deref();
        tracing::debug!(registry = self.registry, path, found, source, "credential looked up");
        for error in lookup.trouble {
            let causes = error.causes();
            let message = std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": ");
            self.progress.warn(&message, error.hint());
        }
        cache.insert(key, lookup.credential.clone());
        lookup.credential
    }

    /// The token server's address: by plain HTTP only where the registry itself may be. An
    /// encrypted registry that names its token server by http (a Harbor whose `external_url` says
    /// so) has it on https, too.
    fn realm(&self, text: &str) -> Result<Url> {
        let wrong = |why: &str| Error::new(ErrorKind::Auth, format!("registry names a token server `{text}` {why}"));
        let mut url = Url::parse(text).map_err(|error| wrong("that is not a URL").with_source(error))?;
        let plain_is_right = self.insecure || is_loopback(&self.registry);
        match url.scheme() {
            "https" => Ok(url),
            "http" if plain_is_right => Ok(url),
            "http" => match url.set_scheme("https") {
                Ok(()) => Ok(url),
                Err(()) => Err(wrong("that cannot be reached by https")),
            },
            _ => Err(wrong("that is neither http nor https")),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, AuthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
