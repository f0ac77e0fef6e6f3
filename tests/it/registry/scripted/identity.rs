//! Who one is, and what one may: a missing login, one that the registry refuses, and a missing
//! right are told apart; challenges and token servers in the forms that registries in the field
//! give them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::auth::{Auth, Scheme, repository};
use super::credentials::{HOST, REPOSITORY, auths, basic};
use super::http_server::{Reply, Request, Response};
use super::logins::log_in;
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed, shown_error};
use crate::cli::fixture::Left;

const HARBOR: &str = "harbor.example.com";
const ROBOT: &str = "robot$mp+ci";

fn harbor() -> Testbed {
    let mut auth = Auth::new(Scheme::bearer(HARBOR, "/service/token", "harbor-registry"), ROBOT, PASSWORD);
    auth.public = |_| true;
    auth.may_push = |repository| repository != "mp/locked";
    Testbed::new(&[HARBOR], Service::new(Quirks::HARBOR, Some(auth)))
}

#[test]
fn harbor_s_missing_login_wrong_login_and_missing_right_are_told_apart() {
    let login = |password: &str| json!({"auths": {HARBOR: {"auth": STANDARD.encode(format!("{ROBOT}:{password}"))}}});
    let stored = |password: &str| Some(login(password));
    let refused = format!("`{HARBOR}` refuses the login as `{ROBOT}`: wrong password or token, expired, or disabled");
    let again = format!("log in again with `mpimg login {HARBOR}`");
    for (stored, path, pushed, hint) in [
        (None, "mp/nsx", format!("not logged in to `{HARBOR}`"), format!("hint: log in with `mpimg login {HARBOR}`")),
        (stored("expired"), "mp/nsx", refused, again),
        (stored(PASSWORD), "mp/locked", "action: push".to_owned(), "the right to push into the project `mp`".to_owned()),
    ] {
        let testbed = harbor();
        stored.iter().for_each(|login| drop(testbed.file("config.json", login)));
        let told = shown_error(&testbed.push(&format!("{HARBOR}/{path}")));
        assert!(told.contains(&pushed) && told.contains(&hint), "{told}");
        let checked = testbed.run(&["check", &format!("{HARBOR}/{path}")]);
        assert_eq!(checked.code, Some(1));
        assert!(checked.out.contains(&hint), "{}", checked.out);
    }
}

#[test]
fn an_account_without_the_right_and_a_name_without_an_owner_are_told_from_a_missing_login() {
    // Gitea 1.23, which gives everybody a token and says no more than this.
    let auth = Auth::new(Scheme::bearer(HOST, "/v2/token", "container_registry"), "me", PASSWORD);
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::GITEA, Some(auth))).with_login(HOST, "me");
    testbed.service(|service| {
        service.after_auth = Box::new(|request: &Request| match request.path.split('/').nth(2) {
            Some("other") => Some(Response::new(401).with_body("reqPackageAccess\n").into()),
            Some("nobody") => Some(Response::new(404).with_body("Not found.\n").into()),
            _ => None,
        });
    });
    for (path, reason, hint) in [
        (
            "other/nsx",
            "registry answered 401: reqPackageAccess",
            format!("give the account the right to push to `other/nsx`, or log in as another with `mpimg login {HOST}`"),
        ),
        (
            "nobody/nsx",
            "registry answered 404: Not found.",
            format!("check the name `{HOST}/nobody/nsx`: many registries want HOST/OWNER/NAME, with an owner that exists"),
        ),
    ] {
        let repository = format!("{HOST}/{path}");
        let told = shown_error(&testbed.push(&repository));
        assert!(told.contains(reason) && told.contains(&format!("hint: {hint}")), "{told}");
        let checked = testbed.run(&["check", &repository]);
        assert!(checked.out.contains(&format!("✗ push  {reason}")) && checked.out.contains(&hint), "{}", checked.out);
    }
    let told = shown_error(&testbed.run(&["pull", &format!("{HOST}/other/nsx:1")]));
    let hint = format!("hint: check the name `{HOST}/other/nsx`; the account needs the right to pull from it");
    assert!(told.contains(&hint), "{told}");
}

