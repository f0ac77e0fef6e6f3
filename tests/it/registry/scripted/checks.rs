//! What `mpimg check` and the end of a push tell of a registry that is not as it should be: each
//! with what to do about it.

use super::auth::{Auth, Scheme};
use super::http_server::{Reply, Response};
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed, shown_error};

/// A registry where strangers may pull.
fn testbed(host: &'static str, quirks: Quirks) -> Testbed {
    let mut auth = Auth::new(Scheme::bearer(host, "/token", host), "me", PASSWORD);
    auth.public = |_| true;
    Testbed::new(&[host], Service::new(quirks, Some(auth))).with_login(host, "me")
}

/// Answers GET for manifests, which only the check at the end of a push sends.
fn at_the_end(testbed: &Testbed, answer: Response) {
    testbed.service(|service| {
        service.after_auth = Box::new(move |request| request.is("GET", "/manifests/").then(|| answer.clone().into()));
    });
}

#[test]
fn what_could_not_be_found_out_is_not_said_to_be_wrong() {
    let testbed = testbed("harbor.example.com", Quirks::HARBOR);
    let busy = Response::error(429, "TOOMANYREQUESTS", "too many requests").with("Retry-After", "21600");
    at_the_end(&testbed, busy);
    let left = testbed.push("harbor.example.com/mp/nsx").done();
    let told = shown_error(&left);
    assert!(
        told.contains("is pushed; whether VMware Aria Operations can pull it without logging in could not be found out"),
        "{told}"
    );
    assert!(told.contains("hint: the registry limits how often it may be asked"), "{told}");
    let required =
        testbed.run(&["push", "-q", "project", "-t", "1", "-r", "harbor.example.com/mp/nsx", "--require-anonymous-pull"]);
    assert_eq!(required.code, Some(1));
    assert!(shown_error(&required).contains("could not be found out"), "{}", required.err);
    let digest = left.out.lines().find_map(|line| line.strip_prefix("DIGEST=")).unwrap();
    let checked = testbed.run(&["check", &format!("harbor.example.com/mp/nsx@{digest}")]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains("  ? anonymous pull  manifest "), "{}", checked.out);
    // Nor is a token server that does not work.
    testbed.service(|service| {
        service.after_auth = Box::new(|_| None);
        let broken = Response::new(503).with("Retry-After", "21600");
        service.before_auth = Box::new(move |request| {
            (request.path == "/token" && request.header("authorization").is_none()).then(|| broken.clone().into())
        });
    });
    let told = shown_error(&testbed.push("harbor.example.com/mp/nsx").done());
    assert!(told.contains("could not be found out") && !told.contains("make the repository public"), "{told}");
}

#[test]
fn a_project_that_lets_nobody_pull_what_is_not_scanned_is_told_from_a_private_one() {
    let testbed = testbed("harbor.example.com", Quirks::HARBOR);
    let words = "current image without vulnerability scanning cannot be pulled due to configured policy in 'Prevent images with \
                 vulnerability severity of High or higher from running.'";
    at_the_end(&testbed, Response::error(412, "PROJECTPOLICYVIOLATION", words));
    let told = shown_error(&testbed.push("harbor.example.com/mp/nsx").done());
    assert!(told.contains("cannot pull it without logging in") && told.contains("PROJECTPOLICYVIOLATION"), "{told}");
    assert!(told.contains("hint: in Harbor open the project `mp`, Configuration: it blocks pulls of images that"), "{told}");
}

#[test]
fn a_check_of_an_image_that_cannot_be_read_still_lists_what_was_found() {
    let testbed = testbed("registry.example.com", Quirks::HARBOR);
    let checked = testbed.run(&["check", "registry.example.com/mp/nsx:1"]);
    assert_eq!(checked.code, Some(1));
    insta::assert_snapshot!(checked.out, @r"
    registry.example.com/mp/nsx
      ✓ dns  left to the proxy
      ✓ tls  certificate is trusted
      ✓ registry  a registry of the distribution API
      ✓ login  credentials are accepted
      ✓ push  into `mp/nsx`
      ✗ image  cannot pull `registry.example.com/mp/nsx:1`: registry answered 404: MANIFEST_UNKNOWN: manifest unknown
          hint: check the name, and the tag or digest
    ");
}

#[test]
fn a_check_finds_a_repository_that_ecr_does_not_have_as_a_push_does() {
    const ECR: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    let service = Service::new(Quirks::ECR, Some(Auth::new(Scheme::Basic, "AWS", PASSWORD)));
    let testbed = Testbed::new(&[ECR], service).with_login(ECR, "AWS");
    testbed.service(|service| service.after_auth = Box::new(|request| (request.method == "POST").then_some(Reply::Cut)));
    let checked = testbed.run(&["check", &format!("{ECR}/mp/nsx")]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains("✗ push  connection to"), "{}", checked.out);
    let hint = "hint: create the repository first: `aws ecr create-repository --repository-name mp/nsx --region eu-central-1`";
    assert!(checked.out.contains(hint), "{}", checked.out);
    assert_eq!(testbed.server.seen().iter().filter(|request| request.method == "POST").count(), 3);
}

#[test]
fn ecr_public_has_a_command_of_its_own_for_a_repository_that_is_missing() {
    let testbed = testbed("public.ecr.aws", Quirks::ECR);
    let words = "The repository with name 'mp/nsx' does not exist in the registry with id '123456789012'";
    let unknown = Response::error(404, "NAME_UNKNOWN", words);
    testbed.service(|service| {
        service.after_auth = Box::new(move |request| (request.method == "POST").then(|| unknown.clone().into()))
    });
    let told = shown_error(&testbed.push("public.ecr.aws/alias/mp/nsx"));
    let hint =
        "hint: create the repository first: `aws ecr-public create-repository --repository-name mp/nsx --region us-east-1`";
    assert!(told.contains(hint), "{told}");
}
