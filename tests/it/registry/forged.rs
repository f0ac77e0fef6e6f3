//! What whoever may push can put beside a signed image, or in its place, with no key at all: none of
//! it passes for what the key's owner has said.

use std::collections::BTreeMap;

use mpimg::image::{ManifestTree, annotated_artifact};
use mpimg::oci::{Descriptor, Digest, MediaType, Reference, Repository, Tag};
use mpimg::registry::Client;
use mpimg::serve::{Fault, FaultResponse};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{client, distribution, options};
use super::signing::{mpimg, push, refused, signer};
use crate::cli::fixture::{Serving, run, text, write};
use crate::home::Home;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const EVERYTHING: [&str; 4] = ["--sign", "own.key", "--sbom=spdx", "--provenance"];

/// What a policy of this home that demands everything says of an image: what it fails for.
fn lacks(home: &Home, image: &str) -> Vec<String> {
    write(&home.path(), "policy.toml", "[policy]\nsigned_by = ['own.pub']\nsbom = true\nprovenance = true\n");
    let mut command = home.mpimg();
    command.env("MPIMG_CONFIG", home.path().join("policy.toml"));
    let report = run(&mut command, ["check", "--json", image]).json();
    let items = report["checks"].as_array().unwrap().iter().filter(|item| item["name"] == "policy");
    let items: Vec<&Value> = items.collect();
    assert!(!items.is_empty(), "{report}");
    let failed = items.into_iter().filter(|item| item["state"] == "failed");
    failed.map(|item| item["detail"].as_str().unwrap().to_owned()).collect()
}

fn verified(home: &Home, image: &str) -> Value {
    run(&mut home.mpimg(), ["verify", "--json", image, "--key", "own.pub", "--recursive"]).json()["verified"].clone()
}

fn digest_of(pushed: &Value, what: &str) -> Digest {
    Digest::parse(pushed[what].as_str().unwrap()).unwrap()
}

fn block_on<T>(run: impl AsyncFnOnce(Client) -> T) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(run(client(options())))
}

async fn put(client: &Client, repository: &Repository, tree: &ManifestTree, tag: &str) {
    let session = client.push(repository).unwrap();
    session.offer_tree(tree);
    session.finish_tree(tree, &[Tag::parse(tag).unwrap()]).await.unwrap();
}

#[test]
fn a_signature_under_another_label_is_no_sbom_and_no_provenance() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let pushed = push(&home, &folder, &target, &["--sign", "own.key"]);
    let image = format!("{target}:1");
    assert_eq!(lacks(&home, &image).len(), 2);
    block_on(async |client| {
        let repository = Repository::parse(&target).unwrap();
        let subject = client.pull_tree(&repository.with_digest(digest_of(&pushed, "digest")), None).await.unwrap().descriptor;
        let referrers = client.referrers(&repository, &subject.digest).await.unwrap();
        let bundle = client.pull_tree(&repository.with_digest(referrers[0].digest), None).await.unwrap();
        let bytes = bundle.blob(&bundle.blobs[1].0.digest, 1 << 20).await.unwrap();
        for kind in ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"] {
            let labels = BTreeMap::from([("dev.sigstore.bundle.predicateType".to_owned(), kind.to_owned())]);
            client.attach(&repository, &annotated_artifact(BUNDLE, BUNDLE, bytes.clone(), &subject, &labels)).await.unwrap();
        }
    });
    let failed = lacks(&home, &image);
    assert!(failed.len() == 2 && failed[0].contains("has no SBOM") && failed[1].contains("has no provenance"), "{failed:?}");
}

#[test]
fn an_index_that_nobody_signed_passes_for_nothing_that_it_says_of_a_signed_image() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let signed = push(&home, &folder, &target, &["--sign", "own.key"]);
    let attested = push(&home, &folder, &target, &["--tag", "2", "--sbom=spdx", "--provenance", "--attest", "buildkit"]);
    assert_eq!(attested["manifests"][0]["digest"], signed["digest"], "the same image");
    refused(&mut home.mpimg(), ["verify", &format!("{target}:2"), "--key", "own.pub"], 1);
    let failed = lacks(&home, &format!("{target}:2"));
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(failed[2].contains("is not signed"), "{failed:?}");
}

