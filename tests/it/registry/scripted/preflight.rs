//! What is told in the first second: a push that would fail at its end stops during its first step,
//! and `check` answers before the first push.

use std::time::Duration;

use serde_json::{Value, json};

use super::auth::{Auth, Scheme};
use super::http_server::{HttpServer, Reply, Request, Response};
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed, shown_error};
use crate::cli::fixture::{project, write};

const HOST: &str = "harbor.example.com";
const ROBOT: &str = "robot$mp+ci";

fn harbor() -> Testbed {
    let mut auth = Auth::new(Scheme::bearer(HOST, "/service/token", "harbor-registry"), ROBOT, PASSWORD);
    auth.public = |name| name.starts_with("mp/");
    auth.telling = true;
    auth.may_push = |name| name != "mp/locked";
    let mut service = Service::new(Quirks::HARBOR, Some(auth));
    service.before_auth = Box::new(|request| {
        let missing = request.path.starts_with("/v2/nope/") && request.header("authorization").is_some();
        let words = "project nope not found: project nope not found";
        missing.then(|| Response::error(401, "UNAUTHORIZED", words).into())
    });
    Testbed::new(&[HOST], service).with_login(HOST, ROBOT)
}

/// Files that take a while to come; a build asks for one after the other.
fn slow() -> HttpServer<impl super::http_server::Script> {
    HttpServer::plain(|_: &Request| {
        std::thread::sleep(Duration::from_millis(1500));
        Reply::Response(Response::new(200).with_body("slow"))
    })
}

#[test]
fn what_would_fail_the_push_at_its_end_stops_the_build_in_its_first_step() {
    for (repository, words, hint) in [
        (
            "elsewhere.example.com/mp/nsx",
            "cannot make a TLS connection to `elsewhere.example.com`",
            "name the registry as its certificate",
        ),
        ("harbor.example.com/nope/nsx", "project nope not found", "create the project `nope` in Harbor"),
        ("harbor.example.com/mp/locked", "action: push", "the right to push into the project `mp`"),
    ] {
        let told = told_early(&harbor(), repository);
        assert!(told.contains(words) && told.contains(hint), "{told}");
    }
}

/// Pushes a project of four slow steps; what the user reads, which must come before the last step.
fn told_early(testbed: &Testbed, repository: &str) -> String {
    let files = slow();
    let steps: String = (0..4).map(|number| format!("ADD http://{}/{number} /\n", files.address)).collect();
    write(&testbed.home.path().join("project"), "Dockerfile", &format!("FROM scratch\n{steps}"));
    let left = testbed.push(repository);
    assert_eq!(left.code, Some(1), "{}", left.err);
    let told = shown_error(&left);
    assert!(files.seen().len() < 4, "the build went on: {told}");
    told
}

