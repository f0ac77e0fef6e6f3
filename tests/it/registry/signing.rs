//! Signatures: ours judged by cosign, cosign's by us, in both forms, on registries with and without
//! a list of referrers.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mpimg::image::ManifestTree;
use mpimg::oci::{Descriptor, Digest, MediaType, Reference, Repository, Tag};
use mpimg::registry::Client;
use mpimg::serve::{Fault, FaultResponse};
use mpimg::store::BlobSource;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{distribution, distribution_3, skopeo};
use crate::cli::fixture::{DOCKERFILE, Left, Serving, folder, run, text};
use crate::home::Home;
use crate::judges;
use crate::skip::{Missing, skip};

pub(super) const PASSWORD: &str = "correct horse";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// cosign, if tests/setup could build it.
pub(super) fn cosign() -> Option<PathBuf> {
    Some(judges().join("go/bin/cosign")).filter(|path| path.exists())
}

pub(super) fn cosign_runs(home: &Home, arguments: &[&str]) -> Output {
    let mut command = Command::new(cosign().unwrap());
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home.path())
        .env("COSIGN_PASSWORD", PASSWORD)
        .env("DOCKER_CONFIG", home.path());
    command.args(arguments).current_dir(home.path()).output().unwrap()
}

pub(super) fn cosign_does(home: &Home, arguments: &[&str]) -> String {
    let done = cosign_runs(home, arguments);
    assert!(done.status.success(), "cosign {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

pub(super) fn mpimg(home: &Home) -> Command {
    let mut command = home.mpimg();
    command.env("COSIGN_PASSWORD", PASSWORD);
    command
}

/// A home with a key of ours, `own.key` and `own.pub`, and a folder to build.
pub(super) fn signer() -> (Home, PathBuf) {
    let home = Home::new();
    run(&mut mpimg(&home), ["key", "generate", "own"]).done();
    let folder = folder(&home, "app", DOCKERFILE);
    (home, folder)
}

/// Runs a command that must fail with an exit code.
pub(super) fn refused<const N: usize>(command: &mut Command, arguments: [&str; N], code: i32) -> Left {
    let left = run(command, arguments);
    assert_eq!(left.code, Some(code), "{}\n{}", left.out, left.err);
    left
}

pub(super) fn push(home: &Home, folder: &Path, target: &str, more: &[&str]) -> Value {
    let mut command = mpimg(home);
    command.args(["push", "--json", text(folder), "-r", target, "--tag", "1"]);
    run(command.args(more), []).done().json()
}

#[test]
fn cosign_verifies_a_signed_push_in_both_forms_with_and_without_a_list_of_referrers() {
    if cosign().is_none() {
        skip!(Missing::Registries);
    }
    let (home, folder) = signer();
    let (old, three, new) = (distribution(""), distribution_3(), Serving::open());
    for host in [old.address.to_string(), three.address.to_string(), new.host.clone()] {
        let target = format!("{host}/mp/app");
        let pushed = push(&home, &folder, &target, &["--sign", "own.key", "--sbom", "spdx"]);
        let digest = pushed["digest"].as_str().unwrap();
        assert_eq!(pushed["signed"], serde_json::json!([digest, pushed["sbom"]]));
        let image = format!("{target}@{digest}");
        for form in ["--new-bundle-format=true", "--new-bundle-format=false"] {
            for image in [&image, &format!("{target}@{}", pushed["sbom"].as_str().unwrap())] {
                cosign_does(
                    &home,
                    &["verify", "--key", "own.pub", "--insecure-ignore-tlog=true", "--allow-insecure-registry", form, image],
                );
            }
        }
        run(home.mpimg().env("COSIGN_PASSWORD", ""), ["key", "generate", &host.replace(':', "-")]).done();
        let stranger = format!("{}.pub", host.replace(':', "-"));
        let by_cosign = cosign_runs(&home, &["verify", "--key", &stranger, "--insecure-ignore-tlog=true", &image]);
        assert!(!by_cosign.status.success(), "cosign takes any key");
        let left = refused(&mut home.mpimg(), ["verify", &image, "--key", &stranger], 1);
        assert!(left.err.contains("has no valid signature by any of the given keys\n"), "{}", left.err);
        assert!(left.err.contains("the signature is not by this key, or what it signs was changed"), "{}", left.err);
        let verified = run(&mut home.mpimg(), ["verify", "--json", &image, "--key", &stranger, "--key", "own.pub"]).done().json();
        let forms: Vec<&str> = verified["verified"][0]["signatures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| found["form"].as_str().unwrap())
            .collect();
        assert_eq!(forms, ["tag", "bundle"]);
    }
}

#[test]
fn signatures_of_cosign_are_verified_with_its_own_key_files_and_ours_are_added_to_them() {
    if cosign().is_none() {
        skip!(Missing::Registries);
    }
    let (home, folder) = signer();
    let (old, three, new) = (distribution(""), distribution_3(), Serving::open());
    cosign_does(&home, &["generate-key-pair"]);
    for host in [old.address.to_string(), three.address.to_string(), new.host.clone()] {
        let target = format!("{host}/mp/app");
        let pushed = push(&home, &folder, &target, &[]);
        let image = format!("{target}@{}", pushed["digest"].as_str().unwrap());
        let left = refused(&mut home.mpimg(), ["verify", &image, "--key", "cosign.pub"], 1);
        assert!(left.err.contains(&format!("error: `{image}` is not signed\n")), "{}", left.err);
        for form in ["--new-bundle-format=true", "--new-bundle-format=false"] {
            let sign =
                ["sign", "--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false", "--yes", form, &image];
            cosign_does(&home, &sign);
        }
        run(&mut home.mpimg(), ["verify", &image, "--key", "cosign.pub"]).done();
        // With cosign's key, and with ours beside it: both are there afterwards, and neither twice.
        for key in ["cosign.key", "own.key", "own.key"] {
            run(&mut mpimg(&home), ["sign", &image, "--key", key]).done();
        }
        for key in ["cosign.pub", "own.pub"] {
            for form in ["--new-bundle-format=true", "--new-bundle-format=false"] {
                cosign_does(&home, &["verify", "--key", key, "--insecure-ignore-tlog=true", form, &image]);
            }
            run(&mut home.mpimg(), ["verify", &image, "--key", key]).done();
        }
        let hex = pushed["digest"].as_str().unwrap().trim_start_matches("sha256:");
        let tag: Value = serde_json::from_str(&skopeo(&[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{target}:sha256-{hex}.sig"),
        ]))
        .unwrap();
        assert!((2..=3).contains(&tag["layers"].as_array().unwrap().len()), "{tag}");
    }
}

#[test]
fn what_was_changed_after_signing_is_not_valid_and_each_reason_is_told() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let pushed = push(&home, &folder, &target, &["--sign", "own.key"]);
    let digest = pushed["digest"].as_str().unwrap().to_owned();
    // Another image, under the first one's signatures: by tag as they are, and as a referrer that
    // names the other.
    std::fs::write(folder.join("Dockerfile"), format!("{DOCKERFILE}LABEL other=1\n")).unwrap();
    let other = push(&home, &folder, &target, &["--tag", "2"])["digest"].as_str().unwrap().to_owned();
    let tag = |digest: &str| format!("docker://{target}:{}.sig", digest.replace(':', "-"));
    skopeo(&["copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", &tag(&digest), &tag(&other)]);
    let left = refused(&mut home.mpimg(), ["verify", &format!("{target}@{other}"), "--key", "own.pub"], 1);
    assert!(left.err.contains(&format!("the signature is for another image, `{digest}`")), "{}", left.err);
}

/// A folder with a base image of the store, a download, and a build argument.
fn provenance_of(home: &Home, target: &str, more: &[&str]) -> (Value, Value) {
    let folder = folder(home, "made", DOCKERFILE);
    let mut command = mpimg(home);
    command.args(["push", "--json", text(&folder), "-r", target, "--tag", "1", "--provenance", "--build-arg", "TOKEN=secret"]);
    let pushed = run(command.args(more), []).done().json();
    let manifest = format!("docker://{target}@{}", pushed["provenance"].as_str().unwrap());
    let manifest: Value = serde_json::from_str(&skopeo(&["inspect", "--raw", "--tls-verify=false", &manifest])).unwrap();
    (pushed, manifest)
}

/// Reads a statement of provenance as in-toto's own library does: a field that its schema does not
/// have, or of another type, is an error.
fn fits_in_toto_s_schema(statement: &Path) {
    let read = "import json, sys
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement
statement = json.load(open(sys.argv[1]))
Statement.copy_from_pb(ParseDict(statement, Statement([], '', {}).pb.__class__())).validate()
provenance = ParseDict(statement['predicate'], Provenance())
assert provenance.run_details.builder.id and provenance.build_definition.build_type, provenance";
    let python = judges().join("sbom/bin/python");
    crate::run(Command::new(python).args(["-c", read]).arg(statement));
}

#[test]
fn the_same_build_has_the_same_provenance_which_names_its_inputs_and_no_argument_s_value() {
    let (home, _) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let (pushed, manifest) = provenance_of(&home, &target, &[]);
    assert_eq!(manifest["annotations"]["in-toto.io/predicate-type"], "https://slsa.dev/provenance/v1");
    assert_eq!(manifest["subject"]["digest"], pushed["digest"]);
    let (again, _) = provenance_of(&home, &target, &["--no-cache"]);
    assert_eq!(again["provenance"], pushed["provenance"]);

    let copy = ["copy", "--referrers", &format!("docker://{target}:1"), "oci:all"];
    run(&mut home.mpimg(), copy).done();
    let blob = manifest["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let statement: Value =
        serde_json::from_slice(&std::fs::read(home.path().join("all/blobs/sha256").join(&blob)).unwrap()).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    fits_in_toto_s_schema(&home.path().join("all/blobs/sha256").join(blob));
    assert_eq!(format!("sha256:{}", statement["subject"][0]["digest"]["sha256"].as_str().unwrap()), pushed["digest"]);
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["buildArgs"], serde_json::json!({ "TOKEN": null }));
    let file = mpimg::oci::Digest::of(std::fs::read(home.path().join("made/Dockerfile")).unwrap());
    assert_eq!(definition["externalParameters"]["dockerfile"]["digest"]["sha256"], file.hex());

    let (told, _) = provenance_of(&home, &target, &["--provenance-args", "--sign", "own.key"]);
    assert_ne!(told["provenance"], pushed["provenance"]);
    let image = format!("{target}@{}", pushed["digest"].as_str().unwrap());
    let verified = run(&mut home.mpimg(), ["verify", "--json", &image, "--key", "own.pub"]).done().json();
    let stated: Vec<&Value> =
        verified["verified"][0]["signatures"].as_array().unwrap().iter().filter(|found| !found["predicate"].is_null()).collect();
    assert_eq!(stated[0]["predicate"]["buildDefinition"]["externalParameters"]["buildArgs"]["TOKEN"], "secret");
    if cosign().is_none() {
        skip!(Missing::Registries);
    }
    let verify = ["verify-attestation", "--key", "own.pub", "--insecure-ignore-tlog=true", "--type", "slsaprovenance1", &image];
    cosign_does(&home, &verify);
}

#[test]
fn a_build_that_pushes_signs_and_records_as_push_does() {
    let (home, _) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let (pushed, _) = provenance_of(&home, &target, &["--provenance-args", "--sign", "own.key"]);
    let (name, folder) = (format!("{}/mp/built:1", registry.host), home.path().join("made"));
    let flags = ["--push", "--sbom=spdx", "--provenance=mode=max", "--sign", "own.key", "--build-arg", "TOKEN=secret"];
    let built = run(mpimg(&home).args(["build", "--json", "-t", &name]).args(flags).arg(&folder), []).done().json();
    assert_eq!(built["digest"], pushed["digest"]);
    let verified = |image: &str| run(&mut home.mpimg(), ["verify", "--json", image, "--key", "own.pub"]).done().json();
    let predicates = |image: &str| -> Vec<Value> {
        let report = verified(image);
        let found = report["verified"][0]["signatures"].as_array().unwrap();
        found.iter().map(|found| found["predicate"].clone()).filter(|predicate| !predicate.is_null()).collect()
    };
    assert_eq!(predicates(&name), predicates(&format!("{target}:1")));
    assert_eq!(predicates(&name).len(), 1);

    let left = refused(&mut mpimg(&home), ["build", "-t", &name, "--sign", "own.key", text(&folder)], 2);
    assert!(left.err.contains("an image is signed in its registry, and nothing is pushed\nhint: "), "{}", left.err);
}

#[test]
fn what_a_stranger_writes_into_a_bundle_cannot_draw_a_report() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let pushed = push(&home, &folder, &target, &["--sign", "own.key"]);
    // A referrer of a bundle's type, made of an SBOM's: another media type and blob, the same
    // subject.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = super::fixture::client(super::fixture::options());
        let repository = mpimg::oci::Repository::parse(&target).unwrap();
        let digest = mpimg::oci::Digest::parse(pushed["digest"].as_str().unwrap()).unwrap();
        let subject = client.pull_tree(&repository.with_digest(digest), None).await.unwrap().descriptor;
        let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let forged =
            serde_json::json!({ "mediaType": "x\r\u{1b}[2K  valid: signature (bundle)\n  valid: signature" }).to_string();
        let artifact = mpimg::image::artifact(bundle, bundle, forged.into(), &subject);
        client.attach(&repository, &artifact).await.unwrap();
    });
    let image = format!("{target}@{}", pushed["digest"].as_str().unwrap());
    let report = run(&mut home.mpimg(), ["verify", &image, "--key", "own.pub"]).done().out;
    assert!(
        report.contains("\n  not valid: signature (bundle): a `x\\r\\u{1b}[2K  valid: signature (bundle)\\n  valid"),
        "{report:?}"
    );
    assert_eq!(report.matches("\n  valid: ").count(), 2, "{report}");
}

