//! What is told in the first second: a push that would fail at its end stops during its first step,
//! and `check` answers before the first push.

use std::time::Duration;

use serde_json::{Value, json};

use super::auth::{Auth, Scheme};
use super::http_server::{HttpServer, Reply, Request, Response};
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed, shown_error};
use crate::cli::fixture::write;

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
        let (testbed, files) = (harbor(), slow());
        let steps: String = (0..4).map(|number| format!("ADD http://{}/{number} /\n", files.address)).collect();
        write(&testbed.home.path().join("project"), "Dockerfile", &format!("FROM scratch\n{steps}"));
        let left = testbed.push(repository);
        let told = shown_error(&left);
        assert!(told.contains(words) && told.contains(hint), "{told}");
        assert!(files.seen().len() < 4, "the build went on: {told}");
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