#[test]
fn a_registry_without_tokens_tells_the_login_and_the_right_to_push_as_early() {
    const NEXUS: &str = "nexus.example.com";
    const ZOT: &str = "zot.example.com";
    let basic = |user: &str| {
        let mut auth = Auth::new(Scheme::Basic, user, PASSWORD);
        auth.may_push = |name| name != "mp/locked";
        auth.public = |_| true;
        Testbed::new(&[NEXUS, ZOT], Service::new(Quirks::HARBOR, Some(auth)))
    };
    let nothing_open = |testbed: &Testbed| assert_eq!(testbed.service(|service| service.registry.open_sessions()), 0);
    // zot with anonymous reading: strangers are not asked who they are before they write.
    let open = |testbed: &Testbed| {
        testbed.service(|service| {
            service.before_auth = Box::new(|request| {
                let open = request.path == "/v2/" && request.header("authorization").is_none();
                open.then(|| Response::json(200, &json!({})).into())
            });
        });
    };
    for (host, repository) in [(NEXUS, format!("{NEXUS}/mp/nsx")), (ZOT, format!("{ZOT}/mp/nsx"))] {
        let with = |testbed: Testbed| {
            if host == ZOT {
                open(&testbed);
            }
            testbed
        };
        let told = told_early(&with(basic("other").with_login(host, "me")), &repository);
        let words = format!("`{host}` refuses the login as `me`: wrong password or token, expired, or disabled");
        assert!(told.contains(&words) && told.contains(&format!("log in again with `mpimg login {host}`")), "{told}");
        let told = told_early(&with(basic("me")), &repository);
        assert!(told.contains(&format!("not logged in to `{host}`")), "{told}");
        assert!(told.contains(&format!("hint: log in with `mpimg login {host}`")), "{told}");
        let testbed = with(basic("me").with_login(host, "me"));
        let told = told_early(&testbed, &format!("{host}/mp/locked"));
        assert!(told.contains("registry answered 403: DENIED"), "{told}");
        assert!(told.contains("hint: check that the account may push to and pull from `mp/locked`"), "{told}");
        project(&testbed.home);
        testbed.push(&repository).done();
        nothing_open(&testbed);
        // What `check` says of the same.
        let failed = |testbed: &Testbed, repository: &str| {
            let left = testbed.run(&["check", "--json", repository]);
            let json = left.json();
            let items = json["checks"].as_array().unwrap().iter().filter(|item| item["state"] == "failed");
            let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
            items.map(|item| [text(item, "name"), text(item, "detail"), text(item, "hint")].join("; ")).collect::<Vec<_>>()
        };
        let checked = failed(&testbed, &format!("{host}/mp/locked"));
        assert!(checked.len() == 1 && checked[0].starts_with("push; registry answered 403"), "{checked:?}");
        assert!(checked[0].ends_with("check that the account may push to and pull from `mp/locked`"), "{checked:?}");
        nothing_open(&testbed);
        // Where nobody is asked at `/v2/`, the login is first used to push.
        let name = if host == ZOT { "push" } else { "login" };
        let checked = failed(&with(basic("other").with_login(host, "me")), &repository);
        assert!(
            checked.len() == 1 && checked[0].starts_with(&format!("{name}; `{host}` refuses the login as `me`")),
            "{checked:?}"
        );
        assert!(checked[0].contains(&format!("log in again with `mpimg login {host}`")), "{checked:?}");
        let checked = failed(&with(basic("me")), &repository);
        assert!(checked.len() == 1 && checked[0].starts_with(&format!("{name}; ")), "{checked:?}");
        assert!(checked[0].ends_with(&format!("log in with `mpimg login {host}`")), "{checked:?}");
    }
}

#[test]
fn a_repository_that_ecr_does_not_have_is_told_before_the_build_unless_a_push_creates_it() {
    const ECR: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    for by_closing in [false, true] {
        let service = Service::new(Quirks::ECR, Some(Auth::new(Scheme::Basic, "AWS", PASSWORD)));
        let testbed = Testbed::new(&[ECR], service).with_login(ECR, "AWS");
        let words = "The repository with name 'mp/nsx' does not exist in the registry with id '123456789012'";
        let unknown = Response::error(404, "NAME_UNKNOWN", words);
        testbed.service(|service| {
            service.after_auth = Box::new(move |request| match request.path.starts_with("/v2/mp/nsx/") {
                true if by_closing && request.method == "POST" => Some(Reply::Cut),
                true => Some(unknown.clone().into()),
                false => None,
            });
        });
        let told = told_early(&testbed, &format!("{ECR}/mp/nsx"));
        let command = "aws ecr create-repository --repository-name mp/nsx --region eu-central-1";
        assert!(told.contains(&format!("hint: create the repository first: `{command}`")), "{told}");
        // A template of the registry with CREATE_ON_PUSH.
        project(&testbed.home);
        let mut created = false;
        testbed.service(|service| {
            let unknown = Response::error(404, "NAME_UNKNOWN", words);
            service.after_auth = Box::new(move |request| {
                created |= request.method == "POST";
                (!created && request.path.starts_with("/v2/mp/nsx/")).then(|| unknown.clone().into())
            });
        });
        let left = testbed.push(&format!("{ECR}/mp/nsx")).done();
        testbed.validate("mp/nsx", &left);
    }
}

#[test]
fn a_push_that_is_right_is_not_asked_more_than_once_beside_the_build() {
    let testbed = harbor();
    let left = testbed.push(&format!("{HOST}/mp/nsx")).done();
    testbed.validate("mp/nsx", &left);
    let asked = testbed.server.seen().iter().filter(|request| request.is("GET", "/manifests/1")).count();
    assert!(asked <= 1, "{asked}");
}

