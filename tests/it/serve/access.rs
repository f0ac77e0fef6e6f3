//! Users and tokens.

use std::time::Duration;

use mpimg::serve::{AuthOptions, AuthScheme, User};

use super::*;

async fn rig(scheme: AuthScheme, anonymous_pull: bool) -> Rig {
    let users = vec![User::new("robot$mp+ci", "s3cret:with colon"), User::new("reader", "r").pull_only()];
    let auth = AuthOptions { users, scheme, anonymous_pull };
    Rig::with(RegistryOptions { auth: Some(auth), ..RegistryOptions::default() }).await
}

fn bearer(lifetime: Duration) -> AuthScheme {
    AuthScheme::Bearer { lifetime }
}

const LONG: Duration = Duration::from_secs(300);

async fn as_user(rig: &Rig, method: Method, path: &str, user: &str, password: &str) -> Reply {
    send(rig.request(method, path).basic_auth(user, Some(password))).await
}

async fn with_token(rig: &Rig, method: Method, path: &str, token: &str) -> Reply {
    send(rig.request(method, path).bearer_auth(token)).await
}

async fn token(rig: &Rig, user: Option<(&str, &str)>, scope: &str) -> Reply {
    let query =
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs([("service", "mpimg"), ("scope", scope)]).finish();
    let request = rig.request(Method::GET, &format!("/token?{query}"));
    send(match user {
        Some((user, password)) => request.basic_auth(user, Some(password)),
        None => request,
    })
    .await
}

fn token_of(reply: &Reply) -> String {
    reply.json()["token"].as_str().unwrap().to_owned()
}

const PUSHER: (&str, &str) = ("robot$mp+ci", "s3cret:with colon");

#[tokio::test]
async fn basic_users_are_asked_for_and_let_in() {
    let rig = rig(AuthScheme::Basic, false).await;
    for path in ["/v2/", "/v2/a/tags/list", "/v2/a/manifests/1"] {
        let reply = rig.get(path).await.expect(401);
        assert_eq!(reply.header("www-authenticate"), "Basic realm=\"mpimg\"");
        assert_eq!(reply.code(), "UNAUTHORIZED");
    }
    as_user(&rig, Method::GET, "/v2/", PUSHER.0, PUSHER.1).await.expect(200);
    as_user(&rig, Method::GET, "/v2/", PUSHER.0, "wrong").await.expect(401);
    as_user(&rig, Method::POST, "/v2/a/blobs/uploads/", PUSHER.0, PUSHER.1).await.expect(202);
    let reply = as_user(&rig, Method::POST, "/v2/a/blobs/uploads/", "reader", "r").await.expect(403);
    assert_eq!(reply.code(), "DENIED");
    as_user(&rig, Method::GET, "/v2/a/tags/list", "reader", "r").await.expect(404);
    rig.get("/token").await.expect(404);
}

#[tokio::test]
async fn anybody_may_pull_where_that_is_allowed_and_nobody_else_push() {
    let rig = rig(AuthScheme::Basic, true).await;
    rig.get("/v2/a/manifests/1").await.expect(404);
    rig.post("/v2/a/blobs/uploads/").await.expect(401);
    rig.delete("/v2/a/manifests/1").await.expect(401);
    // Clients learn only here that there is something to log in to.
    rig.get("/v2/").await.expect(401);
}

#[tokio::test]
async fn a_challenge_names_realm_service_and_scope() {
    let rig = rig(bearer(LONG), false).await;
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"mpimg\"", rig.addr);
    assert_eq!(rig.get("/v2/").await.expect(401).header("www-authenticate"), realm);
    let challenge = |scope: &str| format!("{realm},scope=\"repository:a/b:{scope}\"");
    assert_eq!(rig.get("/v2/a/b/manifests/1").await.expect(401).header("www-authenticate"), challenge("pull"));
    assert_eq!(rig.post("/v2/a/b/blobs/uploads/").await.expect(401).header("www-authenticate"), challenge("pull,push"));
    assert_eq!(rig.delete("/v2/a/b/manifests/1").await.expect(401).header("www-authenticate"), challenge("delete"));
}

