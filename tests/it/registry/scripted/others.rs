//! GHCR, Quay, Google Artifact Registry, zot and ACR: what sets each apart, as far as a push meets it.

use super::login::{Door, Scheme};
use super::registry::Manners;
use super::wire::{Answer, Reply, Request};
use super::world::{PASSWORD, Service, World, verdict};

const MIB: usize = 1 << 20;

fn world(host: &'static str, manners: Manners) -> World {
    let mut door = Door::new(Scheme::bearer(host, "/token", host), "me", PASSWORD);
    door.public = |_| true;
    World::new(&[host], Service::new(manners, Some(door))).with_login(host, "me").with_file(12 * MIB)
}

/// Cuts the connection in the second chunk, when half of it is there.
fn cut_in_the_second_chunk(world: &World) {
    let mut chunks = 0;
    world.service(|service| {
        service.instead = Box::new(move |registry, request| {
            chunks += usize::from(request.method == "PATCH");
            (request.method == "PATCH" && chunks == 2).then(|| {
                let body = request.body[..request.body.len() / 2].to_vec();
                registry.answer(&Request { body, whole: false, ..request.clone() });
                Reply::Cut
            })
        });
    });
}

fn sessions(world: &World) -> u64 {
    world.service(|service| service.registry.sessions_begun())
}

#[test]
fn ghcr_gets_chunks_of_four_mebibytes_at_another_path() {
    let world = world("ghcr.io", Manners::GHCR);
    let left = world.push("ghcr.io/me/nsx").done();
    world.validate("me/nsx", &left);
    let seen = world.wire.seen();
    let largest = seen.iter().filter(|request| request.method == "PATCH").map(|request| request.body.len()).max();
    assert_eq!(largest, Some(4 * MIB));
    assert!(seen.iter().all(|request| !request.is("PATCH", "/blobs/uploads/")));
    assert_eq!(sessions(&world), 3);
}

