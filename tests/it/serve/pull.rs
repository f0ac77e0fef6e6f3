//! Conformance: pulling (distribution specification, "Pull").

use reqwest::Method;
use reqwest::header::{ACCEPT, IF_NONE_MATCH, IF_RANGE, RANGE};

use super::*;

#[tokio::test]
async fn the_base_endpoint_says_that_this_is_a_registry() {
    let rig = Rig::new().await;
    for path in ["/v2/", "/v2"] {
        let reply = rig.get(path).await.expect(200);
        assert_eq!(reply.header("docker-distribution-api-version"), "registry/2.0");
    }
    rig.get("/v1/").await.expect(404);
}

#[tokio::test]
async fn a_blob_is_read_whole_and_its_head_tells_size_and_digest() {
    let rig = Rig::new().await;
    let digest = rig.push_blob("a/b", b"hello").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let head = rig.head(&path).await.expect(200);
    assert_eq!(head.header("content-length"), "5");
    assert_eq!(head.header("docker-content-digest"), digest.to_string());
    assert_eq!(head.header("accept-ranges"), "bytes");
    assert_eq!(head.header("etag"), format!("\"{digest}\""));
    assert_eq!(head.body, b"");
    let reply = rig.get(&path).await.expect(200);
    assert_eq!(reply.header("content-length"), "5");
    assert_eq!(reply.header("docker-content-digest"), digest.to_string());
    assert_eq!(reply.body, b"hello");
    // Some clients encode the colon.
    let encoded = path.replace("sha256:", "sha256%3A");
    assert_eq!(rig.get(&encoded).await.expect(200).body, b"hello");
}

#[tokio::test]
async fn an_unknown_blob_is_404_with_blob_unknown() {
    let rig = Rig::new().await;
    let digest = Digest::of("nobody has this");
    let path = format!("/v2/a/blobs/{digest}");
    assert_eq!(rig.head(&path).await.expect(404).body, b"");
    assert_eq!(rig.get(&path).await.expect(404).code(), "BLOB_UNKNOWN");
    rig.push_blob("a", b"x").await;
    assert_eq!(rig.get(&path).await.expect(404).code(), "BLOB_UNKNOWN");
    assert_eq!(rig.get("/v2/a/blobs/sha256:00").await.expect(400).code(), "DIGEST_INVALID");
    assert_eq!(rig.get("/v2/a/blobs/md5:00").await.expect(400).code(), "DIGEST_INVALID");
}

#[tokio::test]
async fn parts_of_a_blob_are_read_by_range() {
    let rig = Rig::new().await;
    let bytes = noise(1_500_000);
    let digest = rig.push_blob("a", &bytes).await;
    let path = format!("/v2/a/blobs/{digest}");
    for (range, start, end) in [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=1000000-", 1_000_000, 1_499_999),
        ("bytes=-1", 1_499_999, 1_499_999),
        ("bytes=524287-1048577", 524_287, 1_048_577),
        ("bytes=1499999-9999999", 1_499_999, 1_499_999),
    ] {
        let reply = send(rig.request(Method::GET, &path).header(RANGE, range)).await.expect(206);
        assert_eq!(reply.header("content-range"), format!("bytes {start}-{end}/1500000"), "{range}");
        assert_eq!(reply.header("content-length"), (end - start + 1).to_string());
        assert!(reply.body == bytes[start..=end], "{range}");
    }
    let reply = send(rig.request(Method::GET, &path).header(RANGE, "bytes=1500000-")).await.expect(416);
    assert_eq!(reply.header("content-range"), "bytes */1500000");
    for ignored in ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2"] {
        let reply = send(rig.request(Method::GET, &path).header(RANGE, ignored)).await.expect(200);
        assert!(reply.body == bytes, "{ignored}");
    }
    let head = send(rig.request(Method::HEAD, &path).header(RANGE, "bytes=0-0")).await.expect(200);
    assert_eq!(head.header("content-length"), "1500000");
}

#[tokio::test]
async fn the_empty_blob_can_be_stored_and_has_no_ranges() {
    let rig = Rig::new().await;
    let digest = rig.push_blob("a", b"").await;
    let path = format!("/v2/a/blobs/{digest}");
    let reply = rig.get(&path).await.expect(200);
    assert_eq!((reply.header("content-length"), reply.body.len()), ("0", 0));
    send(rig.request(Method::GET, &path).header(RANGE, "bytes=0-")).await.expect(416);
}

#[tokio::test]
async fn conditions_on_the_etag_are_honoured() {
    let rig = Rig::new().await;
    let digest = rig.push_blob("a", b"hello").await;
    let path = format!("/v2/a/blobs/{digest}");
    let tag = format!("\"{digest}\"");
    let reply = send(rig.request(Method::GET, &path).header(IF_NONE_MATCH, &tag)).await.expect(304);
    assert_eq!(reply.body, b"");
    let ranged = |tag: &str| rig.request(Method::GET, &path).header(RANGE, "bytes=1-2").header(IF_RANGE, tag);
    assert_eq!(send(ranged(&tag)).await.expect(206).body, b"el");
    assert_eq!(send(ranged("\"other\"")).await.expect(200).body, b"hello");
    let manifest = rig.push_image("a", "1", "layer").await;
    let condition = rig.request(Method::GET, "/v2/a/manifests/1").header(IF_NONE_MATCH, format!("\"{manifest}\""));
    send(condition).await.expect(304);
}

