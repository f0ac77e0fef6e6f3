//! The first question to a registry, `/v2/`: whether it is one, which scheme it speaks, and what it
//! asks for. Some registries challenge only there, and hide everything else from requests without
//! credentials (Nexus, GitLab behind proxies).
//!
//! Invariant: what is sent beside that question has no credential, and its answer counts only where
//! the registry lets strangers in.

use std::pin::pin;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::auth::Scope;
use super::endpoint::{ApiRequest, Discovered, Endpoint, FIRST_ATTEMPTS, RequestTarget};
use super::errors::not_a_registry_hint;
use super::failure::RequestError;
use super::host::RegistryKind;
use super::retry::{is_transient, retry_after};
use super::transport::header_text;
use crate::error::{Error, ErrorKind, Result};

impl Endpoint {
    /// Learns the registry's scheme and challenge from `/v2/`, once; other requests wait for that.
    /// `Some`: an answer that means "not now".
    pub(super) async fn discover(&self, path: &str) -> Result<Option<Response>, RequestError> {
        if self.open.get().is_some() {
            return Ok(None);
        }
        let mut tries = self.discovery.lock().await;
        if self.open.get().is_some() {
            return Ok(None);
        }
        let response = self.send_as(&Self::version_check(path), None).await?;
        *tries += 1;
        if is_transient(response.status()) && *tries < FIRST_ATTEMPTS {
            return Ok(Some(response));
        }
        self.note_challenge(&response);
        if let Some(error) = self.not_a_registry(&response) {
            return Err(RequestError::Permanent(error));
        }
        let open = response.status().is_success();
        // Read to its end, so that the connection serves again.
        self.transport.read_error_body(response).await;
        // An error would mean that it was known.
        let _ = self.open.set(open);
        Ok(None)
    }

    /// As [`Self::discover`]. A request that may go early is sent beside the question: a registry
    /// without logins answers it one round trip sooner, with what it would answer afterwards.
    pub(super) async fn discover_beside(&self, request: &ApiRequest) -> Result<Discovered, RequestError> {
        let found = |not_now: Option<Response>| not_now.map_or(Discovered::Asked, Discovered::NotNow);
        let Some((scheme, url)) = self.early(request) else { return self.discover(&request.path).await.map(found) };
        let (mut asked, mut sent) = (pin!(self.discover(&request.path)), pin!(self.follow(request, url, None)));
        let mut early = None;
        let not_now = loop {
            tokio::select! {
                biased;
                not_now = &mut asked => break not_now?,
                answer = &mut sent, if early.is_none() => early = Some(answer),
            }
        };
        if not_now.is_some() || self.open.get() != Some(&true) || self.scheme.get() != Some(&scheme) {
            return Ok(found(not_now));
        }
        let answer = match early {
            Some(answer) => answer,
            None => sent.await,
        };
        // Where it broke, it is asked again.
        Ok(answer.map_or(Discovered::Asked, Discovered::Answered))
    }

    /// Where a request goes that need not wait for `/v2/`. Registries that are known to ask
    /// everybody for a token, and those that this user has a login for, would only refuse it.
    fn early(&self, request: &ApiRequest) -> Option<(&'static str, Url)> {
        let RequestTarget::Path(path) = &request.target else { return None };
        let may = request.early && request.attempt == 1 && self.open.get().is_none() && self.kind == RegistryKind::Other;
        if !may || self.auth.may_have_login() {
            return None;
        }
        let scheme = self.scheme.get().copied().unwrap_or(self.schemes[0]);
        Some((scheme, self.url_on(scheme, path).ok()?))
    }

    /// Sends a request without credentials; its status. Takes note of a challenge.
    pub(crate) async fn ping(&self, request: &ApiRequest) -> Result<StatusCode> {
        let mut attempt = 1;
        loop {
            attempt += 1;
            match self.transport.unless_cancelled(self.send_as(request, None)).await? {
                Ok(response) => {
                    let wait = self.transport.policy.delay(attempt, retry_after(response.headers()));
                    let wait = wait.filter(|_| is_transient(response.status()) && attempt <= FIRST_ATTEMPTS);
                    let Some(wait) = wait else {
                        self.note_challenge(&response);
                        return self.not_a_registry(&response).map_or(Ok(response.status()), Err);
                    };
                    self.transport.pause_before(attempt, wait, &response.status().to_string(), None).await?;
                }
                Err(RequestError::Transient(error)) if attempt <= FIRST_ATTEMPTS => {
                    let wait = self.transport.policy.delay(attempt, None).unwrap_or_default();
                    self.transport.pause_before(attempt, wait, &error.to_string(), None).await?;
                }
                Err(fault) => return Err(fault.into_error()),
            }
        }
    }

    /// The error of a web page that answers `/v2/`: a server that says yes to everything would seem
    /// to have all blobs.
    fn not_a_registry(&self, response: &Response) -> Option<Error> {
        let page = header_text(response.headers(), CONTENT_TYPE).is_some_and(|kind| kind.trim_start().starts_with("text/html"));
        let known = response.headers().contains_key("docker-distribution-api-version");
        (response.status().is_success() && page && !known).then(|| {
            Error::new(ErrorKind::Registry, format!("`{}` answers with a web page: this is not a registry", self.registry))
                .with_hint(not_a_registry_hint(response.status()))
        })
    }

    /// GET `/v2/`: whether this is a registry, and what it asks for (distribution specification,
    /// "Determining Support").
    pub(crate) fn version_check(path: &str) -> ApiRequest {
        ApiRequest { target: RequestTarget::Path("/v2/".into()), ..ApiRequest::new(Method::GET, path, "", Scope::none()) }
    }
}
