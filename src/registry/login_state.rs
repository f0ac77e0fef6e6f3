//! Logins as a registry answers to them: tried by themselves, and told from missing rights where a
//! request is refused.

use reqwest::{Response, ResponseBuilderExt as _, StatusCode};

use super::auth::{LoginState, Scope};
use super::endpoint::{ApiRequest, Endpoint};
use super::errors::{Refusal, login_hint, login_refused, not_a_registry_hint, not_logged_in};
use super::failure::RequestError;
use super::host::host_and_port;
use super::transport::interrupted;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Repository;

impl Endpoint {
    /// The error of an answer to `/v2/`, with a credential or without.
    pub(crate) async fn login_error(&self, response: Response, request: &ApiRequest) -> Error {
        let (status, url) = (response.status(), response.url().clone());
        let refusal = Refusal::parse(status, &self.transport.read_error_body(response).await);
        let error = Error::new(if is_unauthorized(status) { ErrorKind::Auth } else { ErrorKind::Registry }, refusal.to_string());
        if !self.is_own(&url) {
            let other = host_and_port(&url);
            return error
                .wrap(format!("`{}` redirects to `{other}`", self.registry))
                .with_hint(format!("use the name `{other}` for this registry: `mpimg login {other}`"));
        }
        if !is_unauthorized(status) {
            return error.with_hint(not_a_registry_hint(status));
        }
        match self.auth.credential(&self.transport, &request.path).await {
            None => error.with_hint(login_hint(&self.registry)),
            Some(credential) => login_refused(error, &self.registry, credential.username(), self.auth.is_given()),
        }
    }

    /// Tries the credential of `path` itself, also where the registry needs none.
    pub(crate) async fn try_login(&self, path: &str) -> Result<Response> {
        let request = Self::version_check(path);
        let response = self.send_with_retry(&request, None).await?;
        if !response.status().is_success() || self.is_challenged() {
            return Ok(response);
        }
        let Some(header) = self.auth.basic_header(&self.transport, path).await else { return Ok(response) };
        let response = self.send_as(&request, Some(&header)).await.map_err(RequestError::into_error)?;
        self.note_challenge(&response);
        match self.is_challenged() && response.status() == StatusCode::UNAUTHORIZED {
            // A token server decides.
            true => match self.auth.header(&self.transport, path, &Scope::none(), Some(&header)).await? {
                Some(token) => self.send_as(&request, Some(&token)).await.map_err(RequestError::into_error),
                None => Ok(response),
            },
            false => Ok(response),
        }
    }

    /// The error that an error response is, its body read already; `pushing`: the request was to
    /// write. Where the account is what was refused, it tells a missing login and one that is not
    /// accepted from a missing right.
    pub(crate) async fn error_for(&self, mut refusal: Refusal, path: &str, pushing: bool) -> Error {
        let repository = self.repository(path);
        let unauthorized = refusal.status == StatusCode::UNAUTHORIZED;
        let asks_for_login = unauthorized || self.is_challenged();
        let about_account = repository.as_ref().is_ok_and(|repository| refusal.is_about_account(self.kind, repository, pushing));
        if !about_account {
            return self.error_of(refusal, path, pushing);
        }
        let state = self.login_state(path, unauthorized).await;
        refusal.login_accepted = matches!(state, LoginState::Accepted);
        let error = self.error_of(refusal, path, pushing);
        match state {
            LoginState::Missing if pushing && asks_for_login => not_logged_in(error, &self.registry),
            LoginState::Refused { username, given } => login_refused(error, &self.registry, username.as_deref(), given),
            _ => error,
        }
    }

    /// The error that an error response is by itself.
    pub(crate) fn error_of(&self, refusal: Refusal, path: &str, pushing: bool) -> Error {
        match self.repository(path) {
            Ok(repository) => refusal.into_error(self.kind, &repository, pushing),
            Err(_) => Error::new(ErrorKind::Registry, refusal.to_string()),
        }
    }

    fn repository(&self, path: &str) -> Result<Repository> {
        Repository::parse(&format!("{}/{path}", self.registry))
    }

    /// What is known about the login for `path`; `unauthorized`: it is 401 that refused a request,
    /// which is about who one is (RFC 9110, 15.5.2).
    async fn login_state(&self, path: &str, unauthorized: bool) -> LoginState {
        let state = self.auth.login_state(&self.transport, path).await;
        let state = match state {
            // Where `/v2/` lets everybody in, it tells nothing of a login.
            LoginState::Untried { username, given, .. } if unauthorized && self.open.get() == Some(&true) => {
                LoginState::Refused { username, given }
            }
            LoginState::Untried { header, username, given } => {
                match self.send_as(&Self::version_check(path), Some(&header)).await {
                    Ok(response) if response.status().is_success() => LoginState::Accepted,
                    Ok(response) if is_unauthorized(response.status()) => LoginState::Refused { username, given },
                    _ => LoginState::Unknown,
                }
            }
            other => other,
        };
        let login = match state {
            LoginState::Missing => "missing",
            LoginState::Refused { .. } => "refused",
            LoginState::Accepted => "accepted",
            LoginState::Untried { .. } | LoginState::Unknown => "unknown",
        };
        tracing::debug!(registry = self.registry, login, "registry refused a request");
        state
    }

    /// The same response, unless it is a 401 of a Harbor that cannot reach its database: that
    /// passes, and no login is wrong.
    pub(super) async fn unless_outage(&self, response: Response) -> Result<Response, RequestError> {
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let (status, url, headers) = (response.status(), response.url().clone(), response.headers().clone());
        let body = self.transport.read_error_body(response).await;
        let refusal = Refusal::parse(status, &body);
        if refusal.says("failed to connect to") {
            let hint = "Harbor cannot reach its database: try again later, or ask who runs it";
            return Err(RequestError::Transient(Error::new(ErrorKind::Network, refusal.to_string()).with_hint(hint)));
        }
        let mut rebuilt = http::Response::builder().status(status).url(url);
        rebuilt.headers_mut().into_iter().for_each(|own| own.clone_from(&headers));
        let rebuilt = rebuilt.body(body).map_err(|_| RequestError::Permanent(interrupted()))?;
        Ok(Response::from(rebuilt))
    }
}

fn is_unauthorized(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}