#[tokio::test]
async fn a_manifest_is_read_by_tag_and_digest_with_the_type_it_was_pushed_with() {
    let rig = Rig::new().await;
    let manifest = rig.image("a/b", "layer").await;
    let bytes = manifest.to_string();
    let digest = Digest::of(&bytes);
    rig.push_manifest("a/b", "v1", MANIFEST, &manifest).await.expect(201);
    for reference in ["v1", &digest.to_string()] {
        let path = format!("/v2/a/b/manifests/{reference}");
        // Whatever is asked for, there is one type.
        for accept in [MANIFEST, INDEX, "*/*"] {
            let reply = send(rig.request(Method::GET, &path).header(ACCEPT, accept)).await.expect(200);
            assert_eq!(reply.header("content-type"), MANIFEST);
            assert_eq!(reply.header("docker-content-digest"), digest.to_string());
            assert_eq!(reply.body, bytes.as_bytes());
        }
        let head = rig.head(&path).await.expect(200);
        assert_eq!(head.header("content-length"), bytes.len().to_string());
        assert_eq!(head.header("content-type"), MANIFEST);
        assert_eq!(head.header("docker-content-digest"), digest.to_string());
        assert_eq!(head.body, b"");
    }
}

#[tokio::test]
async fn an_unknown_manifest_is_404_with_manifest_unknown() {
    let rig = Rig::new().await;
    rig.push_image("a", "1", "layer").await;
    let layer = Digest::of("layer");
    for path in [
        "/v2/a/manifests/2".to_owned(),
        "/v2/b/manifests/1".to_owned(),
        "/v2/a/manifests/.INVALID_MANIFEST_NAME".to_owned(),
        format!("/v2/a/manifests/{}", Digest::of("x")),
        // A blob is not a manifest.
        format!("/v2/a/manifests/{layer}"),
    ] {
        assert_eq!(rig.get(&path).await.expect(404).code(), "MANIFEST_UNKNOWN", "{path}");
        rig.head(&path).await.expect(404);
    }
    assert_eq!(rig.get("/v2/a/manifests/sha256:totallywrong").await.expect(400).code(), "DIGEST_INVALID");
}

#[tokio::test]
async fn a_blob_is_seen_only_in_the_repositories_that_have_it() {
    let rig = Rig::new().await;
    let digest = rig.push_blob("a", b"secret").await;
    rig.push_blob("a/b", b"other").await;
    for other in ["b", "a/b"] {
        rig.get(&format!("/v2/{other}/blobs/{digest}")).await.expect(404);
    }
}

#[tokio::test]
async fn a_large_blob_comes_back_as_it_was() {
    let rig = Rig::new().await;
    let bytes = noise(20_000_000);
    let digest = rig.push_blob("a", &bytes).await;
    let reply = rig.get(&format!("/v2/a/blobs/{digest}")).await.expect(200);
    assert_eq!(Digest::of(reply.body), digest);
}

#[tokio::test]
async fn the_front_page_tells_how_to_pull() {
    let rig = Rig::new().await;
    rig.push_image("mp/nsx", "1", "layer").await;
    let reply = rig.get("/").await.expect(200);
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    let page = String::from_utf8(reply.body).unwrap();
    assert!(page.contains(&format!("docker pull {}/REPOSITORY:TAG", rig.addr)), "{page}");
    assert!(page.contains(&format!("{}/mp/nsx", rig.addr)), "{page}");
}

#[tokio::test]
async fn names_that_leave_the_folder_are_refused() {
    let rig = Rig::new().await;
    rig.push_image("a", "1", "layer").await;
    let long = "a".repeat(256);
    for name in
        ["..", "../..", "a/../a", "a/%2e%2e", "a%2f..%2f..", "%2e%2e/a", "a//b", "A", "_layout", "a/_uploads", "a\\b", &long]
    {
        for rest in ["tags/list", "manifests/1", "blobs/uploads/"] {
            let method = if rest.ends_with('/') { "POST" } else { "GET" };
            let request =
                format!("{method} /v2/{name}/{rest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            let reply = rig.raw(&request).await;
            assert!(reply.starts_with("HTTP/1.1 400 ") && reply.contains("NAME_INVALID"), "{name}/{rest}: {reply}");
        }
    }
    for id in ["..", "%2e%2e", "../../_layout/index.json", "..%2f..%2f_layout%2findex.json"] {
        let request = format!("GET /v2/a/blobs/uploads/{id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let reply = rig.raw(&request).await;
        assert!(reply.starts_with("HTTP/1.1 404 ") || reply.starts_with("HTTP/1.1 400 "), "{id}: {reply}");
    }
    assert_eq!(rig.registry.repositories().unwrap(), ["a"]);
}

#[tokio::test]
async fn the_wrong_method_is_405_and_names_the_right_ones() {
    let rig = Rig::new().await;
    for (method, path, allowed) in [
        (Method::POST, "/v2/", "GET, HEAD"),
        (Method::DELETE, "/v2/a/tags/list", "GET, HEAD"),
        (Method::GET, "/v2/a/blobs/uploads/", "POST"),
        (Method::PATCH, "/v2/a/manifests/1", "GET, HEAD, PUT, DELETE"),
    ] {
        let reply = send(rig.request(method, path)).await.expect(405);
        assert_eq!(reply.header("allow"), allowed);
        assert_eq!(reply.code(), "UNSUPPORTED");
    }
}
