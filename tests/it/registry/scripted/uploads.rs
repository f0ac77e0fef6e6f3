//! Uploads at registries that are not quite as the specification has it: how they count, what they
//! lose, what they cannot now.

use std::collections::BTreeSet;

use super::auth::{Auth, Scheme};
use super::http_server::{Reply, Request, Response};
use super::memory::{Quirks, Registry};
use super::testbed::{PASSWORD, Service, Testbed, shown_error};
use crate::cli::fixture::Left;

const HOST: &str = "registry.example.com";
const REPOSITORY: &str = "registry.example.com/mp/nsx";

fn testbed(quirks: Quirks) -> Testbed {
    Testbed::new(&[HOST], Service::new(quirks, None)).with_file(16 << 20)
}

/// What happens instead of an ordinary answer.
fn instead(testbed: &Testbed, what: impl FnMut(&mut Registry, &Request) -> Option<Reply> + Send + 'static) {
    testbed.service(|service| service.with_registry = Box::new(what));
}

#[test]
fn a_registry_whose_status_counts_bytes_is_resumed_after_a_lost_answer() {
    // Gitea: `Range: 0-N` for N bytes on GET, 416 for a chunk at the wrong place.
    let testbed = testbed(Quirks::GITEA);
    let mut patches = 0;
    instead(&testbed, move |registry, request| {
        patches += usize::from(request.method == "PATCH");
        // The second chunk is taken, and its answer lost; the third breaks in the middle.
        (request.method == "PATCH" && patches == 2).then(|| {
            registry.answer(request);
            Reply::Cut
        })
    });
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    assert_eq!(testbed.service(|service| service.registry.sessions_begun()), 3, "a session was lost: {}", left.err);
}

#[test]
fn a_session_that_a_broken_chunk_has_jammed_is_given_up_when_it_refuses_twice() {
    // In a chunk, and in the only request of a small blob.
    for (method, begun) in [("PATCH", 4), ("PUT", 4)] {
        let testbed = testbed(Quirks::GITEA);
        let (mut requests, mut jammed) = (0, None);
        instead(&testbed, move |registry, request| {
            let session = request.path.rsplit('/').next().unwrap().to_owned();
            requests += usize::from(request.is(method, "/blobs/uploads/") && !request.body.is_empty());
            if requests == 1 && jammed.is_none() {
                jammed = Some(session);
                let body = request.body[..request.body.len() / 2].to_vec();
                registry.answer(&Request { body, whole: false, ..request.clone() });
                return Some(Reply::Cut);
            }
            None
        });
        let left = testbed.push(REPOSITORY).done();
        testbed.validate("mp/nsx", &left);
        let session = testbed.server.seen().iter().find(|request| request.is(method, "/blobs/uploads/")).unwrap().path.clone();
        let seen = testbed.server.seen();
        let sent = |request: &&Request| request.path == session && matches!(request.method.as_str(), "PATCH" | "PUT");
        assert_eq!(seen.iter().filter(sent).count(), 3, "{}", left.err);
        assert_eq!(testbed.service(|service| service.registry.sessions_begun()), begun, "{}", left.err);
    }
}

#[test]
fn a_session_that_does_not_get_on_is_given_up_once_with_its_cause() {
    let testbed = testbed(Quirks::HUB);
    // The first session of the large layer answers 416 for ever, and 204 with the same status.
    let mut stuck = BTreeSet::new();
    instead(&testbed, move |_, request| {
        let session = request.path.rsplit('/').next().unwrap().to_owned();
        if request.method == "PATCH" && stuck.is_empty() {
            stuck.insert(session);
            return None;
        }
        match (stuck.contains(&session), request.method.as_str()) {
            (true, "PATCH" | "PUT") => Some(Response::new(416).into()),
            (true, "GET") => Some(Response::new(204).with("Range", "0-99").with("Location", request.path.clone()).into()),
            _ => None,
        }
    });
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    assert!(left.err.contains("the upload starts again"), "{}", left.err);
}

#[test]
fn what_passes_by_is_waited_out_whatever_its_status() {
    for (status, headers, body) in [
        (499, None, String::new()),
        (520, None, String::new()),
        (524, None, String::new()),
        (503, Some(("Retry-After", "0")), String::new()),
        (
            401,
            None,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"failed to connect to `user=postgres`: dial tcp: refused"}]}"#.into(),
        ),
    ] {
        let scheme = Scheme::bearer(HOST, "/token", "reg");
        let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, Some(Auth::new(scheme, "me", PASSWORD))));
        let testbed = testbed.with_login(HOST, "me").with_file(6 << 20);
        let mut left = 3;
        testbed.service(|service| {
            service.after_auth = Box::new(move |request| {
                let now = request.is("POST", "/blobs/uploads/") && left > 0;
                left -= i32::from(now);
                let answer = Response::new(status).with_body(body.clone());
                let answer = headers.into_iter().fold(answer, |answer, (name, value)| answer.with(name, value));
                now.then(|| answer.into())
            });
        });
        let left = testbed.push(REPOSITORY).done();
        testbed.validate("mp/nsx", &left);
        assert!(left.err.contains(&format!("answered {status}")), "{status}: {}", left.err);
    }
}

