//! Logins as users have and make them: in every form and under every key, refused, at once, in
//! files that are links or somebody else's. skopeo is the judge of what is found.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::auth::{Auth, Scheme};
use super::credentials::{HOST, REPOSITORY, auths, basic};
use super::http_server::Response;
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed, shown_error};
use crate::cli::fixture::Left;

/// `mpimg login` under way, told the password.
fn start_login(testbed: &Testbed, host: &str, password: &str) -> Child {
    let mut command = testbed.mpimg();
    command.args(["-vv", "login", host, "-u", "me", "--password-stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    child
}

pub(super) fn log_in(testbed: &Testbed, password: &str) -> Left {
    testbed.check(Left::of(start_login(testbed, HOST, password).wait_with_output().unwrap()))
}

/// Whether skopeo finds the login in a file for a repository.
fn judged(testbed: &Testbed, file: &Path, repository: &str) -> bool {
    let mut skopeo = crate::judge("skopeo");
    let path = std::env::join_paths([testbed.home.path().join("bin"), "/bin".into(), "/usr/bin".into()]).unwrap();
    skopeo.env_clear().env("PATH", path).env("HOME", "/nowhere").env("XDG_RUNTIME_DIR", "/nowhere");
    let found = skopeo.args(["login", "--get-login", "--authfile", file.to_str().unwrap(), repository]).output().unwrap();
    found.status.success() && found.stdout == b"me\n"
}

#[test]
fn logins_in_every_form_are_found_where_skopeo_finds_them() {
    let right = || json!({"auth": STANDARD.encode(format!("me:{PASSWORD}"))});
    let other = json!({"auth": STANDARD.encode("other:wrong")});
    let testbed = basic().with_helper(None);
    // skopeo reads no user names beside `auth`, and takes a helper's empty name for a helper;
    // docker does as mpimg.
    for (case, repository, expected, skopeo) in [
        (json!({"auths": {"https://registry.example.com": right()}}), REPOSITORY, true, true),
        (json!({"auths": {"http://registry.example.com/": right()}}), REPOSITORY, true, true),
        (json!({"auths": {"https://registry.example.com/v1/": right()}}), REPOSITORY, true, true),
        (json!({"auths": {"https://registry.example.com/any/path": right()}}), REPOSITORY, true, true),
        (json!({"auths": {"registry.example.com:443": right()}}), REPOSITORY, false, false),
        (json!({"auths": {"registry.example.com": other, "registry.example.com/mp": right()}}), REPOSITORY, true, true),
        (json!({"auths": {"registry.example.com/mpx": right()}}), REPOSITORY, false, false),
        (json!({"auths": {"registry.example.com/mp/v2": right()}}), "registry.example.com/mp/v2", true, true),
        (json!({"auths": {"registry.example.com/mp/v2": right()}}), REPOSITORY, false, false),
        (json!({"auths": {HOST: {"auth": STANDARD.encode(format!("me:{PASSWORD}\0\0"))}}}), REPOSITORY, true, true),
        (json!({"auths": {HOST: {"auth": format!("{}\n", STANDARD.encode(format!("me:{PASSWORD}")))}}}), REPOSITORY, true, true),
        (json!({"auths": {HOST: {"username": "me", "password": PASSWORD}}}), REPOSITORY, true, false),
        (json!({"auths": {HOST: {"auth": null, "username": "me", "password": PASSWORD}}}), REPOSITORY, true, false),
        (json!({"auths": {HOST: null}}), REPOSITORY, false, false),
        (json!({"auths": null}), REPOSITORY, false, false),
        (json!({"auths": {HOST: right(), "x": null}, "credHelpers": null, "credsStore": null}), REPOSITORY, true, true),
        (json!({"auths": {HOST: right()}, "credsStore": "keys"}), REPOSITORY, true, true),
        (json!({"auths": {HOST: right()}, "credsStore": "gone"}), REPOSITORY, true, true),
        (json!({"auths": {HOST: right()}, "credsStore": "keys", "credHelpers": {HOST: ""}}), REPOSITORY, true, false),
    ] {
        let file = testbed.file("config.json", &case);
        let left = testbed.run(&["-vv", "check", "--json", repository]);
        assert_eq!(left.json()["passed"] == true, expected, "{case}: {}", left.err);
        assert_eq!(judged(&testbed, &file, repository), skopeo, "{case}");
    }
    // docker and podman call Docker Hub by several names.
    let hub = Testbed::new(&["registry-1.docker.io"], Service::new(Quirks::HUB, Some(Auth::new(Scheme::Basic, "me", PASSWORD))));
    for (key, expected) in [
        ("https://index.docker.io/v1/", true),
        ("index.docker.io", true),
        ("registry-1.docker.io", true),
        ("docker.io", true),
        ("docker.io/me", true),
        ("docker.io/you", false),
    ] {
        let file = hub.file("config.json", &json!({"auths": {key: right()}}));
        assert_eq!(hub.run(&["check", "--json", "me/nsx"]).json()["passed"] == true, expected, "{key}");
        assert_eq!(judged(&hub, &file, "docker.io/me/nsx"), expected, "{key}");
    }
}

#[test]
fn an_empty_file_is_none_and_what_is_no_file_of_logins_is_told() {
    let testbed = basic();
    for text in ["", "\n", "null", "{}", r#"{"auths":null}"#] {
        std::fs::write(testbed.home.path().join("config.json"), text).unwrap();
        let err = testbed.run(&["-vv", "check", REPOSITORY]).err;
        assert!(!err.contains("config.json"), "{err}");
        log_in(&testbed, PASSWORD).done();
        assert!(testbed.passes(|command| command), "{text}");
    }
    std::fs::write(testbed.home.path().join("config.json"), "[]").unwrap();
    let left = log_in(&testbed, PASSWORD);
    assert_eq!(left.code, Some(1));
    assert!(left.err.contains("hint: correct the file, or move it away and log in again"), "{}", left.err);
    assert_eq!(std::fs::read(testbed.home.path().join("config.json")).unwrap(), b"[]");
}

#[test]
fn a_login_that_is_refused_or_missing_is_told_with_what_to_do() {
    let testbed = basic();
    let refused = "registry answered 401: UNAUTHORIZED: authentication required\n      hint: ";
    let wrong = "check the user name (the `$` of a Harbor robot needs single quotes) and the password or token";
    let checked = testbed.run(&["check", REPOSITORY]);
    assert!(checked.out.contains(&format!("✗ login  {refused}log in with `mpimg login {HOST}`\n")), "{}", checked.out);
    let left = log_in(&testbed, "wrong");
    assert_eq!(left.code, Some(1));
    let told = shown_error(&left);
    assert!(told.contains(&format!("error: cannot log in to `{HOST}`")) && told.ends_with(&format!("hint: {wrong}\n")), "{told}");
    assert!(!testbed.home.path().join("config.json").exists());
    testbed.file("config.json", &auths(&[(HOST, "wrong")]));
    let checked = testbed.run(&["check", REPOSITORY]);
    let told =
        format!("✗ login  `{HOST}` refuses the login as `me`: wrong password or token, expired, or disabled: {refused}{wrong}");
    assert!(checked.out.contains(&told), "{}", checked.out);
}

#[test]
fn a_check_tells_another_service_from_one_that_is_tired() {
    let testbed = basic();
    testbed.file("config.json", &auths(&[(HOST, PASSWORD)]));
    for (status, times, hint) in [
        (404, u32::MAX, "hint: check the registry's name and port: this seems to be another service"),
        (503, u32::MAX, "hint: the registry, or a proxy before it, does not work for now: try again later"),
        (429, u32::MAX, "hint: the registry limits how often it may be asked"),
        (503, 1, ""),
    ] {
        let mut left = times;
        testbed.service(|service| {
            service.before_auth = Box::new(move |_| {
                left = left.checked_sub(1)?;
                Some(Response::new(status).with("Retry-After", "0").into())
            });
        });
        let checked = testbed.run(&["check", REPOSITORY]);
        assert_eq!(checked.code == Some(0), hint.is_empty(), "{}", checked.out);
        assert!(checked.out.contains(hint), "{}", checked.out);
    }
}

#[test]
fn what_stands_in_the_way_of_a_login_is_told_and_the_next_place_asked() {
    let rubbish = "#!/bin/sh\ncat >/dev/null\necho '{\"Username\": correct-horse-battery'\n";
    let other = "#!/bin/sh\ncat >/dev/null\necho '{\"Username\": \"\", \"Secret\": \"\"}'\n";
    for (script, words) in [
        (rubbish, "`docker-credential-keys` gave an answer that is not in docker's form"),
        ("#!/bin/sh\nexec sh -c 'exit 7'\n", "`docker-credential-keys get` failed: exit status: 7"),
        (other, ""),
    ] {
        let testbed = basic().with_helper(None);
        std::fs::write(testbed.home.path().join("bin/docker-credential-keys"), script).unwrap();
        testbed.file("config.json", &json!({"credsStore": "keys"}));
        testbed.file(".config/containers/auth.json", &auths(&[(HOST, PASSWORD)]));
        let left = testbed.run(&["-vv", "check", REPOSITORY]).done();
        assert!(left.err.contains(words), "{}", left.err);
        let hint = "hint: set `docker-credential-keys` up, or take `keys` out of docker's config.json and log in again";
        assert_eq!(left.err.contains(hint), !words.is_empty(), "{}", left.err);
    }
    // What is not a file.
    let testbed = basic();
    std::fs::create_dir(testbed.home.path().join("config.json")).unwrap();
    testbed.file(".config/containers/auth.json", &auths(&[(HOST, PASSWORD)]));
    let left = testbed.run(&["-vv", "check", REPOSITORY]).done();
    assert!(left.err.contains("config.json`") && left.err.contains("Is a directory"), "{}", left.err);
    // Without HOME, this user's own home folder counts: nothing may be stored there by a test.
    let testbed = basic();
    let file = testbed.file("logins.json", &auths(&[(HOST, PASSWORD)]));
    assert!(testbed.passes(|command| command.env_remove("HOME").env_remove("DOCKER_CONFIG").env("REGISTRY_AUTH_FILE", file)));
}

#[test]
fn a_login_keeps_the_file_where_it_is_and_for_its_owner() {
    // A link that leads to what is not there yet, as dotfile managers leave it.
    let testbed = basic();
    let file = testbed.home.path().join("config.json");
    std::os::unix::fs::symlink("dotfiles/docker.json", &file).unwrap();
    log_in(&testbed, PASSWORD).done();
    assert!(std::fs::symlink_metadata(&file).unwrap().is_symlink() && testbed.passes(|command| command));
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(testbed.home.path().join("dotfiles")).unwrap().mode() & 0o777, 0o700);
    // With sudo it is another user's.
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(&file, Some(12_345), Some(12_346)).unwrap();
        log_in(&testbed, PASSWORD).done();
        let metadata = std::fs::metadata(&file).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (12_345, 12_346, 0o600));
    }
}

#[test]
fn logins_at_once_lose_none() {
    let hosts: Vec<String> = (0..8).map(|at| format!("r{at}.example.com")).collect();
    let testbed = Testbed::new(&["*.example.com"], Service::new(Quirks::HARBOR, Some(Auth::new(Scheme::Basic, "me", PASSWORD))));
    let children: Vec<_> = hosts.iter().map(|host| start_login(&testbed, host, PASSWORD)).collect();
    children.into_iter().for_each(|child| drop(testbed.check(Left::of(child.wait_with_output().unwrap())).done()));
    let config: Value = serde_json::from_slice(&std::fs::read(testbed.home.path().join("config.json")).unwrap()).unwrap();
    let known: Vec<_> = config["auths"].as_object().unwrap().keys().collect();
    assert_eq!(known, hosts.iter().collect::<Vec<_>>());
}
