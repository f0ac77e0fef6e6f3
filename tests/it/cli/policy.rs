//! `[policy]`: what a site demands is refused before anything is built or pushed, and a check tells
//! what an image lacks.

use std::process::Command;

use serde_json::Value;

use super::fixture::{DOCKERFILE, Left, Serving, folder, project, run, text, write};
use crate::home::Home;

fn mpimg(home: &Home) -> Command {
    let mut command = home.mpimg();
    command.env("MPIMG_CONFIG", home.path().join("policy.toml"));
    command
}

/// A home whose configuration has this policy, with the keys `own` and `other`.
fn site(policy: &str) -> Home {
    let home = Home::new();
    write(&home.path(), "policy.toml", policy);
    for name in ["own", "other"] {
        // Without a password: to make a key of one takes long, on purpose.
        let (private, public) = (format!("{name}.key"), format!("{name}.pub"));
        let openssl = |arguments: &[&str]| crate::run(crate::judge("openssl").args(arguments).current_dir(home.path()));
        openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &private]);
        openssl(&["ec", "-in", &private, "-pubout", "-out", &public]);
    }
    home
}

fn runs(home: &Home, arguments: &[&str], more: &[&str]) -> Left {
    run(mpimg(home).args(arguments).args(more), [])
}

/// Of a check, what it says of the policy: how it went, and why.
fn judged(home: &Home, subject: &str) -> Vec<(String, String)> {
    let report = run(&mut mpimg(home), ["check", "--json", subject]).json();
    let items = report["checks"].as_array().unwrap().iter().filter(|item| item["name"] == "policy");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    items.map(|item| (word(&item["state"]), word(&item["detail"]))).collect()
}

#[test]
fn a_push_that_leaves_out_what_is_demanded_is_refused_before_it_begins_with_the_flag_that_is_missing() {
    let home = site("[policy]\nsigned_by = ['own.pub']\nsbom = true\nprovenance = true\n");
    let registry = Serving::open();
    let project = folder(&home, "app", &format!("{DOCKERFILE}LABEL a=1\n"));
    let target = format!("{}/mp/app", registry.host);
    let whole = ["--sbom", "spdx", "--provenance", "--sign", "own.key"];
    for (given, missing, hint) in [
        (&whole[2..], "an SBOM is demanded", "--sbom spdx"),
        (&["--sbom", "spdx", "--sign", "own.key"][..], "provenance is demanded", "--provenance"),
        (&whole[..3], "a signature is demanded", "own.pub"),
        (
            &["--sbom", "spdx", "--provenance", "--sign", "other.key"][..],
            "is none that images pushed from here may be signed with",
            "own.pub",
        ),
    ] {
        let left = runs(&home, &["push", "--json", text(&project), "-r", &target, "--tag", "1"], given);
        assert_eq!(left.code, Some(1), "{given:?}: {}", left.err);
        let error = &left.json()["error"];
        assert_eq!(error["kind"], "policy", "{error}");
        assert!(error["message"].as_str().unwrap().contains(missing), "{error}");
        assert!(error["hint"].as_str().unwrap().contains(hint), "{error}");
    }
    assert_eq!(run(&mut mpimg(&home), ["images", "-q"]).done().out, "");
    assert_eq!(run(&mut mpimg(&home), ["inspect", &format!("docker://{target}:1")]).code, Some(1), "something was pushed");
    run(&mut mpimg(&home), ["build", "-q", text(&project), "-t", &format!("{target}:2")]).done();
    let left = run(&mut mpimg(&home), ["push", &format!("{target}:2"), "--sbom", "spdx", "--sign", "own.key"]);
    assert!(left.err.contains("push the folder that the image is built from"), "{}", left.err);
    let built = ["build", text(&project), "-t", &format!("{target}:3"), "--push", "--sbom=spdx", "--provenance=true"];
    let left = run(&mut mpimg(&home), built);
    assert!(left.err.contains("a signature is demanded"), "{}", left.err);

    runs(&home, &["push", text(&project), "-r", &target, "--tag", "1"], &whole).done();
    runs(&home, &built, &["--sign", "own.key"]).done();
    for tag in ["1", "3"] {
        let judged = judged(&home, &format!("{target}:{tag}"));
        assert_eq!(judged, [("passed".to_owned(), "the image has what `[policy]` demands".to_owned())]);
    }
    // An image of somebody without this policy.
    let other = folder(&home, "other", &format!("{DOCKERFILE}LABEL b=1\n"));
    let mut without = home.mpimg();
    run(without.env("COSIGN_PASSWORD", "").args(["push", text(&other), "-r", &target, "--tag", "4"]), ["--sign", "other.key"])
        .done();
    let told: Vec<String> =
        judged(&home, &format!("{target}:4")).into_iter().map(|(state, why)| format!("{state}: {why}")).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    for (told, lacks) in told.iter().zip(["has no SBOM", "has no provenance", "has no valid signature"]) {
        assert!(told.starts_with("failed: ") && told.contains(lacks), "{told}");
    }
    what_others_attach_does_not_count(&home, &registry.host);
    let doctor = run(&mut mpimg(&home), ["doctor"]).done().out;
    let key = home.path().join("own.pub").display().to_string();
    assert!(doctor.contains(&format!("what is pushed must have: a signature by {key}, an SBOM, provenance\n")), "{doctor}");
}

