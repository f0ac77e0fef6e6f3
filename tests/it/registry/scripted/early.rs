//! A manifest that is asked for beside `/v2/`: what that saves, and where its answer does not count.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::auth::{Auth, Scheme};
use super::credentials::{HOST, auths};
use super::http_server::{HttpServer, Reply, Request, Response};
use super::memory::{Quirks, Registry};
use super::testbed::{PASSWORD, Service, Testbed};

fn is_manifest(request: &&Request) -> bool {
    request.is("GET", "/manifests/")
}

/// The digest of what `mpimg pull` finds under `mp/base:1`.
fn pulled(testbed: &Testbed) -> String {
    testbed.run(&["pull", &format!("{HOST}/mp/base:1")]).done().out.trim().to_owned()
}

#[test]
fn an_open_registry_is_asked_for_a_manifest_without_waiting_and_once() {
    let service = Service::new(Quirks::HARBOR, None);
    let registry = HttpServer::plain(service);
    let came = Arc::new(Mutex::new((None, None)));
    let times = came.clone();
    let digest = {
        let mut service = registry.script.lock().unwrap();
        service.before_auth = Box::new(move |request: &Request| {
            let mut times = times.lock().unwrap();
            match request.path.as_str() {
                // 200 bytes and more take half a second.
                "/v2/" => {
                    times.0 = Some(Instant::now());
                    Some(Reply::Slow(Response::json(200, &json!({"filler": "x".repeat(200)})), 400))
                }
                _ if is_manifest(&request) => {
                    times.1 = Some(Instant::now());
                    None
                }
                _ => None,
            }
        });
        service.registry.put_image("mp/base", "1", &[b"layer"])
    };
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, None));
    let left = testbed.run(&["pull", &format!("{}/mp/base:1", registry.address)]).done();
    assert_eq!(left.out.trim(), digest);
    let (Some(first), Some(manifest)) = *came.lock().unwrap() else { panic!("not asked") };
    assert!(manifest - first.min(manifest) < Duration::from_millis(400), "it waited");
    assert_eq!(registry.seen().iter().filter(is_manifest).count(), 1);
    // What belongs to the image is asked beside its layers, and `/v2/` not once more for that.
    registry.forget();
    testbed.run(&["copy", &format!("docker://{}/mp/base:1", registry.address), "oci:copied"]).done();
    let seen = registry.seen();
    assert_eq!(seen.iter().filter(|request| request.path == "/v2/").count(), 1);
    assert!(seen.iter().any(|request| request.path.contains("/referrers/")));
}

#[test]
fn where_a_login_is_asked_for_a_stranger_s_answer_does_not_count() {
    // Strangers get another image under the tag; a login is kept by a helper that keeps all.
    let auth = Auth::new(Scheme::bearer(HOST, "/token", "reg"), "me", PASSWORD);
    let login = json!({"Username": "me", "Secret": PASSWORD});
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, Some(auth))).with_helper(Some(&login));
    testbed.file("config.json", &json!({"credsStore": "keys"}));
    let (own, other) = testbed.service(|service| {
        let own = service.registry.put_image("mp/base", "1", &[b"layer"]);
        let mut strangers = Registry::new(Quirks::HARBOR);
        let other = strangers.put_image("mp/base", "1", &[b"another layer"]);
        service.before_auth = Box::new(move |request: &Request| {
            (is_manifest(&request) && request.header("authorization").is_none()).then(|| strangers.answer(request))
        });
        (own, other)
    });
    assert_ne!(own, other);
    assert_eq!(pulled(&testbed), own);
    // Nor is it asked for by who is known to have a login.
    testbed.file("config.json", &auths(&[(HOST, PASSWORD)]));
    testbed.server.forget();
    assert_eq!(pulled(&testbed), own);
    assert!(testbed.server.seen().iter().filter(is_manifest).all(|request| request.header("authorization").is_some()));
}

#[test]
fn a_registry_that_has_no_time_now_is_not_asked_for_more() {
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, None));
    let (mut busy, mut manifests) = (2, 0);
    let digest = testbed.service(|service| {
        service.before_auth = Box::new(move |request: &Request| {
            manifests += u32::from(is_manifest(&request));
            let now = request.path == "/v2/" && busy > 0;
            busy -= i32::from(now);
            // A stranger's answer to what came beside that counts as little.
            let early = is_manifest(&request) && manifests == 1;
            let busy = Response::error(429, "TOOMANYREQUESTS", "slowly").with("Retry-After", "0");
            (now || early).then(|| busy.into())
        });
        service.registry.put_image("mp/base", "1", &[b"layer"])
    });
    assert_eq!(pulled(&testbed), digest);
    let seen = testbed.server.seen();
    assert_eq!(seen.iter().filter(|request| request.path == "/v2/").count(), 3);
    assert_eq!(seen.iter().filter(is_manifest).count(), 2);
}