#[test]
fn a_login_is_tried_although_strangers_may_read() {
    // zot with anonymous reading: `/v2/` is open, and a wrong login is refused all the same.
    for (token_server, password, right) in
        [(false, "wrong", false), (true, "wrong", false), (false, PASSWORD, true), (true, PASSWORD, true)]
    {
        let scheme = if token_server { Scheme::bearer(HOST, "/token", "reg") } else { Scheme::Basic };
        let testbed = Testbed::new(&[HOST], Service::new(Quirks::ZOT, Some(Auth::new(scheme, "me", PASSWORD))));
        testbed.service(|service| {
            service.before_auth = Box::new(|request: &Request| {
                (request.path == "/v2/" && request.header("authorization").is_none()).then(|| Response::new(200).into())
            });
        });
        let left = log_in(&testbed, password);
        assert_eq!(left.code == Some(0), right, "{token_server} {password}: {}", left.err);
        assert_eq!(testbed.home.path().join("config.json").exists(), right, "{token_server} {password}");
        if !right {
            let told = shown_error(&left);
            assert!(told.contains("refuses the login as `me`") && !told.contains("hint: log in"), "{told}");
        }
    }
}

#[test]
fn a_login_that_is_refused_behind_an_open_root_is_told_from_a_missing_right() {
    // `/v2/` lets anybody in, whatever they show; a push is refused by 401 for who one is and by 403
    // for what one may.
    let refused = format!("`{HOST}` refuses the login as `me`: wrong password or token, expired, or disabled");
    let again = format!("log in again with `mpimg login {HOST}`");
    let denied = "registry answered 403: DENIED: requested access to the resource is denied".to_owned();
    for (password, given, path, told, hint) in [
        (None, false, "mp/nsx", format!("not logged in to `{HOST}`"), format!("log in with `mpimg login {HOST}`")),
        (Some("wrong"), false, "mp/nsx", refused.clone(), again),
        (Some("wrong"), true, "mp/nsx", refused, "and the password or token\n".to_owned()),
        (Some(PASSWORD), false, "mp/locked", denied, "check that the account may push to and pull from `mp/locked`".to_owned()),
    ] {
        let mut auth = Auth::new(Scheme::Basic, "me", PASSWORD);
        auth.public = |_| true;
        auth.may_push = |repository| repository != "mp/locked";
        let testbed = Testbed::new(&[HOST], Service::new(Quirks::ZOT, Some(auth)));
        testbed.service(|service| {
            service.before_auth = Box::new(|request: &Request| (request.path == "/v2/").then(|| Response::new(200).into()));
        });
        let mut command = testbed.mpimg();
        command.args(["push", "project", "-t", "1", "-r", &format!("{HOST}/{path}")]);
        match password {
            Some(password) if given => drop(command.args(["--registry-username", "me", "--registry-password", password])),
            password => drop(password.map(|password| testbed.file("config.json", &auths(&[(HOST, password)])))),
        }
        let shown = shown_error(&testbed.check(Left::of(command.output().unwrap())));
        assert!(shown.contains(&told) && shown.contains(&hint), "{password:?} {given}: {shown}");
    }
}

#[test]
fn a_registry_that_challenges_only_at_its_root_is_pushed_to() {
    for status in [401, 403, 404, 400, 405, 500] {
        for scheme in [Scheme::Basic, Scheme::bearer(HOST, "/token", "reg")] {
            let testbed = Testbed::new(&[HOST], Service::new(Quirks::HUB, Some(Auth::new(scheme, "me", PASSWORD))));
            testbed.file("config.json", &auths(&[(HOST, PASSWORD)]));
            testbed.service(|service| {
                service.before_auth = Box::new(move |request: &Request| {
                    let stranger = request.header("authorization").is_none() && repository(&request.path).is_some();
                    stranger.then(|| Response::error(status, "UNAUTHORIZED", "nothing for strangers").into())
                });
            });
            let left = testbed.push(REPOSITORY).done();
            testbed.validate("mp/nsx", &left);
            let seen = testbed.server.seen();
            // The push and the check without a login ask it once each; all else waits for the
            // answer.
            assert!(seen.iter().filter(|request| request.path == "/v2/").count() <= 2, "{status}");
            assert_eq!(seen[0].path, "/v2/");
        }
    }
}

