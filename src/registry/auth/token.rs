//! Bearer tokens: requesting one from a token server (distribution, "Token Authentication" and
//! "OAuth2").
//!
//! Invariants: no password is sent in clear where the registry itself is encrypted; none follows a
//! redirect to another host.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::challenge::Scope;
use super::credential::{Credential, secret_header};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::registry::errors::{Refusal, login_hint, login_refused};
use crate::registry::host::host_and_port;
use crate::registry::retry::is_transient;
use crate::registry::transport::{HttpRequest, Transport, header_text};

/// Lifetime of a token that does not say (token specification: 60 seconds at least).
const DEFAULT_LIFETIME: u64 = 60;

/// Limit for a token server's answer.
const RESPONSE_LIMIT: usize = 1 << 20;

/// A token as a header, and until when it may be used.
#[derive(Clone)]
pub(crate) struct BearerToken {
    pub(crate) header: HeaderValue,
    expires: Instant,
}

impl BearerToken {
    /// Whether it can be used for a request that is sent now.
    pub(crate) fn is_fresh(&self) -> bool {
        Instant::now() < self.expires
    }
}

/// As Docker Hub, a redirect to a canonical host; more lead nowhere.
const REDIRECTS: usize = 5;

#[derive(Deserialize)]
struct TokenResponse {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    /// Seconds; servers write integers, fractions and strings.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl TokenResponse {
    fn lifetime(&self) -> u64 {
        let number = self.expires_in.as_f64().or_else(|| self.expires_in.as_str()?.trim().parse().ok());
        number.filter(|seconds| *seconds >= 1.0).map_or(DEFAULT_LIFETIME, |seconds| seconds as u64)
    }
}

/// Where and for what a token is asked.
pub(crate) struct TokenRequest<'a> {
    /// Whose tokens they are.
    pub(crate) registry: &'a str,
    pub(crate) realm: &'a Url,
    pub(crate) service: Option<&'a str>,
    pub(crate) scope: &'a Scope,
    pub(crate) credential: Option<&'a Credential>,
    pub(crate) insecure: bool,
    /// Whether the caller gave the credential; otherwise it is a stored one.
    pub(crate) given: bool,
    /// Shows retries.
    pub(crate) progress: &'a Progress,
}

