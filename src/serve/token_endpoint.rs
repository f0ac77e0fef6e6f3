//! The endpoint that issues tokens (distribution's "Token Authentication Specification" and "Oauth2
//! Token Authentication").

use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use url::form_urlencoded;

use super::access_control::{AccessControl, basic_credentials, unauthorized};
use super::auth::{AuthScheme, User};
use super::error_response::{ErrorCode, ErrorResponse};
use super::request_context::{RequestContext, json};
use super::token::{Action, Scope};

/// The longest form that is read, in bytes.
const FORM: usize = 64 * 1024;

/// What a client asks a token with.
#[derive(Debug, Default)]
struct TokenRequest {
    scopes: Vec<String>,
    user: Option<(String, String)>,
    refresh_token: Option<String>,
    wants_refresh_token: bool,
}

impl TokenRequest {
    /// Reads a query or a form; both have the same fields.
    fn parse(text: &[u8]) -> Self {
        let mut request = Self::default();
        let (mut username, mut password) = (None, None);
        for (key, value) in form_urlencoded::parse(text) {
            match &*key {
                "scope" => request.scopes.extend(value.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned)),
                "username" => username = Some(value.into_owned()),
                "password" => password = Some(value.into_owned()),
                "refresh_token" => request.refresh_token = Some(value.into_owned()),
                "offline_token" => request.wants_refresh_token = value == "true",
                "access_type" => request.wants_refresh_token = value == "offline",
                _ => {}
            }
        }
        request.user = username.zip(password);
        request
    }
}

/// Answers `GET /token` (Basic credentials or none) and `POST /token` (a form with a password or
/// refresh token).
pub(super) async fn answer(access_control: &AccessControl, exchange: &mut RequestContext) -> Result<Response, ErrorResponse> {
    let AuthScheme::Bearer { lifetime } = access_control.options.scheme else { return Err(ErrorResponse::no_such_path()) };
    let request = match exchange.parts.method {
        Method::GET => {
            let mut request = TokenRequest::parse(exchange.parts.uri.query().unwrap_or_default().as_bytes());
            request.user = basic_credentials(&exchange.parts.headers);
            request
        }
        Method::POST => {
            let form = axum::body::to_bytes(exchange.take_body(), FORM).await;
            TokenRequest::parse(
                &form.map_err(|_| ErrorResponse::bad(ErrorCode::SizeInvalid, "the form is too long or broke off"))?,
            )
        }
        _ => return Err(ErrorResponse::method("GET, POST")),
    };
    let user = identify(access_control, &request)?;
    let allowed = |action| match user {
        Some(user) => action == Action::Pull || user.may_push(),
        None => action == Action::Pull,
    };
    let scopes = request.scopes.iter().filter_map(|scope| Scope::parse(scope, allowed)).collect();
    let token = access_control.tokens.issue(lifetime, scopes)?;
    // Whole seconds, and clients take 0 for "not said".
    let seconds = lifetime.as_secs().max(1);
    let mut answer = serde_json::json!({ "token": token, "access_token": token, "expires_in": seconds });
    if let (Some(user), true) = (user, request.wants_refresh_token) {
        answer["refresh_token"] = access_control.tokens.issue_refresh(user)?.into();
    }
    let mut response = json(&answer);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn identify<'a>(access_control: &'a AccessControl, request: &TokenRequest) -> Result<Option<&'a User>, ErrorResponse> {
    let wrong = |message| unauthorized(message, "Basic realm=\"mpimg\"");
    if let Some(token) = &request.refresh_token {
        let name = access_control.tokens.refresh_user(token);
        let user = name.and_then(|name| access_control.options.user_named(&name));
        return user.map(Some).ok_or_else(|| wrong("the refresh token is unknown"));
    }
    match &request.user {
        Some((name, password)) => {
            access_control.options.user(name, password).map(Some).ok_or_else(|| wrong("wrong user name or password"))
        }
        None if access_control.options.anonymous_pull => Ok(None),
        None => Err(wrong("authentication required")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_may_name_several_scopes_in_two_ways() {
        let request = TokenRequest::parse(b"scope=a+b&scope=c&service=x&grant_type=password&username=u&password=p%26");
        assert_eq!(request.scopes, ["a", "b", "c"]);
        assert_eq!(request.user, Some(("u".into(), "p&".into())));
    }
}
