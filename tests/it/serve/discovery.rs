//! Conformance: tags, referrers and the catalog (distribution specification, "Content Discovery").

use super::*;

async fn tags(rig: &Rig, query: &str) -> (Vec<String>, Option<String>) {
    let reply = rig.get(&format!("/v2/a/tags/list{query}")).await.expect(200);
    assert_eq!(reply.json()["name"], "a");
    assert_eq!(reply.header("content-type"), "application/json");
    let tags = serde_json::from_value(reply.json()["tags"].clone()).unwrap();
    let link = reply.headers.get("link").map(|link| link.to_str().unwrap().to_owned());
    (tags, link)
}

#[tokio::test]
async fn tags_are_listed_in_order_and_in_pages() {
    let rig = Rig::new().await;
    let manifest = rig.image("a", "layer").await;
    for tag in ["v2", "v10", "v1", "V1", "latest"] {
        rig.push_manifest("a", tag, MANIFEST, &manifest).await.expect(201);
    }
    assert_eq!(tags(&rig, "").await, (["V1", "latest", "v1", "v10", "v2"].map(String::from).into(), None));
    let (page, link) = tags(&rig, "?n=2").await;
    assert_eq!(page, ["V1", "latest"]);
    let link = link.unwrap();
    assert_eq!(link, "</v2/a/tags/list?n=2&last=latest>; rel=\"next\"");
    let next = link.strip_prefix("</v2/a/tags/list").unwrap().split('>').next().unwrap();
    assert_eq!(tags(&rig, next).await.0, ["v1", "v10"]);
    assert_eq!(tags(&rig, "?n=2&last=v10").await, (vec!["v2".into()], None));
    assert_eq!(tags(&rig, "?last=v1").await, (vec!["v10".into(), "v2".into()], None));
    assert_eq!(tags(&rig, "?n=5").await.1, None);
    assert_eq!(tags(&rig, "?n=100").await.0.len(), 5);
    assert_eq!(tags(&rig, "?n=0").await, (vec![], None));
    assert_eq!(tags(&rig, "?last=zzz").await, (vec![], None));
    for wrong in ["?n=-1", "?n=two"] {
        rig.get(&format!("/v2/a/tags/list{wrong}")).await.expect(400);
    }
}

#[tokio::test]
async fn tags_of_an_unknown_repository_are_404_and_of_an_empty_one_none() {
    let rig = Rig::new().await;
    assert_eq!(rig.get("/v2/a/tags/list").await.expect(404).code(), "NAME_UNKNOWN");
    rig.push_blob("a", b"x").await;
    assert_eq!(tags(&rig, "").await, (vec![], None));
    // Neither a parent nor a child of it is a repository.
    rig.push_blob("b/c", b"x").await;
    rig.get("/v2/b/tags/list").await.expect(404);
    rig.get("/v2/b/c/d/tags/list").await.expect(404);
}

#[tokio::test]
async fn the_catalog_lists_repositories_in_pages() {
    let rig = Rig::new().await;
    for name in ["b", "a/b", "a-b", "a"] {
        rig.push_blob(name, b"x").await;
    }
    let reply = rig.get("/v2/_catalog").await.expect(200);
    assert_eq!(reply.json(), json!({ "repositories": ["a", "a-b", "a/b", "b"] }));
    let reply = rig.get("/v2/_catalog?n=2&last=a").await.expect(200);
    assert_eq!(reply.json(), json!({ "repositories": ["a-b", "a/b"] }));
    assert_eq!(reply.header("link"), "</v2/_catalog?n=2&last=a%2Fb>; rel=\"next\"");
}

#[tokio::test]
async fn referrers_are_found_whether_they_came_before_or_after_their_subject() {
    let rig = Rig::new().await;
    let manifest = rig.image("a", "layer").await;
    let subject = descriptor(MANIFEST, manifest.to_string().as_bytes());
    let digest = subject["digest"].as_str().unwrap().to_owned();
    let sbom = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.sbom", "subject": subject,
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.oci.empty.v1+json", b"{}")],
        "annotations": { "org.example.kind": "sbom" },
    });
    let by_config = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "subject": subject,
        "config": descriptor("application/vnd.signature", b"{}"), "layers": [],
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "subject": subject, "manifests": [],
        "annotations": { "org.example.kind": "index" },
    });
    let refer = |manifest: &Value| format!("{}", Digest::of(manifest.to_string()));
    let reply = rig.push_manifest("a", &refer(&sbom), MANIFEST, &sbom).await.expect(201);
    assert_eq!(reply.header("oci-subject"), digest);
    rig.push_manifest("a", "image", MANIFEST, &manifest).await.expect(201);
    rig.push_manifest("a", &refer(&by_config), MANIFEST, &by_config).await.expect(201);
    rig.push_manifest("a", "an-index", INDEX, &index).await.expect(201);

    let path = format!("/v2/a/referrers/{digest}");
    let reply = rig.get(&path).await.expect(200);
    assert_eq!(reply.header("content-type"), INDEX);
    assert!(reply.headers.get("oci-filters-applied").is_none());
    let found = reply.json();
    assert_eq!((&found["schemaVersion"], &found["mediaType"]), (&json!(2), &json!(INDEX)));
    let described = |media_type: &str, manifest: &Value, artifact_type: Option<&str>| {
        let mut descriptor = descriptor(media_type, manifest.to_string().as_bytes());
        if let Some(artifact_type) = artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        if let Some(annotations) = manifest.get("annotations") {
            descriptor["annotations"] = annotations.clone();
        }
        descriptor
    };
    let mut all = vec![
        described(MANIFEST, &sbom, Some("application/vnd.sbom")),
        described(MANIFEST, &by_config, Some("application/vnd.signature")),
        described(INDEX, &index, None),
    ];
    all.sort_by_key(|descriptor| descriptor["digest"].to_string());
    assert_eq!(found["manifests"], json!(all));

    let reply = rig.get(&format!("{path}?artifactType=application/vnd.sbom")).await.expect(200);
    assert_eq!(reply.header("oci-filters-applied"), "artifactType");
    assert_eq!(reply.json()["manifests"], json!([described(MANIFEST, &sbom, Some("application/vnd.sbom"))]));
    let reply = rig.get(&format!("{path}?artifactType=application/none")).await.expect(200);
    assert_eq!(reply.json()["manifests"], json!([]));

    rig.delete(&format!("/v2/a/manifests/{}", refer(&sbom))).await.expect(202);
    assert_eq!(rig.get(&path).await.json()["manifests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn referrers_of_nothing_are_none_and_never_404() {
    let rig = Rig::new().await;
    rig.push_blob("a", b"x").await;
    for path in [format!("/v2/a/referrers/{}", Digest::of("x")), format!("/v2/b/referrers/{}", Digest::of("x"))] {
        let reply = rig.get(&path).await.expect(200);
        assert_eq!(reply.header("content-type"), INDEX);
        assert_eq!(reply.json()["manifests"], json!([]));
    }
    rig.get("/v2/a/referrers/sha256:00").await.expect(400);
}
