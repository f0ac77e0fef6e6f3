//! What belongs to an image besides its signatures, and who signed it: listed wherever the image is.

use serde_json::{Value, json};

use super::fixture::distribution_3;
use super::signing::{cosign, cosign_does, cosign_takes, mpimg, push, refused, signer};
use crate::cli::fixture::{Serving, run, write};
use crate::skip::{Missing, skip};

#[test]
fn what_refers_to_an_image_is_listed_with_who_signed_it_in_a_registry_a_layout_and_an_archive() {
    let (home, folder) = signer();
    let (three, new) = (distribution_3(), Serving::open());
    for (name, host) in [("three", three.address.to_string()), ("new", new.host.clone())] {
        let target = format!("{host}/mp/app");
        let pushed = push(&home, &folder, &target, &["--sbom", "spdx", "--provenance"]);
        let image = format!("{target}@{}", pushed["digest"].as_str().unwrap());
        let signed = run(&mut mpimg(&home), ["sign", &image, "--key", "own.key"]).done();
        let sbom = pushed["sbom"].as_str().unwrap();
        let note = format!("not signed: application/spdx+json {sbom}, which refers to it; --referrers signs it, too\n");
        assert!(signed.out.contains(&note), "{}", signed.out);
        let listed = |place: &str| {
            let verified = run(&mut home.mpimg(), ["verify", "--json", place, "--key", "own.pub"]).done().json();
            let found = &verified["verified"][0];
            assert_eq!(found["digest"], pushed["digest"], "{place}");
            assert_eq!(found["signed"], true, "{place}: {verified}");
            let mut listed: Vec<(String, bool)> = found["referrers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| (one["artifact_type"].as_str().unwrap().to_owned(), one["signed"].as_bool().unwrap()))
                .collect();
            listed.sort();
            listed
        };
        let unsigned = [("application/spdx+json".to_owned(), false), ("application/vnd.in-toto+json".to_owned(), false)];
        assert_eq!(listed(&image), unsigned);
        let report = run(&mut home.mpimg(), ["verify", &image, "--key", "own.pub"]).done().out;
        assert!(report.contains(&format!("  refers to it: application/spdx+json, not signed (in {sbom})\n")), "{report}");
        let statement = "application/vnd.in-toto+json (https://slsa.dev/provenance/v1), not signed";
        assert!(report.contains(&format!("  refers to it: {statement}")), "{report}");
        for key in ["own.key", "own.key"] {
            let signed = run(&mut mpimg(&home), ["sign", "--json", &image, "--key", key, "--referrers"]).done().json();
            assert_eq!(signed["signed"].as_array().unwrap().len(), 3, "the image, the SBOM and the provenance: {signed}");
            assert_eq!(signed["unsigned"], json!([]));
        }
        assert!(cosign().is_none() || cosign_takes(&home, &format!("{target}@{sbom}"), "own.pub", "--new-bundle-format=true"));
        let all = unsigned.map(|(kind, _)| (kind, true));
        assert_eq!(listed(&image), all);
        for place in ["oci:layout", "oci-archive:archive.tar"] {
            let (place, alone) = (format!("{place}-{name}"), format!("{place}-{name}-alone"));
            run(&mut home.mpimg(), ["copy", "--referrers", &format!("docker://{image}"), &place]).done();
            assert_eq!(listed(&place), all, "{place}");
            // Without what belongs to it, the image is as unsigned there as anywhere.
            run(&mut home.mpimg(), ["copy", &format!("docker://{image}"), &alone]).done();
            let left = refused(&mut home.mpimg(), ["verify", "--json", &alone, "--key", "own.pub"], 1);
            let report: Value = serde_json::from_str(&left.out).unwrap();
            assert_eq!(
                (&report["verified"][0]["signed"], &report["error"]["kind"]),
                (&json!(false), &json!("not_found")),
                "{report}"
            );
        }
    }
    let left = refused(&mut home.mpimg(), ["verify", "docker-archive:app.tar", "--key", "own.pub"], 2);
    assert!(left.err.contains("cannot hold signatures"), "{}", left.err);
    let left = refused(&mut mpimg(&home), ["sign", "oci:layout-new", "--key", "own.key"], 2);
    assert!(left.err.contains("an image is signed in its registry"), "{}", left.err);
}

#[test]
fn what_cosign_has_attested_under_a_tag_is_verified() {
    if cosign().is_none() {
        skip!(Missing::Registries);
    }
    let (home, folder) = signer();
    let new = Serving::open();
    let target = format!("{}/mp/app", new.host);
    let pushed = push(&home, &folder, &target, &["--sign", "own.key"]);
    let image = format!("{target}@{}", pushed["digest"].as_str().unwrap());
    write(&home.path(), "predicate.json", r#"{"says": "cosign"}"#);
    let mut attest = vec!["attest", "--key", "own.key", "--use-signing-config=false", "--tlog-upload=false", "--yes"];
    attest.extend(["--new-bundle-format=false", "--predicate", "predicate.json", "--type", "https://example.com/x", &image]);
    cosign_does(&home, &attest);
    let verified = run(&mut home.mpimg(), ["verify", "--json", &image, "--key", "own.pub"]).done().json();
    let found = verified["verified"][0]["signatures"].as_array().unwrap();
    let stated: Vec<&Value> = found.iter().filter(|found| found["predicate_type"] == "https://example.com/x").collect();
    assert_eq!(stated.len(), 1, "{verified}");
    assert_eq!((&stated[0]["form"], &stated[0]["valid"]), (&json!("tag"), &json!(true)));
    // cosign wraps what it is given.
    assert!(stated[0]["predicate"].to_string().contains("cosign"), "{verified}");
}