#[test]
fn an_immutable_tag_is_warned_of_before_the_build() {
    let (testbed, files) = (harbor(), slow());
    testbed.service(|service| {
        service.registry.put_image("mp/nsx", "1", &[b"layer"]);
        service.before_auth = Box::new(|request| {
            // Harbor's own interface takes the login itself.
            let basic = request.header("authorization").is_some_and(|header| header.starts_with("Basic "));
            let own = basic && request.path == "/api/v2.0/projects/mp/repositories/nsx/artifacts/1";
            own.then(|| Response::json(200, &json!({"tags": [{"name": "1", "immutable": true}]})).into())
        });
    });
    write(&testbed.home.path().join("project"), "Dockerfile", &format!("FROM scratch\nADD http://{}/1 /\n", files.address));
    let left = testbed.push(&format!("{HOST}/mp/nsx"));
    assert!(left.err.contains("warning: the tag `1` of `mp/nsx` exists and is immutable"), "{}", left.err);
}

#[test]
fn whether_anybody_can_pull_is_told_before_the_first_push_where_the_registry_tells() {
    let testbed = harbor();
    let checked = testbed.run(&["check", &format!("{HOST}/mp/nsx")]).done();
    assert!(checked.out.contains("✓ anonymous pull  the project is public"), "{}", checked.out);
    let checked = testbed.run(&["check", &format!("{HOST}/private/nsx")]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains("✗ anonymous pull  the project is private"), "{}", checked.out);
    assert!(checked.out.contains("hint: make the repository public"), "{}", checked.out);
    // What was pushed before is tried itself.
    testbed.service(|service| drop(service.registry.put_image("mp/there", "1.0.0_1700000000", &[b"layer"])));
    let checked = testbed.run(&["check", &format!("{HOST}/mp/there")]).done();
    assert!(checked.out.contains("✓ anonymous pull  3 blobs and manifests"), "{}", checked.out);

    let service = Service::new(Quirks::HARBOR, Some(Auth::new(Scheme::Basic, "me", PASSWORD)));
    let testbed = Testbed::new(&[HOST], service).with_login(HOST, "me");
    let checked = testbed.run(&["check", &format!("{HOST}/mp/nsx")]).done();
    assert!(checked.out.contains("– anonymous pull  unknown until the first push"), "{}", checked.out);
}

#[test]
fn a_check_of_a_project_answers_whether_it_would_be_built() {
    let testbed = harbor();
    let project = testbed.home.path().join("project");
    write(&project, "config.json", &json!({"container_repository": format!("{HOST}/mp/nsx")}).to_string());
    let checks = |expected: Option<i32>| -> Vec<(String, String, String)> {
        let left = testbed.run(&["check", "--json", "project"]);
        assert_eq!(left.code, expected, "{} {}", left.out, left.err);
        let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let json = left.json();
        let items = json["checks"].as_array().unwrap().iter();
        items.map(|item| (text(item, "name"), text(item, "state"), text(item, "detail"))).collect()
    };
    let names: Vec<_> = checks(Some(0)).into_iter().map(|(name, state, _)| (name, state)).collect();
    let expected = ["dockerfile", "sources", "base images", "isolation", "disk", "dns", "tls", "registry", "login", "push"];
    let expected: Vec<_> =
        expected.iter().chain(&["anonymous pull"]).map(|name| (name.to_string(), "passed".to_owned())).collect();
    assert_eq!(names, expected);

    for (dockerfile, failing, words) in [
        ("FROM scratch\nCOPIE a b\n", "dockerfile", "COPIE"),
        ("FROM scratch\nARG WHAT=gone\nCOPY $WHAT.cfg /\n", "sources", "gone.cfg"),
        ("FROM harbor.example.com/mp/missing:1\nCOPY app /\n", "base images", "harbor.example.com/mp/missing:1"),
    ] {
        write(&project, "Dockerfile", dockerfile);
        let failed: Vec<_> = checks(Some(1)).into_iter().filter(|(_, state, _)| state == "failed").collect();
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].0 == failing && failed[0].2.contains(words), "{failed:?}");
    }
}