#[test]
fn what_a_list_names_and_does_not_refer_to_the_image_belongs_to_it_in_no_way() {
    let (home, folder) = signer();
    let registry = distribution("");
    let target = format!("{}/mp/app", registry.address);
    let other = push(&home, &folder, &target, &EVERYTHING);
    std::fs::write(folder.join("app/adapter.py"), "print('other')\n").unwrap();
    let own = push(&home, &folder, &target, &["--tag", "2", "--sign", "own.key"]);
    block_on(async |client| {
        let repository = Repository::parse(&target).unwrap();
        let tag = own["digest"].as_str().unwrap().replace(':', "-");
        let mut list: Value =
            serde_json::from_slice(&client.pull_manifest(&repository.with_tag(Tag::parse(&tag).unwrap())).await.unwrap().bytes)
                .unwrap();
        // The list's word for the image's own bundle is wrong, too.
        let mut children = Vec::new();
        for entry in list["manifests"].as_array_mut().unwrap() {
            entry["artifactType"] = json!("application/x");
            let digest = Digest::parse(entry["digest"].as_str().unwrap()).unwrap();
            children.push(client.pull_tree(&repository.with_digest(digest), None).await.unwrap());
        }
        for (what, kind) in [("sbom", "application/spdx+json"), ("digest", "https://slsa.dev/provenance/v1")] {
            let child = client.pull_tree(&repository.with_digest(digest_of(&other, what)), None).await.unwrap();
            let mut entry = json!(child.descriptor);
            entry["artifactType"] = json!(kind);
            list["manifests"].as_array_mut().unwrap().push(entry);
            children.push(child);
        }
        let bytes = bytes::Bytes::from(list.to_string());
        let tree = ManifestTree::index(Descriptor::of(MediaType::Index, &bytes), bytes, children).unwrap();
        put(&client, &repository, &tree, &tag).await;
    });
    let image = format!("{target}:2");
    let found = verified(&home, &image);
    let good = found[0]["signatures"].as_array().unwrap().iter().filter(|one| one["valid"] == true);
    assert_eq!(good.map(|one| one["form"].as_str().unwrap()).collect::<Vec<_>>(), ["tag", "bundle"], "{found}");
    assert_eq!(found[0]["referrers"], Value::Null, "{found}");
    assert_eq!(lacks(&home, &image).len(), 2);
    run(&mut home.mpimg(), ["copy", "--referrers", &format!("docker://{image}"), "oci-archive:copy.tar"]).done();
    assert_eq!(verified(&home, "oci-archive:copy.tar")[0]["digest"], own["digest"]);
}

#[test]
fn a_stranger_s_image_that_refers_to_a_signed_one_is_not_signed_with_it() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let own = push(&home, &folder, &target, &["--sbom=spdx"]);
    let image = format!("{target}@{}", own["digest"].as_str().unwrap());
    std::fs::write(folder.join("app/adapter.py"), "print('evil')\n").unwrap();
    push(&home, &folder, &target, &["--tag", "evil"]);
    let evil = block_on(async |client| {
        let repository = Repository::parse(&target).unwrap();
        let subject = client.pull_tree(&repository.with_digest(digest_of(&own, "digest")), None).await.unwrap().descriptor;
        let evil = client.pull_tree(&Reference::parse(&format!("{target}:evil")).unwrap(), None).await.unwrap();
        for kind in [None, Some("application/spdx+json")] {
            let mut manifest: Value = serde_json::from_slice(&evil.bytes).unwrap();
            manifest["subject"] = json!({ "mediaType": subject.media_type, "digest": subject.digest, "size": subject.size });
            manifest["artifactType"] = json!(kind.unwrap_or("application/x"));
            let bytes = bytes::Bytes::from(manifest.to_string());
            let source = |descriptor: &Descriptor| {
                Ok(evil.blobs.iter().find(|(blob, _)| blob.digest == descriptor.digest).unwrap().1.clone())
            };
            let tree = ManifestTree::manifest(Descriptor::of(MediaType::Manifest, &bytes), bytes, source).unwrap();
            put(&client, &repository, &tree, "evil").await;
        }
        client.pull_manifest(&Reference::parse(&format!("{target}:evil")).unwrap()).await.unwrap().digest
    });
    let sign = run(&mut mpimg(&home), ["sign", &image, "--key", "own.key"]).done();
    assert!(!sign.out.contains(&evil.to_string()), "{}", sign.out);
    let signed = run(&mut mpimg(&home), ["sign", "--json", &image, "--key", "own.key", "--referrers"]).done().json();
    let digests: Vec<&Value> = signed["signed"].as_array().unwrap().iter().map(|one| &one["digest"]).collect();
    assert_eq!(digests, [&own["digest"], &own["sbom"]]);
    refused(&mut home.mpimg(), ["verify", &format!("{target}:evil"), "--key", "own.pub"], 1);
}