/// Answers of the token server in the place of the scripted one's.
fn token_server(change: impl Fn(&mut Auth, &Request) -> Option<Reply> + Send + 'static, realm: &str) -> Testbed {
    let scheme = Scheme::Bearer { realm: realm.to_owned(), service: "reg" };
    let auth = Auth::new(scheme, "me", PASSWORD);
    let testbed = Testbed::new(&[HOST, "auth.example.com", "other.example.com"], Service::new(Quirks::HUB, Some(auth)));
    testbed.file("config.json", &auths(&[(HOST, PASSWORD)]));
    let mut own = Auth::new(Scheme::bearer("auth.example.com", "/token", "reg"), "me", PASSWORD);
    own.give("given", "mp/nsx");
    testbed.service(|service| {
        service.auth.as_mut().unwrap().give("given", "mp/nsx");
        service.before_auth = Box::new(move |request| change(&mut own, request));
    });
    testbed
}

fn is_token_request(request: &Request) -> bool {
    request.path == "/token" && request.header("authorization").is_some()
}

#[test]
fn tokens_are_read_in_every_form() {
    for body in [
        json!({"token": "", "access_token": "given"}),
        json!({"token": null, "access_token": "given", "expires_in": "300"}),
        json!({"token": "given", "expires_in": -5}),
        json!({"token": "given", "expires_in": 299.7}),
        json!({"token": "given", "expires_in": null}),
    ] {
        let shown = body.to_string();
        let answer = Response::json(200, &body);
        let testbed = token_server(
            move |_, request| is_token_request(request).then(|| answer.clone().into()),
            "https://auth.example.com/token",
        );
        assert!(testbed.passes(|command| command), "{shown}");
    }
}

#[test]
fn a_token_server_s_redirect_is_followed_and_the_password_stays_with_its_host() {
    for status in [301, 302, 303, 307, 308] {
        let testbed = token_server(
            move |_, request| match request.path.as_str() {
                "/token" => Some(Response::new(status).with("Location", format!("/moved?{}", request.query)).into()),
                "/moved" if request.header("authorization").is_some() => {
                    Some(Response::json(200, &json!({"token": "given"})).into())
                }
                _ => None,
            },
            "https://auth.example.com/token",
        );
        assert!(testbed.passes(|command| command), "{status}");
    }
    let testbed = token_server(
        |_, request| match (request.host.as_str(), request.path.as_str()) {
            ("auth.example.com", "/token") => Some(Response::new(302).with("Location", "https://other.example.com/token").into()),
            ("other.example.com", _) => Some(Response::json(200, &json!({"token": "stranger"})).into()),
            _ => None,
        },
        "https://auth.example.com/token",
    );
    assert!(!testbed.passes(|command| command));
    let seen = testbed.server.seen();
    let elsewhere: Vec<_> = seen.iter().filter(|request| request.host == "other.example.com").collect();
    assert!(!elsewhere.is_empty() && elsewhere.iter().all(|request| request.header("authorization").is_none()));
    let clear = token_server(
        |_, request| {
            is_token_request(request).then(|| Response::new(302).with("Location", "http://auth.example.com/token").into())
        },
        "https://auth.example.com/token",
    );
    let checked = clear.run(&["check", REPOSITORY]);
    assert!(checked.out.contains("token server redirects a login to `http://auth.example.com`"), "{}", checked.out);
}

