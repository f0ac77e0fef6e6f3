//! Conformance: pushing blobs and manifests (distribution specification, "Push").

use reqwest::header::CONTENT_LENGTH;

use super::*;

const BLOB: &[u8] = b"hello, registry";

fn stream(parts: &[&'static [u8]]) -> reqwest::Body {
    let parts: Vec<std::io::Result<&'static [u8]>> = parts.iter().map(|part| Ok(*part)).collect();
    reqwest::Body::wrap_stream(futures_util::stream::iter(parts))
}

async fn assert_pushed(rig: &Rig, repository: &str, reply: Reply, bytes: &[u8]) {
    let digest = Digest::of(bytes);
    let location = reply.header("location").to_owned();
    assert_eq!(location, format!("/v2/{repository}/blobs/{digest}"));
    assert_eq!(reply.header("docker-content-digest"), digest.to_string());
    assert!(rig.get(&location).await.expect(200).body == bytes);
}

#[tokio::test]
async fn a_blob_is_pushed_in_one_post() {
    let rig = Rig::new().await;
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(BLOB));
    let reply = send(rig.request(Method::POST, &path).body(BLOB)).await.expect(201);
    assert_pushed(&rig, "a", reply, BLOB).await;
}

#[tokio::test]
async fn a_blob_is_pushed_by_post_and_put() {
    let rig = Rig::new().await;
    let reply = rig.post("/v2/a/blobs/uploads/").await.expect(202);
    assert_eq!(reply.header("range"), "0-0");
    let id = reply.header("docker-upload-uuid");
    assert_eq!(reply.header("location"), format!("/v2/a/blobs/uploads/{id}"));
    let location = reply.header("location");
    let reply = rig.put(&format!("{location}?digest={}", Digest::of(BLOB)), BLOB).await.expect(201);
    assert_pushed(&rig, "a", reply, BLOB).await;
    rig.get(location).await.expect(404);
}

#[tokio::test]
async fn a_blob_is_streamed_in_one_patch_without_a_length() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    let reply = rig.patch(&location, stream(&[b"hello", b", ", b"registry"])).await.expect(202);
    assert_eq!(reply.header("range"), "0-14");
    let reply = rig.put(&format!("{}?digest={}", reply.header("location"), Digest::of(BLOB)), "").await.expect(201);
    assert_pushed(&rig, "a", reply, BLOB).await;
}

#[tokio::test]
async fn a_blob_is_pushed_in_chunks_with_the_last_one_in_a_patch() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    let reply = rig.patch_range(&location, "0-4", &BLOB[..5]).await.expect(202);
    assert_eq!(reply.header("range"), "0-4");
    let reply = rig.patch_range(reply.header("location"), "5-14", &BLOB[5..]).await.expect(202);
    assert_eq!(reply.header("range"), "0-14");
    let reply = rig.put(&format!("{}?digest={}", reply.header("location"), Digest::of(BLOB)), "").await.expect(201);
    assert_pushed(&rig, "a", reply, BLOB).await;
}

#[tokio::test]
async fn a_blob_is_pushed_in_chunks_with_the_last_one_in_the_put() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    rig.patch_range(&location, "0-4", &BLOB[..5]).await.expect(202);
    let last = rig.request(Method::PUT, &format!("{location}?digest={}", Digest::of(BLOB)));
    let reply = send(last.header(CONTENT_RANGE, "5-14").body(&BLOB[5..])).await.expect(201);
    assert_pushed(&rig, "a", reply, BLOB).await;
}

#[tokio::test]
async fn a_chunk_out_of_order_is_416_and_says_where_to_go_on() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    let reply = rig.patch_range(&location, "5-14", &BLOB[5..]).await.expect(416);
    assert_eq!((reply.header("range"), reply.header("location")), ("0-0", location.as_str()));
    rig.patch_range(&location, "0-4", &BLOB[..5]).await.expect(202);
    for (wrong, body) in [("0-4", &BLOB[..5]), ("6-14", &BLOB[6..]), ("four-five", BLOB), ("9-5", BLOB)] {
        let reply = rig.patch_range(&location, wrong, body).await.expect(416);
        assert_eq!((reply.header("range"), reply.header("location")), ("0-4", location.as_str()), "{wrong}");
        let status = rig.get(&location).await.expect(204);
        assert_eq!((status.header("range"), status.header("location")), ("0-4", location.as_str()));
    }
    let wrong = rig.request(Method::PUT, &format!("{location}?digest={}", Digest::of(BLOB)));
    send(wrong.header(CONTENT_RANGE, "0-14").body(BLOB)).await.expect(416);
    let reply = rig.patch_range(&location, "5-14", &BLOB[5..]).await.expect(202);
    let reply = rig.put(&format!("{}?digest={}", reply.header("location"), Digest::of(BLOB)), "").await.expect(201);
    assert_pushed(&rig, "a", reply, BLOB).await;
}