#[test]
fn each_image_s_sbom_of_a_build_for_several_platforms_is_signed() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let image = format!("{}/mp/app:1", registry.host);
    let mut command = mpimg(&home);
    command.args(["build", text(&folder), "--push", "-t", &image, "--platform", "linux/amd64,linux/arm64"]);
    run(command.args(["--sbom=true", "--sign", "own.key"]), []).done();
    let found = verified(&home, &image);
    let listed: Vec<&Value> = found.as_array().unwrap().iter().filter_map(|manifest| manifest.get("referrers")).collect();
    assert_eq!(listed.len(), 2, "{found}");
    for referrers in listed {
        let kinds: Vec<(&Value, &Value)> =
            referrers.as_array().unwrap().iter().map(|one| (&one["artifact_type"], &one["signed"])).collect();
        assert_eq!(kinds, [(&json!("application/spdx+json"), &json!(true))]);
    }
    let report = run(&mut home.mpimg(), ["verify", &image, "--key", "own.pub"]).done().out;
    assert!(report.contains("  not checked: the 2 images of the index, and what refers to them (--recursive)\n"), "{report}");
}

#[test]
fn a_copy_whose_sbom_or_signature_is_damaged_says_so_and_counts_the_good_ones() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let pushed = push(&home, &folder, &target, &EVERYTHING);
    run(&mut home.mpimg(), ["copy", "--referrers", &format!("docker://{target}:1"), "oci:whole"]).done();
    let blob = |digest: &str| home.path().join("whole/blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let whole = verified(&home, "oci:whole");
    assert_eq!(whole[0]["referrers"][0]["signed"], true, "{whole}");
    let manifest: Value = serde_json::from_slice(&std::fs::read(blob(pushed["sbom"].as_str().unwrap())).unwrap()).unwrap();
    let document = blob(manifest["layers"][0]["digest"].as_str().unwrap());
    let good = std::fs::read(&document).unwrap();
    let mut changed = good.clone();
    let at = changed.windows(4).position(|four| four == b"SPDX").unwrap();
    changed[at] = b's';
    let archived = |name: &str| {
        crate::run(std::process::Command::new("tar").args(["-C", "whole", "-cf", name, "."]).current_dir(home.path()));
        format!("oci-archive:{name}")
    };
    for (bytes, name) in [(Some(changed), "changed.tar"), (None, "missing.tar")] {
        match bytes {
            Some(bytes) => std::fs::write(&document, bytes).unwrap(),
            None => std::fs::remove_file(&document).unwrap(),
        }
        for place in ["oci:whole".to_owned(), archived(name)] {
            let found = verified(&home, &place);
            assert_eq!(found[0]["signed"], true, "{place}");
            assert_eq!(found[0]["referrers"][0]["signed"], false, "{place}: {found}");
            assert!(found[0]["referrers"][0]["error"].is_string(), "{place}: {found}");
        }
    }
    std::fs::write(&document, good).unwrap();
    // The manifest of one of the signatures: what it belongs to is not known any more.
    let bundle = whole[0]["signatures"].as_array().unwrap().iter().find(|found| found["form"] == "bundle").unwrap();
    std::fs::write(blob(bundle["manifest"].as_str().unwrap()), "{").unwrap();
    for place in ["oci:whole".to_owned(), archived("torn.tar")] {
        let found = verified(&home, &place);
        assert_eq!(found[0]["signed"], true, "the tag's signature is good: {found}");
        let told = found[0]["referrers"].as_array().unwrap().iter().any(|one| one["manifest"] == bundle["manifest"]);
        assert!(told, "{place}: {found}");
    }
}

