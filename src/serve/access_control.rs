//! Checks who asks: `Authorization` against what an endpoint needs (RFC 7617 for Basic;
//! distribution's token authentication, RFC 6750 for Bearer).
//!
//! Tokens are issued in `token_endpoint.rs`.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::auth::{AuthOptions, AuthScheme, User};
use super::error_response::{ErrorCode, ErrorResponse};
use super::route::{RepositoryName, Route};
use super::token::{Action, Scope, Tokens};

/// What an endpoint needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequiredAccess<'a> {
    /// Nothing.
    Nothing,
    /// To know who asks.
    Login,
    /// A right on a repository.
    Right(&'a RepositoryName, Action),
}

impl<'a> RequiredAccess<'a> {
    pub(super) fn of(route: &'a Route, method: &Method) -> Self {
        let read = |name| RequiredAccess::Right(name, Action::Pull);
        match route {
            Route::Home | Route::Token => RequiredAccess::Nothing,
            Route::Base | Route::Catalog => RequiredAccess::Login,
            Route::Tags(name) | Route::Referrers(name, _) => read(name),
            Route::Uploads(name) | Route::Upload(name, _) => RequiredAccess::Right(name, Action::Push),
            Route::Manifest(name, _) | Route::Blob(name, _) if *method == Method::DELETE => {
                RequiredAccess::Right(name, Action::Delete)
            }
            Route::Manifest(name, _) if *method == Method::PUT => RequiredAccess::Right(name, Action::Push),
            Route::Manifest(name, _) | Route::Blob(name, _) => read(name),
        }
    }
}

/// What a client may do.
#[derive(Debug)]
pub(super) enum Access {
    /// Everything.
    Everything,
    /// Pulling.
    PullOnly,
    /// What a token grants.
    Granted(Vec<Scope>),
}

impl Access {
    pub(super) fn allows(&self, name: &RepositoryName, action: Action) -> bool {
        match self {
            Self::Everything => true,
            Self::PullOnly => action == Action::Pull,
            Self::Granted(scopes) => scopes.iter().any(|scope| scope.covers(name, action)),
        }
    }
}

impl From<&User> for Access {
    fn from(user: &User) -> Self {
        if user.may_push() { Self::Everything } else { Self::PullOnly }
    }
}

/// The check.
#[derive(Debug)]
pub(super) struct AccessControl {
    pub(super) options: AuthOptions,
    pub(super) tokens: Tokens,
}

impl AccessControl {
    pub(super) fn new(options: AuthOptions) -> Self {
        Self { options, tokens: Tokens::default() }
    }

    /// Lets a request through, or answers 401 with a challenge, or 403.
    pub(super) fn check(&self, headers: &HeaderMap, need: &RequiredAccess<'_>) -> Result<Access, ErrorResponse> {
        match self.options.scheme {
            _ if *need == RequiredAccess::Nothing => Ok(Access::PullOnly),
            AuthScheme::Basic => self.check_basic(headers, need),
            AuthScheme::Bearer { .. } => self.check_bearer(headers, need),
        }
    }

    fn check_basic(&self, headers: &HeaderMap, need: &RequiredAccess<'_>) -> Result<Access, ErrorResponse> {
        let challenge = |message: &str| unauthorized(message, "Basic realm=\"mpimg\"");
        let access = match basic_credentials(headers) {
            Some((name, password)) => match self.options.user(&name, &password) {
                Some(user) => Access::from(user),
                None => return Err(challenge("wrong user name or password")),
            },
            None if self.options.anonymous_pull => Access::PullOnly,
            None => return Err(challenge("authentication required")),
        };
        match need {
            RequiredAccess::Right(name, action) if access.allows(name, *action) => Ok(access),
            // Docker and skopeo look for the challenge here, and only here, before they push.
            RequiredAccess::Login if headers.contains_key(header::AUTHORIZATION) => Ok(access),
            RequiredAccess::Right(..) if headers.contains_key(header::AUTHORIZATION) => {
                Err(ErrorResponse::new(StatusCode::FORBIDDEN, ErrorCode::Denied, "this user may not push or delete"))
            }
            _ => Err(challenge("authentication required")),
        }
    }

    fn check_bearer(&self, headers: &HeaderMap, need: &RequiredAccess<'_>) -> Result<Access, ErrorResponse> {
        let challenge = |message: &str, error: Option<&str>| {
            let scope = match need {
                RequiredAccess::Right(name, Action::Push) => format!(",scope=\"repository:{name}:pull,push\""),
                RequiredAccess::Right(name, action) => format!(",scope=\"repository:{name}:{}\"", action.as_str()),
                _ => String::new(),
            };
            let error = error.map(|error| format!(",error=\"{error}\"")).unwrap_or_default();
            let realm = realm(headers);
            unauthorized(message, &format!("Bearer realm=\"{realm}\",service=\"mpimg\"{scope}{error}"))
        };
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = token.and_then(|value| strip_scheme(value, "Bearer")) else {
            return Err(challenge("authentication required", None));
        };
        let Some(scopes) = self.tokens.scopes(token) else {
            return Err(challenge("the token is unknown or has expired", Some("invalid_token")));
        };
        let access = Access::Granted(scopes);
        match need {
            RequiredAccess::Right(name, action) if !access.allows(name, *action) => {
                Err(challenge("the token does not allow this", Some("insufficient_scope")))
            }
            _ => Ok(access),
        }
    }
}

/// The user and password of `Authorization: Basic`.
pub(super) fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = STANDARD.decode(strip_scheme(value, "Basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

fn strip_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = value.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// Where tokens are to be had: this registry under the name by which the client knows it.
fn realm(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("localhost");
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(*c)).collect();
    format!("http://{host}/token")
}

/// 401 with a challenge.
pub(super) fn unauthorized(message: &str, challenge: &str) -> ErrorResponse {
    let refusal = ErrorResponse::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message);
    match HeaderValue::from_str(challenge) {
        Ok(challenge) => refusal.with_header(header::WWW_AUTHENTICATE, challenge),
        Err(_) => refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_realm_is_the_host_that_the_client_named() {
        let mut headers = HeaderMap::new();
        assert_eq!(realm(&headers), "http://localhost/token");
        headers.insert(header::HOST, HeaderValue::from_static("[::1]:5000"));
        assert_eq!(realm(&headers), "http://[::1]:5000/token");
        headers.insert(header::HOST, HeaderValue::from_static("a\",b=\"c"));
        assert_eq!(realm(&headers), "http://abc/token");
    }

    #[test]
    fn basic_credentials_may_hold_colons() {
        let mut headers = HeaderMap::new();
        let value = format!("basic {}", STANDARD.encode("user:pass:word"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
        assert_eq!(basic_credentials(&headers), Some(("user".into(), "pass:word".into())));
    }
}