#[tokio::test]
async fn a_chunk_must_have_the_length_of_its_range() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    assert_eq!(rig.patch_range(&location, "0-9", &BLOB[..5]).await.expect(400).code(), "SIZE_INVALID");
    assert_eq!(rig.get(&location).await.expect(204).header("range"), "0-0");
    // Without a Content-Length the mistake is seen only at the end: what the range allows is kept.
    let longer = rig.patch_range(&location, "0-2", stream(&[b"hello"])).await.expect(400);
    assert_eq!(longer.code(), "SIZE_INVALID");
    assert_eq!(rig.get(&location).await.expect(204).header("range"), "0-2");
    let shorter = rig.patch_range(&location, "3-9", stream(&[b"lo"])).await.expect(400);
    assert_eq!(shorter.code(), "SIZE_INVALID");
    assert_eq!(rig.get(&location).await.expect(204).header("range"), "0-4");
}

#[tokio::test]
async fn a_minimum_chunk_length_is_announced_and_held() {
    let rig = Rig::with(RegistryOptions { min_chunk: Some(10), ..RegistryOptions::default() }).await;
    let reply = rig.post("/v2/a/blobs/uploads/").await.expect(202);
    assert_eq!(reply.header("oci-chunk-min-length"), "10");
    let location = reply.header("location");
    rig.patch_range(location, "0-9", &BLOB[..10]).await.expect(202);
    rig.patch_range(location, "10-11", &BLOB[10..12]).await.expect(202);
    rig.patch_range(location, "12-14", &BLOB[12..]).await.expect(400);
    let location = rig.begin("a").await;
    rig.patch_range(&location, "0-9", &BLOB[..10]).await.expect(202);
    rig.patch_range(&location, "10-14", &BLOB[10..]).await.expect(202);
    let reply = rig.put(&format!("{location}?digest={}", Digest::of(BLOB)), "").await.expect(201);
    assert_pushed(&rig, "a", reply, BLOB).await;
}

#[tokio::test]
async fn bytes_that_do_not_match_the_digest_are_refused_and_gone() {
    let rig = Rig::new().await;
    let wrong = Digest::of("something else");
    let location = rig.begin("a").await;
    let reply = rig.put(&format!("{location}?digest={wrong}"), BLOB).await.expect(400);
    assert_eq!(reply.code(), "DIGEST_INVALID");
    assert_eq!(reply.json()["errors"][0]["detail"]["actual"], Digest::of(BLOB).to_string());
    rig.get(&location).await.expect(404);
    let path = format!("/v2/a/blobs/uploads/?digest={wrong}");
    send(rig.request(Method::POST, &path).body(BLOB)).await.expect(400);
    rig.get(&format!("/v2/a/blobs/{wrong}")).await.expect(404);
    let location = rig.begin("a").await;
    assert_eq!(rig.put(&location, BLOB).await.expect(400).code(), "DIGEST_INVALID");
    assert_eq!(rig.put(&format!("{location}?digest=md5:00"), BLOB).await.expect(400).code(), "DIGEST_INVALID");
    // Neither of these two could have been meant as the end.
    rig.put(&format!("{location}?digest={}", Digest::of(BLOB)), BLOB).await.expect(201);
}