/// The bytes of a signed bundle that refers to an image, by the kind of its statement.
async fn bundle_of(client: &Client, repository: &Repository, image: &Digest, kind: &str) -> Value {
    for referrer in client.referrers(repository, image).await.unwrap() {
        if !referrer.media_type.as_str().contains("sigstore.bundle") {
            continue;
        }
        let tree = client.pull_tree(&repository.with_digest(referrer.digest), None).await.unwrap();
        let bundle: Value = serde_json::from_slice(&tree.blob(&tree.blobs[1].0.digest, 1 << 20).await.unwrap()).unwrap();
        if statement(&bundle)["predicateType"] == kind {
            return bundle;
        }
    }
    panic!("no bundle of `{kind}`");
}

fn statement(bundle: &Value) -> Value {
    serde_json::from_slice(&STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap()).unwrap()
}

/// The bundle with another statement under the same signature.
fn stating(bundle: &Value, change: impl Fn(&mut Value)) -> Value {
    let (mut bundle, mut statement) = (bundle.clone(), statement(bundle));
    change(&mut statement);
    bundle["dsseEnvelope"]["payload"] = STANDARD.encode(statement.to_string()).into();
    bundle
}

#[test]
fn whatever_is_tampered_with_is_refused_for_its_own_reason_and_keeps_no_good_signature_from_counting() {
    let (home, folder) = signer();
    let lost: Arc<Mutex<String>> = Arc::default();
    let hidden = Arc::clone(&lost);
    let registry = Serving::faulty(move |request| {
        let lost = hidden.lock().unwrap();
        match !lost.is_empty() && request.method == Method::GET && request.path.ends_with(&*lost) {
            true => Fault::Status(FaultResponse::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "gone")),
            false => Fault::None,
        }
    });
    let target = format!("{}/mp/app", registry.host);
    let pushed = push(&home, &folder, &target, &["--sign", "own.key", "--provenance"]);
    run(home.mpimg().env("COSIGN_PASSWORD", ""), ["key", "generate", "stranger"]).done();
    let image = format!("{target}@{}", pushed["digest"].as_str().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let alone: Mutex<Vec<(String, &str)>> = Mutex::default();
    let cases: Vec<(Digest, &str)> = runtime.block_on(async {
        let client = super::fixture::client(super::fixture::options());
        let repository = Repository::parse(&target).unwrap();
        let digest = Digest::parse(pushed["digest"].as_str().unwrap()).unwrap();
        let subject = client.pull_tree(&repository.with_digest(digest), None).await.unwrap().descriptor;
        let good = bundle_of(&client, &repository, &digest, "https://sigstore.dev/cosign/sign/v1").await;
        let provenance = bundle_of(&client, &repository, &digest, "https://slsa.dev/provenance/v1").await;
        let with = |pointer: &str, value: Value| {
            let mut bundle = good.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match key.parse::<usize>() {
                Ok(at) => bundle.pointer_mut(parent).unwrap()[at] = value,
                Err(_) => bundle.pointer_mut(parent).unwrap()[key] = value,
            }
            bundle.to_string()
        };
        let signature = STANDARD.decode(good["dsseEnvelope"]["signatures"][0]["sig"].as_str().unwrap()).unwrap();
        let cut = STANDARD.encode(&signature[..signature.len() - 1]);
        let mut certified = stating(&good, |statement| statement["predicate"] = json!({ "x": 1 }));
        certified["verificationMaterial"] = json!({ "certificate": { "rawBytes": "AAAA" } });
        let other = "0".repeat(64);
        let not_this_key = "the signature is not by this key, or what it signs was changed";
        let tampered = [
            (
                stating(&good, |statement| statement["subject"][0]["digest"]["sha256"] = other.clone().into()).to_string(),
                not_this_key,
            ),
            (
                stating(&provenance, |statement| statement["predicate"]["buildDefinition"]["buildType"] = "x".into()).to_string(),
                not_this_key,
            ),
            (with("/dsseEnvelope/signatures/0/sig", cut.into()), "the signature is not an ASN.1 ECDSA signature on P-256"),
            (with("/dsseEnvelope/signatures/0/sig", "%".into()), "the bundle cannot be read"),
            (with("/dsseEnvelope/signatures", json!([])), "the statement has no signature"),
            (with("/dsseEnvelope/payloadType", "text/plain".into()), "a `text/plain` is signed, not an in-toto statement"),
            (with("/dsseEnvelope/payload", "e30=".into()), not_this_key),
            (with("/mediaType", "text/plain".into()), "a `text/plain` is not a Sigstore bundle"),
            (with("/dsseEnvelope", Value::Null), "the bundle holds nothing, not a signed statement"),
            (certified.to_string(), "the bundle brings a certificate, and only the given keys are believed"),
            (
                with("/verificationMaterial/certificate", json!({ "rawBytes": "AAAA" })),
                "the bundle brings a certificate, and only the given keys are believed",
            ),
            (
                with("/mediaType", "application/vnd.dev.sigstore.bundle.v0.9+json".into()),
                "a `application/vnd.dev.sigstore.bundle.v0.9+json` is of a version that mpimg does not know",
            ),
            (good.to_string()[..200].to_owned(), "the bundle cannot be read"),
            ("lost".to_owned(), "it cannot be read: "),
        ];
        let mut cases = Vec::new();
        for (document, reason) in tampered {
            if document == "lost" {
                *lost.lock().unwrap() = Digest::of(&document).to_string();
            }
            alone.lock().unwrap().push((document.clone(), reason));
            let artifact = mpimg::image::artifact(BUNDLE, BUNDLE, document.into(), &subject);
            client.attach(&repository, &artifact).await.unwrap();
            cases.push((artifact.descriptor.digest, reason));
        }
        cases
    });
    let verified = run(&mut home.mpimg(), ["verify", "--json", &image, "--key", "own.pub"]).done().json();
    let found = verified["verified"][0]["signatures"].as_array().unwrap();
    for (manifest, reason) in &cases {
        let of = |signature: &&Value| signature["manifest"] == json!(manifest);
        let signature = found.iter().find(of).unwrap_or_else(|| panic!("{manifest} ({reason}) is missing: {verified}"));
        assert!(signature["error"].as_str().is_some_and(|error| error.contains(reason)), "{reason}: {signature}");
        assert_eq!((&signature["valid"], &signature["predicate"]), (&json!(false), &Value::Null), "{signature}");
    }
    assert_eq!(found.iter().filter(|signature| signature["valid"] == true).count(), 3, "tag, bundle and provenance: {verified}");
    let report = run(&mut home.mpimg(), ["verify", &image, "--key", "own.pub"]).done().out;
    let (lost, _) = cases.last().unwrap();
    assert!(report.contains(&format!(" (in {lost})\n")), "{report}");
    // Another key: nothing is good, and each reason is told once.
    let left = refused(&mut home.mpimg(), ["verify", &image, "--key", "stranger.pub"], 1);
    assert!(left.err.contains("has no valid signature by any of the given keys"), "{}", left.err);
    assert!(left.err.matches("the signature is not by this key, or what it signs was changed").count() <= 2, "{}", left.err);
    // Each alone with the image: cosign refuses it, too.
    let good: Vec<&str> = vec!["--new-bundle-format=true", "--new-bundle-format=false"];
    assert!(cosign().is_none() || good.iter().all(|form| cosign_takes(&home, &image, "own.pub", form)));
    for (number, (document, reason)) in alone.into_inner().unwrap().into_iter().enumerate() {
        let other = alone_with(&home, &image, &format!("{}/mp/bundle-{number}", registry.host));
        runtime.block_on(async {
            let client = super::fixture::client(super::fixture::options());
            let (repository, digest) = (other.repository(), other.digest().unwrap());
            let subject = client.pull_tree(&repository.with_digest(*digest), None).await.unwrap().descriptor;
            client.attach(repository, &mpimg::image::artifact(BUNDLE, BUNDLE, document.into(), &subject)).await.unwrap();
        });
        both_refuse(&home, &other.to_string(), reason);
    }
    tampered_tags_are_refused(&home, &registry.host, &image, &runtime);
}

