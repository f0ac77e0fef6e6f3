//! registries.conf: mirrors, places that moved.

use mpimg::oci::{Platform, Repository};
use mpimg::registry::ClientOptions;

use super::distribution::push;
use super::fixture::{Image, client, distribution, free_address, options};
use super::proxy::Proxy;

fn with_conf(folder: &std::path::Path, text: &str) -> ClientOptions {
    let path = folder.join("registries.conf");
    std::fs::write(&path, text).unwrap();
    let mut options = options();
    options.registries_conf = Some(path);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_is_asked_first_and_the_registry_if_it_fails() {
    let (registry, mirror) = (distribution(""), distribution(""));
    let (registry_front, mirror_front) = (Proxy::before(registry.address).await, Proxy::before(mirror.address).await);
    let folder = tempfile::tempdir().unwrap();
    let conf = format!(
        "[[registry]]\nprefix = \"example.com/mp\"\nlocation = \"{}/mp\"\n[[registry.mirror]]\nlocation = \"{}/cache\"\n\
         [[registry.mirror]]\nlocation = \"{}/gone\"\n",
        registry_front.address,
        mirror_front.address,
        free_address()
    );
    let mut options = with_conf(folder.path(), &conf);
    options.retry.attempts = 1;
    let client = client(options);
    let (both, registry_only) = (Image::new(91, &[1000]), Image::new(92, &[1000]));
    let repository = Repository::parse("example.com/mp/nsx").unwrap();
    push(&client, &repository, &both, &[]).await.unwrap();
    push(&client, &repository, &registry_only, &[]).await.unwrap();
    push(&client, &mirror.repository("cache/nsx"), &both, &[]).await.unwrap();
    assert!(mirror_front.seen().is_empty(), "pushed to a mirror");

    let before = registry_front.seen().len();
    client.pull_image(&repository.with_digest(both.digest()), &Platform::default()).await.unwrap();
    assert_eq!(registry_front.seen().len(), before, "the mirror had it all");
    client.pull_image(&repository.with_digest(registry_only.digest()), &Platform::default()).await.unwrap();
    assert!(registry_front.seen().len() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_hubs_mirror_serves_short_names() {
    let mirror = distribution("");
    let image = Image::new(93, &[1000]);
    let mut options = options();
    options.mirrors.push(mirror.address.to_string());
    let client = client(options);
    push(&client, &mirror.repository("library/python"), &image, &["3"]).await.unwrap();
    let pulled = client.pull_image(&"python:3".parse().unwrap(), &Platform::default()).await.unwrap();
    assert_eq!(pulled.digest, image.digest());
}