#[tokio::test]
async fn sha512_is_as_good_as_sha256() {
    let rig = Rig::new().await;
    let mut hasher = Digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap().hasher();
    hasher.update(BLOB);
    let digest = hasher.finish();
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let reply = send(rig.request(Method::POST, &path).body(BLOB)).await.expect(201);
    assert_eq!(reply.header("docker-content-digest"), digest.to_string());
    // In chunks the registry learns of it only at the end.
    let location = rig.begin("b").await;
    rig.patch(&location, BLOB).await.expect(202);
    rig.put(&format!("{location}?digest={digest}"), "").await.expect(201);
    assert_eq!(rig.get(&format!("/v2/b/blobs/{digest}")).await.expect(200).body, BLOB);
    rig.get(&format!("/v2/b/blobs/{}", Digest::of(BLOB))).await.expect(404);

    rig.image("b", "layer").await;
    let manifest = image_manifest("{}", "layer").to_string();
    let mut hasher = digest.hasher();
    hasher.update(manifest.as_bytes());
    let digest = hasher.finish();
    let reply = rig.push_manifest("b", &digest.to_string(), MANIFEST, &image_manifest("{}", "layer")).await.expect(201);
    assert_eq!(reply.header("docker-content-digest"), digest.to_string());
    let reply = rig.get(&format!("/v2/b/manifests/{digest}")).await.expect(200);
    assert_eq!(reply.header("docker-content-digest"), digest.to_string());
    assert_eq!(reply.body, manifest.as_bytes());
}

#[tokio::test]
async fn a_manifest_that_is_pushed_by_its_digest_gets_the_tags_of_the_query() {
    let rig = Rig::new().await;
    rig.image("b", "layer").await;
    let manifest = image_manifest("{}", "layer");
    for empty in ["sha256:", "sha512:"] {
        let length = if empty == "sha256:" { 64 } else { 128 };
        let mut hasher = Digest::parse(&format!("{empty}{}", "0".repeat(length))).unwrap().hasher();
        hasher.update(manifest.to_string().as_bytes());
        let digest = hasher.finish().to_string();
        let reply = rig.push_manifest("b", &format!("{digest}?tag=one&tag=two%2E2"), MANIFEST, &manifest).await.expect(201);
        assert_eq!(reply.header("docker-content-digest"), digest);
        assert_eq!(reply.header("oci-tag"), "one, two.2");
        for tag in ["one", "two.2"] {
            let reply = rig.get(&format!("/v2/b/manifests/{tag}")).await.expect(200);
            assert_eq!(reply.header("docker-content-digest"), digest);
        }
        rig.push_manifest("b", &format!("{digest}?tag=three&tag=-wrong"), MANIFEST, &manifest).await.expect(400);
        rig.get("/v2/b/manifests/three").await.expect(404);
    }
}

#[tokio::test]
async fn a_cancelled_upload_is_gone() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    rig.patch(&location, BLOB).await.expect(202);
    rig.delete(&location).await.expect(204);
    assert_eq!(rig.get(&location).await.expect(404).code(), "BLOB_UPLOAD_UNKNOWN");
    rig.patch(&location, BLOB).await.expect(404);
    rig.delete(&location).await.expect(404);
    let unknown = "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000";
    assert_eq!(rig.put(&format!("{unknown}?digest={}", Digest::of(BLOB)), BLOB).await.expect(404).code(), "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    rig.get(&location.replace("/v2/a/", "/v2/b/")).await.expect(404);
    rig.get(&location).await.expect(204);
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let rig = Rig::new().await;
    let digest = rig.push_blob("a", BLOB).await;
    let reply = rig.post(&format!("/v2/b/c/blobs/uploads/?mount={digest}&from=a")).await.expect(201);
    assert_pushed(&rig, "b/c", reply, BLOB).await;
    // The copy lives on when the original is deleted.
    rig.delete(&format!("/v2/a/blobs/{digest}")).await.expect(202);
    rig.get(&format!("/v2/b/c/blobs/{digest}")).await.expect(200);
}

#[tokio::test]
async fn a_mount_without_from_finds_the_blob_anywhere() {
    let rig = Rig::new().await;
    let digest = rig.push_blob("a", BLOB).await;
    let reply = rig.post(&format!("/v2/b/blobs/uploads/?mount={digest}")).await.expect(201);
    assert_pushed(&rig, "b", reply, BLOB).await;
}

