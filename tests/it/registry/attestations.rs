//! SBOM and provenance in the image's index: held against BuildKit's own, read by programs that
//! know such indexes, and looked into by every verb.

use std::path::{Path, PathBuf};
use std::process::Command;

use mpimg::oci::Digest;
use serde_json::{Value, json};

use super::fixture::{distribution, skopeo};
use crate::buildkit::{self, Build, Buildkit};
use crate::cli::fixture::{DOCKERFILE, Serving, folder, run, text, write};
use crate::home::Home;
use crate::judges;
use crate::skip::{Missing, skip};

const SPDX: &str = "https://spdx.dev/Document";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const EVERYTHING: [&str; 4] = ["--attest", "buildkit", "--sbom", "spdx"];

/// A home with the key `own`, and a folder with a package to build.
fn signer() -> (Home, PathBuf) {
    let home = Home::new();
    // Without a password: to make a key of one takes long, on purpose.
    let openssl = |arguments: &str| {
        let mut command = crate::judge("openssl");
        crate::run(command.args(arguments.split_whitespace()).current_dir(home.path()));
    };
    openssl("ecparam -name prime256v1 -genkey -noout -out own.key");
    openssl("ec -in own.key -pubout -out own.pub");
    let made = folder(&home, "app", &format!("{DOCKERFILE}COPY METADATA /usr/lib/python3/a-1.dist-info/\n"));
    write(&made, "METADATA", "Metadata-Version: 2.1\nName: a\nVersion: 1\n");
    (home, made)
}

fn push(home: &Home, folder: &Path, target: &str, more: &[&str]) -> Value {
    let mut command = home.mpimg();
    command.args(["push", "--json", text(folder), "-r", target, "--tag", "1"]);
    run(command.args(more), []).done().json()
}

