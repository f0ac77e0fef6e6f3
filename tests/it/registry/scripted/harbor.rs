//! Harbor: projects, robots, quotas, immutable tags; its 401 for everybody, its words, its way to
//! book sizes.

use super::auth::{Auth, Scheme};
use super::http_server::{Request, Response};
use super::memory::{Mounts, Quirks};
use super::testbed::{Service, Testbed, shown_error};

const HOST: &str = "harbor.example.com";
const REPOSITORY: &str = "harbor.example.com/mp/nsx";
const ROBOT: &str = "robot$mp+pusher";
const MIB: usize = 1 << 20;

/// A Harbor whose project `mp` is public.
fn harbor() -> Testbed {
    let scheme = Scheme::bearer(HOST, "/service/token", "harbor-registry");
    let mut auth = Auth::new(scheme, ROBOT, super::testbed::PASSWORD);
    auth.public = |repository| repository.starts_with("mp/");
    let mut service = Service::new(Quirks::HARBOR, Some(auth));
    service.headers = vec![("Set-Cookie", "sid=1234567890; Path=/; HttpOnly")];
    Testbed::new(&[HOST], service).with_login(HOST, ROBOT)
}

/// One that answers so once the login has passed, to requests of this method and path.
fn refusing(method: &'static str, part: &'static str, answer: Response) -> Testbed {
    let testbed = harbor();
    testbed.service(|service| {
        service.after_auth = Box::new(move |request| request.is(method, part).then(|| answer.clone().into()));
    });
    testbed
}

#[test]
fn a_robot_pushes_into_a_public_project_and_the_product_can_pull() {
    let testbed = harbor().with_file(12 * MIB);
    let left = testbed.push(REPOSITORY).done();
    assert!(left.err.contains("it can be pulled without logging in"), "{}", left.err);
    assert!(testbed.validate("mp/nsx", &left)[1] > 12 << 20);
    let seen = testbed.server.seen();
    assert!(seen.iter().all(|request| request.header("cookie").is_none()), "a cookie turns Harbor's CSRF checks on");
    // Where several requests made a blob, the last one was empty.
    let ends: Vec<_> = seen.iter().filter(|request| request.is("PUT", "/blobs/uploads/")).collect();
    let chunked = |put: &Request| seen.iter().any(|patch| patch.method == "PATCH" && patch.path == put.path);
    assert!(ends.iter().all(|put| put.body.is_empty() == chunked(put)));
    assert!(ends.iter().any(|put| put.body.is_empty()));
}

#[test]
fn a_token_that_runs_out_is_renewed_in_the_middle() {
    let testbed = harbor().with_file(12 * MIB);
    let mut patches = 0;
    let every_other = move |request: &Request| {
        patches += usize::from(request.method == "PATCH");
        request.method == "PATCH" && patches % 2 == 0
    };
    testbed.service(|service| service.auth.as_mut().unwrap().expires = Box::new(every_other));
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    assert!(testbed.service(|service| service.auth.as_ref().unwrap().issued()) >= 3);
    assert_eq!(testbed.service(|service| service.registry.sessions_begun()), 3, "a session was lost");
}

#[test]
fn a_base_that_may_not_be_mounted_is_uploaded() {
    let testbed = harbor();
    testbed.service(|service| {
        service.registry.quirks.mounts = Mounts::Refused;
        service.registry.put_image("mp/base", "1", &[&[0; 1024]]);
    });
    let image = format!("docker://{HOST}/mp/base:1");
    let left = testbed.run(&["-vv", "push", "--image", &image, "-t", "1", "-r", REPOSITORY]).done();
    testbed.validate("mp/nsx", &left);
    assert!(testbed.server.seen().iter().any(|request| request.parameter("mount").is_some()));
}

