//! The folder: what is in it, who may open it, what a start cleans up.

use mpimg::ErrorKind;

use super::*;

fn open(dir: &Path) -> mpimg::Result<Registry> {
    Registry::open(RegistryOptions { dir: Some(dir.to_owned()), ..RegistryOptions::default() })
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path()).await;
    let digest = rig.push_image("a/b", "one", "layer").await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, b"{}"), "layers": [],
        "subject": { "mediaType": MANIFEST, "digest": digest, "size": 10 },
    });
    let refers = Digest::of(manifest.to_string());
    rig.push_manifest("a/b", &refers.to_string(), MANIFEST, &manifest).await.expect(201);
    rig.stop().await;
    let rig = Rig::in_dir(dir.path()).await;
    assert_eq!(rig.get("/v2/a/b/manifests/one").await.expect(200).header("docker-content-digest"), digest.to_string());
    assert_eq!(rig.get("/v2/a/b/tags/list").await.json()["tags"], json!(["one"]));
    let referrers = rig.get(&format!("/v2/a/b/referrers/{digest}")).await.json();
    assert_eq!(referrers["manifests"][0]["digest"], refers.to_string());
    assert_eq!(rig.registry.repositories().unwrap(), ["a/b"]);
}

#[tokio::test]
async fn a_folder_serves_one_registry_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(error.to_string(), format!("`{}` is in use by another registry", dir.path().display()));
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "precious").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(error.hint(), Some("name a new or empty folder"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    std::fs::remove_file(dir.path().join("thesis.txt")).unwrap();
    std::fs::write(dir.path().join("registry.json"), "{\"format\":99}\n").unwrap();
    assert_eq!(open(dir.path()).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_read_only_registry_needs_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let options = RegistryOptions { dir: Some(dir.path().join("x")), read_only: true, ..RegistryOptions::default() };
    assert_eq!(Registry::open(options).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_temporary_registry_leaves_nothing_behind() {
    let registry = Registry::open(RegistryOptions::default()).unwrap();
    let dir = registry.dir().to_owned();
    assert!(dir.join("registry.json").exists());
    drop(registry);
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_start_removes_what_a_killed_registry_left() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path()).await;
    rig.push_image("a", "one", "layer").await;
    rig.stop().await;
    let half_written = dir.path().join("tmp/half");
    let nobodys = dir.path().join(format!("blobs/sha256/{}", Digest::of("nobody").hex()));
    std::fs::write(&half_written, "ha").unwrap();
    std::fs::write(&nobodys, "nobody").unwrap();
    let rig = Rig::in_dir(dir.path()).await;
    assert!(!half_written.exists() && !nobodys.exists());
    assert_eq!(rig.get(&format!("/v2/a/blobs/{}", Digest::of("layer"))).await.expect(200).body, b"layer");
    // A blob that nobody has any more takes no room.
    let shared = dir.path().join(format!("blobs/sha256/{}", Digest::of("layer").hex()));
    assert!(shared.exists());
    rig.delete(&format!("/v2/a/blobs/{}", Digest::of("layer"))).await.expect(202);
    assert!(!shared.exists());
}

#[tokio::test]
async fn a_damaged_index_is_an_error_that_names_no_paths_to_clients() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path()).await;
    rig.push_image("a", "one", "layer").await;
    rig.stop().await;
    std::fs::write(dir.path().join("repositories/a/_layout/index.json"), "{").unwrap();
    let rig = Rig::in_dir(dir.path()).await;
    let reply = rig.get("/v2/a/manifests/one").await.expect(500);
    assert_eq!(reply.code(), "UNKNOWN");
    assert!(!String::from_utf8(reply.body).unwrap().contains(dir.path().to_str().unwrap()));
}

#[tokio::test]
async fn a_durable_registry_answers_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path()).unwrap();
    let server = registry.bind("127.0.0.1:0").await.unwrap();
    let addr = server.addr();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone().cancelled_owned()));
    let client = client();
    let url = |path: &str| format!("http://{addr}{path}");
    for part in ["{}", "layer"] {
        let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(part));
        send(client.post(url(&path)).body(part)).await.expect(201);
    }
    let put = client.put(url("/v2/a/manifests/one")).header(CONTENT_TYPE, MANIFEST);
    send(put.body(image_manifest("{}", "layer").to_string())).await.expect(201);
    assert_eq!(registry.requests(), 3);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_addresses_to_tell_people_are_real_ones() {
    let registry = Registry::open(RegistryOptions::default()).unwrap();
    let local = registry.bind("127.0.0.1:0").await.unwrap();
    assert_eq!(local.reachable_addrs(), [local.addr()]);
    let every = registry.bind("0.0.0.0:0").await.unwrap();
    let addrs = every.reachable_addrs();
    assert_eq!(*addrs.last().unwrap(), SocketAddr::from(([127, 0, 0, 1], every.addr().port())));
    assert!(addrs.iter().all(|addr| !addr.ip().is_unspecified() && addr.port() == every.addr().port()));
    let error = registry.bind(local.addr()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
}
