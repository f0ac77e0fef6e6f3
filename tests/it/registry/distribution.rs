//! Whole images, there and back, with Debian's docker-registry.

use futures_util::TryStreamExt as _;
use mpimg::Result;
use mpimg::oci::{Digest, MediaType, Platform, Repository, Tag};
use mpimg::registry::{BlobOutcome, Client, Pushed};

use super::fixture::{Image, client, distribution, options, skopeo};

pub(super) async fn push(client: &Client, repository: &Repository, image: &Image, tags: &[&str]) -> Result<Pushed> {
    let session = client.push(repository)?;
    image.layers.iter().for_each(|layer| session.offer(layer));
    let tags: Vec<Tag> = tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect();
    session.finish(image.config.clone(), image.manifest.clone(), MediaType::Manifest, &tags).await
}

pub(super) fn outcomes(pushed: &Pushed) -> Vec<BlobOutcome> {
    pushed.blobs.iter().map(|blob| blob.outcome).collect()
}

#[tokio::test]
async fn an_image_is_pushed_pulled_back_and_copied_by_skopeo() {
    let registry = distribution("");
    let repository = registry.repository("mp/nsx");
    let image = Image::new(1, &[1000, 12 << 20]);
    let client = client(options());
    let pushed = push(&client, &repository, &image, &["1.0", "latest"]).await.unwrap();
    assert_eq!(pushed.digest, image.digest());
    let sent = image.layers.iter().map(|layer| layer.descriptor.size).chain([image.config.len() as u64]);
    assert_eq!(outcomes(&pushed), sent.map(|sent| BlobOutcome::Uploaded { sent }).collect::<Vec<_>>());

    let pulled = client.pull_image(&repository.with_tag(Tag::parse("latest").unwrap()), &Platform::default()).await.unwrap();
    assert_eq!((pulled.digest, &pulled.manifest, &pulled.config), (image.digest(), &image.manifest, &image.config));
    for (layer, expected) in pulled.layers.iter().zip(&image.layers) {
        assert_eq!((layer.diff_id, &layer.descriptor), (expected.diff_id, &expected.descriptor));
        let whole = layer.source.read(0).try_collect::<Vec<_>>().await.unwrap().concat();
        assert_eq!(Digest::of(&whole), expected.descriptor.digest);
        let rest = layer.source.read(700).try_collect::<Vec<_>>().await.unwrap().concat();
        assert_eq!(rest, whole[700..]);
    }

    let folder = tempfile::tempdir().unwrap();
    let copy = format!("oci:{}:copy", folder.path().display());
    skopeo(&["copy", "--preserve-digests", "--src-tls-verify=false", &format!("docker://{repository}:1.0"), &copy]);
    assert!(skopeo(&["inspect", &copy]).contains(&image.layers[0].descriptor.digest.to_string()));
}

#[tokio::test]
async fn an_image_that_is_there_is_not_sent_again_and_one_beside_it_is_mounted() {
    let registry = distribution("");
    let image = Image::new(2, &[5000, 6 << 20]);
    let client = client(options());
    let first = registry.repository("mp/first");
    push(&client, &first, &image, &[]).await.unwrap();
    let again = push(&client, &first, &image, &["again"]).await.unwrap();
    assert_eq!(outcomes(&again), [BlobOutcome::Exists; 3]);

    let pulled = client.pull_image(&first.with_digest(image.digest()), &Platform::default()).await.unwrap();
    let second = registry.repository("other/second");
    let session = client.push(&second).unwrap();
    pulled.layers.iter().for_each(|layer| session.offer(layer));
    let mounted = session.finish(pulled.config, pulled.manifest, pulled.media_type, &[]).await.unwrap();
    assert_eq!(outcomes(&mounted)[..2], [BlobOutcome::Mounted; 2]);
}

#[tokio::test]
async fn layers_stream_from_one_registry_to_another() {
    let (from, to) = (distribution(""), distribution(""));
    let image = Image::new(3, &[100, 11 << 20]);
    let client = client(options());
    let source = from.repository("a/b");
    push(&client, &source, &image, &["x"]).await.unwrap();
    let pulled = client.pull_image(&source.with_digest(image.digest()), &Platform::default()).await.unwrap();
    let target = to.repository("c/d");
    let session = client.push(&target).unwrap();
    pulled.layers.iter().for_each(|layer| session.offer(layer));
    let pushed = session.finish(pulled.config, pulled.manifest, pulled.media_type, &[Tag::parse("y").unwrap()]).await.unwrap();
    assert_eq!(pushed.digest, image.digest());
    assert!(skopeo(&["inspect", "--tls-verify=false", &format!("docker://{target}:y")]).contains("sha256"));
}
