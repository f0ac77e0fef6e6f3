//! Docker Hub: two hosts, tokens for 300 seconds, rate limits, HEAD for manifests, a token server
//! that knows its repositories.

use super::auth::{Auth, Scheme};
use super::http_server::Response;
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed, shown_error};

const HOST: &str = "registry-1.docker.io";
const AUTH: &str = "auth.docker.io";
const KEY: &str = "https://index.docker.io/v1/";

/// Docker Hub, where the user's repositories are public.
fn hub() -> Testbed {
    let scheme = Scheme::bearer(AUTH, "/token", "registry.docker.io");
    let mut auth = Auth::new(scheme, "me", PASSWORD);
    auth.public = |_| true;
    let mut service = Service::new(Quirks::HUB, Some(auth));
    service.headers = vec![("RateLimit-Limit", "100;w=21600"), ("RateLimit-Remaining", "76;w=21600")];
    Testbed::new(&[HOST, AUTH], service).with_login(KEY, "me")
}

#[test]
fn a_push_makes_the_repository_and_tells_what_is_left_of_the_pulls() {
    let testbed = hub().with_file(12 << 20);
    let left = testbed.push("me/nsx").done();
    testbed.validate("me/nsx", &left);
    assert!(left.err.contains("Docker Hub: 76 of 100 pulls are left for this address"), "{}", left.err);
    assert!(left.err.contains("it can be pulled without logging in"), "{}", left.err);
    // A manifest that a stranger asks for by GET is a pull that counts.
    let seen = testbed.server.seen();
    let asked: Vec<&str> =
        seen.iter().filter(|request| request.path.contains("/manifests/")).map(|request| request.method.as_str()).collect();
    // Before the PUT, the build was accompanied by a question whether the push may succeed.
    let asked: Vec<&str> = asked.into_iter().skip_while(|method| *method == "HEAD").collect();
    assert_eq!(asked, ["PUT", "HEAD", "GET"]);
    assert!(seen.iter().filter(|request| request.host == HOST).all(|request| request.header("cookie").is_none()));
}

#[test]
fn a_token_without_the_right_to_push_is_refused_with_hubs_words() {
    let testbed = hub();
    testbed.service(|service| {
        service.after_auth = Box::new(|request| {
            let challenge = format!(
                r#"Bearer realm="https://{AUTH}/token",service="registry.docker.io",scope="repository:me/nsx:pull,push",error="insufficient_scope""#
            );
            let denied = Response::error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", challenge);
            request.is("POST", "/blobs/uploads/").then(|| denied.into())
        });
    });
    let left = testbed.push("me/nsx");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `me/nsx`
      caused by: registry answered 401: UNAUTHORIZED: authentication required
    hint: create the repository `me/nsx` on Docker Hub or check its name, and log in with an access token that may read and write: `mpimg login`
    ");
}

#[test]
fn a_repository_of_somebody_else_is_denied() {
    let testbed = hub();
    testbed.service(|service| {
        let denied = Response::error(403, "DENIED", "requested access to the resource is denied");
        service.after_auth = Box::new(move |request| request.is("POST", "/blobs/uploads/").then(|| denied.clone().into()));
    });
    let left = testbed.push("library/nsx");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `nsx`
      caused by: registry answered 403: DENIED: requested access to the resource is denied
    hint: create the repository `library/nsx` on Docker Hub or check its name, and log in with an access token that may read and write: `mpimg login`
    ");
}

#[test]
fn a_wrong_access_token_is_told_by_the_token_server() {
    let testbed = hub();
    testbed.service(|service| {
        let scheme = Scheme::bearer(AUTH, "/token", "registry.docker.io");
        service.auth = Some(Auth::new(scheme, "me", "another"));
    });
    let left = testbed.push("me/nsx");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `me/nsx`
      caused by: `docker.io` refuses the login as `me`: wrong password or token, expired, or disabled
      caused by: token server `auth.docker.io`: registry answered 401: incorrect username or password
    hint: check the Docker ID, and use an access token as the password: log in again with `mpimg login docker.io`
    ");
}

#[test]
fn too_many_requests_are_waited_for_if_hub_says_how_long_and_it_is_short() {
    let testbed = hub();
    let mut asked = 0;
    testbed.service(|service| {
        service.after_auth = Box::new(move |request| {
            asked += usize::from(request.method == "POST");
            let busy = Response::error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.").with("Retry-After", "0");
            (request.method == "POST" && asked == 1).then(|| busy.into())
        });
    });
    let left = testbed.push("me/nsx").done();
    testbed.validate("me/nsx", &left);
    assert!(left.err.contains("registry answered 429: TOOMANYREQUESTS"), "{}", left.err);

    let testbed = hub();
    testbed.service(|service| {
        let words = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit";
        let busy = Response::error(429, "TOOMANYREQUESTS", words).with("Retry-After", "21600");
        service.after_auth = Box::new(move |request| (request.method == "POST").then(|| busy.clone().into()));
    });
    let left = testbed.push("me/nsx");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `me/nsx`
      caused by: registry answered 429: TOOMANYREQUESTS: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit
    hint: the registry limits how often it may be asked: wait, or log in for a higher limit
    ");
}

#[test]
fn a_base_whose_repository_the_token_server_does_not_know_is_uploaded() {
    let testbed = hub();
    testbed.service(|service| {
        service.registry.put_image("other/base", "1", &[&[0; 1024]]);
        // Reading is fine; the scope of a mount, with two repositories, is not.
        service.before_auth = Box::new(|request| {
            let scopes = request.parameters("scope");
            (scopes.len() > 1).then(|| Response::error(401, "UNAUTHORIZED", "unknown repository in scope").into())
        });
    });
    let left = testbed.run(&["-vv", "push", "--image", "docker://other/base:1", "-t", "1", "-r", "me/nsx"]).done();
    testbed.validate("me/nsx", &left);
}

#[test]
fn a_private_repository_is_explained_with_its_settings() {
    let testbed = hub();
    testbed.service(|service| service.auth.iter_mut().for_each(|auth| auth.public = |_| false));
    let left = testbed.push("me/nsx").done();
    insta::assert_snapshot!(shown_error(&left).lines().find(|line| line.starts_with("hint")).unwrap(), @r"
    hint: on hub.docker.com open `me/nsx`, Settings, and make the repository public
    ");
    let required = testbed.run(&["push", "-q", "project", "-t", "1", "-r", "me/nsx", "--require-anonymous-pull"]);
    assert_eq!(required.code, Some(1));
}

#[test]
fn check_shows_what_is_left_of_the_pulls() {
    let testbed = hub();
    testbed.push("me/nsx").done();
    testbed.server.forget();
    let checked = testbed.run(&["check", "me/nsx:1"]).done();
    insta::assert_snapshot!(checked.out, @r"
    docker.io/me/nsx
      ✓ dns  left to the proxy
      ✓ tls  certificate is trusted
      ✓ registry  a registry of the distribution API
      ✓ login  credentials are accepted
      ✓ push  into `me/nsx`
      ✓ anonymous pull  4 blobs and manifests
    Docker Hub: 76 of 100 pulls are left for this address
    ");
    let json = testbed.run(&["check", "me/nsx:1", "--json"]).done().json();
    assert_eq!(json["pulls"], serde_json::json!({"left": 76, "allowed": 100}));
}
