//! Logins where docker, podman, GitLab and helpers keep them, each used from the command line, and
//! none of them shown.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::auth::{Auth, Scheme};
use super::http_server::Response;
use super::logins::log_in;
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed};
use crate::cli::fixture::Left;

pub(super) const HOST: &str = "registry.example.com";
pub(super) const REPOSITORY: &str = "registry.example.com/mp/nsx";

pub(super) fn basic() -> Testbed {
    Testbed::new(&[HOST], Service::new(Quirks::HARBOR, Some(Auth::new(Scheme::Basic, "me", PASSWORD))))
}

fn bearer() -> Testbed {
    Testbed::new(&[HOST], Service::new(Quirks::HARBOR, Some(Auth::new(Scheme::bearer(HOST, "/token", "reg"), "me", PASSWORD))))
}

/// A file of logins with these keys; all but the right password are wrong.
pub(super) fn auths(entries: &[(&str, &str)]) -> Value {
    let auths =
        entries.iter().map(|(key, password)| ((*key).to_owned(), json!({"auth": STANDARD.encode(format!("me:{password}"))})));
    json!({ "auths": auths.collect::<serde_json::Map<_, _>>() })
}

impl Testbed {
    pub(super) fn file(&self, path: &str, content: &Value) -> PathBuf {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content.to_string()).unwrap();
        path
    }

    /// Whether a check of the repository passes.
    pub(super) fn passes(&self, change: impl FnOnce(&mut Command) -> &mut Command) -> bool {
        let mut command = self.mpimg();
        change(&mut command);
        let left = self.check(Left::of(command.args(["-vv", "check", "--json", REPOSITORY]).output().unwrap()));
        left.json()["passed"] == true
    }

    /// A credential helper that keeps one login in a file, and notes how it was called and what
    /// everybody could see meanwhile.
    pub(super) fn with_helper(self, login: Option<&Value>) -> Self {
        let kept = self.home.path().join("kept");
        login.into_iter().for_each(|login| std::fs::write(&kept, login.to_string()).unwrap());
        let (kept, calls) = (kept.display(), self.home.path().join("calls").display().to_string());
        let script = format!(
            "#!/bin/sh\necho \"$@\" >>{calls}\nfor list in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$list; done 2>/dev/null >>{calls}.processes\n\
             case $1 in\n  store) cat >{kept} ;;\n  erase) cat >/dev/null; rm -f {kept} ;;\n\
             get) cat >/dev/null; cat {kept} 2>/dev/null || {{ echo credentials not found in native keychain; exit 1; }} ;;\nesac\n"
        );
        let program = self.home.path().join("bin/docker-credential-keys");
        std::fs::create_dir(program.parent().unwrap()).unwrap();
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        self.env("PATH", &path)
    }

    fn calls(&self) -> Vec<String> {
        std::fs::read_to_string(self.home.path().join("calls")).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn every_place_of_docker_and_podman_is_read_and_the_most_specific_path_counts() {
    let right = auths(&[(HOST, PASSWORD)]);
    let specific = auths(&[(HOST, "wrong"), ("registry.example.com/mp", PASSWORD), ("registry.example.com/mp/other", "wrong")]);

    assert!(!basic().passes(|command| command), "nobody gets in without a login");

    let testbed = basic();
    testbed.file("config.json", &auths(&[("https://registry.example.com/v2/", PASSWORD)]));
    assert!(testbed.passes(|command| command), "DOCKER_CONFIG");

    let testbed = basic();
    testbed.file(".docker/config.json", &right);
    assert!(testbed.passes(|command| command.env_remove("DOCKER_CONFIG")), "~/.docker/config.json");

    assert!(basic().passes(|command| command.env("DOCKER_AUTH_CONFIG", right.to_string())), "DOCKER_AUTH_CONFIG");

    let testbed = basic();
    let file = testbed.file("elsewhere.json", &specific);
    assert!(testbed.passes(|command| command.env("REGISTRY_AUTH_FILE", file)), "REGISTRY_AUTH_FILE");

    let testbed = basic();
    let folder = testbed.home.path().join("runtime");
    testbed.file("runtime/containers/auth.json", &specific);
    assert!(testbed.passes(|command| command.env("XDG_RUNTIME_DIR", folder)), "XDG_RUNTIME_DIR");

    let testbed = basic();
    testbed.file(".config/containers/auth.json", &right);
    assert!(testbed.passes(|command| command), "~/.config");

    let testbed = basic();
    let folder = testbed.home.path().join("xdg");
    testbed.file("xdg/containers/auth.json", &right);
    assert!(testbed.passes(|command| command.env("XDG_CONFIG_HOME", folder)), "XDG_CONFIG_HOME");
}

#[test]
fn a_broken_file_is_told_without_its_content_and_the_next_one_read() {
    let testbed = basic();
    testbed.file(".config/containers/auth.json", &auths(&[(HOST, PASSWORD)]));
    std::fs::write(testbed.home.path().join("config.json"), format!(r#"{{"auths": {{"{HOST}": "{PASSWORD}"}}}}"#)).unwrap();
    let left = testbed.run(&["-vv", "check", REPOSITORY]).done();
    assert!(left.err.contains("config.json`: not in docker's form, at line 1"), "{}", left.err);
}

#[test]
fn a_helper_is_asked_by_its_input_and_sees_no_secret_in_any_process_list() {
    let login = json!({"ServerURL": HOST, "Username": "me", "Secret": PASSWORD});
    for config in [json!({"credHelpers": {HOST: "keys"}}), json!({"credsStore": "keys", "auths": {HOST: {}}})] {
        let testbed = basic().with_helper(Some(&login));
        testbed.file("config.json", &config);
        let left = testbed.push(REPOSITORY).done();
        testbed.validate("mp/nsx", &left);
        assert_eq!(testbed.calls(), ["get"]);
        let processes = std::fs::read_to_string(testbed.home.path().join("calls.processes")).unwrap();
        assert!(processes.contains("docker-credential-keys get") && !processes.contains(PASSWORD));
    }
}

#[test]
fn a_login_goes_to_the_helper_and_is_erased_there() {
    let testbed = basic().with_helper(None);
    testbed.file("config.json", &json!({"credsStore": "keys"}));
    let left = log_in(&testbed, PASSWORD).done();
    assert!(!left.err.contains("unencrypted"), "{}", left.err);
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(testbed.home.path().join("kept")).unwrap()).unwrap();
    assert_eq!(kept, json!({"ServerURL": HOST, "Username": "me", "Secret": PASSWORD}));
    let config: Value = serde_json::from_str(&std::fs::read_to_string(testbed.home.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(config, json!({"credsStore": "keys", "auths": {HOST: {}}}));
    assert!(testbed.passes(|command| command));
    testbed.run(&["logout", HOST]).done();
    assert!(!testbed.home.path().join("kept").exists());
    assert!(!testbed.passes(|command| command));
    assert_eq!(testbed.calls(), ["store", "get", "get", "erase", "get"]);
    assert!(!std::fs::read_to_string(testbed.home.path().join("calls.processes")).unwrap().contains(PASSWORD));
}

#[test]
fn a_login_that_only_the_helper_knows_is_removed_and_said_to_be() {
    let testbed = basic().with_helper(Some(&json!({"ServerURL": HOST, "Username": "me", "Secret": PASSWORD})));
    testbed.file("config.json", &json!({"credHelpers": {HOST: "keys"}}));
    let left = testbed.run(&["logout", HOST]).done();
    assert_eq!((left.out, left.err), (format!("Removed login of {HOST}\n"), String::new()));
    let left = testbed.run(&["logout", HOST]).done();
    assert_eq!(left.err, format!("warning: there was no login to `{HOST}`\n"));
}

#[test]
fn a_helper_that_fails_is_told_and_the_work_goes_on_without_it() {
    let testbed = basic().with_helper(None);
    let program = testbed.home.path().join("bin/docker-credential-keys");
    std::fs::write(program, "#!/bin/sh\ncat >/dev/null\necho the keyring is locked\nexit 1\n").unwrap();
    testbed.file("config.json", &json!({"credHelpers": {HOST: "keys"}}));
    testbed.file(".config/containers/auth.json", &auths(&[(HOST, PASSWORD)]));
    let left = testbed.run(&["-vv", "check", REPOSITORY]).done();
    assert!(left.err.contains("`docker-credential-keys get` failed: the keyring is locked"), "{}", left.err);
}

const IDENTITY: &str = "identity.token.Zm9vYmFy";

#[test]
fn an_identity_token_is_exchanged_for_access_tokens_by_post() {
    let by_file = bearer();
    by_file.file("config.json", &json!({"auths": {HOST: {"auth": STANDARD.encode("me:"), "identitytoken": IDENTITY}}}));
    // docker's mark for an identity token in a helper.
    let login = json!({"ServerURL": HOST, "Username": "<token>", "Secret": IDENTITY});
    let by_helper = bearer().with_helper(Some(&login));
    by_helper.file("config.json", &json!({"credHelpers": {HOST: "keys"}}));
    for mut testbed in [by_file, by_helper] {
        testbed.hide(IDENTITY);
        testbed.service(|service| service.auth.as_mut().unwrap().identity = Some(IDENTITY.into()));
        let left = testbed.push(REPOSITORY).done();
        testbed.validate("mp/nsx", &left);
        let asked: Vec<_> = testbed.server.seen().into_iter().filter(|request| request.path == "/token").collect();
        let ours = asked.iter().filter(|request| request.method == "POST");
        assert!(ours.clone().count() >= 1 && ours.clone().all(|request| request.header("authorization").is_none()));
    }
}

#[test]
fn an_identity_token_is_a_password_where_the_server_knows_no_post() {
    for status in [400, 401, 404, 405] {
        let mut testbed = bearer();
        testbed.hide(IDENTITY);
        testbed.file("config.json", &json!({"auths": {HOST: {"auth": STANDARD.encode("me:"), "identitytoken": IDENTITY}}}));
        testbed.service(|service| {
            service.auth = Some(Auth::new(Scheme::bearer(HOST, "/token", "reg"), "me", IDENTITY));
            service.before_auth = Box::new(move |request| request.is("POST", "/token").then(|| Response::new(status).into()));
        });
        assert!(testbed.passes(|command| command), "{status}");
    }
}

#[test]
fn a_registry_token_is_sent_as_it_is() {
    let mut testbed = bearer();
    testbed.hide("given.token.Zm9v");
    testbed.file("config.json", &json!({"auths": {HOST: {"registrytoken": "given.token.Zm9v"}}}));
    testbed.service(|service| service.auth.as_mut().unwrap().give("given.token.Zm9v", "mp/nsx"));
    assert!(testbed.passes(|command| command));
    // Only the question what strangers may do goes to the token server, as a stranger.
    let seen = testbed.server.seen();
    assert!(seen.iter().all(|request| request.path != "/token" || request.header("authorization").is_none()));
}