#[tokio::test]
async fn a_token_lets_in_where_its_scope_says_and_nowhere_else() {
    let rig = rig(bearer(LONG), false).await;
    let reply = token(&rig, Some(PUSHER), "repository:a:pull,push").await.expect(200);
    assert_eq!(reply.json()["expires_in"], 300);
    assert_eq!(reply.json()["access_token"], reply.json()["token"]);
    let pusher = token_of(&reply);
    with_token(&rig, Method::GET, "/v2/", &pusher).await.expect(200);
    with_token(&rig, Method::POST, "/v2/a/blobs/uploads/", &pusher).await.expect(202);
    let reply = with_token(&rig, Method::POST, "/v2/b/blobs/uploads/", &pusher).await.expect(401);
    assert!(reply.header("www-authenticate").ends_with("error=\"insufficient_scope\""));
    with_token(&rig, Method::DELETE, "/v2/a/manifests/1", &pusher).await.expect(401);
    let reader = token_of(&token(&rig, Some(("reader", "r")), "repository:a:pull,push").await.expect(200));
    with_token(&rig, Method::GET, "/v2/a/manifests/1", &reader).await.expect(404);
    with_token(&rig, Method::POST, "/v2/a/blobs/uploads/", &reader).await.expect(401);
    token(&rig, Some((PUSHER.0, "wrong")), "repository:a:pull").await.expect(401);
    token(&rig, None, "repository:a:pull").await.expect(401);
    let reply = with_token(&rig, Method::GET, "/v2/", "made up").await.expect(401);
    assert!(reply.header("www-authenticate").ends_with("error=\"invalid_token\""));
}

#[tokio::test]
async fn anybody_gets_a_token_for_pulling_where_that_is_allowed() {
    let rig = rig(bearer(LONG), true).await;
    rig.get("/v2/a/manifests/1").await.expect(401);
    let anybody = token_of(&token(&rig, None, "repository:a:pull,push").await.expect(200));
    with_token(&rig, Method::GET, "/v2/a/manifests/1", &anybody).await.expect(404);
    with_token(&rig, Method::POST, "/v2/a/blobs/uploads/", &anybody).await.expect(401);
}

#[tokio::test]
async fn a_token_expires() {
    let rig = rig(bearer(Duration::from_millis(150)), false).await;
    let token = token_of(&token(&rig, Some(PUSHER), "repository:a:pull,push").await.expect(200));
    loop {
        let reply = with_token(&rig, Method::GET, "/v2/a/manifests/1", &token).await;
        if reply.status == StatusCode::UNAUTHORIZED {
            assert!(reply.header("www-authenticate").ends_with("error=\"invalid_token\""));
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_refresh_token_stands_for_its_user() {
    let rig = rig(bearer(LONG), false).await;
    let post = |form: Vec<(&'static str, String)>| {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        send(rig.request(Method::POST, "/token").header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body))
    };
    let mut form = vec![
        ("grant_type", "password".to_owned()),
        ("username", PUSHER.0.to_owned()),
        ("password", PUSHER.1.to_owned()),
        ("access_type", "offline".to_owned()),
    ];
    let refresh = post(form.clone()).await.expect(200).json()["refresh_token"].as_str().unwrap().to_owned();
    form.pop();
    assert_eq!(post(form).await.expect(200).json().get("refresh_token"), None);
    let scope = ("scope", "repository:a:pull,push".to_owned());
    let form = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh), scope.clone()];
    let token = token_of(&post(form).await.expect(200));
    with_token(&rig, Method::POST, "/v2/a/blobs/uploads/", &token).await.expect(202);
    post(vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", "made up".to_owned()), scope]).await.expect(401);
}

#[tokio::test]
async fn a_mount_needs_the_right_to_pull_from_its_source() {
    let rig = rig(bearer(LONG), false).await;
    let scopes = "repository:a:pull,push repository:b:pull,push";
    let both = token_of(&token(&rig, Some(PUSHER), scopes).await.expect(200));
    let only_b = token_of(&token(&rig, Some(PUSHER), "repository:b:pull,push").await.expect(200));
    let digest = Digest::of("secret");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    send(rig.request(Method::POST, &path).bearer_auth(&both).body("secret")).await.expect(201);
    for query in [format!("mount={digest}&from=a"), format!("mount={digest}")] {
        with_token(&rig, Method::POST, &format!("/v2/b/blobs/uploads/?{query}"), &only_b).await.expect(202);
    }
    with_token(&rig, Method::POST, &format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), &both).await.expect(201);
}

#[test]
fn passwords_are_in_no_debug_output() {
    let user = User::new("name", "hunter2");
    let auth = AuthOptions { users: vec![user], scheme: AuthScheme::Basic, anonymous_pull: false };
    let options = RegistryOptions { auth: Some(auth), ..RegistryOptions::default() };
    let shown = format!("{options:?}");
    assert!(shown.contains("name") && !shown.contains("hunter2") && !shown.contains(&Digest::of("hunter2").hex()), "{shown}");
}
