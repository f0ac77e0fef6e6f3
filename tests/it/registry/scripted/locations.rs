//! Where a registry sends an upload on to: relative, elsewhere, behind a prefix, signed; and what
//! is not gone along with.

use super::auth::{Auth, Scheme};
use super::http_server::{Reply, Request, Response};
use super::memory::{Quirks, Registry};
use super::testbed::{PASSWORD, Service, Testbed, shown_error};

const HOST: &str = "registry.example.com";
const STORAGE: &str = "storage.example.com";
const REPOSITORY: &str = "registry.example.com/mp/nsx";

/// What only a signed address has: it must come back as it was.
const SIGNATURE: &str = "sig=a%2Bb%2F%3D%3D&exp=2999-01-01T00%3a00&flag";

/// A registry whose Locations are what `change` makes of `/v2/<path>/blobs/uploads/<id>?_state=…`,
/// and that sees paths without `prefix`.
fn testbed(prefix: &'static str, change: impl Fn(&str) -> String + Send + 'static) -> Testbed {
    let testbed = Testbed::new(&[HOST, STORAGE], Service::new(Quirks::HARBOR, None)).with_file(6 << 20);
    testbed.service(|service| {
        service.with_registry = Box::new(move |registry: &mut Registry, request: &Request| {
            let path = request.path.strip_prefix(prefix).unwrap_or(&request.path).to_owned();
            let mut reply = registry.answer(&Request { path, ..request.clone() });
            if let Reply::Response(answer) = &mut reply {
                let uploads = answer.headers.iter_mut().filter(|(name, value)| name == "Location" && value.contains("/uploads/"));
                uploads.for_each(|(_, value)| *value = change(value));
            }
            Some(reply)
        });
    });
    testbed
}

fn is_upload(request: &Request) -> bool {
    matches!(request.method.as_str(), "PATCH" | "PUT") && request.path.contains("/uploads/")
}

#[test]
fn an_upload_follows_its_location_wherever_that_is() {
    type Change = fn(&str) -> String;
    let changes: [(&str, &str, Change); 6] = [
        (HOST, "", |location| location.trim_start_matches("/v2/mp/nsx/blobs/uploads/").to_owned()),
        (HOST, "", |location| format!("//{HOST}{location}")),
        (HOST, "", |location| format!("https://{HOST}:443{location}")),
        (HOST, "", |location| format!("http://{HOST}{location}")),
        (HOST, "/registry", |location| format!("https://{HOST}/registry{location}")),
        (STORAGE, "", |location| format!("https://{STORAGE}{location}")),
    ];
    for (at, (host, prefix, change)) in changes.into_iter().enumerate() {
        let testbed = testbed(prefix, move |location| format!("{}&{SIGNATURE}", change(location)));
        let left = testbed.push(REPOSITORY).done();
        testbed.validate("mp/nsx", &left);
        let uploads: Vec<_> = testbed.server.seen().into_iter().filter(is_upload).collect();
        assert!(uploads.len() >= 5, "{at}");
        for request in uploads {
            assert_eq!(request.host, host, "{at}");
            assert!(request.path.starts_with(prefix), "{at}: {}", request.path);
            assert!(request.query.contains(SIGNATURE), "{at}: {}", request.query);
            assert_eq!(request.method == "PUT", request.query.contains("&digest=sha256"), "{at}: {}", request.query);
        }
    }
}

#[test]
fn an_upload_that_would_leave_encryption_is_not_begun() {
    let testbed = testbed("", |location| format!("http://{STORAGE}{location}"));
    let left = testbed.push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `registry.example.com/mp/nsx`
      caused by: `registry.example.com` leads to `storage.example.com`, without encryption
    hint: set the registry up to name its storage by https, or allow it with `insecure` in registries.conf
    ");
    assert!(!testbed.server.seen().iter().any(is_upload));
}

#[test]
fn a_registry_that_changes_its_token_server_in_the_middle_is_followed() {
    let auth = Auth::new(Scheme::bearer(HOST, "/token", "reg"), "me", PASSWORD);
    let mut testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, Some(auth))).with_login(HOST, "me").with_file(12 << 20);
    testbed.hide("token-of-the-new");
    let mut patches = 0;
    testbed.service(|service| {
        service.auth.as_mut().unwrap().give("token-of-the-new", "mp/nsx");
        service.before_auth = Box::new(move |request| {
            patches += usize::from(request.method == "PATCH");
            let old = request.header("authorization") != Some("Bearer token-of-the-new");
            match request.path.as_str() {
                "/moved" => Some(Response::json(200, &serde_json::json!({"token": "token-of-the-new"})).into()),
                path if path.starts_with("/v2/") && patches >= 2 && old => {
                    let moved = format!("Bearer realm=\"https://{HOST}/moved\",service=\"reg\"");
                    Some(Response::error(401, "UNAUTHORIZED", "ask elsewhere").with("WWW-Authenticate", moved).into())
                }
                _ => None,
            }
        });
    });
    let left = testbed.push(REPOSITORY);
    let digest = left.out.lines().find_map(|line| line.strip_prefix("DIGEST=")).unwrap_or_else(|| panic!("{}", left.err));
    testbed.service(|service| service.registry.validate("mp/nsx", digest));
    assert_eq!(testbed.service(|service| service.registry.sessions_begun()), 3);
}
