//! A token server that docker-registry trusts, and that keeps what it was asked (distribution,
//! "Token Authentication").

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::fixture::{Server, distribution};
use crate::judge;

/// Who may do what, and what was asked.
#[derive(Clone)]
pub(crate) struct TokenServer(Arc<Inner>);

struct Inner {
    folder: tempfile::TempDir,
    /// Base64 of `user:password` that may push; strangers may pull from repositories below
    /// `public/`.
    user: String,
    asked: Mutex<Vec<String>>,
    lifetime: u64,
    address: SocketAddr,
}

impl TokenServer {
    /// The token server, and a registry that sends its clients there.
    pub(crate) async fn with_registry(username: &str, password: &str, lifetime: u64) -> (Self, Server) {
        let folder = tempfile::tempdir().unwrap();
        let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
        openssl(
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=tokens",
                "-days",
                "2",
                "-keyout",
                text(&key),
                "-out",
                text(&certificate),
            ],
            b"",
        );
        let user = STANDARD.encode(format!("{username}:{password}"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self(Arc::new(Inner { folder, user, asked: Mutex::default(), lifetime, address }));
        let app = Router::new().route("/token", axum::routing::get(grant)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (server, distribution(&auth(address, &certificate)))
    }

    /// The header that sends a client here.
    pub(crate) fn challenge(&self) -> String {
        format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"registry.test\"\r\n", self.0.address)
    }

    /// The queries that came.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.asked.lock().unwrap().clone()
    }

    fn token(&self, access: &[(String, Vec<String>)]) -> String {
        let certificate = std::fs::read_to_string(self.0.folder.path().join("cert.pem")).unwrap();
        let der: String = certificate.lines().filter(|line| !line.starts_with('-')).collect();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let access: Vec<_> =
            access.iter().map(|(name, actions)| json!({"type": "repository", "name": name, "actions": actions})).collect();
        let head = json!({"typ": "JWT", "alg": "RS256", "x5c": [der]});
        let claims = json!({
            "iss": "tests", "sub": "u", "aud": "registry.test", "exp": now + self.0.lifetime, "nbf": now - 10, "iat": now,
            "jti": "1", "access": access,
        });
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let key = self.0.folder.path().join("key.pem");
        let signature = openssl(&["dgst", "-sha256", "-sign", text(&key)], signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn auth(address: SocketAddr, certificate: &Path) -> String {
    format!(
        "auth: {{token: {{realm: 'http://{address}/token', service: registry.test, issuer: tests, rootcertbundle: {}}}}}",
        certificate.display()
    )
}

async fn grant(State(server): State<TokenServer>, RawQuery(query): RawQuery, headers: HeaderMap) -> (StatusCode, String) {
    let query = query.unwrap_or_default();
    server.0.asked.lock().unwrap().push(query.clone());
    let login = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let known = login.as_deref() == Some(&format!("Basic {}", server.0.user));
    if login.is_some() && !known {
        return (StatusCode::UNAUTHORIZED, r#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}"#.into());
    }
    let mut access: HashMap<String, Vec<String>> = HashMap::new();
    for (name, value) in url_pairs(&query).filter(|(name, _)| name == "scope") {
        assert_eq!(name, "scope");
        let parts: Vec<&str> = value.split(':').collect();
        let [_, repository, actions] = parts[..] else { panic!("scope {value}") };
        let may = |action: &&str| known || (*action == "pull" && repository.starts_with("public/"));
        access.entry(repository.into()).or_default().extend(actions.split(',').filter(may).map(str::to_owned));
    }
    let access: Vec<_> = access.into_iter().collect();
    (StatusCode::OK, json!({"token": server.token(&access), "expires_in": server.0.lifetime}).to_string())
}

fn url_pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let url = url::Url::parse(&format!("http://x/?{query}")).unwrap();
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    pairs.into_iter()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs openssl; its output.
pub(crate) fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child =
        judge("openssl").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
