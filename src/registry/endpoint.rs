//! One registry: finds its scheme, answers its challenges, follows its redirects, repeats requests.
//!
//! Invariants: no other host is sent a credential; no redirect leads from https to http.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::auth::{Authenticator, Challenge, Scope};
use super::errors::{Refusal, missing_on_ecr};
use super::failure::{RequestError, is_decisive};
use super::host::{RegistryKind, api_authority, host_and_port, is_loopback};
use super::retry::{is_transient, retry_after};
use super::transport::{HttpRequest, RequestBody, Transport, header_text, interrupted};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::progress::{Progress, Task};

/// Browsers' limit is higher; registries need one or two.
const REDIRECTS: usize = 5;

/// So often ECR may close the connection on POST before the repository counts as missing.
pub(crate) const CLOSED_POSTS: u32 = 3;

/// Tries to reach a registry that has never answered: it is rather missing than restarting.
pub(super) const FIRST_ATTEMPTS: u32 = 3;

/// A registry as it is spoken to.
pub(crate) struct Endpoint {
    /// Its name in references and configuration.
    pub(super) registry: String,
    pub(crate) kind: RegistryKind,
    authority: String,
    insecure: bool,
    /// What to try, in this order, until one answers.
    pub(super) schemes: Vec<&'static str>,
    pub(super) scheme: OnceLock<&'static str>,
    pub(super) auth: Arc<Authenticator>,
    /// Whether `/v2/` lets strangers in, once it has been asked.
    pub(super) open: OnceLock<bool>,
    /// Held while `/v2/` is asked; how often it was.
    pub(super) discovery: tokio::sync::Mutex<u32>,
    progress: Progress,
    /// The shortest time to an answer, in microseconds; 0: none yet.
    round_trip: AtomicU64,
    /// Warnings of the registry that were shown.
    warned: Mutex<BTreeSet<String>>,
    pub(crate) transport: Arc<Transport>,
}

/// A request to a registry.
#[derive(Clone)]
pub(crate) struct ApiRequest {
    pub(crate) method: Method,
    pub(crate) target: RequestTarget,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: RequestBody,
    /// The repository in question, as the registry knows it.
    pub(crate) path: String,
    pub(crate) scope: Scope,
    pub(crate) slow: bool,
    /// Whether it may be sent without waiting for what `/v2/` says: a read that all else waits for.
    pub(crate) early: bool,
    /// Which try this is, from 1; for the log.
    pub(crate) attempt: u32,
}

/// What is known once a registry has been asked.
pub(super) enum Discovered {
    /// `/v2/` has told what there is to know.
    Asked,
    /// It has answered "not now".
    NotNow(Response),
    /// The registry lets strangers in, and this is its answer to the request.
    Answered(Response),
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) enum RequestTarget {
    /// A path with query on the registry, from `/v2/` on.
    Path(String),
    /// A Location that the registry gave.
    Url(Url),
}

impl ApiRequest {
    /// A request about the repository `path`: `/v2/<path>/<rest>`.
    pub(crate) fn new(method: Method, path: &str, rest: &str, scope: Scope) -> Self {
        let target = RequestTarget::Path(format!("/v2/{path}/{rest}"));
        let (headers, payload) = Default::default();
        Self { method, target, headers, payload, path: path.to_owned(), scope, slow: false, early: false, attempt: 1 }
    }

    /// As `new`, to a Location.
    pub(crate) fn to(method: Method, location: &Url, path: &str, scope: Scope) -> Self {
        Self { target: RequestTarget::Url(location.clone()), ..Self::new(method, path, "", scope) }
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        // All values are digits, digests and media types; one that cannot stand in a header is left
        // out and refused there.
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    pub(crate) fn with_bytes(mut self, bytes: Bytes) -> Self {
        self.payload = RequestBody::Bytes(bytes);
        self
    }
}

impl Endpoint {
    pub(crate) fn new(
        registry: &str,
        insecure: bool,
        auth: Authenticator,
        transport: Arc<Transport>,
        progress: Progress,
    ) -> Self {
        let authority = api_authority(registry).to_owned();
        let schemes = match (insecure, is_loopback(registry) && !transport.has_certificates(&authority)) {
            // This machine: what listens here is nearly always plain. Both are tried, nothing
            // leaves the machine.
            (_, true) => vec!["http", "https"],
            (true, false) => vec!["https", "http"],
            (false, false) => vec!["https"],
        };
        Self {
            registry: registry.to_owned(),
            kind: RegistryKind::of(registry),
            authority,
            insecure,
            schemes,
            scheme: OnceLock::new(),
            auth: Arc::new(auth),
            open: OnceLock::new(),
            discovery: tokio::sync::Mutex::new(0),
            progress,
            round_trip: AtomicU64::new(0),
            warned: Mutex::default(),
            transport,
        }
    }