#[tokio::test]
async fn a_mount_that_cannot_be_begins_an_upload() {
    let rig = Rig::new().await;
    let digest = rig.push_blob("a", BLOB).await;
    let unknown = Digest::of("unknown");
    for query in [
        format!("mount={unknown}"),
        format!("mount={unknown}&from=a"),
        format!("mount={digest}&from=nobody"),
        format!("mount={digest}&from=../a"),
        "mount=sha256:00&from=a".to_owned(),
    ] {
        let reply = rig.post(&format!("/v2/b/blobs/uploads/?{query}")).await.expect(202);
        assert!(reply.header("location").starts_with("/v2/b/blobs/uploads/"), "{query}");
    }
    assert_eq!(rig.registry.repositories().unwrap(), ["a"]);
}

#[tokio::test]
async fn a_manifest_is_pushed_by_tag_and_by_digest() {
    let rig = Rig::new().await;
    let manifest = rig.image("a", "layer").await;
    let digest = Digest::of(manifest.to_string());
    for reference in ["v1", &digest.to_string()] {
        let reply = rig.push_manifest("a", reference, MANIFEST, &manifest).await.expect(201);
        assert_eq!(reply.header("location"), format!("/v2/a/manifests/{digest}"));
        assert_eq!(reply.header("docker-content-digest"), digest.to_string());
        assert!(reply.headers.get("oci-subject").is_none());
    }
    // A tag moves.
    let other = rig.push_image("a", "v1", "other layer").await;
    assert_eq!(rig.head("/v2/a/manifests/v1").await.header("docker-content-digest"), other.to_string());
    rig.get(&format!("/v2/a/manifests/{digest}")).await.expect(200);
}

#[tokio::test]
async fn manifests_that_are_wrong_in_themselves_are_refused() {
    let rig = Rig::new().await;
    let manifest = rig.image("a", "layer").await;
    let push = |reference: &'static str, media_type: &'static str, body: Value| {
        let rig = &rig;
        async move { rig.push_manifest("a", reference, media_type, &body).await.expect(400).code() }
    };
    assert_eq!(push("sha256:totallywrong", MANIFEST, json!("blabla")).await, "DIGEST_INVALID");
    assert_eq!(push("v1", MANIFEST, json!("blabla")).await, "MANIFEST_INVALID");
    assert_eq!(push("v1", MANIFEST, json!([2])).await, "MANIFEST_INVALID");
    assert_eq!(push("v1", MANIFEST, json!({ "schemaVersion": 1 })).await, "MANIFEST_INVALID");
    assert_eq!(push("v1", MANIFEST, json!({ "schemaVersion": 2 })).await, "MANIFEST_INVALID");
    assert_eq!(push("v1", INDEX, manifest.clone()).await, "MANIFEST_INVALID");
    assert_eq!(push(".v1", MANIFEST, manifest.clone()).await, "MANIFEST_INVALID");
    let wrong = format!("/v2/a/manifests/{}", Digest::of("other"));
    let reply = send(rig.request(Method::PUT, &wrong).header(CONTENT_TYPE, MANIFEST).body(manifest.to_string())).await;
    assert_eq!(reply.expect(400).code(), "DIGEST_INVALID");
    let mut lying = manifest;
    lying["layers"][0]["size"] = json!(4);
    assert_eq!(push("v1", MANIFEST, lying).await, "MANIFEST_INVALID");
    rig.get("/v2/a/manifests/v1").await.expect(404);
}

#[tokio::test]
async fn a_manifest_without_its_blobs_is_refused_and_every_one_is_named() {
    let rig = Rig::new().await;
    rig.push_blob("a", b"{}").await;
    // In another repository is not here.
    rig.push_blob("b", b"layer").await;
    let mut manifest = image_manifest("{}", "layer");
    manifest["layers"].as_array_mut().unwrap().push(descriptor(LAYER, b"second"));
    let reply = rig.push_manifest("a", "v1", MANIFEST, &manifest).await.expect(404);
    let errors = reply.json()["errors"].as_array().unwrap().clone();
    let mut named: Vec<&str> = errors.iter().map(|error| error["detail"]["digest"].as_str().unwrap()).collect();
    named.sort_unstable();
    let mut missing = [Digest::of("layer").to_string(), Digest::of("second").to_string()];
    missing.sort();
    assert_eq!(named, missing);
    assert!(errors.iter().all(|error| error["code"] == "MANIFEST_BLOB_UNKNOWN"));
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, b"{}")] });
    // The bytes are here, but as a blob.
    assert_eq!(rig.push_manifest("a", "v1", INDEX, &index).await.expect(404).code(), "MANIFEST_BLOB_UNKNOWN");
}