#[test]
fn a_project_that_is_not_there_is_named() {
    let words = "project mp not found: project mp not found";
    let left = refusing("POST", "/blobs/uploads/", Response::error(401, "UNAUTHORIZED", words)).push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `harbor.example.com/mp/nsx`
      caused by: registry answered 401: UNAUTHORIZED: project mp not found: project mp not found
    hint: create the project `mp` in Harbor and make it public, then run the same command again
    ");
}

#[test]
fn a_robot_that_may_not_push_is_told_so() {
    let words =
        "unauthorized to access repository: mp/nsx, action: push: unauthorized to access repository: mp/nsx, action: push";
    let left = refusing("POST", "/blobs/uploads/", Response::error(401, "UNAUTHORIZED", words)).push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `harbor.example.com/mp/nsx`
      caused by: registry answered 401: UNAUTHORIZED: unauthorized to access repository: mp/nsx, action: push: unauthorized to access repository: mp/nsx, action: push
    hint: give the account (or Harbor robot) the right to push into the project `mp`, or log in as another with `mpimg login harbor.example.com`
    ");
}

#[test]
fn a_wrong_password_is_told_apart_from_missing_rights() {
    let testbed = harbor();
    testbed.service(|service| {
        service
            .auth
            .iter_mut()
            .for_each(|auth| *auth = Auth::new(Scheme::bearer(HOST, "/service/token", "harbor-registry"), ROBOT, "another"))
    });
    let left = testbed.push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    // The look at the tag, before the push, or the first upload: whichever is refused first.
    let shown = shown_error(&left).replace("action: pull", "action: push");
    insta::assert_snapshot!(shown, @r"
    error: cannot push `harbor.example.com/mp/nsx`
      caused by: `harbor.example.com` refuses the login as `robot$mp+pusher`: wrong password or token, expired, or disabled
      caused by: registry answered 401: UNAUTHORIZED: unauthorized to access repository: mp/nsx, action: push: unauthorized to access repository: mp/nsx, action: push
    hint: check the user name (the `$` of a Harbor robot needs single quotes) and the password or token: log in again with `mpimg login harbor.example.com`
    ");
}

#[test]
fn an_immutable_tag_is_not_moved() {
    let words = "Failed to process request due to 'mp/nsx:1' configured as immutable.";
    let left = refusing("PUT", "/manifests/", Response::error(412, "PRECONDITION", words)).push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `harbor.example.com/mp/nsx`
      caused by: registry answered 412: PRECONDITION: Failed to process request due to 'mp/nsx:1' configured as immutable.
    hint: push under a new tag, or change the tag immutability rules of the Harbor project `mp`
    ");
}

#[test]
fn a_quota_ends_the_push_at_the_blob_and_at_the_manifest() {
    let words = "Quota exceeded when processing the request of adding 11.5 MiB of storage resource, which when updated to current \
                 usage of 95.0 MiB will exceed the configured upper limit of 100.0 MiB.";
    let at_blob = refusing("PUT", "/blobs/uploads/", Response::error(403, "DENIED", words)).push(REPOSITORY);
    assert_eq!(at_blob.code, Some(1));
    insta::assert_snapshot!(shown_error(&at_blob), @r"
    error: cannot push `harbor.example.com/mp/nsx`
      caused by: registry answered 403: DENIED: Quota exceeded when processing the request of adding 11.5 MiB of storage resource, which when updated to current usage of 95.0 MiB will exceed the configured upper limit of 100.0 MiB.
    hint: raise the storage quota of the Harbor project `mp`, or delete images there and run garbage collection
    ");
    let at_manifest = refusing("PUT", "/manifests/", Response::error(403, "DENIED", words)).push(REPOSITORY);
    assert_eq!((at_manifest.code, shown_error(&at_manifest)), (Some(1), shown_error(&at_blob)));
}

#[test]
fn a_proxy_project_takes_no_images() {
    let left =
        refusing("POST", "/blobs/uploads/", Response::error(403, "DENIED", "can not push artifact to a proxy project: mp"))
            .push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `harbor.example.com/mp/nsx`
      caused by: registry answered 403: DENIED: can not push artifact to a proxy project: mp
    hint: `mp` is a proxy cache in Harbor and takes no images: push into an ordinary project
    ");
}

#[test]
fn a_harbor_that_is_read_only_for_now_says_so() {
    let words = "The system is in read only mode. Any modification is prohibited.";
    let left = refusing("POST", "/blobs/uploads/", Response::error(403, "DENIED", words)).push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `harbor.example.com/mp/nsx`
      caused by: registry answered 403: DENIED: The system is in read only mode. Any modification is prohibited.
    hint: the registry is read-only for now: ask its administrator, or try again later
    ");
}

#[test]
fn a_private_project_is_explained_with_the_steps_that_open_it() {
    let testbed = harbor();
    testbed.service(|service| service.auth.iter_mut().for_each(|auth| auth.public = |_| false));
    let left = testbed.push(REPOSITORY).done();
    let digest = left.out.lines().find_map(|line| line.strip_prefix("DIGEST=")).unwrap().to_owned();
    insta::assert_snapshot!(shown_error(&left).replace(&digest, "DIGEST").replace(&digest[..19], "SHORT"), @r"
    warning: `harbor.example.com/mp/nsx@DIGEST` is pushed, but VMware Aria Operations cannot pull it without logging in
        manifest af97d746e4b6: registry answered 401: UNAUTHORIZED: unauthorized to access repository: mp/nsx, action: pull: unauthorized to access repository: mp/nsx, action: pull
    hint: make the repository public: in Harbor open the project `mp`, Configuration, tick `Public` and save; elsewhere allow anonymous pulls of `mp/nsx`
    ");
    let left = testbed.run(&["push", "-q", "project", "-t", "1", "-r", REPOSITORY, "--require-anonymous-pull"]);
    assert_eq!(left.code, Some(1));
    assert!(shown_error(&left).starts_with("error: "), "{}", left.err);
}

#[test]
fn check_lists_what_works_and_what_does_not() {
    let testbed = harbor();
    testbed.service(|service| service.auth.iter_mut().for_each(|auth| auth.telling = true));
    insta::assert_snapshot!(testbed.run(&["check", REPOSITORY]).done().out, @r"
    harbor.example.com/mp/nsx
      ✓ dns  left to the proxy
      ✓ tls  certificate is trusted
      ✓ registry  a registry of the distribution API
      ✓ login  credentials are accepted
      ✓ push  into `mp/nsx`
      ✓ anonymous pull  the project is public
    ");
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    testbed.service(|service| service.auth.iter_mut().for_each(|auth| auth.public = |_| false));
    let image = format!("{REPOSITORY}:1");
    let checked = testbed.run(&["check", &image]);
    assert_eq!(checked.code, Some(1));
    insta::assert_snapshot!(checked.out, @r"
    harbor.example.com/mp/nsx
      ✓ dns  left to the proxy
      ✓ tls  certificate is trusted
      ✓ registry  a registry of the distribution API
      ✓ login  credentials are accepted
      ✓ push  into `mp/nsx`
      ✗ anonymous pull  manifest af97d746e4b6: registry answered 401: UNAUTHORIZED: unauthorized to access repository: mp/nsx, action: pull: unauthorized to access repository: mp/nsx, action: pull
          hint: make the repository public: in Harbor open the project `mp`, Configuration, tick `Public` and save; elsewhere allow anonymous pulls of `mp/nsx`
    ");
    let words = "project mp not found: project mp not found";
    let testbed = refusing("POST", "/blobs/uploads/", Response::error(401, "UNAUTHORIZED", words));
    let checked = testbed.run(&["check", "--json", REPOSITORY]);
    assert_eq!(checked.code, Some(1));
    let json = checked.json();
    assert_eq!(json["passed"], false);
    let last = json["checks"].as_array().unwrap().iter().find(|check| check["name"] == "push").unwrap();
    assert_eq!(last["state"], "failed");
    assert!(last["hint"].as_str().unwrap().contains("create the project `mp` in Harbor"), "{last}");
}
