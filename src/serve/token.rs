//! Tokens: what they grant, and the endpoint that hands them out (distribution's "Token Authentication Specification" and
//! "Oauth2 Token Authentication").
//!
//! Refuses to remember them across restarts: they live in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use oci_spec::distribution::ErrorCode;
use rustix::rand::{GetRandomFlags, getrandom};
use url::form_urlencoded;

use super::auth::{AuthScheme, User};
use super::exchange::{Exchange, json};
use super::gate::{Action, Gate, basic_credentials, unauthorized};
use super::refusal::Refusal;
use super::route::RepositoryName;
use crate::error::{Error, Result};

/// The longest form that is read, in bytes.
const FORM: usize = 64 * 1024;

/// Rights on one repository: `repository:NAME:ACTION,ACTION…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    name: RepositoryName,
    actions: Vec<Action>,
}

impl Scope {
    /// Reads one scope, without the actions that `allowed` refuses. Kinds of resources other than repositories grant nothing.
    fn parse(text: &str, allowed: impl Fn(Action) -> bool) -> Option<Self> {
        let (name, actions) = text.strip_prefix("repository:")?.rsplit_once(':')?;
        let asked = |action: Action| actions.split(',').any(|word| word == "*" || word == action.as_str());
        let all = [Action::Pull, Action::Push, Action::Delete].into_iter();
        let actions = all.filter(|action| asked(*action) && allowed(*action)).collect();
        Some(Self { name: RepositoryName::parse(name)?, actions })
    }

    pub(super) fn covers(&self, name: &RepositoryName, action: Action) -> bool {
        self.name == *name && self.actions.contains(&action)
    }
}

/// The tokens that were handed out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    access: Mutex<HashMap<String, (Instant, Vec<Scope>)>>,
    // Refresh tokens: the user's name.
    refresh: Mutex<HashMap<String, String>>,
}

impl Tokens {
    /// What a token grants; `None` if it is unknown or has expired.
    pub(super) fn scopes(&self, token: &str) -> Option<Vec<Scope>> {
        let access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        let (expires, scopes) = access.get(token)?;
        (Instant::now() < *expires).then(|| scopes.clone())
    }

    fn issue(&self, lifetime: Duration, scopes: Vec<Scope>) -> Result<String> {
        let token = random_token()?;
        let now = Instant::now();
        let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        access.retain(|_, (expires, _)| now < *expires);
        access.insert(token.clone(), (now + lifetime, scopes));
        Ok(token)
    }

    fn issue_refresh(&self, user: &User) -> Result<String> {
        let token = random_token()?;
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), user.name().to_owned());
        Ok(token)
    }

    fn refresh_user(&self, token: &str) -> Option<String> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

fn random_token() -> Result<String> {
    let mut random = [0; 32];
    getrandom(&mut random, GetRandomFlags::empty())
        .map_err(|error| Error::io("take random numbers for", "a token", error.into()))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a token is asked for with.
#[derive(Debug, Default)]
struct Ask {
    scopes: Vec<String>,
    user: Option<(String, String)>,
    refresh_token: Option<String>,
    wants_refresh_token: bool,
}

impl Ask {
    /// Reads a query or a form; both have the same fields.
    fn parse(text: &[u8]) -> Self {
        let mut ask = Self::default();
        let (mut username, mut password) = (None, None);
        for (key, value) in form_urlencoded::parse(text) {
            match &*key {
                "scope" => ask.scopes.extend(value.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned)),
                "username" => username = Some(value.into_owned()),
                "password" => password = Some(value.into_owned()),
                "refresh_token" => ask.refresh_token = Some(value.into_owned()),
                "offline_token" => ask.wants_refresh_token = value == "true",
                "access_type" => ask.wants_refresh_token = value == "offline",
                _ => {}
            }
        }
        ask.user = username.zip(password);
        ask
    }
}

impl Gate {
    /// Answers `GET /token` (Basic credentials or none) and `POST /token` (a form with a password or refresh token).
    pub(super) async fn answer_token(&self, exchange: &mut Exchange) -> Result<Response, Refusal> {
        let AuthScheme::Bearer { lifetime } = self.options.scheme else { return Err(Refusal::no_such_path()) };
        let ask = match exchange.parts.method {
            Method::GET => {
                let mut ask = Ask::parse(exchange.parts.uri.query().unwrap_or_default().as_bytes());
                ask.user = basic_credentials(&exchange.parts.headers);
                ask
            }
            Method::POST => {
                let form = axum::body::to_bytes(exchange.take_body(), FORM).await;
                Ask::parse(&form.map_err(|_| Refusal::bad(ErrorCode::SizeInvalid, "the form is too long or broke off"))?)
            }
            _ => return Err(Refusal::method("GET, POST")),
        };
        let user = self.identify(&ask)?;
        let allowed = |action| match user {
            Some(user) => action == Action::Pull || user.may_push(),
            None => action == Action::Pull,
        };
        let scopes = ask.scopes.iter().filter_map(|scope| Scope::parse(scope, allowed)).collect();
        let token = self.tokens.issue(lifetime, scopes)?;
        // Whole seconds, and clients take 0 for "not said".
        let seconds = lifetime.as_secs().max(1);
        let mut answer = serde_json::json!({ "token": token, "access_token": token, "expires_in": seconds });
        if let (Some(user), true) = (user, ask.wants_refresh_token) {
            answer["refresh_token"] = self.tokens.issue_refresh(user)?.into();
        }
        let mut response = json(&answer);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    fn identify(&self, ask: &Ask) -> Result<Option<&User>, Refusal> {
        let wrong = |message| unauthorized(message, "Basic realm=\"mpimg\"");
        if let Some(token) = &ask.refresh_token {
            let name = self.tokens.refresh_user(token);
            let user = name.and_then(|name| self.options.user_named(&name));
            return user.map(Some).ok_or_else(|| wrong("the refresh token is unknown"));
        }
        match &ask.user {
            Some((name, password)) => {
                self.options.user(name, password).map(Some).ok_or_else(|| wrong("wrong user name or password"))
            }
            None if self.options.anonymous_pull => Ok(None),
            None => Err(wrong("authentication required")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_grant_what_is_asked_and_allowed() {
        let name = RepositoryName::parse("a/b").unwrap();
        let scope = Scope::parse("repository:a/b:pull,push", |_| true).unwrap();
        assert!(scope.covers(&name, Action::Pull) && scope.covers(&name, Action::Push));
        assert!(!scope.covers(&name, Action::Delete));
        assert!(!scope.covers(&RepositoryName::parse("a").unwrap(), Action::Pull));
        let all = Scope::parse("repository:a/b:*", |action| action == Action::Pull).unwrap();
        assert!(all.covers(&name, Action::Pull) && !all.covers(&name, Action::Push));
        assert_eq!(Scope::parse("registry:catalog:*", |_| true), None);
        assert_eq!(Scope::parse("repository:../x:pull", |_| true), None);
    }

    #[test]
    fn a_form_may_name_several_scopes_in_two_ways() {
        let ask = Ask::parse(b"scope=a+b&scope=c&service=x&grant_type=password&username=u&password=p%26");
        assert_eq!(ask.scopes, ["a", "b", "c"]);
        assert_eq!(ask.user, Some(("u".into(), "p&".into())));
    }
}
