//! Where a push goes, what it prints, what it writes.

use axum::http::StatusCode;
use mpimg::serve::{Fault, FaultResponse};
use serde_json::{Value, json};

use super::fixture::{Left, Serving, folder, is_digest, project, run, text, write};
use crate::home::Home;

fn config(project: &std::path::Path) -> Option<Value> {
    Some(serde_json::from_str(&std::fs::read_to_string(project.join("config.json")).ok()?).unwrap())
}

/// The three lines, without the digest, which must be one.
fn conf_lines(left: &Left) -> (&str, &str) {
    let lines: Vec<&str> = left.out.lines().collect();
    let [registry, repository, digest] = lines[..] else { panic!("{}", left.out) };
    assert!(is_digest(digest.strip_prefix("DIGEST=").unwrap()), "{digest}");
    (registry, repository)
}

#[test]
fn the_printed_lines_are_those_of_the_conf_file() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    let repository = format!("{}/mp/hello", registry.host);
    let left = run(&mut home.mpimg(), ["push", "-p", text(&project), "-r", &repository]).done();
    assert_eq!(conf_lines(&left), (format!("REGISTRY={}", registry.host).as_str(), "REPOSITORY=/mp/hello"));
    assert!(left.err.contains("it can be pulled without logging in"), "{}", left.err);
    assert!(!left.err.contains("failed"), "{}", left.err);
    assert_eq!(config(&project), None, "mp-build does not write what a flag says");

    write(&project, "config.json", r#"{"use_default_registry": true}"#);
    let left = run(&mut home.mpimg(), ["push", text(&project), "-r", &repository]).done();
    assert_eq!(left.out.lines().next(), Some("REPOSITORY=/mp/hello"));
}

#[test]
fn config_json_says_where_to_push_and_where_to_pull_from() {
    let (home, inside, outside) = (Home::new(), Serving::open(), Serving::open());
    let project = project(&home);
    let repository = format!("{}/mp/hello", outside.host);
    let before = json!({ "container_repository": repository, "container_push_repository": format!("{}/mp/in", inside.host) });
    write(&project, "config.json", &before.to_string());
    let left = run(&mut home.mpimg(), ["push", text(&project)]).done();
    assert_eq!(conf_lines(&left), (format!("REGISTRY={}", outside.host).as_str(), "REPOSITORY=/mp/hello"));
    assert!(left.err.contains(&format!("pushed {}/mp/in:1.2.3_", inside.host)), "{}", left.err);
    // It is in one registry, and nobody replicates it to the other.
    assert!(left.err.contains("warning: ") && left.err.contains("cannot pull it without logging in"), "{}", left.err);
    assert_eq!(config(&project), Some(before));
}

#[test]
fn a_push_repository_alone_is_remembered_but_only_after_success() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    write(&project, "config.json", r#"{"default_memory_limit": 512}"#);
    write(&project, "Dockerfile", "FROM scratch\nCOPY missing .\n");
    let repository = format!("{}/mp/hello", registry.host);
    let left = run(&mut home.mpimg(), ["push", text(&project), "--push-registry", &repository]);
    assert_eq!(left.code, Some(1));
    assert_eq!(config(&project), Some(json!({ "default_memory_limit": 512 })));

    write(&project, "Dockerfile", super::fixture::DOCKERFILE);
    let closed = "127.0.0.1:1/mp/hello";
    let left = run(&mut home.mpimg(), ["push", text(&project), "--push-registry", closed]);
    assert_eq!(left.code, Some(1), "{}", left.err);
    assert_eq!(config(&project), Some(json!({ "default_memory_limit": 512 })));

    run(&mut home.mpimg(), ["push", text(&project), "--push-registry", &repository]).done();
    assert_eq!(config(&project), Some(json!({ "container_repository": repository, "default_memory_limit": 512 })));
    run(&mut home.mpimg(), ["push", text(&project)]).done();
}

#[test]
fn the_same_project_has_the_same_digest_under_any_tag() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    let repository = format!("{}/mp/hello", registry.host);
    let first = run(&mut home.mpimg(), ["push", "--json", text(&project), "-r", &repository]).done().json();
    let second =
        run(&mut home.mpimg(), ["push", "--json", text(&project), "-r", &repository, "-t", "a", "-t", "b"]).done().json();
    assert_eq!(first["digest"], second["digest"]);
    assert_eq!((&second["tag"], &second["tags"]), (&json!("a"), &json!(["a", "b"])));
    for tag in ["a", "b"] {
        let name = format!("docker://{repository}:{tag}");
        let there = run(&mut home.mpimg(), ["inspect", "-q", &name]).done();
        assert_eq!(there.out.trim_end(), first["digest"]);
    }
}