#[tokio::test]
async fn artifacts_empty_images_and_nested_indexes_are_accepted() {
    let rig = Rig::new().await;
    rig.push_blob("a", b"{}").await;
    let no_layers = json!({ "schemaVersion": 2, "config": descriptor(CONFIG, b"{}"), "layers": [] });
    rig.push_manifest("a", "no-layers", MANIFEST, &no_layers).await.expect(201);
    let artifact = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.oci.empty.v1+json", b"{}")],
    });
    rig.push_manifest("a", &Digest::of(artifact.to_string()).to_string(), MANIFEST, &artifact).await.expect(201);
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [descriptor(MANIFEST, no_layers.to_string().as_bytes())],
    });
    rig.push_manifest("a", "index", INDEX, &index).await.expect(201);
    let nested = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [descriptor(INDEX, index.to_string().as_bytes())],
    });
    rig.push_manifest("a", "nested", INDEX, &nested).await.expect(201);
    assert_eq!(rig.head("/v2/a/manifests/nested").await.expect(200).header("content-type"), INDEX);
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let schema2 = json!({ "schemaVersion": 2, "mediaType": docker, "config": descriptor(CONFIG, b"{}"), "layers": [] });
    rig.push_manifest("a", "docker", docker, &schema2).await.expect(201);
    assert_eq!(rig.head("/v2/a/manifests/docker").await.header("content-type"), docker);
}

#[tokio::test]
async fn a_subject_may_come_later_and_is_acknowledged() {
    let rig = Rig::new().await;
    rig.push_blob("a", b"{}").await;
    let subject = Digest::of("not pushed");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, b"{}"), "layers": [],
        "subject": { "mediaType": MANIFEST, "digest": subject, "size": 10 },
    });
    let reply = rig.push_manifest("a", "refers", MANIFEST, &manifest).await.expect(201);
    assert_eq!(reply.header("oci-subject"), subject.to_string());
}

#[tokio::test]
async fn manifests_may_have_four_mebibytes_and_no_more() {
    let rig = Rig::new().await;
    rig.push_blob("a", b"{}").await;
    let manifest = |padding: usize| {
        let annotations = json!({ "padding": "x".repeat(padding) });
        json!({ "schemaVersion": 2, "config": descriptor(CONFIG, b"{}"), "layers": [], "annotations": annotations })
    };
    let room = 4 * 1024 * 1024 - manifest(0).to_string().len();
    rig.push_manifest("a", "large", MANIFEST, &manifest(room)).await.expect(201);
    rig.push_manifest("a", "larger", MANIFEST, &manifest(room + 1)).await.expect(413);
    // The same without an announced length.
    let body = manifest(room + 1).to_string().into_bytes();
    let parts = body.chunks(100_000).map(|part| Ok::<_, std::io::Error>(part.to_vec())).collect::<Vec<_>>();
    let streamed = rig.request(Method::PUT, "/v2/a/manifests/larger").header(CONTENT_TYPE, MANIFEST);
    let streamed = streamed.body(reqwest::Body::wrap_stream(futures_util::stream::iter(parts)));
    send(streamed).await.expect(413);
    rig.get("/v2/a/manifests/larger").await.expect(404);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_served_or_refused_at_once() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    let mut stream = TcpStream::connect(rig.addr).await.unwrap();
    let head = |range: &str| {
        format!(
            "PATCH {location} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nContent-Range: {range}\r\n\r\n"
        )
    };
    stream.write_all(head("0-4").as_bytes()).await.unwrap();
    let mut reply = vec![0; 25];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut reply = vec![0; 12];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, b"HTTP/1.1 202");
    let mut stream = TcpStream::connect(rig.addr).await.unwrap();
    stream.write_all(head("0-4").as_bytes()).await.unwrap();
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, b"HTTP/1.1 416");
}

#[tokio::test]
async fn a_refused_upload_is_answered_although_the_client_is_still_sending() {
    let rig = Rig::new().await;
    let body = noise(8_000_000);
    let unknown = "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000";
    let reply = send(rig.request(Method::PATCH, unknown).header(CONTENT_LENGTH, body.len()).body(body)).await;
    assert_eq!(reply.expect(404).code(), "BLOB_UPLOAD_UNKNOWN");
}