fn raw(name: &str) -> Value {
    serde_json::from_str(&skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")])).unwrap()
}

/// A program that tests/setup builds with Go.
fn go(program: &str) -> Option<PathBuf> {
    Some(judges().join("go/bin").join(program)).filter(|path| path.exists())
}

/// The document at a digest of a layout.
fn document(layout: &Path, digest: &Value) -> Value {
    let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
    serde_json::from_slice(&std::fs::read(layout.join("blobs/sha256").join(hex)).unwrap()).unwrap()
}

/// The image's index in a layout with one entry.
fn index_of(layout: &Path) -> Value {
    let list: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    document(layout, &list["manifests"][0]["digest"])
}

/// The document with every digest and size taken out: what is left must be the same whoever writes
/// it.
fn shape(document: &Value) -> Value {
    match document {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match key.as_str() {
                "digest" | "size" | "vnd.docker.reference.digest" => (key.clone(), json!("*")),
                _ => (key.clone(), shape(value)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_index_has_the_shape_of_buildkit_s_own() {
    if !buildkit::is_built() {
        skip!(Missing::BuildKit);
    }
    let (home, folder) = signer();
    let flags = ["--provenance=true".to_owned()];
    let buildkit = Buildkit::start();
    let theirs = buildkit.build(&Build { context: &folder, images: &[], flags: &flags });
    let build = ["build", "-o", "oci:ours:ours", "--provenance=true", "--attest", "buildkit", text(&folder)];
    run(&mut home.mpimg(), build).done();
    let ours = home.path().join("ours");
    let (theirs_index, ours_index) = (index_of(&theirs), index_of(&ours));
    assert_eq!(shape(&ours_index), shape(&theirs_index));
    let attestation = |layout: &Path, index: &Value| document(layout, &index["manifests"][1]["digest"]);
    let (their_manifest, our_manifest) = (attestation(&theirs, &theirs_index), attestation(&ours, &ours_index));
    assert_eq!(shape(&our_manifest), shape(&their_manifest));
    assert_eq!(our_manifest["subject"]["digest"], ours_index["manifests"][0]["digest"]);
    for (layout, manifest, index) in [(&theirs, their_manifest, &theirs_index), (&ours, our_manifest, &ours_index)] {
        let statement = document(layout, &manifest["layers"][0]["digest"]);
        assert_eq!(
            (&statement["_type"], &statement["predicateType"]),
            (&json!("https://in-toto.io/Statement/v1"), &json!(PROVENANCE))
        );
        let image = index["manifests"][0]["digest"].as_str().unwrap();
        assert_eq!(format!("sha256:{}", statement["subject"][0]["digest"]["sha256"].as_str().unwrap()), image);
        // Both are told of, whoever made them.
        let layout = format!("oci:{}", layout.display());
        let inspected = run(&mut home.mpimg(), ["inspect", "--json", &layout]).done().json();
        assert_eq!(inspected["digest"], image);
        assert_eq!(inspected["attestations"][0]["predicate_type"], PROVENANCE, "{inspected}");
    }
    // containerd's way to an image: it takes the one for its platform.
    std::fs::write(folder.join("Dockerfile"), "FROM ours\nCOPY app app2\n").unwrap();
    let above = buildkit.build(&Build { context: &folder, images: &[("ours", &ours, "ours")], flags: &[] });
    let list: Value = serde_json::from_slice(&std::fs::read(above.join("index.json")).unwrap()).unwrap();
    let manifest = document(&above, &list["manifests"][0]["digest"]);
    let image = document(&ours, &ours_index["manifests"][0]["digest"]);
    assert_eq!(manifest["layers"][0], image["layers"][0]);
}

#[test]
fn the_tag_names_an_index_of_the_image_whose_digest_stays_and_the_same_build_has_the_same_index() {
    let (home, folder) = signer();
    let (old, new) = (distribution(""), Serving::open());
    for host in [old.address.to_string(), new.host.clone()] {
        let (plain, target) = (format!("{host}/mp/plain"), format!("{host}/mp/app"));
        let own = push(&home, &folder, &plain, &[])["digest"].as_str().unwrap().to_owned();
        let provenance = [&EVERYTHING[..], &["--provenance"]].concat();
        let pushed = push(&home, &folder, &target, &provenance);
        let index = raw(&format!("{target}:1"));
        assert_eq!(pushed["digest"], Digest::of(skopeo_bytes(&format!("{target}:1"))).to_string());
        assert_eq!(pushed["conf"]["digest"], pushed["digest"]);
        assert_eq!(pushed["anonymous_pull"], true);
        let entries = index["manifests"].as_array().unwrap();
        assert_eq!(entries.len(), 2, "{index}");
        assert_eq!(entries[0]["digest"], own);
        assert_eq!(pushed["manifests"][0], json!({ "digest": own, "platform": "linux/amd64" }));
        assert_eq!(pushed["manifests"][1]["attests"], own);
        let manifest = raw(&format!("{target}@{}", pushed["sbom"].as_str().unwrap()));
        let kinds: Vec<&Value> = manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| &layer["annotations"]["in-toto.io/predicate-type"])
            .collect();
        assert_eq!(kinds, [SPDX, PROVENANCE]);
        let again = push(&home, &folder, &target, &[&provenance[..], &["--no-cache"]].concat());
        assert_eq!((&again["digest"], &again["sbom"]), (&pushed["digest"], &pushed["sbom"]));
        // What is in the index is what `mpimg sbom` says of the image in it.
        let sbom = run(&mut home.mpimg(), ["sbom", &format!("docker://{target}:1")]).done().out;
        let copied = format!("oci:{}", host.replace(':', "-"));
        run(&mut home.mpimg(), ["copy", &format!("docker://{target}:1"), &copied]).done();
        let layout = home.path().join(host.replace(':', "-"));
        let statement = document(&layout, &manifest["layers"][0]["digest"]);
        assert_eq!(statement["predicate"], serde_json::from_str::<Value>(&sbom).unwrap());
        assert!(sbom.contains("pkg:pypi/a@1"), "{sbom}");
        // A daemon's way: the image of this machine's platform, without a question.
        skopeo(&[
            "copy",
            "--src-tls-verify=false",
            &format!("docker://{target}@{}", again["digest"].as_str().unwrap()),
            &format!("dir:{}", home.path().join(format!("dir-{}", host.replace(':', "-"))).display()),
        ]);
    }
}

fn skopeo_bytes(name: &str) -> Vec<u8> {
    skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]).into_bytes()
}

#[test]
fn a_signature_of_the_index_is_one_of_all_that_it_holds_and_travels_with_it() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let more = [&EVERYTHING[..], &["--provenance", "--sign", "own.key"]].concat();
    let pushed = push(&home, &folder, &target, &more);
    let (digest, attestation) = (pushed["digest"].as_str().unwrap(), pushed["sbom"].as_str().unwrap());
    let signed: Vec<&str> = pushed["signed"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(signed, [digest, attestation, pushed["manifests"][0]["digest"].as_str().unwrap()]);
    let moved = format!("{}/elsewhere/app", registry.host);
    run(&mut home.mpimg(), ["copy", "--referrers", &format!("docker://{target}:1"), "oci:all"]).done();
    run(&mut home.mpimg(), ["copy", "--referrers", "oci:all", &format!("docker://{moved}:1")]).done();
    for image in [format!("{target}:1"), format!("{moved}@{digest}")] {
        let verified = run(&mut home.mpimg(), ["verify", "--json", "--recursive", &image, "--key", "own.pub"]).done().json();
        let found = verified["verified"][0]["attestations"].as_array().unwrap();
        let kinds: Vec<(&str, bool)> =
            found.iter().map(|one| (one["predicate_type"].as_str().unwrap(), one["valid"] == true)).collect();
        assert_eq!(kinds, [(SPDX, true), (PROVENANCE, true)], "{verified}");
        assert_eq!(found[1]["predicate"]["buildDefinition"]["externalParameters"]["platform"], "linux/amd64");
        let told = run(&mut home.mpimg(), ["verify", &image, "--key", "own.pub"]).done().out;
        assert!(told.contains(&format!("  in the index: statement ({PROVENANCE}) about ")), "{told}");
        if let Some(cosign) = go("cosign") {
            let mut command = Command::new(cosign);
            command.env_clear().env("HOME", home.path()).env("DOCKER_CONFIG", home.path()).current_dir(home.path());
            run(command.args(["verify", "--key", "own.pub", "--insecure-ignore-tlog=true"]), [&image]).done();
        }
    }
    for (program, arguments) in
        [("crane", vec!["validate", "--remote"]), ("regctl", vec!["manifest", "get", "--platform", "linux/amd64"])]
    {
        let Some(program) = go(program) else { skip!(Missing::Registries) };
        let mut command = Command::new(program);
        command.env_clear().env("HOME", home.path()).env("DOCKER_CONFIG", home.path());
        let name = format!("{moved}:1");
        if arguments[0] == "manifest" {
            run(
                Command::new(command.get_program()).env("HOME", home.path()),
                ["registry", "set", "--tls", "disabled", &registry.host],
            )
            .done();
        }
        run(command.args(arguments), [&name]).done();
    }
}

#[test]
fn an_attestation_about_another_image_is_told_and_a_policy_looks_into_the_index() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let policy = |text: &str| write(&home.path(), "policy.toml", text);
    let judged = |image: &str| {
        let mut command = home.mpimg();
        let report = run(command.env("MPIMG_CONFIG", home.path().join("policy.toml")), ["check", "--json", image]).json();
        let items = report["checks"].as_array().unwrap().iter().filter(|item| item["name"] == "policy");
        items.map(|item| item["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    policy("[policy]\nsbom = true\nprovenance = true\n");
    let whole = push(&home, &folder, &target, &[&EVERYTHING[..], &["--provenance"]].concat());
    // By the tag, by the index's digest, and by the image's own.
    for name in [
        format!("{target}:1"),
        format!("{target}@{}", whole["digest"].as_str().unwrap()),
        format!("{target}@{}", whole["manifests"][0]["digest"].as_str().unwrap()),
    ] {
        assert_eq!(judged(&name), ["passed"], "{name}");
    }
    let other = format!("{}/mp/sbom-only", registry.host);
    push(&home, &folder, &other, &EVERYTHING);
    assert_eq!(judged(&format!("{other}:1")), ["failed"]);
    // Demanded, and asked for in this form.
    let mut command = home.mpimg();
    command.env("MPIMG_CONFIG", home.path().join("policy.toml"));
    let left = run(command.args(["push", text(&folder), "-r", &target, "--tag", "2"]).args(EVERYTHING), []);
    assert!(left.err.contains("provenance is demanded"), "{}", left.err);

    // The statements of one image in the index of another.
    run(&mut home.mpimg(), ["copy", &format!("docker://{target}:1"), "oci:whole"]).done();
    std::fs::write(folder.join("app/adapter.py"), "print('other')\n").unwrap();
    let own = push(&home, &folder, &format!("{}/mp/other", registry.host), &[])["digest"].as_str().unwrap().to_owned();
    run(&mut home.mpimg(), ["copy", &format!("docker://{}/mp/other:1", registry.host), "oci:whole:other"]).done();
    let layout = home.path().join("whole");
    let mut index = raw(&format!("{target}:1"));
    let size = std::fs::metadata(layout.join("blobs/sha256").join(own.trim_start_matches("sha256:"))).unwrap().len();
    index["manifests"][0]["digest"] = json!(own);
    index["manifests"][0]["size"] = json!(size);
    index["manifests"][1]["annotations"]["vnd.docker.reference.digest"] = json!(own);
    let bytes = index.to_string();
    let digest = Digest::of(&bytes);
    std::fs::write(layout.join("blobs/sha256").join(digest.hex()), &bytes).unwrap();
    let list = json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": bytes.len(),
        "annotations": { "org.opencontainers.image.ref.name": "forged" },
    }] });
    std::fs::write(layout.join("index.json"), list.to_string()).unwrap();
    let forged = format!("{}/mp/forged:1", registry.host);
    run(&mut home.mpimg(), ["copy", "oci:whole:forged", &format!("docker://{forged}")]).done();
    run(&mut home.mpimg(), ["sign", &forged, "--key", "own.key"]).done();
    let verified = run(&mut home.mpimg(), ["verify", "--json", &forged, "--key", "own.pub"]).done().json();
    for found in verified["verified"][0]["attestations"].as_array().unwrap() {
        assert_eq!(
            (&found["valid"], &found["error"]),
            (&json!(false), &json!("the statement is about another image")),
            "{verified}"
        );
    }
}

