//! What belongs to an image: cosign's tags, lists of referrers that others write at the same time,
//! registries that do not tell.

use mpimg::oci::Digest;
use serde_json::{Value, json};

use super::auth::{Auth, Scheme};
use super::http_server::{HttpServer, Reply, Response};
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed, shown_error};

const HOST: &str = "registry.example.com";

fn testbed() -> Testbed {
    Testbed::new(&[HOST], Service::new(Quirks::HARBOR, None))
}

fn name(path: &str) -> String {
    format!("docker://{HOST}/{path}")
}

#[test]
fn cosign_s_tags_travel_and_so_does_what_belongs_to_them() {
    let testbed = testbed();
    let (image, tags) = testbed.service(|service| {
        let registry = &mut service.registry;
        let image = registry.put_image("mp/app", "1", &[b"layer"]);
        let tag = |digest: &str, suffix: &str| format!("{}.{suffix}", digest.replace(':', "-"));
        let tags: Vec<String> = ["sig", "att", "sbom"].map(|suffix| tag(&image, suffix)).into();
        let attached: Vec<String> = tags.iter().map(|tag| registry.put_image("mp/app", tag, &[tag.as_bytes()])).collect();
        // A signature of the attestation.
        let second = tag(&attached[1], "sig");
        registry.put_image("mp/app", &second, &[b"second"]);
        (image, [tags, vec![second]].concat())
    });
    let left = testbed.run(&["copy", &name("mp/app:1"), &name("mp/bare:1")]).done();
    assert!(left.err.contains("not copied: 3 that belong to it") && left.err.contains("--referrers"), "{}", left.err);

    testbed.run(&["copy", "--referrers", &name("mp/app:1"), &name("mp/copy:1")]).done();
    testbed.run(&["copy", "--referrers", &name("mp/app:1"), "oci:layout:1"]).done();
    testbed.run(&["copy", "--referrers", "oci:layout:1", &name("mp/back:1")]).done();
    // The signatures beside it are not images.
    testbed.run(&["copy", "oci:layout", &name("mp/untagged:1")]).done();
    testbed.service(|service| {
        for path in ["mp/copy", "mp/back"] {
            assert_eq!(service.registry.digest(path, "1").as_ref(), Some(&image));
            for tag in &tags {
                assert!(service.registry.digest(path, tag).is_some(), "{path}:{tag}");
                assert_eq!(service.registry.digest(path, tag), service.registry.digest("mp/app", tag), "{path}:{tag}");
            }
        }
        assert_eq!(service.registry.digest("mp/untagged", "1").as_ref(), Some(&image));
    });
}

#[test]
fn more_than_a_thousand_signatures_travel() {
    let testbed = testbed();
    let server = HttpServer::plain(Service::new(Quirks::HARBOR, None));
    {
        let registry = &mut server.script.lock().unwrap().registry;
        let image = registry.put_image("mp/app", "1", &[b"layer"]);
        let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": Digest::of("{}")});
        registry.keep_blob("mp/app", b"{}".to_vec());
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let subject = json!({"mediaType": kind, "size": registry.manifest("mp/app", "1").unwrap().len(), "digest": image});
        let entries = (0..1010).map(|number| {
            let signature = json!({
                "schemaVersion": 2, "mediaType": kind, "config": empty, "layers": [empty], "subject": subject,
                "annotations": {"number": number.to_string()},
            });
            let bytes = signature.to_string().into_bytes();
            let size = bytes.len();
            json!({"mediaType": kind, "size": size, "digest": registry.keep_manifest("mp/app", "signature", kind, bytes)})
        });
        let entries: Vec<Value> = entries.collect();
        let index = "application/vnd.oci.image.index.v1+json";
        let list = json!({"schemaVersion": 2, "mediaType": index, "manifests": entries});
        registry.keep_manifest("mp/app", &image.replace(':', "-"), index, list.to_string().into_bytes());
    }
    testbed.run(&["copy", "--referrers", &format!("docker://{}/mp/app:1", server.address), "oci:layout:1"]).done();
    let index = std::fs::read(testbed.home.path().join("layout/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1011);
}

#[test]
fn a_list_of_referrers_that_another_writer_replaces_loses_nothing() {
    let testbed = testbed();
    let other = testbed.service(|service| service.registry.put_image("mp/nsx", "other", &[b"other"]));
    let other = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 3, "digest": other});
    let foreign = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [other]});
    let mut lists = Vec::new();
    testbed.service(|service| {
        service.with_registry = Box::new(move |registry, request| {
            let list = request.path.strip_prefix("/v2/mp/nsx/manifests/sha256-").filter(|_| request.method == "PUT")?;
            lists.push(list.to_owned());
            // It read the list before this entry was in it.
            (lists.len() == 1).then(|| {
                let tag = format!("sha256-{list}");
                registry.keep_manifest("mp/nsx", &tag, "application/vnd.oci.image.index.v1+json", foreign.to_string().into());
                Response::new(201).into()
            })
        });
    });
    let left = testbed.run(&["push", "project", "-t", "1", "-r", &format!("{HOST}/mp/nsx"), "--sbom", "spdx"]).done();
    testbed.service(|service| {
        let digest = service.registry.digest("mp/nsx", "1").unwrap();
        let list: Value =
            serde_json::from_slice(service.registry.manifest("mp/nsx", &digest.replace(':', "-")).unwrap()).unwrap();
        let entries = list["manifests"].as_array().unwrap();
        assert_eq!(entries.len(), 2, "{list} {}", left.err);
        assert_eq!(entries[1]["artifactType"], "application/spdx+json");
    });
}

#[test]
fn a_registry_that_does_not_tell_what_belongs_to_an_image_is_said_not_to() {
    for status in [403, 500] {
        let testbed = testbed();
        testbed.service(|service| {
            service.registry.put_image("mp/app", "1", &[b"layer"]);
            service.with_registry = Box::new(move |_, request| {
                request.path.contains("/referrers/").then(|| Reply::from(Response::error(status, "DENIED", "not for you")))
            });
        });
        let left = testbed.run(&["copy", &name("mp/app:1"), &name("mp/bare:1")]).done();
        assert!(left.err.contains("whether signatures or SBOMs belong to the image could not be found out"), "{}", left.err);
        if status == 403 {
            let told = shown_error(&testbed.run(&["copy", "--referrers", &name("mp/app:1"), &name("mp/bare:1")]));
            assert!(told.contains("not for you"), "{told}");
        }
    }
}

#[test]
fn harbor_gets_sboms_under_its_own_type() {
    let scheme = Scheme::bearer(HOST, "/service/token", "harbor-registry");
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, Some(Auth::new(scheme, "me", PASSWORD))));
    let testbed = testbed.with_login(HOST, "me");
    testbed.run(&["push", "project", "-t", "1", "-r", &format!("{HOST}/mp/nsx"), "--sbom", "spdx"]).done();
    let pushed = testbed.server.seen();
    let manifests = pushed.iter().filter(|request| request.is("PUT", "/manifests/"));
    let manifests: Vec<Value> = manifests.map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    let sbom = manifests.iter().find(|manifest| manifest["subject"].is_object()).unwrap();
    assert_eq!(sbom["artifactType"], "application/vnd.goharbor.harbor.sbom.v1");
    assert_eq!(sbom["layers"][0]["mediaType"], "application/spdx+json");
}