/// Anybody who may push can attach an SBOM and a provenance to an image that the right key signed.
fn what_others_attach_does_not_count(home: &Home, host: &str) {
    let project = folder(home, "third", &format!("{DOCKERFILE}LABEL c=1\n"));
    let target = format!("{host}/mp/app:5");
    let by_other = ["push", text(&project), "-r", target.trim_end_matches(":5"), "--tag", "5", "--sbom", "spdx", "--provenance"];
    run(home.mpimg().args(by_other), ["--sign", "other.key"]).done();
    run(&mut home.mpimg(), ["sign", &target, "--key", "own.key"]).done();
    let told = judged(home, &target);
    assert_eq!(told.len(), 2, "{told:?}");
    for ((state, why), lacks) in told.iter().zip(["has no SBOM signed by", "has no provenance signed by"]) {
        assert!(state == "failed" && why.contains(lacks), "{why}");
    }
    // The index is what is signed where it has both.
    let whole = ["--sbom", "spdx", "--provenance", "--attest", "buildkit", "--sign", "own.key"];
    runs(home, &["push", text(&project), "-r", target.trim_end_matches(":5"), "--tag", "6"], &whole).done();
    assert_eq!(judged(home, &target.replace(":5", ":6"))[0].0, "passed");
}

#[test]
fn what_is_built_for_a_push_stands_only_on_images_of_the_list() {
    let home = site("");
    let registry = Serving::open();
    let base = |home: &Home, name: &str| {
        let project = folder(home, name, &format!("{DOCKERFILE}LABEL base={name}\n"));
        run(&mut mpimg(home), ["push", "-q", text(&project), "-r", &format!("{}/{name}/base", registry.host), "--tag", "1"])
            .done();
    };
    ["good", "evil"].iter().for_each(|name| base(&home, name));
    write(&home.path(), "policy.toml", &format!("[policy]\nbases = ['{}/good/*']\n", registry.host));
    let from = |name: &str| format!("FROM {}/{name}/base:1\n", registry.host);
    let copy = format!("{}COPY --from={}/evil/base:1 / /evil\n", from("good"), registry.host);
    for (dockerfile, context, allowed) in [
        (from("good"), None, true),
        (from("evil"), None, false),
        (copy, None, false),
        ("FROM nice\n".to_owned(), Some(format!("nice=docker-image://{}/good/base:1", registry.host)), true),
        (from("good"), Some(format!("{0}/good/base:1=docker-image://{0}/evil/base:1", registry.host)), false),
    ] {
        let project = home.path().join("project");
        let _ = std::fs::remove_dir_all(&project);
        folder(&home, "project", &dockerfile);
        let context: Vec<&str> = context.iter().flat_map(|context| ["--build-context", context.as_str()]).collect();
        let target = format!("{}/mp/app", registry.host);
        let left = runs(&home, &["push", "--json", text(&project), "-r", &target], &context);
        assert_eq!(left.code == Some(0), allowed, "{dockerfile}{context:?}: {}", left.err);
        if !allowed {
            let error = &left.json()["error"];
            let named = format!("{}/evil/base:1` is not an image that may be built on here", registry.host);
            assert!(error["kind"] == "policy" && error["message"].as_str().unwrap().contains(&named), "{error}");
        }
        // Nothing is demanded of what stays on this machine.
        runs(&home, &["build", "-q", text(&project)], &context).done();
    }
    checks_the_bases_of_a_project(&home, &registry.host);
}

fn checks_the_bases_of_a_project(home: &Home, host: &str) {
    let project = project(home);
    write(&project, "config.json", &format!("{{\"container_repository\": \"{host}/mp/sdk\"}}"));
    for (name, state) in [("good", "passed"), ("evil", "failed")] {
        write(&project, "Dockerfile", &format!("FROM {host}/{name}/base:1\n"));
        let judged = judged(home, text(&project));
        assert_eq!(judged.iter().map(|(state, _)| state.as_str()).collect::<Vec<_>>(), [state], "{judged:?}");
    }
}