#[test]
fn any_folder_with_a_dockerfile_can_be_pushed_to_a_given_repository() {
    let (home, registry) = (Home::new(), Serving::open());
    let folder = folder(&home, "plain", super::fixture::DOCKERFILE);
    let repository = format!("{}/app", registry.host);
    let json = run(&mut home.mpimg(), ["push", "--json", text(&folder), "-r", &repository]).done().json();
    assert_eq!(json["tag"], "latest");
}

#[test]
fn an_image_that_exists_is_pushed_as_it_is() {
    let (home, registry) = (Home::new(), Serving::open());
    let folder = folder(&home, "plain", super::fixture::DOCKERFILE);
    let built = run(&mut home.mpimg(), ["build", "-q", text(&folder), "-t", "app:7", "-o", "oci:out"]).done().out;
    let repository = format!("{}/app", registry.host);
    for image in ["app:7", "oci:out"] {
        let json = run(&mut home.mpimg(), ["push", "--json", "--image", image, "-r", &repository]).done().json();
        assert_eq!(json["digest"], built.trim_end());
        assert_eq!(json["tag"], if image == "app:7" { "7" } else { "latest" });
    }
}

#[test]
fn a_private_registry_takes_the_password_from_standard_input_and_warns_about_the_product() {
    use std::io::Write as _;
    let (home, registry) = (Home::new(), Serving::private());
    let project = project(&home);
    let repository = format!("{}/mp/hello", registry.host);
    let refused = run(&mut home.mpimg(), ["push", "--json", text(&project), "-r", &repository]);
    assert_eq!(refused.code, Some(1));
    assert_eq!(refused.json()["error"]["kind"], "auth");

    let push = |more: &[&str]| {
        let mut command = home.mpimg();
        command.args(["push", text(&project), "-r", &repository, "--registry-username", "user", "--registry-password-stdin"]);
        command.args(more).stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"pass word\n").unwrap();
        Left::of(child.wait_with_output().unwrap())
    };
    let left = push(&[]).done();
    conf_lines(&left);
    assert!(left.err.contains("warning: ") && left.err.contains("cannot pull it without logging in"), "{}", left.err);
    let left = push(&["--require-anonymous-pull", "--json"]);
    assert_eq!(left.code, Some(1), "{}", left.err);
    assert_eq!(left.json()["anonymous_pull"], false);
    assert!(left.err.contains("error: ") && !left.err.contains("pass word"), "{}", left.err);
}

#[test]
fn login_stores_what_push_then_uses_and_logout_forgets_it() {
    use std::io::Write as _;
    let (home, registry) = (Home::new(), Serving::private());
    let project = project(&home);
    let login = |password: &[u8]| {
        let mut command = home.mpimg();
        command.args(["login", &registry.host, "-u", "user", "--password-stdin"]).stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(password).unwrap();
        Left::of(child.wait_with_output().unwrap())
    };
    let wrong = login(b"wrong");
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(1), ""), "{}", wrong.err);
    let right = login(b"pass word\r\n").done();
    assert_eq!(right.out, "Login Succeeded\n");
    assert!(right.err.contains("unencrypted"), "{}", right.err);
    let repository = format!("{}/mp/hello", registry.host);
    run(&mut home.mpimg(), ["push", text(&project), "-r", &repository]).done();
    let checked = run(&mut home.mpimg(), ["check", &repository]);
    // The product does not log in.
    assert!(checked.code == Some(1) && checked.out.contains("✓ push"), "{}", checked.out);
    assert!(checked.out.contains("✗ anonymous pull"), "{}", checked.out);
    run(&mut home.mpimg(), ["logout", &registry.host]).done();
    assert_eq!(run(&mut home.mpimg(), ["push", text(&project), "-r", &repository]).code, Some(1));
}

