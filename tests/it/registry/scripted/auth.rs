//! Who may do what at a scripted registry: Basic, or Bearer with a token server, with the words and
//! habits of the real ones.
//!
//! Tokens are random words that serve for a while; it keeps what was asked, and every secret there
//! was.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::http_server::{Request, Response};

/// How the registry asks.
#[derive(Debug, Clone)]
pub(super) enum Scheme {
    Basic,
    /// The token server's address, and what it calls the registry.
    Bearer {
        realm: String,
        service: &'static str,
    },
}

impl Scheme {
    pub(super) fn bearer(host: &str, path: &str, service: &'static str) -> Self {
        Self::Bearer { realm: format!("https://{host}{path}"), service }
    }
}

/// The auth of a registry.
pub(super) struct Auth {
    pub(super) scheme: Scheme,
    /// `user:password` in base64.
    user: String,
    /// Whether strangers may pull from a repository.
    pub(super) public: fn(&str) -> bool,
    /// Whether the user may push into a repository.
    pub(super) may_push: fn(&str) -> bool,
    /// Whether all tokens run out just before a request.
    pub(super) expires: Box<dyn FnMut(&Request) -> bool + Send>,
    /// The identity token that stands for the user, where there is OAuth2.
    pub(super) identity: Option<String>,
    /// Whether a token tells what it allows, as those of distribution's kind do: Harbor's, Docker
    /// Hub's.
    pub(super) telling: bool,
    tokens: HashMap<String, Token>,
    issued: u32,
}

#[derive(Default)]
struct Token {
    pull: Vec<String>,
    push: Vec<String>,
}

impl Auth {
    pub(super) fn new(scheme: Scheme, user: &str, password: &str) -> Self {
        let user = Self::basic(user, password);
        Self {
            scheme,
            user,
            public: |_| false,
            may_push: |_| true,
            expires: Box::new(|_| false),
            identity: None,
            telling: false,
            tokens: HashMap::new(),
            issued: 0,
        }
    }

    /// What HTTP's Basic authentication makes of a login.
    pub(super) fn basic(user: &str, password: &str) -> String {
        STANDARD.encode(format!("{user}:{password}"))
    }