#[test]
fn a_build_for_several_platforms_attests_each_and_what_cannot_hold_an_index_is_refused() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let name = format!("{}/mp/app:1", registry.host);
    let flags = ["--sbom=spdx", "--provenance=mode=max", "--attest", "buildkit", "--attest", "type=sbom"];
    let build = |more: &[&str]| run(home.mpimg().args(["build", "--json", text(&folder)]).args(flags).args(more), []);
    let built = build(&["--push", "-t", &name, "--platform", "linux/amd64,linux/arm64"]).done().json();
    let manifests = built["manifests"].as_array().unwrap();
    let of = |at: usize| (manifests[at]["platform"].as_str().unwrap(), manifests[at]["attests"].as_str());
    let digests: Vec<&str> = manifests.iter().map(|one| one["digest"].as_str().unwrap()).collect();
    assert_eq!((of(0), of(1)), (("linux/amd64", None), ("linux/arm64", None)));
    assert_eq!((of(2), of(3)), (("unknown/unknown", Some(digests[0])), ("unknown/unknown", Some(digests[1]))));
    let inspect = ["inspect", "--json", "--platform", "linux/arm64", &format!("docker://{name}")];
    let inspected = run(&mut home.mpimg(), inspect).done().json();
    assert_eq!(inspected["digest"], digests[1]);
    assert_eq!(inspected["attestations"].as_array().unwrap().len(), 2, "{inspected}");
    // The image alone goes where there is no room for more, the index where there is.
    let built = build(&["-t", "app:1", "-o", "docker-archive:a.tar", "-o", "oci-archive:b.tar"]).done().json();
    assert_eq!(built["manifests"].as_array().unwrap().len(), 2);
    for image in ["app:1", "docker-archive:a.tar", "oci-archive:b.tar"] {
        let inspected = run(&mut home.mpimg(), ["inspect", "--json", image]).done().json();
        assert_eq!(inspected["attestations"].is_null(), image != "oci-archive:b.tar", "{inspected}");
    }
    let left = build(&["-t", "app:1"]);
    assert_eq!(left.code, Some(2));
    let message = left.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("need a place that holds an index"), "{message}");
    let left = run(&mut home.mpimg(), ["build", text(&folder), "--push", "-t", &name, "--attest", "buildkit"]);
    assert!(left.err.contains("there is nothing to put into the image's index"), "{}", left.err);
    run(&mut home.mpimg(), ["build", "-q", text(&folder), "-t", &name]).done();
    let left = run(&mut home.mpimg(), ["push", &name, "--provenance", "--attest", "buildkit"]);
    assert!(left.err.contains("was not built by this push"), "{}", left.err);
    run(&mut home.mpimg(), ["push", &name, "--sbom", "cyclonedx", "--attest", "buildkit"]).done();
}