#[test]
fn an_index_with_a_stranger_s_image_that_calls_itself_an_sbom_is_not_signed() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let own = push(&home, &folder, &target, &[]);
    let image = format!("{target}@{}", own["digest"].as_str().unwrap());
    std::fs::write(folder.join("app/adapter.py"), "print('evil')\n").unwrap();
    push(&home, &folder, &target, &["--tag", "evil"]);
    block_on(async |client| {
        let repository = Repository::parse(&target).unwrap();
        let subject = client.pull_tree(&repository.with_digest(digest_of(&own, "digest")), None).await.unwrap().descriptor;
        let evil = client.pull_tree(&Reference::parse(&format!("{target}:evil")).unwrap(), None).await.unwrap();
        let mut index = json!({ "schemaVersion": 2, "mediaType": MediaType::Index, "manifests": [evil.descriptor] });
        index["artifactType"] = json!("application/spdx+json");
        index["subject"] = json!({ "mediaType": subject.media_type, "digest": subject.digest, "size": subject.size });
        let bytes = bytes::Bytes::from(index.to_string());
        let tree = ManifestTree::index(Descriptor::of(MediaType::Index, &bytes), bytes, vec![evil]).unwrap();
        put(&client, &repository, &tree, "evil").await;
    });
    let signed = run(&mut mpimg(&home), ["sign", "--json", &image, "--key", "own.key", "--referrers"]).done().json();
    assert_eq!(signed["signed"].as_array().unwrap().len(), 1, "{signed}");
    let report = run(&mut home.mpimg(), ["verify", &image, "--key", "own.pub"]).done().out;
    assert!(report.contains("application/spdx+json, not an SBOM or statement alone"), "{report}");
    refused(&mut home.mpimg(), ["verify", &format!("{target}:evil"), "--key", "own.pub"], 1);
}