    /// The same registry over other connections: what it has told and its tokens serve here, too.
    pub(super) fn with(&self, transport: Arc<Transport>, progress: Progress) -> Self {
        Self {
            registry: self.registry.clone(),
            authority: self.authority.clone(),
            schemes: self.schemes.clone(),
            scheme: self.scheme.clone(),
            auth: self.auth.clone(),
            open: self.open.clone(),
            discovery: tokio::sync::Mutex::new(0),
            progress,
            round_trip: AtomicU64::new(self.round_trip.load(Ordering::Relaxed)),
            warned: Mutex::default(),
            transport,
            ..*self
        }
    }

    /// Host and port that are connected to.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether connections are encrypted, as far as that is known.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.scheme.get().copied().unwrap_or(self.schemes[0]) == "https"
    }

    /// Whether its certificate goes unchecked.
    pub(crate) fn insecure(&self) -> bool {
        self.insecure
    }

    /// Whether the registry has asked who we are; until it does, it is shown no credential.
    pub(crate) fn is_challenged(&self) -> bool {
        self.auth.is_challenged()
    }

    /// Whether there is a credential for `path`.
    pub(crate) async fn has_credential(&self, path: &str) -> bool {
        self.auth.credential(&self.transport, path).await.is_some()
    }

    /// The header for requests with `scope`.
    pub(crate) async fn authorize(&self, path: &str, scope: &Scope) -> Result<Option<HeaderValue>> {
        self.transport.unless_cancelled(self.discover(path)).await?.map_err(RequestError::into_error)?;
        self.auth.header(&self.transport, path, scope, None).await
    }