#[test]
fn ghcr_makes_packages_private_and_the_user_reads_how_to_open_them() {
    let world = world("ghcr.io", Manners::GHCR);
    world.service(|service| service.door.iter_mut().for_each(|door| door.public = |_| false));
    let left = world.push("ghcr.io/me/nsx").done();
    insta::assert_snapshot!(verdict(&left).lines().find(|line| line.starts_with("hint")).unwrap(), @r"
    hint: on github.com open the package, Package settings, and change its visibility to public
    ");
    let checked = world.run(&["check", "ghcr.io/me/nsx:1"]);
    assert_eq!(checked.code, Some(1));
    insta::assert_snapshot!(checked.out, @r"
    ghcr.io/me/nsx
      ✓ name resolves  left to the proxy
      ✓ TLS verifies  certificate is trusted
      ✓ /v2/ answers  a registry of the distribution API
      ✓ login works  credentials are accepted
      ✓ push is allowed  into `me/nsx`
      ✗ anybody can pull  manifest 05cd98c5f7fa: registry answered 401: UNAUTHORIZED: authentication required
          hint: on github.com open the package, Package settings, and change its visibility to public
    ");
    let required = world.run(&["push", "-q", "project", "-t", "1", "-r", "ghcr.io/me/nsx", "--require-anonymous-pull"]);
    assert_eq!(required.code, Some(1));
}

#[test]
fn a_github_token_without_the_right_scope_is_explained() {
    let world = world("ghcr.io", Manners::GHCR);
    let denied = Answer::error(403, "DENIED", "permission_denied: write_package");
    world.service(|service| service.inside = Box::new(move |request| (request.method == "POST").then(|| denied.clone().into())));
    let left = world.push("ghcr.io/me/nsx");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(verdict(&left), @r"
    error: cannot push `ghcr.io/me/nsx`
      caused by: registry answered 403: DENIED: permission_denied: write_package
    hint: the GitHub token needs the scope `write:packages`, and write access to the package: see its settings, `Manage Actions access`
    ");
}

#[test]
fn quay_counts_otherwise_and_gets_each_byte_once() {
    let world = world("quay.io", Manners::QUAY);
    let left = world.push("quay.io/me/nsx").done();
    let sizes = world.validate("me/nsx", &left);
    let sent: usize =
        world.wire.seen().iter().filter(|request| request.path.contains("/uploads/")).map(|request| request.body.len()).sum();
    assert!(sent < usize::try_from(sizes.iter().sum::<u64>()).unwrap() + 2000, "{sent} bytes for {sizes:?}");
    assert_eq!(sessions(&world), 3);
}

#[test]
fn quay_goes_on_where_it_was_cut() {
    let world = world("quay.io", Manners::QUAY);
    cut_in_the_second_chunk(&world);
    let left = world.push("quay.io/me/nsx").done();
    world.validate("me/nsx", &left);
    assert_eq!(sessions(&world), 3);
}

#[test]
fn google_gets_every_blob_in_one_request() {
    let host = "europe-west3-docker.pkg.dev";
    let world = world(host, Manners::GOOGLE);
    let left = world.push("europe-west3-docker.pkg.dev/project/mp/nsx").done();
    world.validate("project/mp/nsx", &left);
    assert!(world.wire.seen().iter().all(|request| request.method != "PATCH"));
}

#[test]
fn a_registry_without_chunks_that_nobody_knows_gets_every_blob_in_one_request_too() {
    let world = world("registry.example.com", Manners::GOOGLE);
    let left = world.push("registry.example.com/mp/nsx").done();
    world.validate("mp/nsx", &left);
}

#[test]
fn a_repository_that_google_does_not_have_must_be_made() {
    let world = world("europe-west3-docker.pkg.dev", Manners::GOOGLE);
    let unknown = Answer::error(404, "NAME_UNKNOWN", "Repository \"mp\" not found");
    world.service(|service| service.inside = Box::new(move |request| (request.method == "POST").then(|| unknown.clone().into())));
    let left = world.push("europe-west3-docker.pkg.dev/project/mp/nsx");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(verdict(&left), @r#"
    error: cannot push `europe-west3-docker.pkg.dev/project/mp/nsx`
      caused by: registry answered 404: NAME_UNKNOWN: Repository "mp" not found
    hint: create the repository `project/mp/nsx` in the registry first: it does not make repositories by itself
    "#);
}

#[test]
fn zot_ends_a_session_at_any_broken_read_and_gets_a_new_one() {
    let world = world("zot.example.com", Manners::ZOT);
    cut_in_the_second_chunk(&world);
    let left = world.push("zot.example.com/mp/nsx").done();
    world.validate("mp/nsx", &left);
    assert_eq!(sessions(&world), 4);
}

#[test]
fn acr_ends_a_session_after_a_failed_chunk() {
    let world = world("me.azurecr.io", Manners::ACR);
    let mut chunks = 0;
    world.service(|service| {
        service.instead = Box::new(move |registry, request| {
            chunks += usize::from(request.method == "PATCH");
            (request.method == "PATCH" && chunks == 2).then(|| {
                registry.forget_session(request);
                Answer::error(404, "BLOB_UPLOAD_INVALID", "blob upload invalid").into()
            })
        });
    });
    let left = world.push("me.azurecr.io/mp/nsx").done();
    world.validate("mp/nsx", &left);
}

#[test]
fn a_limit_on_the_size_of_requests_is_found_out() {
    let world = world("me.azurecr.io", Manners { most: Some((2 << 20, 413)), ..Manners::ACR });
    let left = world.push("me.azurecr.io/mp/nsx").done();
    world.validate("mp/nsx", &left);
    let world = self::world("small.example.com", Manners { most: Some((1 << 10, 413)), ..Manners::HARBOR });
    let left = world.push("small.example.com/mp/nsx");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(verdict(&left), @r"
    error: cannot push `small.example.com/mp/nsx`
      caused by: registry answered 413: SIZE_INVALID: request is too large
    hint: a proxy in front of the registry limits the size of a request, and mpimg's smallest chunk is larger: raise its body limit (nginx: `client_max_body_size 0`)
    ");
}

#[test]
fn a_registry_of_no_known_kind_is_checked_to_its_last_step() {
    let world = world("registry.example.com", Manners::HARBOR);
    world.push("registry.example.com/mp/nsx").done();
    assert!(world.run(&["check", "registry.example.com/mp/nsx:1", "--json"]).done().json()["passed"].as_bool().unwrap());
    // Something else lives there.
    world.service(|service| service.first = Box::new(|_| Some(Answer::new(404).with_body("<h1>Not here</h1>").into())));
    let checked = world.run(&["check", "registry.example.com/mp/nsx"]);
    assert_eq!(checked.code, Some(1));
    insta::assert_snapshot!(checked.out, @r"
    registry.example.com/mp/nsx
      ✓ name resolves  left to the proxy
      ✓ TLS verifies  certificate is trusted
      ✗ /v2/ answers  `/v2/` answered 404
          hint: check the registry's name and port: this seems to be another service, or a proxy before it
    ");
}