/// The image without its signatures in another repository.
fn alone_with(home: &Home, image: &str, repository: &str) -> Reference {
    let (_, digest) = image.split_once('@').unwrap();
    run(&mut home.mpimg(), ["copy", &format!("docker://{image}"), &format!("docker://{repository}:1")]).done();
    Reference::parse(&format!("{repository}@{digest}")).unwrap()
}

/// Whether cosign takes a signature of this form.
pub(super) fn cosign_takes(home: &Home, image: &str, key: &str, form: &str) -> bool {
    cosign_runs(home, &["verify", "--key", key, "--insecure-ignore-tlog=true", form, image]).status.success()
}

/// Refused by mpimg for its reason, and by cosign, whatever form that looks for.
fn both_refuse(home: &Home, image: &str, reason: &str) {
    let left = refused(&mut home.mpimg(), ["verify", image, "--key", "own.pub"], 1);
    assert!(left.err.contains(reason), "{reason}: {}", left.err);
    if cosign().is_some() {
        for form in ["--new-bundle-format=true", "--new-bundle-format=false"] {
            assert!(!cosign_takes(home, image, "own.pub", form), "cosign takes it: {reason}");
        }
        let statement =
            ["verify-attestation", "--key", "own.pub", "--insecure-ignore-tlog=true", "--type", "slsaprovenance1", image];
        assert!(!cosign_runs(home, &statement).status.success(), "cosign takes the statement: {reason}");
    }
}