    /// Shows a `Warning` header of the registry, once (distribution specification, "Warnings").
    pub(crate) fn warn(&self, header: &str) {
        // 299 - "text"
        let text = header.split_once('"').map_or(header, |(_, rest)| rest.trim_end_matches('"'));
        if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned()) {
            self.progress.warn(&format!("`{}` says: {text}", self.registry), None);
        }
    }

    /// Sends a request once; again only to answer a challenge. Any status is an answer.
    pub(crate) async fn send(&self, request: &ApiRequest) -> Result<Response, RequestError> {
        let early = match self.discover_beside(request).await? {
            Discovered::NotNow(response) => return Ok(response),
            Discovered::Answered(response) => Some(response),
            Discovered::Asked => None,
        };
        let header = self.header(request, None).await?;
        let response = match early.filter(|_| header.is_none()) {
            Some(response) => response,
            None => self.send_as(request, header.as_ref()).await?,
        };
        self.note_challenge(&response);
        // ECR's answer to a password that has expired is 403.
        let may_be_expired = self.kind == RegistryKind::Ecr && response.status() == StatusCode::FORBIDDEN && header.is_some();
        if response.status() != StatusCode::UNAUTHORIZED && !may_be_expired {
            return Ok(response);
        }
        match self.header(request, header.as_ref()).await? {
            Some(other) => {
                // Read to its end, so that the connection serves again.
                self.transport.read_error_body(response).await;
                self.unless_outage(self.send_as(request, Some(&other)).await?).await
            }
            None => self.unless_outage(response).await,
        }
    }

    /// Sends a request until it gets an answer that is not "not now", or patience ends. Only for
    /// requests that may be repeated.
    pub(crate) async fn send_with_retry(&self, request: &ApiRequest, task: Option<&Task>) -> Result<Response> {
        let mut request = request.clone();
        loop {
            let answer = self.transport.unless_cancelled(self.send(&request)).await?;
            request.attempt += 1;
            let attempt = request.attempt;
            match answer {
                Ok(response) if !is_transient(response.status()) => return Ok(response),
                Ok(response) => {
                    let wait = self.transport.policy.delay(attempt, retry_after(response.headers()));
                    let Some(wait) = wait else { return Ok(response) };
                    let reason = Refusal::parse(response.status(), &self.transport.read_error_body(response).await).to_string();
                    self.transport.pause_before(attempt, wait, &reason, task).await?;
                }
                Err(RequestError::Permanent(error)) => return Err(error),
                Err(RequestError::Transient(mut error)) => {
                    let closed = self.kind == RegistryKind::Ecr && request.method == Method::POST;
                    if closed {
                        error = error.with_hint(self.missing_on_ecr(&request.path));
                    }
                    let hopeless = self.scheme.get().is_none() && attempt > FIRST_ATTEMPTS || closed && attempt > CLOSED_POSTS;
                    let wait = self.transport.policy.delay(attempt, None).filter(|_| !hopeless);
                    let Some(wait) = wait else { return Err(error) };
                    self.transport.pause_before(attempt, wait, &error.to_string(), task).await?;
                }
            }
        }
    }

    /// Sends as [`Self::send_with_retry`] does; an error status is an error.
    pub(crate) async fn fetch(&self, request: &ApiRequest, task: Option<&Task>) -> Result<Response> {
        let response = self.send_with_retry(request, task).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.response_error(response, request).await) }
    }

    /// The error that an answer with an error status is.
    pub(crate) async fn response_error(&self, response: Response, request: &ApiRequest) -> Error {
        let status = response.status();
        let refusal = Refusal::parse(status, &self.transport.read_error_body(response).await);
        self.error_for(refusal, &request.path, request.scope.writes()).await
    }

    /// The error of an upload that the registry begins without an address.
    pub(super) fn no_location(&self, status: u16) -> Error {
        let registry = self.authority();
        let message = format!("`{registry}` answered {status} to the start of an upload, without the `Location` to send it to");
        Error::new(ErrorKind::Registry, message)
            .with_hint("have the proxy before the registry pass the header `Location` on; or check the registry's name and port")
    }

    /// What to do about a POST to ECR that was not answered.
    pub(crate) fn missing_on_ecr(&self, path: &str) -> String {
        missing_on_ecr(&self.registry, path)
    }

    /// A Location as the registry means it: relative ones are completed; one that names this host
    /// by a lesser scheme or without its port comes from a registry that does not know the proxy
    /// before it, and is mended.
    pub(crate) fn resolve(&self, base: &Url, location: &str) -> Result<Url> {
        let mut url = base.join(location).map_err(|error| {
            Error::new(ErrorKind::Registry, format!("`{}` gave a Location that is not a URL", self.registry)).with_source(error)
        })?;
        let own = self.url("/");
        if let (Ok(own), true) = (own, url.host_str() == base.host_str())
            && own.host_str() == url.host_str()
            && (url.port().is_none() || url.scheme() != own.scheme())
        {
            // Both cannot fail: http and https are alike, and the host is there.
            let _ = url.set_scheme(own.scheme());
            let _ = url.set_port(own.port());
        }
        if base.scheme() == "https" && url.scheme() != "https" && !self.insecure {
            let message = format!("`{}` leads to `{}`, without encryption", self.registry, host_and_port(&url));
            let hint = "set the registry up to name its storage by https, or allow it with `insecure` in registries.conf";
            return Err(Error::new(ErrorKind::Network, message).with_hint(hint));
        }
        Ok(url)
    }

    fn url(&self, path: &str) -> Result<Url> {
        let scheme = self.scheme.get().copied().unwrap_or(self.schemes[0]);
        self.url_on(scheme, path)
    }

    pub(super) fn url_on(&self, scheme: &str, path: &str) -> Result<Url> {
        Url::parse(&format!("{scheme}://{}{path}", self.authority))
            .map_err(|error| Error::new(ErrorKind::Usage, format!("`{}` is not a registry", self.registry)).with_source(error))
    }

    async fn header(&self, request: &ApiRequest, rejected: Option<&HeaderValue>) -> Result<Option<HeaderValue>, RequestError> {
        self.auth.header(&self.transport, &request.path, &request.scope, rejected).await.map_err(RequestError::Permanent)
    }

    /// The shortest time that an answer has taken; a first request's includes the connection.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        Some(self.round_trip.load(Ordering::Relaxed)).filter(|shortest| *shortest > 0).map(Duration::from_micros)
    }

    fn note_round_trip(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let shorter = |shortest| (shortest == 0 || took < shortest).then_some(took);
        // An error means that it was no shorter.
        let _ = self.round_trip.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shorter);
    }

    pub(super) fn note_challenge(&self, response: &Response) {
        // A challenge from where a redirect led to would have us show the registry's credential to
        // somebody else.
        let ours = response.status() == StatusCode::UNAUTHORIZED && self.is_own(response.url());
        let challenge = Challenge::of(response.headers()).filter(|_| ours);
        if let Some(challenge) = challenge {
            let (scheme, realm) = match &challenge {
                Challenge::Basic => ("Basic", None),
                Challenge::Bearer { realm, .. } => ("Bearer", realm.split('?').next()),
            };
            tracing::debug!(registry = self.registry, scheme, realm, "registry asks for authentication");
            self.auth.challenged(challenge);
        }
    }

    /// Sends with this header, on the scheme that works.
    pub(super) async fn send_as(&self, request: &ApiRequest, header: Option<&HeaderValue>) -> Result<Response, RequestError> {
        let path = match &request.target {
            RequestTarget::Url(url) => return self.follow(request, url.clone(), header).await,
            RequestTarget::Path(path) => path,
        };
        if let Some(scheme) = self.scheme.get() {
            return self.follow(request, self.url_on(scheme, path).map_err(RequestError::Permanent)?, header).await;
        }
        let mut first = None;
        for scheme in &self.schemes {
            let answer = self.follow(request, self.url_on(scheme, path).map_err(RequestError::Permanent)?, header).await;
            // A TLS port answers 400 to plain HTTP, if it answers at all.
            let doubtful = matches!(&answer, Ok(response) if *scheme == "http" && response.status() == StatusCode::BAD_REQUEST);
            if answer.is_ok() && !doubtful {
                let _ = self.scheme.set(scheme);
                return answer;
            }
            match answer {
                // That is where the trouble is.
                Err(RequestError::Permanent(error)) if is_decisive(&error) => return Err(RequestError::Permanent(error)),
                answer => {
                    first.get_or_insert((*scheme, answer));
                }
            }
        }
        let (scheme, answer) = first.ok_or_else(|| RequestError::Permanent(interrupted()))?;
        if answer.is_ok() {
            let _ = self.scheme.set(scheme);
        }
        answer
    }

    /// Sends, and follows redirects: with the credential only to the registry itself.
    pub(super) async fn follow(
        &self,
        request: &ApiRequest,
        mut url: Url,
        header: Option<&HeaderValue>,
    ) -> Result<Response, RequestError> {
        for _ in 0..=REDIRECTS {
            let own = self.is_own(&url);
            let mut http_request = HttpRequest {
                headers: request.headers.clone(),
                payload: request.payload.clone(),
                insecure: self.insecure && own,
                slow: request.slow,
                attempt: request.attempt,
                ..HttpRequest::new(request.method.clone(), url.clone())
            };
            http_request.headers.extend(header.filter(|_| own).map(|header| (AUTHORIZATION, header.clone())));
            let began = Instant::now();
            let response = self.transport.send(&http_request).await?;
            if matches!(request.payload, RequestBody::Empty) {
                self.note_round_trip(began.elapsed());
            }
            match self.redirect(request, &url, &response)? {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        Err(RequestError::Permanent(Error::new(ErrorKind::Registry, format!("`{}` redirects in circles", self.registry))))
    }

    fn redirect(&self, request: &ApiRequest, url: &Url, response: &Response) -> Result<Option<Url>, RequestError> {
        let reads = request.method == Method::GET || request.method == Method::HEAD;
        let redirected = match response.status().as_u16() {
            301..=303 => reads,
            307 | 308 => true,
            _ => false,
        };
        let Some(location) = header_text(response.headers(), LOCATION).filter(|_| redirected) else { return Ok(None) };
        let next = url.join(&location).map_err(|error| {
            RequestError::Permanent(
                Error::new(ErrorKind::Registry, "a redirect leads to something that is not a URL").with_source(error),
            )
        })?;
        // Without encryption anybody may read it; what is read is checked by its digest, and no
        // credential goes along.
        if url.scheme() == "https" && next.scheme() != "https" && !(self.insecure && reads) {
            let message = format!("`{}` redirects from https to {}", self.registry, next.scheme());
            let hint = format!(
                "set the registry up to name its storage by https, or allow it with {}",
                Setting::InsecureRegistry.with(&self.registry)
            );
            return Err(RequestError::Permanent(Error::new(ErrorKind::Network, message).with_hint(hint)));
        }
        Ok(Some(next))
    }

    /// Whether an address is the registry itself: same host and port, encrypted if the registry is.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        let scheme = self.scheme.get().copied();
        let own = self.url_on(url.scheme(), "/");
        own.is_ok_and(|own| own.host_str() == url.host_str() && own.port_or_known_default() == url.port_or_known_default())
            && (url.scheme() == "https" || scheme.is_none_or(|scheme| scheme == "http"))
    }
}
