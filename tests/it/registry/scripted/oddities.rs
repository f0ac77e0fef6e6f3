//! Answers as no specification has them: headers and bodies that proxies and gateways make, servers
//! that are not registries, and refusals that need a word of explanation.

use std::io::Write as _;

use super::auth::{Auth, Scheme};
use super::http_server::{Reply, Request, Response};
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed, shown_error};

const HOST: &str = "registry.example.com";
const REPOSITORY: &str = "registry.example.com/mp/nsx";

fn testbed() -> Testbed {
    let service = Service::new(Quirks::HARBOR, Some(Auth::new(Scheme::Basic, "me", PASSWORD)));
    Testbed::new(&[HOST], service).with_login(HOST, "me")
}

/// What answers where a manifest is put.
fn refusing(answer: Response) -> Testbed {
    let testbed = testbed();
    testbed.service(|service| {
        service.after_auth = Box::new(move |request| request.is("PUT", "/manifests/").then(|| answer.clone().into()));
    });
    testbed
}

#[test]
fn headers_that_no_specification_allows_are_read_over() {
    let testbed = testbed();
    testbed.service(|service| {
        service.headers.extend([("X-Odd ", "v"), ("X-Folded", "one\r\n two"), ("X-Words", "M\u{fc}ller"), ("Bad Name", "x")]);
        service.headers.extend(std::iter::repeat_n(("X-Many", "x"), 300));
    });
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
}