impl TokenRequest<'_> {
    /// Asks for the token.
    pub(crate) async fn send(&self, transport: &Transport) -> Result<BearerToken> {
        if let Some(Credential::IdentityToken { token, .. }) = self.credential {
            let (status, body) = self.exchange(self.refresh(token)?, transport).await?;
            // Servers without OAuth2 answer so; they take the identity token as a password.
            if !matches!(status.as_u16(), 400 | 401 | 404 | 405) {
                return self.read(status, &body);
            }
        }
        let (status, body) = self.exchange(self.query()?, transport).await?;
        self.read(status, &body)
    }

    async fn exchange(&self, request: HttpRequest, transport: &Transport) -> Result<(StatusCode, Bytes)> {
        let (host, registry) = (host_and_port(&request.url), self.registry);
        let name = format!("token for `{registry}`");
        let sent = self.follow(request, transport, &name).await;
        sent.map_err(|error| match error.kind() {
            ErrorKind::Network => error.wrap(format!("cannot get a token for `{registry}` from the token server `{host}`")),
            _ => error,
        })
    }

    /// Sends, and follows redirects: the password only on the same host, a request with a body only
    /// where it may be repeated.
    async fn follow(&self, mut request: HttpRequest, transport: &Transport, name: &str) -> Result<(StatusCode, Bytes)> {
        for _ in 0..=REDIRECTS {
            let response = transport.send_with_retry(request.clone(), self.progress, name).await?;
            let status = response.status();
            let location = header_text(response.headers(), LOCATION);
            let may_follow = matches!(status.as_u16(), 307 | 308) || status.is_redirection() && request.method == Method::GET;
            let next = location.filter(|_| may_follow).and_then(|location| request.url.join(&location).ok());
            let Some(next) = next else {
                let body = match status.is_success() {
                    true => transport.read_body(response, RESPONSE_LIMIT).await?,
                    false => transport.read_error_body(response).await,
                };
                return Ok((status, body));
            };
            let same_host = host_and_port(&next) == host_and_port(&request.url);
            if next.scheme() != "https" && next.scheme() != request.url.scheme() || !same_host && request.method != Method::GET {
                let message = format!("token server redirects a login to `{}://{}`", next.scheme(), host_and_port(&next));
                return Err(Error::new(ErrorKind::Auth, message).with_hint("have the registry name that token server itself"));
            }
            if !same_host {
                request.headers.remove(AUTHORIZATION);
            }
            request.url = next;
        }
        let host = host_and_port(&request.url);
        Err(Error::new(ErrorKind::Auth, format!("token server `{host}` redirects more than {REDIRECTS} times")))
    }

    fn query(&self) -> Result<HttpRequest> {
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(self.service.map(|service| ("service", service)));
            query.extend_pairs(self.scope.parts().iter().map(|part| ("scope", part)));
            query.extend_pairs(self.credential.and_then(Credential::username).map(|name| ("account", name)));
        }
        let mut headers = HeaderMap::new();
        headers.extend(self.credential.and_then(Credential::basic_header).map(|value| (AUTHORIZATION, value)));
        Ok(HttpRequest { headers, insecure: self.insecure, ..HttpRequest::new(Method::GET, url) })
    }

    fn refresh(&self, token: &str) -> Result<HttpRequest> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("client_id", "mpimg");
        form.extend_pairs(self.service.map(|service| ("service", service)));
        form.append_pair("scope", &self.scope.to_string()).append_pair("refresh_token", token);
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
        let request = HttpRequest { insecure: self.insecure, ..HttpRequest::new(Method::POST, self.realm.clone()) };
        Ok(request.with_headers(headers).with_bytes(form.finish().into()))
    }

    fn read(&self, status: StatusCode, body: &[u8]) -> Result<BearerToken> {
        let host = self.realm.host_str().unwrap_or_default();
        if !status.is_success() {
            let refusal = Refusal::parse(status, body);
            // One that does not work for now says nothing about rights.
            let kind = if is_transient(status) { ErrorKind::Network } else { ErrorKind::Auth };
            let error = Error::new(kind, format!("token server `{host}`: {refusal}"));
            return Err(match (status, self.credential) {
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => error.with_hint(login_hint(self.registry)),
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(credential)) => {
                    login_refused(error, self.registry, credential.username(), self.given)
                }
                _ => error,
            });
        }
        let wrong = || Error::new(ErrorKind::Auth, format!("token server `{host}` gave an answer without a token"));
        let answer: TokenResponse = serde_json::from_slice(body).map_err(|_| wrong())?;
        let lifetime = answer.lifetime();
        let token =
            [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty()).ok_or_else(wrong)?;
        let header = secret_header(&format!("Bearer {token}")).ok_or_else(wrong)?;
        Ok(BearerToken { header, expires: Instant::now() + usable(lifetime) })
    }
}

#[derive(Deserialize)]
struct Claims {
    access: Option<Vec<Access>>,
}

#[derive(Deserialize)]
struct Access {
    name: String,
    #[serde(default)]
    actions: Option<Vec<String>>,
}

/// What a token allows in the repository `path` by its own words (distribution, "Token
/// Authentication Implementation"); `None`: it is of another kind. Nothing is trusted because of
/// it: the registry decides.
pub(crate) fn granted(header: &HeaderValue, path: &str) -> Option<Vec<String>> {
    let token = header.to_str().ok()?.strip_prefix("Bearer ")?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let Claims { access } = serde_json::from_slice(&claims).ok()?;
    let own = access?.into_iter().filter(|access| access.name == path);
    Some(own.flat_map(|access| access.actions.unwrap_or_default()).collect())
}

/// How long a token of this lifetime (seconds) is used: a tenth less, so that it does not expire on
/// the way.
fn usable(lifetime: u64) -> Duration {
    let lifetime = Duration::from_secs(lifetime.min(86_400));
    lifetime - lifetime / 10
}

/// A token that never expires by itself: docker's `registrytoken`.
pub(crate) fn fixed(token: &str) -> Option<HeaderValue> {
    secret_header(&format!("Bearer {token}"))
}
