//! Amazon ECR: its own login by the AWS identity, parts of 5 to 10 MiB, answers that tell half of
//! the truth.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::auth::{Auth, Scheme};
use super::http_server::{Reply, Request, Response};
use super::memory::{Quirks, Registry};
use super::testbed::{PASSWORD, Service, Testbed, shown_error};

const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const API: &str = "api.ecr.eu-central-1.amazonaws.com";
const REPOSITORY: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mp/nsx";
const MIB: usize = 1 << 20;
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// ECR, where the repository is; the user has nothing but an AWS identity.
fn ecr() -> Testbed {
    let mut service = Service::new(Quirks::ECR, Some(Auth::new(Scheme::Basic, "AWS", PASSWORD)));
    service.before_auth = Box::new(|request| {
        (request.host == API).then(|| {
            assert_eq!(request.header("x-amz-target"), Some("AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"));
            let signed = request.header("authorization").unwrap();
            assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signed}");
            let token = STANDARD.encode(format!("AWS:{PASSWORD}"));
            let proxy = format!("https://{HOST}");
            Response::json(
                200,
                &json!({"authorizationData": [{"authorizationToken": token, "expiresAt": 1.0, "proxyEndpoint": proxy}]}),
            )
            .into()
        })
    });
    let mut testbed = Testbed::new(&[HOST, API], service);
    testbed.hide(SECRET_KEY);
    testbed.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
}

fn refusing(method: &'static str, part: &'static str, reply: Reply) -> Testbed {
    let testbed = ecr();
    testbed.service(|service| service.after_auth = Box::new(move |request| request.is(method, part).then(|| reply.clone())));
    testbed
}

#[test]
fn a_large_layer_arrives_in_parts_that_ecr_takes_although_its_range_stands_still() {
    let testbed = ecr().with_file(23 * MIB);
    let left = testbed.push(REPOSITORY).done();
    assert!(testbed.validate("mp/nsx", &left)[1] > 23 << 20);
    assert_eq!(testbed.service(|service| service.registry.sessions_begun()), 3, "a session was lost");
    let seen = testbed.server.seen();
    let parts: Vec<usize> = seen.iter().filter(|request| request.method == "PATCH").map(|request| request.body.len()).collect();
    assert!(parts.len() >= 2 && parts.iter().all(|part| (5 * MIB..=10 * MIB).contains(part)), "{parts:?}");
    let ends = seen.iter().filter(|request| request.method == "PUT" && request.path.contains("/uploads/"));
    assert!(ends.clone().count() == 3 && ends.clone().all(|put| !put.body.is_empty()));
    // One token for all.
    assert_eq!(seen.iter().filter(|request| request.host == API).count(), 1);
}

/// Lets `fault` happen to the second part.
fn at_the_second_part(testbed: &Testbed, mut fault: impl FnMut(&mut Registry, &Request) -> Reply + Send + 'static) {
    let mut parts = 0;
    testbed.service(|service| {
        service.with_registry = Box::new(move |registry, request| {
            parts += usize::from(request.method == "PATCH");
            (request.method == "PATCH" && parts == 2).then(|| fault(registry, request))
        });
    });
}

#[test]
fn a_part_whose_answer_was_lost_is_not_sent_twice_since_the_416_names_the_right_offset() {
    let testbed = ecr().with_file(23 * MIB);
    at_the_second_part(&testbed, |registry, request| {
        registry.answer(request);
        Reply::Cut
    });
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    assert_eq!(testbed.service(|service| service.registry.sessions_begun()), 3, "a session was lost");
}

#[test]
fn a_part_that_broke_is_sent_again_in_the_same_session() {
    let testbed = ecr().with_file(23 * MIB);
    at_the_second_part(&testbed, |_, _| Reply::Cut);
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    assert_eq!(testbed.service(|service| service.registry.sessions_begun()), 3, "a session was lost");
}

#[test]
fn a_session_that_ecr_forgot_is_begun_again() {
    let testbed = ecr().with_file(17 * MIB);
    at_the_second_part(&testbed, |registry, request| {
        registry.forget_session(request);
        Reply::Cut
    });
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    assert_eq!(testbed.service(|service| service.registry.sessions_begun()), 4);
}

#[test]
fn a_repository_that_is_not_there_is_told_by_words_or_by_a_closed_connection() {
    let words = "The repository with name 'mp/nsx' does not exist in the registry with id '123456789012'";
    let left = refusing("POST", "/blobs/uploads/", Response::error(404, "NAME_UNKNOWN", words).into()).push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `123456789012.dkr.ecr.eu-central-1.amazonaws.com/mp/nsx`
      caused by: registry answered 404: NAME_UNKNOWN: The repository with name 'mp/nsx' does not exist in the registry with id '123456789012'
    hint: create the repository first: `aws ecr create-repository --repository-name mp/nsx --region eu-central-1`
    ");
    let left = refusing("POST", "/blobs/uploads/", Reply::Cut).push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `123456789012.dkr.ecr.eu-central-1.amazonaws.com/mp/nsx`
      caused by: connection to `123456789012.dkr.ecr.eu-central-1.amazonaws.com` broke
      caused by: connection closed before message completed
    hint: create the repository first: `aws ecr create-repository --repository-name mp/nsx --region eu-central-1`
    ");
}

