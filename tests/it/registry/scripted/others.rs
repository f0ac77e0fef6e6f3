//! GHCR, Quay, Google Artifact Registry, zot and ACR: what sets each apart, as far as a push meets
//! it.

use super::auth::{Auth, Scheme};
use super::http_server::{Reply, Request, Response};
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed, shown_error};

const MIB: usize = 1 << 20;

fn testbed(host: &'static str, quirks: Quirks) -> Testbed {
    let mut auth = Auth::new(Scheme::bearer(host, "/token", host), "me", PASSWORD);
    auth.public = |_| true;
    Testbed::new(&[host], Service::new(quirks, Some(auth))).with_login(host, "me").with_file(12 * MIB)
}

/// Cuts the connection in the second chunk, when half of it is there.
fn cut_in_the_second_chunk(testbed: &Testbed) {
    let mut chunks = 0;
    testbed.service(|service| {
        service.with_registry = Box::new(move |registry, request| {
            chunks += usize::from(request.method == "PATCH");
            (request.method == "PATCH" && chunks == 2).then(|| {
                let body = request.body[..request.body.len() / 2].to_vec();
                registry.answer(&Request { body, whole: false, ..request.clone() });
                Reply::Cut
            })
        });
    });
}

fn sessions(testbed: &Testbed) -> u64 {
    testbed.service(|service| service.registry.sessions_begun())
}

#[test]
fn ghcr_gets_chunks_of_four_mebibytes_at_another_path() {
    let testbed = testbed("ghcr.io", Quirks::GHCR);
    let left = testbed.push("ghcr.io/me/nsx").done();
    testbed.validate("me/nsx", &left);
    let seen = testbed.server.seen();
    let largest = seen.iter().filter(|request| request.method == "PATCH").map(|request| request.body.len()).max();
    assert_eq!(largest, Some(4 * MIB));
    assert!(seen.iter().all(|request| !request.is("PATCH", "/blobs/uploads/")));
    assert_eq!(sessions(&testbed), 3);
}