#[test]
fn a_refusal_is_shown_in_whatever_form_it_comes() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(br#"{"errors":[{"code":"DENIED","message":"squeezed words"}]}"#).unwrap();
    let gzip = gzip.finish().unwrap();
    for (answer, expected) in [
        (Response::new(400).with("Content-Encoding", "gzip").with_body(gzip), "registry answered 400: DENIED: squeezed words\n"),
        (Response::new(400).with_body(r#"{"errors":[{"code":40001,"message":null}]}"#), "registry answered 400: 40001\n"),
        (Response::new(400).with_body(r#"{"errors":[{"code":null,"message":null}]}"#), "registry answered 400: bad request\n"),
        (Response::new(400).with_body(r#"{"errors":null}"#), "registry answered 400: bad request\n"),
        (
            Response::new(400).with_body("<html><h1>Blocked</h1> by policy 7</html>"),
            "registry answered 400: Blocked by policy 7\n",
        ),
    ] {
        let told = shown_error(&refusing(answer).push(REPOSITORY));
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn an_upload_that_leads_nowhere_is_said_to() {
    let testbed = testbed();
    testbed.service(|service| {
        service.after_auth = Box::new(|request| request.is("POST", "/blobs/uploads/").then(|| Response::new(202).into()));
    });
    let told = shown_error(&testbed.push(REPOSITORY));
    assert!(told.contains("answered 202 to the start of an upload, without the `Location` to send it to"), "{told}");
    assert!(told.contains("hint: have the proxy before the registry pass the header `Location` on"), "{told}");
    let checked = testbed.run(&["check", REPOSITORY]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains("✗ push  `registry.example.com` answered 202 to the start of an upload"), "{}", checked.out);
}

#[test]
fn a_server_that_says_yes_to_everything_is_no_registry() {
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, None));
    testbed.service(|service| {
        let page = || Response::new(200).with("Content-Type", "text/html; charset=utf-8").with_body("<html>Welcome</html>");
        service.before_auth = Box::new(move |_: &Request| Some(page().into()));
    });
    for arguments in [&["push", "project", "-r", REPOSITORY][..], &["tags", REPOSITORY], &["pull", REPOSITORY]] {
        let told = shown_error(&testbed.run(arguments));
        assert!(told.contains("answers with a web page: this is not a registry"), "{arguments:?} {told}");
        assert!(told.contains("hint: check the registry's name and port"), "{arguments:?} {told}");
    }
    let checked = testbed.run(&["check", REPOSITORY]);
    assert!(checked.out.contains("this is not a registry") && checked.code == Some(1), "{}", checked.out);
}

#[test]
fn a_manifest_that_the_registry_does_not_keep_is_not_pushed() {
    let json = || Response::json(200, &serde_json::json!({}));
    let unknown = || Response::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    // It says yes to everything; or it forgets.
    for (status, read, cause) in [(200, json(), "digest mismatch"), (201, unknown(), "registry answered 404: MANIFEST_UNKNOWN")] {
        let testbed = testbed();
        testbed.service(|service| {
            service.after_auth = Box::new(move |request| match (request.method.as_str(), request.path.contains("/manifests/")) {
                ("PUT", true) => Some(Response::json(status, &serde_json::json!({})).into()),
                ("GET", true) => Some(read.clone().into()),
                ("HEAD", false) if status == 200 => Some(json().into()),
                _ => None,
            });
        });
        let left = testbed.push(REPOSITORY);
        let told = shown_error(&left);
        assert_eq!((left.code, left.out.as_str()), (Some(1), ""), "{told}");
        assert!(told.contains(&format!("`{HOST}` answered {status} to the manifest, but does not have it")), "{told}");
        assert!(told.contains(cause), "{told}");
        assert!(told.contains("hint: check the registry's name and port"), "{told}");
    }
}

#[test]
fn a_manifest_that_another_server_behind_the_address_does_not_have_is_not_pushed() {
    // Two servers with a storage each: pushes reach the one, pulls the other.
    let old = || Response::json(200, &serde_json::json!({"schemaVersion": 2}));
    for (login, read, cause) in [
        (false, Response::error(404, "MANIFEST_UNKNOWN", "manifest unknown"), "registry answered 404: MANIFEST_UNKNOWN"),
        (false, old(), "digest mismatch"),
        (true, old(), "digest mismatch"),
    ] {
        let testbed = match login {
            true => testbed(),
            false => Testbed::new(&[HOST], Service::new(Quirks::HARBOR, None)),
        };
        testbed.service(|service| {
            service.before_auth = Box::new(move |request| request.is("GET", "/manifests/sha256:").then(|| read.clone().into()));
        });
        let left = testbed.push(REPOSITORY);
        let told = shown_error(&left);
        assert_eq!((left.code, left.out.as_str()), (Some(1), ""), "{told}");
        assert!(told.contains("error: the registry has confirmed the push, but does not have the image"), "{told}");
        assert!(told.contains(cause) && told.contains("hint: ask who runs the registry"), "{told}");
    }
}

#[test]
fn a_manifest_is_read_back_only_where_the_registry_does_not_name_its_digest() {
    for (digest, may_read, reads) in [(true, true, 0), (false, true, 1), (false, false, 1)] {
        let testbed = testbed();
        testbed.service(|service| {
            service.with_registry = Box::new(move |registry, request| {
                if !request.path.contains("/manifests/") {
                    return None;
                }
                if request.method == "GET" && request.path.contains("sha256:") && !may_read {
                    return Some(Response::error(403, "DENIED", "no pull").into());
                }
                let Reply::Response(mut answer) = registry.answer(request) else { return None };
                answer.headers.retain(|(name, _)| digest || request.method != "PUT" || name != "Docker-Content-Digest");
                Some(answer.into())
            });
        });
        let left = testbed.push(REPOSITORY).done();
        testbed.validate("mp/nsx", &left);
        let seen = testbed.server.seen();
        let put = seen.iter().position(|request| request.is("PUT", "/manifests/")).unwrap();
        let authorized =
            |request: &&Request| request.is("GET", "/manifests/sha256:") && request.header("authorization").is_some();
        assert_eq!(seen[put..].iter().filter(authorized).count(), reads, "{digest} {may_read}");
    }
}

#[test]
fn an_address_as_a_repository_is_told_from_a_name() {
    let testbed = testbed();
    let address = format!("https://{REPOSITORY}/");
    for arguments in [&["push", "project", "-r", &address][..], &["check", &address], &["tags", &address]] {
        let told = shown_error(&testbed.run(arguments));
        assert!(told.contains("is an address, not an image reference"), "{told}");
        assert!(told.contains(&format!("leave out the `https://`: `{REPOSITORY}`")), "{told}");
    }
}

#[test]
fn harbor_wants_a_project_before_the_name() {
    let testbed = testbed();
    testbed.service(|service| {
        service.after_auth = Box::new(|request| {
            let refused = Response::error(400, "BAD_REQUEST", "bad request: invalid repository name: nsx");
            request.path.starts_with("/v2/nsx/").then(|| refused.into())
        });
    });
    let told = shown_error(&testbed.push(&format!("{HOST}/nsx")));
    assert!(told.contains(&format!("hint: the registry wants HOST/PROJECT/NAME: push to `{HOST}/nsx/NAME`")), "{told}");
}

#[test]
fn docker_s_format_becomes_oci_s_where_nothing_else_is_taken() {
    let testbed = testbed();
    testbed.service(|service| {
        service.after_auth = Box::new(|request| {
            let docker = request.header("content-type").is_some_and(|kind| kind.contains("docker"));
            (request.is("PUT", "/manifests/") && docker).then(|| Response::error(415, "MANIFEST_INVALID", "unsupported").into())
        });
    });
    let left = testbed.run(&["-v", "push", "project", "-t", "1", "-r", REPOSITORY, "--format", "docker"]).done();
    testbed.validate("mp/nsx", &left);
    assert!(left.err.contains("the registry takes no manifest of Docker's schema 2: pushed as an OCI manifest"), "{}", left.err);
}

#[test]
fn a_tag_that_may_not_be_overwritten_is_named_whatever_the_registry_calls_it() {
    for refusal in [Response::error(409, "CONFLICT", "conflict"), Response::error(400, "DENIED", "redeploy is not allowed")] {
        let testbed = testbed();
        testbed.push(REPOSITORY).done();
        testbed.service(|service| {
            service.after_auth = Box::new(move |request| request.is("PUT", "/manifests/1").then(|| refusal.clone().into()));
        });
        // The same image is there already.
        testbed.push(REPOSITORY).done();
        std::fs::write(testbed.home.path().join("project/app/more"), "more").unwrap();
        let told = shown_error(&testbed.push(REPOSITORY));
        assert!(told.contains("hint: push under a new tag: the registry has another image under this one"), "{told}");
    }
}

#[test]
fn limits_of_other_registries_are_not_called_docker_hub_s() {
    let testbed = testbed();
    testbed.service(|service| service.headers.extend([("RateLimit-Limit", "20;w=60"), ("RateLimit-Remaining", "19;w=60")]));
    let left = testbed.push(REPOSITORY).done();
    assert!(!left.err.contains("Docker Hub") && !left.err.contains("pulls are left"), "{}", left.err);
}