#[test]
fn an_immutable_tag_that_has_the_very_image_already_is_a_success() {
    let immutable = || Response::error(412, "PRECONDITION", "Failed to process request due to 'nsx:1' configured as immutable.");
    let testbed = testbed(Quirks::HARBOR);
    let mut puts = 0;
    instead(&testbed, move |registry, request| {
        if !request.is("PUT", "/manifests/") {
            return None;
        }
        puts += 1;
        // The first is taken, and its answer lost.
        match puts {
            1 => {
                registry.answer(request);
                Some(Reply::Cut)
            }
            _ => Some(immutable().into()),
        }
    });
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    // The same image again; then another one.
    let again = testbed.push(REPOSITORY).done();
    assert!(again.err.contains("has this very image already"), "{}", again.err);
    std::fs::write(testbed.home.path().join("project/app/more"), "more").unwrap();
    let other = testbed.push(REPOSITORY);
    assert!(shown_error(&other).contains("hint: push under a new tag"), "{}", other.err);
}

#[test]
fn a_blob_that_the_registry_lacks_after_all_is_sent_once_more() {
    for named in [true, false] {
        let testbed = testbed(Quirks::HARBOR);
        let mut lost = false;
        instead(&testbed, move |registry, request| {
            if !request.is("PUT", "/manifests/") || std::mem::replace(&mut lost, true) {
                return None;
            }
            let digest = registry.lose_largest_blob("mp/nsx");
            let message = if named { format!("blob unknown to registry: {digest}") } else { "blob unknown to registry".into() };
            Some(Response::error(400, "MANIFEST_BLOB_UNKNOWN", &message).into())
        });
        let left = testbed.push(REPOSITORY).done();
        testbed.validate("mp/nsx", &left);
        assert!(left.err.contains("the registry lacks a blob that it said it had"), "{}", left.err);
    }
}

/// How many bytes of blobs came.
fn sent(testbed: &Testbed) -> usize {
    let blobs = |request: &&Request| request.path.contains("/blobs/uploads/");
    testbed.server.seen().iter().filter(blobs).map(|request| request.body.len()).sum()
}

#[test]
fn what_this_store_has_pushed_elsewhere_in_the_registry_is_mounted_from_there() {
    let testbed = testbed(Quirks::HARBOR);
    testbed.push(REPOSITORY).done();
    testbed.server.forget();
    let left = testbed.push("registry.example.com/mp/other").done();
    testbed.validate("mp/other", &left);
    assert_eq!(sent(&testbed), 0);
    assert!(left.err.contains(&format!("was mounted from `{REPOSITORY}`")), "{}", left.err);
    // Without the right to read it there, it is sent.
    testbed.service(|service| service.registry.quirks.mounts = super::memory::Mounts::Refused);
    let left = testbed.push("registry.example.com/mp/third").done();
    testbed.validate("mp/third", &left);
    assert!(sent(&testbed) > 16 << 20);
}

#[test]
fn two_pushes_at_once_send_a_blob_once() {
    let testbed = testbed(Quirks::HARBOR);
    testbed.run(&["build", "project", "-t", "app:1"]).done();
    testbed.service(|service| {
        service.after_auth = Box::new(|request| {
            if request.method == "PATCH" {
                std::thread::sleep(std::time::Duration::from_millis(300));
            }
            None
        });
    });
    let push = |path: &str| {
        let repository = format!("{HOST}/{path}");
        testbed.mpimg().args(["push", "app:1", "-t", "1", "-r", &repository]).output()
    };
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| push("mp/one"));
        let two = scope.spawn(|| push("mp/two"));
        (one.join().unwrap().unwrap(), two.join().unwrap().unwrap())
    });
    for (path, output) in [("mp/one", one), ("mp/two", two)] {
        testbed.validate(path, &Left::of(output).done());
    }
    assert!(sent(&testbed) < 20 << 20, "{}", sent(&testbed));
}

#[test]
fn a_copy_between_registries_needs_no_store() {
    let testbed = testbed(Quirks::HARBOR).env("MPIMG_HOME", "/proc/nowhere");
    testbed.service(|service| drop(service.registry.put_image("mp/base", "1", &[b"layer"])));
    let (source, destination) = (format!("docker://{HOST}/mp/base:1"), format!("docker://{HOST}/mp/copy:1"));
    testbed.run(&["copy", &source, &destination]).done();
}

#[test]
fn a_proxy_that_ends_large_requests_without_a_word_makes_the_chunks_smaller() {
    let testbed = testbed(Quirks { offset_in_location: false, keeps_partial_chunk: false, ..Quirks::HARBOR });
    testbed.service(|service| {
        service.before_auth = Box::new(|request| (request.body.len() > 2 << 20).then_some(Reply::Cut));
    });
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
}

#[test]
fn a_check_leaves_no_upload_session_where_the_account_may_delete_none() {
    let testbed = testbed(Quirks::HARBOR);
    instead(&testbed, |_, request| {
        (request.method == "DELETE").then(|| Response::error(401, "UNAUTHORIZED", "action: delete").into())
    });
    testbed.run(&["check", REPOSITORY]).done();
    assert_eq!(testbed.service(|service| service.registry.open_sessions()), 0);
}

#[test]
fn a_digest_that_a_registry_announces_wrongly_for_a_tag_is_noted() {
    let testbed = testbed(Quirks::HARBOR);
    testbed.service(|service| {
        service.registry.put_image("mp/base", "1", &[b"layer"]);
        service.with_registry = Box::new(|registry, request| {
            let Reply::Response(mut answer) = registry.answer(request) else { return None };
            if request.is("GET", "/manifests/") {
                answer.headers.retain(|(name, _)| name != "Docker-Content-Digest");
                answer = answer.with("Docker-Content-Digest", format!("sha256:{}", "0".repeat(64)));
            }
            Some(answer.into())
        });
    });
    let inspect = |reference: &str| -> Left { testbed.run(&["-vv", "inspect", reference]) };
    let left = inspect(&format!("docker://{HOST}/mp/base:1")).done();
    assert!(left.err.contains("announces another digest for `1` than it sends"), "{}", left.err);
}