#[test]
fn check_is_a_list_of_ticks_and_crosses() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    let repository = format!("{}/mp/hello", registry.host);
    let left = run(&mut home.mpimg(), ["check", &repository]).done();
    assert!(left.out.contains("✓ push"), "{}", left.out);
    let json = run(&mut home.mpimg(), ["check", "--json", "127.0.0.1:1/a/b"]);
    assert_eq!(json.code, Some(1));
    assert_eq!(json.json()["passed"], false);
    // As every command that fails: an error with its kind, causes and remedy.
    let error = &json.json()["error"];
    assert_eq!((&error["kind"], &error["message"]), (&json!("network"), &json!("`127.0.0.1:1/a/b` did not pass the check")));
    assert!(error["causes"][0].as_str().unwrap().starts_with("registry: cannot connect to `127.0.0.1:1`"), "{error}");

    write(&project, "config.json", &json!({ "container_repository": repository }).to_string());
    run(&mut home.mpimg(), ["push", text(&project), "-t", "1"]).done();
    run(&mut home.mpimg(), ["check", text(&project)]).done();
    let left = run(&mut home.mpimg(), ["check", &format!("{repository}:1")]).done();
    assert!(left.out.contains("✓ anonymous pull"), "{}", left.out);
}

#[test]
fn a_passing_fault_is_told_and_tried_again() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let registry = Serving::faulty(move |request| match request.method.as_str() {
        "POST" if first.swap(false, std::sync::atomic::Ordering::Relaxed) => {
            Fault::Status(FaultResponse::error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "busy"))
        }
        _ => Fault::None,
    });
    let home = Home::new();
    let repository = format!("{}/mp/hello", registry.host);
    let left = run(&mut home.mpimg(), ["push", text(&project(&home)), "-r", &repository]).done();
    assert!(left.err.contains("; again in ") && left.err.contains("(try 2)"), "{}", left.err);
}

#[test]
fn a_trouble_of_the_registry_is_told_once_a_try_and_not_for_each_blob() {
    // Each of the blobs meets it, twice in a row.
    let met = std::sync::Mutex::new(std::collections::HashMap::<String, u32>::new());
    let registry = Serving::faulty(move |request| {
        let mut met = met.lock().unwrap();
        let times = met.entry(format!("{} {}", request.method, request.path)).or_default();
        *times += 1;
        match request.method.as_str() {
            "HEAD" if request.path.contains("/blobs/") && *times <= 2 => {
                Fault::Status(FaultResponse::error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "busy"))
            }
            _ => Fault::None,
        }
    });
    let home = Home::new();
    let repository = format!("{}/mp/hello", registry.host);
    let left = run(&mut home.mpimg(), ["push", text(&project(&home)), "-r", &repository, "--progress", "plain"]).done();
    for attempt in 2..=3 {
        let told = left.err.matches(&format!("(try {attempt})")).count();
        assert_eq!(told, 1, "try {attempt}: {}", left.err);
    }
}

#[test]
fn pushed_projects_are_listed_with_the_time_of_their_push_and_the_newest_few_stay() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    let repository = format!("{}/mp/hello", registry.host);
    for _ in 0..7 {
        run(&mut home.mpimg(), ["push", text(&project), "-r", &repository]).done();
    }
    run(&mut home.mpimg(), ["push", text(&project), "-r", &repository, "-t", "kept"]).done();
    let table = run(&mut home.mpimg(), ["images"]).done().out;
    assert!(table.starts_with("REPOSITORY ") && table.contains(" MADE "), "{table}");
    assert!(table.contains(" ago ") && !table.contains("year"), "{table}");
    let images = run(&mut home.mpimg(), ["images", "--json"]).done().json();
    let images = images["images"].as_array().unwrap();
    let tags: Vec<&str> = images.iter().map(|image| image["tag"].as_str().unwrap()).collect();
    assert_eq!((tags.len(), tags.iter().filter(|tag| tag.starts_with("1.2.3_")).count()), (6, 5), "{tags:?}");
    assert!(images.iter().all(|image| image["repository"] == json!(repository) && image["created"] == "1970-01-01T00:00:00Z"));
    assert!(images.iter().all(|image| !image["made"].as_str().unwrap().starts_with("1970")), "{images:?}");
    // The layers are the registry's: a name keeps nothing here, and what it names comes back.
    run(&mut home.mpimg(), ["prune", "--all"]).done();
    let left = run(&mut home.mpimg(), ["inspect", "--files", &format!("{repository}:kept")]).done();
    assert!(left.out.contains("app/adapter.py"), "{}", left.out);
}