    /// Every secret that has been about.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.tokens.keys().cloned().chain([self.user.clone()]).collect()
    }

    /// How many tokens were given.
    pub(super) fn issued(&self) -> u32 {
        self.issued
    }

    /// The token server's answer, if the request is for it.
    pub(super) fn token(&mut self, request: &Request) -> Option<Response> {
        let Scheme::Bearer { realm, service } = &self.scheme else { return None };
        if realm.split_once("://").map(|(_, address)| address) != Some(&format!("{}{}", request.host, request.path)) {
            return None;
        }
        let mut request = request.clone();
        let by_post = request.method == "POST";
        if by_post {
            request.query = String::from_utf8(request.body.clone()).unwrap();
        }
        assert_eq!(request.parameter("service").as_deref(), Some(*service), "the service is the challenge's");
        let exchanged = by_post && self.identity.is_some() && request.parameter("refresh_token") == self.identity;
        if by_post && !exchanged {
            return Some(Response::json(400, &serde_json::json!({"error": "invalid_grant"})));
        }
        assert!(!by_post || request.parameter("grant_type").as_deref() == Some("refresh_token"));
        let login = request.header("authorization").map(|text| text.trim_start_matches("Basic ").to_owned());
        let known = exchanged || login.as_ref() == Some(&self.user);
        let scoped = request.parameters("scope").iter().any(|scope| !scope.is_empty());
        // Harbor: a login that is wrong, expired or disabled gets a stranger's token, unless
        // nothing in particular is asked for.
        if login.is_some() && !known && *service == "harbor-registry" {
            if !scoped {
                return Some(Response::new(401));
            }
        } else if login.is_some() && !known {
            return Some(match *service {
                "registry.docker.io" => Response::json(401, &serde_json::json!({"details": "incorrect username or password"})),
                _ => Response::error(401, "UNAUTHORIZED", "unauthorized"),
            });
        }
        let (mut pull, mut push) = (Vec::new(), Vec::new());
        // OAuth2 has one parameter with spaces.
        let scopes = request.parameters("scope");
        for scope in scopes.iter().flat_map(|scopes| scopes.split(' ')).filter(|scope| !scope.is_empty()) {
            let [kind, repository, actions] = scope.split(':').collect::<Vec<_>>()[..] else { panic!("scope {scope}") };
            assert_eq!(kind, "repository");
            let repository = repository.to_owned();
            pull.extend(Some(repository.clone()).filter(|name| known || (self.public)(name)));
            let may = known && actions.contains("push") && (self.may_push)(&repository);
            push.extend(Some(repository).filter(|_| may));
        }
        self.issued += 1;
        let name = format!("tok{}{}", self.issued, STANDARD.encode(format!("secret{}", self.issued * 7919)).replace('=', ""));
        let name = if self.telling { format!("{name}x.{}.s", claims(&pull, &push)) } else { name };
        self.tokens.insert(name.clone(), Token { pull, push });
        let form = if by_post { "access_token" } else { "token" };
        Some(Response::json(200, &serde_json::json!({form: name, "expires_in": 300})))
    }

    /// A token that was given on another way.
    pub(super) fn give(&mut self, name: &str, repository: &str) {
        let all = vec![repository.to_owned()];
        self.tokens.insert(name.into(), Token { pull: all.clone(), push: all });
    }

    /// The refusal of a request that may not pass.
    pub(super) fn refuses(&mut self, request: &Request) -> Option<Response> {
        if (self.expires)(request) {
            self.tokens.values_mut().for_each(|token| *token = Token::default());
            return Some(self.challenge(repository(&request.path)));
        }
        let writes = !matches!(request.method.as_str(), "GET" | "HEAD") || request.path.contains("/uploads/");
        let repository = repository(&request.path);
        let header = request.header("authorization").unwrap_or_default();
        let known = header.strip_prefix("Basic ").is_some_and(|text| text == self.user);
        if matches!(self.scheme, Scheme::Basic) && known && writes && !repository.is_none_or(self.may_push) {
            return Some(Response::error(403, "DENIED", "requested access to the resource is denied"));
        }
        let may = match &self.scheme {
            // Strangers, where they may pull.
            Scheme::Basic if header.is_empty() => !writes && repository.is_some_and(self.public),
            Scheme::Basic => known,
            Scheme::Bearer { .. } => {
                let token = header.strip_prefix("Bearer ").and_then(|name| self.tokens.get(name));
                token.is_some_and(|token| {
                    let list = if writes { &token.push } else { &token.pull };
                    repository.is_none_or(|repository| list.iter().any(|name| name == repository))
                })
            }
        };
        let harbor = matches!(&self.scheme, Scheme::Bearer { service: "harbor-registry", .. });
        if !may && harbor && !header.is_empty() {
            // Its words to whoever shows a token that does not allow it.
            let name = repository.unwrap_or_default();
            let action = if writes { "push" } else { "pull" };
            let words = format!("unauthorized to access repository: {name}, action: {action}");
            let message = format!("{words}: {words}");
            let refused = Response::error(401, "UNAUTHORIZED", &message);
            return Some(refused.with("WWW-Authenticate", r#"Basic realm="harbor""#));
        }
        (!may).then(|| self.challenge(repository))
    }

    /// The 401 that asks who is there.
    pub(super) fn challenge(&self, repository: Option<&str>) -> Response {
        let challenge = match &self.scheme {
            Scheme::Basic => r#"Basic realm="the registry""#.to_owned(),
            Scheme::Bearer { realm, service } => {
                let scope = repository.map(|name| format!(r#",scope="repository:{name}:pull""#)).unwrap_or_default();
                format!(r#"Bearer realm="{realm}",service="{service}"{scope}"#)
            }
        };
        Response::error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", challenge)
    }
}

/// What a token allows, as its middle part tells.
fn claims(pull: &[String], push: &[String]) -> String {
    let actions = |name: &String| {
        let may = [(pull, "pull"), (push, "push")];
        may.iter().filter(|(list, _)| list.contains(name)).map(|(_, action)| *action).collect::<Vec<_>>()
    };
    let mut names: Vec<&String> = pull.iter().chain(push).collect();
    names.dedup();
    let access: Vec<_> =
        names.into_iter().map(|name| serde_json::json!({"type": "repository", "name": name, "actions": actions(name)})).collect();
    URL_SAFE_NO_PAD.encode(serde_json::json!({"access": access}).to_string())
}

/// The repository of a path.
pub(super) fn repository(path: &str) -> Option<&str> {
    let path = path.strip_prefix("/v2/")?;
    let end = ["/blobs/", "/manifests/", "/tags/"].iter().filter_map(|part| path.find(part)).min()?;
    Some(&path[..end])
}