#[test]
fn an_immutable_tag_is_not_moved() {
    let words = "The image tag '1' already exists in the 'mp/nsx' repository and cannot be overwritten because the repository is immutable.";
    let left = refusing("PUT", "/manifests/", Response::error(400, "TAG_INVALID", words).into()).push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `123456789012.dkr.ecr.eu-central-1.amazonaws.com/mp/nsx`
      caused by: registry answered 400: TAG_INVALID: The image tag '1' already exists in the 'mp/nsx' repository and cannot be overwritten because the repository is immutable.
    hint: push under a new tag, or set tag mutability to `mutable` for the ECR repository `mp/nsx`
    ");
}

#[test]
fn parts_that_ecr_puts_together_otherwise_twice_are_explained() {
    let words = "None of the provided layer digests match the calculated digest";
    let testbed = refusing("PUT", "/blobs/uploads/", Response::error(400, "BLOB_UPLOAD_INVALID", words).into());
    let left = testbed.push(REPOSITORY);
    let refused = testbed.server.seen().iter().filter(|request| request.is("PUT", "/blobs/uploads/")).count();
    assert!(refused >= 2, "tried again once");
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `123456789012.dkr.ecr.eu-central-1.amazonaws.com/mp/nsx`
      caused by: registry answered 400: BLOB_UPLOAD_INVALID: None of the provided layer digests match the calculated digest
    hint: ECR put the layer's parts together differently: run the same command again, and report it if it happens twice
    ");
}

#[test]
fn an_identity_that_may_not_push_is_told_which_rights_it_lacks() {
    let words = "User: arn:aws:iam::123456789012:user/me is not authorized to perform: ecr:InitiateLayerUpload on resource: \
                 arn:aws:ecr:eu-central-1:123456789012:repository/mp/nsx";
    let left = refusing("POST", "/blobs/uploads/", Response::error(403, "DENIED", words).into()).push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `123456789012.dkr.ecr.eu-central-1.amazonaws.com/mp/nsx`
      caused by: registry answered 403: DENIED: User: arn:aws:iam::123456789012:user/me is not authorized to perform: ecr:InitiateLayerUpload on resource: arn:aws:ecr:eu-central-1:123456789012:repository/mp/nsx
    hint: check that the AWS identity may push to `mp/nsx` (ecr:InitiateLayerUpload, ecr:PutImage, …) and that its token is fresh
    ");
}

#[test]
fn without_an_identity_the_user_reads_how_to_give_one() {
    let testbed = ecr().env("AWS_ACCESS_KEY_ID", "").env("AWS_EC2_METADATA_DISABLED", "true");
    let left = testbed.push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    let warned = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile with AWS_PROFILE, or give the machine a role";
    assert!(left.err.contains(&format!("no AWS identity for `{HOST}`")) && left.err.contains(warned), "{}", left.err);
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `123456789012.dkr.ecr.eu-central-1.amazonaws.com/mp/nsx`
      caused by: not logged in to `123456789012.dkr.ecr.eu-central-1.amazonaws.com`
      caused by: registry answered 401: UNAUTHORIZED: authentication required
    hint: choose an AWS identity that may use ECR (AWS_PROFILE): mpimg gets the password with it
    ");
}

#[test]
fn a_stale_token_of_docker_login_is_replaced_by_the_identitys_own() {
    let testbed = ecr();
    let stale = STANDARD.encode("AWS:yesterday");
    std::fs::write(testbed.home.path().join("config.json"), json!({"auths": {HOST: {"auth": stale}}}).to_string()).unwrap();
    for expired in [
        Response::error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again."),
        Response::error(401, "UNAUTHORIZED", "not authorized"),
    ] {
        let expired = expired.with("WWW-Authenticate", format!(r#"Basic realm="https://{HOST}/",service="ecr.amazonaws.com""#));
        let stale = format!("Basic {stale}");
        testbed.service(|service| {
            let asks = std::mem::replace(&mut service.before_auth, Box::new(|_| None));
            let mut asks = asks;
            service.before_auth = Box::new(move |request| {
                let is_stale = request.header("authorization") == Some(stale.as_str());
                is_stale.then(|| expired.clone().into()).or_else(|| asks(request))
            });
        });
        let left = testbed.push(REPOSITORY).done();
        testbed.validate("mp/nsx", &left);
    }
}

#[test]
fn a_private_repository_cannot_be_pulled_by_anybody_and_the_way_out_is_named() {
    let testbed = ecr();
    let left = testbed.push(REPOSITORY).done();
    let warning = shown_error(&left);
    assert!(warning.contains("cannot pull it without logging in"), "{warning}");
    insta::assert_snapshot!(warning.lines().find(|line| line.starts_with("hint")).unwrap(), @r"
    hint: a private ECR repository cannot be pulled without credentials: push to ECR Public (`public.ecr.aws/<alias>/mp/nsx`), or to a Harbor project that is public
    ");
    let required = testbed.run(&["push", "-q", "project", "-t", "1", "-r", REPOSITORY, "--require-anonymous-pull"]);
    assert_eq!(required.code, Some(1));
    let checked = testbed.run(&["check", &format!("{REPOSITORY}:1")]);
    assert_eq!(checked.code, Some(1));
    insta::assert_snapshot!(checked.out, @r"
    123456789012.dkr.ecr.eu-central-1.amazonaws.com/mp/nsx
      ✓ dns  left to the proxy
      ✓ tls  certificate is trusted
      ✓ registry  a registry of the distribution API
      ✓ login  credentials are accepted
      ✓ push  into `mp/nsx`
      ✗ anonymous pull  manifest af97d746e4b6: registry answered 401: UNAUTHORIZED: authentication required
          hint: a private ECR repository cannot be pulled without credentials: push to ECR Public (`public.ecr.aws/<alias>/mp/nsx`), or to a Harbor project that is public
    ");
}