#[test]
fn an_encrypted_registry_that_names_its_token_server_by_http_is_reached_by_https() {
    let testbed = token_server(
        |_, request| is_token_request(request).then(|| Response::json(200, &json!({"token": "given"})).into()),
        "http://auth.example.com/token",
    );
    assert!(testbed.passes(|command| command));
    // Where that does not work, the token server is named, and the password has not been sent.
    let testbed = token_server(|_, request| is_token_request(request).then_some(Reply::Cut), "http://nowhere.example.com/token");
    let checked = testbed.run(&["check", REPOSITORY]);
    assert!(checked.out.contains("names its token server without encryption, and https does not work there"), "{}", checked.out);
    assert!(checked.out.contains("`nowhere.example.com`"), "{}", checked.out);
}

#[test]
fn a_token_server_whose_certificate_is_not_its_own_is_named_and_not_the_registry() {
    let testbed = token_server(|_, _| None, "https://elsewhere.example.com/token");
    let told = shown_error(&testbed.push(REPOSITORY));
    assert!(told.contains("token server `elsewhere.example.com`"), "{told}");
    assert!(told.contains("cannot make a TLS connection to `elsewhere.example.com`"), "{told}");
    let checked = testbed.run(&["check", REPOSITORY]);
    assert!(checked.out.contains("✗ login  ") && checked.out.contains("`elsewhere.example.com`"), "{}", checked.out);
}

#[test]
fn a_token_server_that_is_busy_is_shown_while_it_is_waited_for() {
    let mut busy = 2;
    let testbed = basic();
    let scheme = Scheme::bearer(HOST, "/token", "reg");
    testbed.service(|service| {
        service.auth = Some(Auth::new(scheme, "me", PASSWORD));
        service.before_auth = Box::new(move |request| {
            let now = request.path == "/token" && busy > 0;
            busy -= i32::from(now);
            now.then(|| Response::new(503).into())
        });
    });
    let left = log_in(&testbed, PASSWORD).done();
    assert_eq!(left.err.matches(&format!("token for `{HOST}`: `{HOST}` answered 503; again in")).count(), 2, "{}", left.err);
}

#[test]
fn stored_logins_are_read_as_docker_s_own_reader_takes_them() {
    let long = "p".repeat(90);
    let pair = STANDARD.encode(format!("me:{long}"));
    let wrapped = pair.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>().join("\n");
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, Some(Auth::new(Scheme::Basic, "me", &long))));
    testbed.file("config.json", &json!({"auths": {HOST: {"auth": wrapped}}}));
    assert!(testbed.passes(|command| command), "wrapped at 76 columns");

    // Latin-1 goes to the registry as it is.
    let latin = STANDARD.encode(b"me:p\xfcss");
    let testbed = basic();
    testbed.file("config.json", &json!({"auths": {HOST: {"auth": latin}}}));
    testbed.run(&["check", REPOSITORY]);
    let expected = format!("Basic {latin}");
    assert!(testbed.server.seen().iter().any(|request| request.header("authorization") == Some(&expected)));

    for answer in [
        format!(r#"{{"serverurl": null, "username": "me", "secret": "{PASSWORD}"}}"#),
        format!("{{\"ServerURL\":\"x\",\"Username\":\"me\",\"Secret\":\"{PASSWORD}\"}}\nPlease rotate this key soon.\n"),
    ] {
        let testbed = basic().with_helper(None);
        std::fs::write(testbed.home.path().join("kept"), &answer).unwrap();
        testbed.file("config.json", &json!({"credsStore": "keys"}));
        assert!(testbed.passes(|command| command), "{answer}");
    }
}

#[test]
fn a_port_that_redirects_to_another_host_is_told_by_that_name() {
    let testbed = Testbed::new(&[HOST, "other.example.com"], Service::new(Quirks::HARBOR, None));
    testbed.service(|service| {
        let mut auth = Auth::new(Scheme::Basic, "me", PASSWORD);
        service.before_auth = Box::new(move |request| match request.host.as_str() {
            HOST => Some(Response::new(308).with("Location", "https://other.example.com/v2/").into()),
            _ => auth.refuses(request).map(Reply::from),
        });
    });
    let left = log_in(&testbed, PASSWORD);
    let told = shown_error(&left);
    assert!(told.contains("redirects to `other.example.com`") && told.contains("`mpimg login other.example.com`"), "{told}");
}