#[test]
fn ghcr_makes_packages_private_and_the_user_reads_how_to_open_them() {
    let testbed = testbed("ghcr.io", Quirks::GHCR);
    testbed.service(|service| service.auth.iter_mut().for_each(|auth| auth.public = |_| false));
    let left = testbed.push("ghcr.io/me/nsx").done();
    insta::assert_snapshot!(shown_error(&left).lines().find(|line| line.starts_with("hint")).unwrap(), @r"
    hint: on github.com open the package, Package settings, and change its visibility to public
    ");
    let checked = testbed.run(&["check", "ghcr.io/me/nsx:1"]);
    assert_eq!(checked.code, Some(1));
    insta::assert_snapshot!(checked.out, @r"
    ghcr.io/me/nsx
      ✓ dns  left to the proxy
      ✓ tls  certificate is trusted
      ✓ registry  a registry of the distribution API
      ✓ login  credentials are accepted
      ✓ push  into `me/nsx`
      ✗ anonymous pull  manifest 4dd051a990d6: registry answered 401: UNAUTHORIZED: authentication required
          hint: on github.com open the package, Package settings, and change its visibility to public
    ");
    let required = testbed.run(&["push", "-q", "project", "-t", "1", "-r", "ghcr.io/me/nsx", "--require-anonymous-pull"]);
    assert_eq!(required.code, Some(1));
}

#[test]
fn a_github_token_without_the_right_scope_is_explained() {
    let testbed = testbed("ghcr.io", Quirks::GHCR);
    let denied = Response::error(403, "DENIED", "permission_denied: write_package");
    testbed.service(|service| {
        service.after_auth = Box::new(move |request| (request.method == "POST").then(|| denied.clone().into()))
    });
    let left = testbed.push("ghcr.io/me/nsx");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `ghcr.io/me/nsx`
      caused by: registry answered 403: DENIED: permission_denied: write_package
    hint: the GitHub token needs the scope `write:packages`, and write access to the package: see its settings, `Manage Actions access`
    ");
}

#[test]
fn quay_counts_otherwise_and_gets_each_byte_once() {
    let testbed = testbed("quay.io", Quirks::QUAY);
    let left = testbed.push("quay.io/me/nsx").done();
    let sizes = testbed.validate("me/nsx", &left);
    let sent: usize =
        testbed.server.seen().iter().filter(|request| request.path.contains("/uploads/")).map(|request| request.body.len()).sum();
    assert!(sent < usize::try_from(sizes.iter().sum::<u64>()).unwrap() + 2000, "{sent} bytes for {sizes:?}");
    assert_eq!(sessions(&testbed), 3);
}

#[test]
fn quay_goes_on_where_it_was_cut() {
    let testbed = testbed("quay.io", Quirks::QUAY);
    cut_in_the_second_chunk(&testbed);
    let left = testbed.push("quay.io/me/nsx").done();
    testbed.validate("me/nsx", &left);
    assert_eq!(sessions(&testbed), 3);
}

#[test]
fn google_gets_every_blob_in_one_request() {
    let host = "europe-west3-docker.pkg.dev";
    let testbed = testbed(host, Quirks::GOOGLE);
    let left = testbed.push("europe-west3-docker.pkg.dev/project/mp/nsx").done();
    testbed.validate("project/mp/nsx", &left);
    assert!(testbed.server.seen().iter().all(|request| request.method != "PATCH"));
}

#[test]
fn a_registry_without_chunks_that_nobody_knows_gets_every_blob_in_one_request_too() {
    let testbed = testbed("registry.example.com", Quirks::GOOGLE);
    let left = testbed.push("registry.example.com/mp/nsx").done();
    testbed.validate("mp/nsx", &left);
}

#[test]
fn a_repository_that_google_does_not_have_must_be_made() {
    let testbed = testbed("europe-west3-docker.pkg.dev", Quirks::GOOGLE);
    let unknown = Response::error(404, "NAME_UNKNOWN", "Repository \"mp\" not found");
    testbed.service(|service| {
        service.after_auth = Box::new(move |request| (request.method == "POST").then(|| unknown.clone().into()))
    });
    let left = testbed.push("europe-west3-docker.pkg.dev/project/mp/nsx");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r#"
    error: cannot push `europe-west3-docker.pkg.dev/project/mp/nsx`
      caused by: registry answered 404: NAME_UNKNOWN: Repository "mp" not found
    hint: create the repository `project/mp/nsx` in the registry first: it does not make repositories by itself
    "#);
}

#[test]
fn zot_ends_a_session_at_any_broken_read_and_gets_a_new_one() {
    let testbed = testbed("zot.example.com", Quirks::ZOT);
    cut_in_the_second_chunk(&testbed);
    let left = testbed.push("zot.example.com/mp/nsx").done();
    testbed.validate("mp/nsx", &left);
    assert_eq!(sessions(&testbed), 4);
}

#[test]
fn acr_ends_a_session_after_a_failed_chunk() {
    let testbed = testbed("me.azurecr.io", Quirks::ACR);
    let mut chunks = 0;
    testbed.service(|service| {
        service.with_registry = Box::new(move |registry, request| {
            chunks += usize::from(request.method == "PATCH");
            (request.method == "PATCH" && chunks == 2).then(|| {
                registry.forget_session(request);
                Response::error(404, "BLOB_UPLOAD_INVALID", "blob upload invalid").into()
            })
        });
    });
    let left = testbed.push("me.azurecr.io/mp/nsx").done();
    testbed.validate("mp/nsx", &left);
}

#[test]
fn a_limit_on_the_size_of_requests_is_found_out() {
    let testbed = testbed("me.azurecr.io", Quirks { most: Some((2 << 20, 413)), ..Quirks::ACR });
    let left = testbed.push("me.azurecr.io/mp/nsx").done();
    testbed.validate("mp/nsx", &left);
    let testbed = self::testbed("small.example.com", Quirks { most: Some((1 << 10, 413)), ..Quirks::HARBOR });
    let left = testbed.push("small.example.com/mp/nsx");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `small.example.com/mp/nsx`
      caused by: registry answered 413: SIZE_INVALID: request is too large
    hint: a proxy in front of the registry limits the size of a request, and mpimg's smallest chunk is larger: raise its body limit (nginx: `client_max_body_size 0`)
    ");
}

#[test]
fn a_registry_of_no_known_kind_is_checked_to_its_last_step() {
    let testbed = testbed("registry.example.com", Quirks::HARBOR);
    testbed.push("registry.example.com/mp/nsx").done();
    assert!(testbed.run(&["check", "registry.example.com/mp/nsx:1", "--json"]).done().json()["passed"].as_bool().unwrap());
    // Something else lives there.
    testbed.service(|service| service.before_auth = Box::new(|_| Some(Response::new(404).with_body("<h1>Not here</h1>").into())));
    let checked = testbed.run(&["check", "registry.example.com/mp/nsx"]);
    assert_eq!(checked.code, Some(1));
    insta::assert_snapshot!(checked.out, @r"
    registry.example.com/mp/nsx
      ✓ dns  left to the proxy
      ✓ tls  certificate is trusted
      ✗ registry  `/v2/` answered 404
          hint: check the registry's name and port: this seems to be another service, or a proxy before it
    ");
}