/// Tampered payloads, signatures and keys in the form with a tag, and a manifest that was changed.
fn tampered_tags_are_refused(home: &Home, host: &str, image: &str, runtime: &tokio::runtime::Runtime) {
    let (repository, digest) = image.split_once('@').unwrap();
    let tag = Tag::parse(&format!("{}.sig", digest.replace(':', "-"))).unwrap();
    let client = || super::fixture::client(super::fixture::options());
    let (manifest, config, payload) = runtime.block_on(async {
        let tree = client().pull_tree(&Repository::parse(repository).unwrap().with_tag(tag.clone()), None).await.unwrap();
        let manifest: Value = serde_json::from_slice(&tree.bytes).unwrap();
        let config = tree.blob(&tree.blobs[0].0.digest, 1 << 20).await.unwrap();
        (manifest, config, tree.blob(&tree.blobs[1].0.digest, 1 << 20).await.unwrap())
    });
    const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
    let good = manifest["layers"][0]["annotations"][SIGNATURE].as_str().unwrap().to_owned();
    let cut = STANDARD.decode(&good).unwrap();
    let cut = STANDARD.encode(&cut[..cut.len() - 1]);
    let text = String::from_utf8(payload.to_vec()).unwrap();
    let not_this_key = "the signature is not by this key, or what it signs was changed";
    let cases = [
        (text.replace("mp/app", "mp/evil"), json!(good), not_this_key),
        (text.replace(digest, &format!("sha256:{}", "0".repeat(64))), json!(good), not_this_key),
        (format!("{text} "), json!(good), not_this_key),
        (text.clone(), json!(cut), "the signature is not an ASN.1 ECDSA signature on P-256"),
        (text.clone(), json!("%"), "the signature is not base64"),
        (text.clone(), json!(""), "the signature is not an ASN.1 ECDSA signature on P-256"),
    ];
    for (number, (payload, signature, reason)) in cases.into_iter().enumerate() {
        let other = alone_with(home, image, &format!("{host}/mp/tag-{number}"));
        let mut manifest = manifest.clone();
        manifest["layers"] = json!([manifest["layers"][0]]);
        manifest["layers"][0]["digest"] = json!(Digest::of(&payload));
        manifest["layers"][0]["size"] = json!(payload.len());
        manifest["layers"][0]["annotations"][SIGNATURE] = signature;
        let bytes = bytes::Bytes::from(manifest.to_string());
        let blobs = [config.clone(), payload.into()];
        let source = |blob: &Descriptor| {
            let bytes = blobs.iter().find(|bytes| Digest::of(bytes) == blob.digest).unwrap();
            Ok(BlobSource::Memory(bytes.clone()))
        };
        let tree = ManifestTree::manifest(Descriptor::of(MediaType::Manifest, &bytes), bytes, source).unwrap();
        runtime.block_on(async {
            let session = client().push(other.repository()).unwrap();
            session.offer_tree(&tree);
            session.finish_tree(&tree, std::slice::from_ref(&tag)).await.unwrap();
        });
        both_refuse(home, &other.to_string(), reason);
    }
    // The image itself: one more annotation is another digest, which nobody signed.
    let other = alone_with(home, image, &format!("{host}/mp/manifest"));
    let changed = runtime.block_on(async {
        let mut tree = client().pull_tree(&other, None).await.unwrap();
        let mut manifest: Value = serde_json::from_slice(&tree.bytes).unwrap();
        manifest["annotations"] = json!({ "a": "b" });
        tree.bytes = manifest.to_string().into();
        tree.descriptor = Descriptor::of(MediaType::Manifest, &tree.bytes);
        let session = client().push(other.repository()).unwrap();
        session.offer_tree(&tree);
        session.finish_tree(&tree, &[Tag::parse("1").unwrap()]).await.unwrap();
        other.repository().with_digest(tree.descriptor.digest)
    });
    both_refuse(home, &changed.to_string(), "is not signed");
    both_refuse(home, &other.repository().with_tag(Tag::parse("1").unwrap()).to_string(), "is not signed");
}
