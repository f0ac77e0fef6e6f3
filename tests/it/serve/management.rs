//! Conformance: deleting (distribution specification, "Content Management"), and read-only
//! registries.

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

/// The bytes in blobs of a registry's folder, each counted once.
fn stored(dir: &Path) -> u64 {
    let files = |algorithm: &str| std::fs::read_dir(dir.join("blobs").join(algorithm)).unwrap();
    ["sha256", "sha512"].into_iter().flat_map(files).map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn eager(dir: &Path, age: u64) -> RegistryOptions {
    let garbage_age = std::time::Duration::from_secs(age);
    RegistryOptions { dir: Some(dir.into()), garbage_age, ..RegistryOptions::default() }
}

#[tokio::test]
async fn what_a_deleted_tag_or_manifest_leaves_is_freed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path()).await;
    rig.push_image("a", "kept", &"kept".repeat(1000)).await;
    let by_digest = rig.push_image("a", "moved", "moved away").await;
    rig.push_image("a", "moved", &"kept".repeat(1000)).await;
    let before = stored(dir.path());
    rig.push_image("a", "gone", &"gone".repeat(10_000)).await;
    let digest = rig.push_image("a", "deleted", &"deleted".repeat(10_000)).await;
    rig.delete("/v2/a/manifests/gone").await.expect(202);
    rig.delete(&format!("/v2/a/manifests/{digest}")).await.expect(202);
    rig.push_blob("a", &[7; 5000]).await;
    rig.stop().await;

    // What has just come may still get its manifest.
    let rig = Rig::with(eager(dir.path(), 3600)).await;
    rig.get(&format!("/v2/a/blobs/{}", Digest::of([7; 5000]))).await.expect(200);
    rig.stop().await;
    let rig = Rig::with(eager(dir.path(), 0)).await;
    assert_eq!(stored(dir.path()), before);
    rig.get("/v2/a/manifests/kept").await.expect(200);
    // Products pull by digest what a tag no longer names.
    rig.get(&format!("/v2/a/manifests/{by_digest}")).await.expect(200);
    rig.get(&format!("/v2/a/blobs/{}", Digest::of("moved away"))).await.expect(200);
    // The same image again is whole.
    let again = rig.push_image("a", "gone", &"gone".repeat(10_000)).await;
    rig.get(&format!("/v2/a/manifests/{again}")).await.expect(200);
}

#[tokio::test]
async fn garbage_takes_referrers_along_and_spares_what_an_index_needs() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path()).await;
    let child = rig.push_image("a", "child", "child").await;
    let manifest = rig.get("/v2/a/manifests/child").await.body;
    let entry = json!({"mediaType": MANIFEST, "digest": child, "size": manifest.len()});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    rig.push_manifest("a", "index", INDEX, &index).await.expect(201);
    rig.delete("/v2/a/manifests/child").await.expect(202);

    let signed = rig.push_image("a", "signed", "signed").await;
    let size = rig.get("/v2/a/manifests/signed").await.body.len();
    let mut signature = image_manifest("{}", "child");
    signature["subject"] = json!({"mediaType": MANIFEST, "digest": signed, "size": size});
    let signature_digest = Digest::of(signature.to_string());
    rig.push_manifest("a", &signature_digest.to_string(), MANIFEST, &signature).await.expect(201);
    rig.delete("/v2/a/manifests/signed").await.expect(202);
    rig.stop().await;

    let rig = Rig::with(eager(dir.path(), 0)).await;
    rig.get(&format!("/v2/a/manifests/{child}")).await.expect(200);
    rig.get(&format!("/v2/a/blobs/{}", Digest::of("child"))).await.expect(200);
    for gone in [signed, signature_digest] {
        rig.get(&format!("/v2/a/manifests/{gone}")).await.expect(404);
    }
    rig.get(&format!("/v2/a/blobs/{}", Digest::of("signed"))).await.expect(404);
}