#[test]
fn a_copy_has_every_tag_of_a_signature_and_leaves_the_destination_s_own() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let pushed = push(&home, &folder, &target, &EVERYTHING);
    let image = format!("{target}@{}", pushed["digest"].as_str().unwrap());
    let tag = |what: &str, suffix: &str| format!("{}.{suffix}", pushed[what].as_str().unwrap().replace(':', "-"));
    let (first, second) = (tag("digest", "sig"), tag("digest", "att"));
    // One manifest under two tags: the SBOM's signature as the image's statement.
    block_on(async |client| {
        let repository = Repository::parse(&target).unwrap();
        let name = repository.with_tag(Tag::parse(&tag("sbom", "sig")).unwrap());
        let tree = client.pull_tree(&name, None).await.unwrap();
        put(&client, &repository, &tree, &second).await;
    });
    let site = format!("{}/site/app", registry.host);
    run(&mut home.mpimg(), ["copy", &format!("docker://{image}"), &format!("docker://{site}:1")]).done();
    run(home.mpimg().env("COSIGN_PASSWORD", ""), ["key", "generate", "site"]).done();
    run(home.mpimg().env("COSIGN_PASSWORD", ""), ["sign", &format!("{site}:1"), "--key", "site.key"]).done();
    for _ in 0..2 {
        run(&mut home.mpimg(), ["copy", "--referrers", &format!("docker://{image}"), &format!("docker://{site}:1")]).done();
    }
    for key in ["own.pub", "site.pub"] {
        let found = run(&mut home.mpimg(), ["verify", "--json", &format!("{site}:1"), "--key", key]).done().json();
        let good = found["verified"][0]["signatures"].as_array().unwrap().iter().filter(|one| one["valid"] == true);
        let forms: Vec<&str> = good.map(|one| one["form"].as_str().unwrap()).collect();
        assert!(forms.contains(&"tag") && forms.contains(&"bundle"), "{key}: {found}");
    }
    // A layout keeps what it has, as well.
    for from in [format!("{site}:1"), image.clone()] {
        let alone = format!("{}/alone/app-{}", registry.host, from.contains("site"));
        run(&mut home.mpimg(), ["copy", &format!("docker://{from}"), &format!("docker://{alone}:1")]).done();
        let key = if from.contains("site") { "site.key" } else { "own.key" };
        let password = if from.contains("site") { "" } else { super::signing::PASSWORD };
        run(home.mpimg().env("COSIGN_PASSWORD", password), ["sign", &format!("{alone}:1"), "--key", key]).done();
        run(&mut home.mpimg(), ["copy", "--referrers", &format!("docker://{alone}:1"), "oci:kept:1"]).done();
    }
    for key in ["own.pub", "site.pub"] {
        let found = run(&mut home.mpimg(), ["verify", "--json", "oci:kept:1", "--key", key]).done().json();
        let mut good = found["verified"][0]["signatures"].as_array().unwrap().iter().filter(|one| one["valid"] == true);
        assert!(good.any(|one| one["form"] == "tag"), "{key}: {found}");
    }
    block_on(async |client| {
        for tag in [&first, &second, &tag("sbom", "sig")] {
            let name = Repository::parse(&site).unwrap().with_tag(Tag::parse(tag).unwrap());
            client.pull_manifest(&name).await.unwrap_or_else(|error| panic!("{tag} is missing: {error}"));
        }
    });
}

#[test]
fn a_tag_that_cannot_be_read_hides_no_good_signature_and_no_sbom() {
    let (home, folder) = signer();
    let registry = Serving::faulty(|request| match request.method == Method::GET && request.path.ends_with(".att") {
        true => Fault::Status(FaultResponse::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "gone")),
        false => Fault::None,
    });
    let target = format!("{}/mp/app", registry.host);
    let pushed = push(&home, &folder, &target, &EVERYTHING);
    let image = format!("{target}@{}", pushed["digest"].as_str().unwrap());
    let att = format!("{}.att", pushed["digest"].as_str().unwrap().replace(':', "-"));
    block_on(async |client| {
        let repository = Repository::parse(&target).unwrap();
        let sbom = client.pull_tree(&repository.with_digest(digest_of(&pushed, "sbom")), None).await.unwrap();
        put(&client, &repository, &sbom, &att).await;
    });
    let found = verified(&home, &image);
    assert_eq!((&found[0]["signed"], &found[0]["referrers"][0]["signed"]), (&json!(true), &json!(true)), "{found}");
    let errors = found[0]["signatures"].as_array().unwrap().iter().filter_map(|one| one["error"].as_str());
    assert!(errors.clone().any(|error| error.contains(&att)), "{found}");
    assert_eq!(lacks(&home, &image), Vec::<String>::new());
}

#[test]
fn what_is_damaged_elsewhere_in_a_layout_is_no_fault_of_an_image() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    push(&home, &folder, &target, &EVERYTHING);
    run(&mut home.mpimg(), ["copy", "--referrers", &format!("docker://{target}:1"), "oci:whole:1"]).done();
    std::fs::write(folder.join("app/adapter.py"), "print('other')\n").unwrap();
    let other = push(&home, &folder, &target, &["--tag", "2"]);
    run(&mut home.mpimg(), ["copy", &format!("docker://{target}:2"), "oci:whole:2"]).done();
    let manifest = home.path().join("whole/blobs/sha256").join(digest_of(&other, "digest").hex());
    std::fs::write(&manifest, "{").unwrap();
    assert_eq!(verified(&home, "oci:whole:1")[0]["signed"], true);
    let left = refused(&mut home.mpimg(), ["verify", "oci:whole:2", "--key", "own.pub"], 1);
    assert!(left.err.contains("is damaged"), "{}", left.err);
}
