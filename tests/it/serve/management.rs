//! Conformance: deleting (distribution specification, "Content Management"), and read-only registries.

use super::*;

#[tokio::test]
async fn a_deleted_tag_leaves_its_manifest() {
    let rig = Rig::new().await;
    let digest = rig.push_image("a", "one", "layer").await;
    rig.push_image("a", "two", "layer").await;
    rig.delete("/v2/a/manifests/one").await.expect(202);
    rig.get("/v2/a/manifests/one").await.expect(404);
    rig.delete("/v2/a/manifests/one").await.expect(404);
    rig.get("/v2/a/manifests/two").await.expect(200);
    rig.get(&format!("/v2/a/manifests/{digest}")).await.expect(200);
    assert_eq!(rig.get("/v2/a/tags/list").await.json()["tags"], json!(["two"]));
}

#[tokio::test]
async fn a_deleted_manifest_takes_its_tags_along_and_leaves_its_blobs() {
    let rig = Rig::new().await;
    let digest = rig.push_image("a", "one", "layer").await;
    rig.push_image("a", "two", "layer").await;
    let path = format!("/v2/a/manifests/{digest}");
    rig.delete(&path).await.expect(202);
    for gone in [path.as_str(), "/v2/a/manifests/one", "/v2/a/manifests/two"] {
        assert_eq!(rig.get(gone).await.expect(404).code(), "MANIFEST_UNKNOWN");
    }
    assert_eq!(rig.delete(&path).await.expect(404).code(), "MANIFEST_UNKNOWN");
    assert_eq!(rig.get("/v2/a/tags/list").await.expect(200).json()["tags"], json!([]));
    rig.get(&format!("/v2/a/blobs/{}", Digest::of("layer"))).await.expect(200);
    rig.push_image("a", "one", "layer").await;
    rig.get(&path).await.expect(200);
}

#[tokio::test]
async fn a_deleted_blob_is_gone_from_this_repository_only() {
    let rig = Rig::new().await;
    let digest = rig.push_blob("a", b"x").await;
    rig.push_blob("b", b"x").await;
    let path = format!("/v2/a/blobs/{digest}");
    rig.delete(&path).await.expect(202);
    assert_eq!(rig.get(&path).await.expect(404).code(), "BLOB_UNKNOWN");
    assert_eq!(rig.delete(&path).await.expect(404).code(), "BLOB_UNKNOWN");
    rig.get(&format!("/v2/b/blobs/{digest}")).await.expect(200);
    rig.delete(&format!("/v2/c/blobs/{digest}")).await.expect(404);
    rig.push_blob("a", b"x").await;
    rig.get(&path).await.expect(200);
}

#[tokio::test]
async fn a_manifest_is_not_deleted_as_a_blob() {
    let rig = Rig::new().await;
    let digest = rig.push_image("a", "one", "layer").await;
    assert_eq!(rig.delete(&format!("/v2/a/blobs/{digest}")).await.expect(400).code(), "UNSUPPORTED");
    rig.get("/v2/a/manifests/one").await.expect(200);
}

#[tokio::test]
async fn both_orders_of_deleting_an_image_work() {
    let rig = Rig::new().await;
    for manifest_first in [true, false] {
        let digest = rig.push_image("a", "one", "layer").await;
        let mut paths = vec![format!("/v2/a/manifests/{digest}")];
        for blob in ["layer", "{}"] {
            paths.push(format!("/v2/a/blobs/{}", Digest::of(blob)));
        }
        if !manifest_first {
            paths.reverse();
        }
        for path in &paths {
            rig.delete(path).await.expect(202);
        }
        for path in &paths {
            rig.get(path).await.expect(404);
        }
    }
}

#[tokio::test]
async fn a_read_only_registry_is_pulled_from_and_not_pushed_to() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path()).await;
    let digest = rig.push_image("a", "one", "layer").await;
    rig.stop().await;
    let options = RegistryOptions { dir: Some(dir.path().into()), read_only: true, ..RegistryOptions::default() };
    let rig = Rig::with(options.clone()).await;
    rig.get("/v2/a/manifests/one").await.expect(200);
    assert_eq!(rig.get(&format!("/v2/a/blobs/{}", Digest::of("layer"))).await.expect(200).body, b"layer");
    let reply = rig.post("/v2/a/blobs/uploads/").await.expect(403);
    assert_eq!((reply.code().as_str(), &reply.json()["errors"][0]["message"]), ("DENIED", &json!("this registry is read-only")));
    rig.push_manifest("a", "two", MANIFEST, &image_manifest("{}", "layer")).await.expect(403);
    for path in [format!("/v2/a/manifests/{digest}"), format!("/v2/a/blobs/{}", Digest::of("layer"))] {
        assert_eq!(rig.delete(&path).await.expect(405).code(), "UNSUPPORTED");
    }
    // Two of them may share a folder.
    let second = Rig::with(options).await;
    second.get("/v2/a/manifests/one").await.expect(200);
}
