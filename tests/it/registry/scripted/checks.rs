//! What `mpimg check` and the end of a push tell of a registry that is not as it should be: each with what to do about it.

use super::login::{Door, Scheme};
use super::registry::Manners;
use super::wire::{Answer, Reply};
use super::world::{PASSWORD, Service, World, verdict};

/// A registry where strangers may pull.
fn world(host: &'static str, manners: Manners) -> World {
    let mut door = Door::new(Scheme::bearer(host, "/token", host), "me", PASSWORD);
    door.public = |_| true;
    World::new(&[host], Service::new(manners, Some(door))).with_login(host, "me")
}

/// Answers GET for manifests, which only the check at the end of a push sends.
fn at_the_end(world: &World, answer: Answer) {
    world.service(|service| {
        service.inside = Box::new(move |request| request.is("GET", "/manifests/").then(|| answer.clone().into()));
    });
}

#[test]
fn what_could_not_be_found_out_is_not_said_to_be_wrong() {
    let world = world("harbor.example.com", Manners::HARBOR);
    let busy = Answer::error(429, "TOOMANYREQUESTS", "too many requests").with("Retry-After", "21600");
    at_the_end(&world, busy);
    let left = world.push("harbor.example.com/mp/nsx").done();
    let told = verdict(&left);
    assert!(
        told.contains("is pushed; whether VMware Aria Operations can pull it without logging in could not be found out"),
        "{told}"
    );
    assert!(told.contains("hint: the registry limits how often it may be asked"), "{told}");
    let required =
        world.run(&["push", "-q", "project", "-t", "1", "-r", "harbor.example.com/mp/nsx", "--require-anonymous-pull"]);
    assert_eq!(required.code, Some(1));
    assert!(verdict(&required).contains("could not be found out"), "{}", required.err);
    let digest = left.out.lines().find_map(|line| line.strip_prefix("DIGEST=")).unwrap();
    let checked = world.run(&["check", &format!("harbor.example.com/mp/nsx@{digest}")]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains("  ? anybody can pull  manifest "), "{}", checked.out);
    // Nor is a token server that does not work.
    world.service(|service| {
        service.inside = Box::new(|_| None);
        let broken = Answer::new(503).with("Retry-After", "21600");
        service.first = Box::new(move |request| {
            (request.path == "/token" && request.header("authorization").is_none()).then(|| broken.clone().into())
        });
    });
    let told = verdict(&world.push("harbor.example.com/mp/nsx").done());
    assert!(told.contains("could not be found out") && !told.contains("make the repository public"), "{told}");
}

#[test]
fn a_project_that_lets_nobody_pull_what_is_not_scanned_is_told_from_a_private_one() {
    let world = world("harbor.example.com", Manners::HARBOR);
    let words = "current image without vulnerability scanning cannot be pulled due to configured policy in 'Prevent images with \
                 vulnerability severity of High or higher from running.'";
    at_the_end(&world, Answer::error(412, "PROJECTPOLICYVIOLATION", words));
    let told = verdict(&world.push("harbor.example.com/mp/nsx").done());
    assert!(told.contains("cannot pull it without logging in") && told.contains("PROJECTPOLICYVIOLATION"), "{told}");
    assert!(told.contains("hint: in Harbor open the project `mp`, Configuration: it lets nobody pull images that"), "{told}");
}

#[test]
fn a_check_of_an_image_that_cannot_be_read_still_lists_what_was_found() {
    let world = world("registry.example.com", Manners::HARBOR);
    let checked = world.run(&["check", "registry.example.com/mp/nsx:1"]);
    assert_eq!(checked.code, Some(1));
    insta::assert_snapshot!(checked.out, @r"
    registry.example.com/mp/nsx
      ✓ name resolves  left to the proxy
      ✓ TLS verifies  certificate is trusted
      ✓ /v2/ answers  a registry of the distribution API
      ✓ login works  credentials are accepted
      ✓ push is allowed  into `mp/nsx`
      ✗ the image is there  cannot pull `registry.example.com/mp/nsx:1`: registry answered 404: MANIFEST_UNKNOWN: manifest unknown
          hint: check the name, and the tag or digest
    ");
}

#[test]
fn a_check_finds_a_repository_that_ecr_does_not_have_as_a_push_does() {
    const ECR: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    let service = Service::new(Manners::ECR, Some(Door::new(Scheme::Basic, "AWS", PASSWORD)));
    let world = World::new(&[ECR], service).with_login(ECR, "AWS");
    world.service(|service| service.inside = Box::new(|request| (request.method == "POST").then_some(Reply::Cut)));
    let checked = world.run(&["check", &format!("{ECR}/mp/nsx")]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains("✗ push is allowed  connection to"), "{}", checked.out);
    let hint = "hint: create the repository first: `aws ecr create-repository --repository-name mp/nsx --region eu-central-1`";
    assert!(checked.out.contains(hint), "{}", checked.out);
    assert_eq!(world.wire.seen().iter().filter(|request| request.method == "POST").count(), 3);
}

#[test]
fn ecr_public_has_a_command_of_its_own_for_a_repository_that_is_missing() {
    let world = world("public.ecr.aws", Manners::ECR);
    let words = "The repository with name 'mp/nsx' does not exist in the registry with id '123456789012'";
    let unknown = Answer::error(404, "NAME_UNKNOWN", words);
    world.service(|service| service.inside = Box::new(move |request| (request.method == "POST").then(|| unknown.clone().into())));
    let told = verdict(&world.push("public.ecr.aws/alias/mp/nsx"));
    let hint =
        "hint: create the repository first: `aws ecr-public create-repository --repository-name mp/nsx --region us-east-1`";
    assert!(told.contains(hint), "{told}");
}
