//! The crates oci-client and oci-spec as judges: another Rust program pulls, pushes, lists and
//! reads names as we do.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use mpimg::image::artifact;
use mpimg::oci::{Descriptor, Digest, MediaType, Platform, Reference, Repository};
use mpimg::store::BlobSource;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::distribution::push;
use super::fixture::{Image, client, distribution, options};
use crate::skip::{Missing, skip};

/// tests/judges/oci-client, if tests/setup built it.
fn program() -> Option<PathBuf> {
    Some(crate::judges().join("oci-client/debug/oci-client-judge")).filter(|program| program.is_file())
}

/// The lines that the judge prints.
async fn judge(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new(program().unwrap());
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || crate::run(&mut command)).await.unwrap();
    output.lines().map(str::to_owned).collect()
}

/// Images and lists go back and forth.
async fn agrees(repository: &Repository) {
    let ours = client(options());
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let image = Image::new(91, &[1000, 6 << 20]);

    // We push, it pulls.
    push(&ours, repository, &image, &["1", "latest"]).await.unwrap();
    let pulled = judge(&["pull", &format!("{repository}:1"), &at("")]).await;
    assert_eq!(pulled, [image.digest().to_string()]);
    assert_eq!(std::fs::read(at("config")).unwrap(), image.config);
    for (number, layer) in image.layers.iter().enumerate() {
        assert_eq!(Digest::of(std::fs::read(at(&number.to_string())).unwrap()), layer.descriptor.digest);
    }

    // It pushes, we pull.
    judge(&["push", &format!("{repository}:theirs"), &at("config"), &at("0"), &at("1")]).await;
    let reference = Reference::parse(&format!("{repository}:theirs")).unwrap();
    let back = ours.pull_image(&reference, &Platform::default()).await.unwrap();
    assert_eq!(back.config, image.config);
    assert_eq!(back.layers.len(), image.layers.len());
    for (layer, expected) in back.layers.iter().zip(&image.layers) {
        assert!(matches!(layer.source, BlobSource::Remote(_)));
        let bytes = layer.source.read(0).try_collect::<Vec<_>>().await.unwrap().concat();
        assert_eq!(Digest::of(bytes), expected.descriptor.digest);
    }

    // Both see the same tags and referrers.
    let subject = Descriptor::of(MediaType::Manifest, &image.manifest);
    for document in ["one", "two"] {
        let document = Bytes::from(format!(r#"{{"name":"{document}"}}"#));
        ours.attach(repository, &artifact("application/spdx+json", "application/spdx+json", document, &subject)).await.unwrap();
    }
    let theirs: BTreeSet<_> = judge(&["tags", &format!("{repository}:1")]).await.into_iter().collect();
    let tags = ours.tags(repository).await.unwrap();
    assert_eq!(tags.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), theirs);
    assert!(["1", "latest", "theirs"].iter().all(|tag| theirs.contains(*tag)), "{theirs:?}");
    let theirs: BTreeSet<_> = judge(&["referrers", &format!("{repository}@{}", image.digest())]).await.into_iter().collect();
    let referrers = ours.referrers(repository, &image.digest()).await.unwrap();
    assert!(referrers.iter().all(|referrer| referrer.media_type.as_str() == "application/spdx+json"), "{referrers:?}");
    assert_eq!(referrers.iter().map(|referrer| referrer.digest.to_string()).collect::<BTreeSet<_>>(), theirs);
    assert_eq!(theirs.len(), 2);
}

#[tokio::test]
async fn oci_client_pulls_pushes_and_lists_the_same_on_a_registry_that_lists_referrers() {
    if program().is_none() {
        skip!(Missing::OciClient);
    }
    let server = mpimg::serve::Registry::open(Default::default()).unwrap().bind("127.0.0.1:0").await.unwrap();
    let repository = Repository::parse(&format!("{}/mp/nsx", server.addr())).unwrap();
    tokio::spawn(server.run(std::future::pending()));
    agrees(&repository).await;
}

#[tokio::test]
async fn oci_client_pulls_pushes_and_lists_the_same_on_a_registry_that_does_not() {
    if program().is_none() {
        skip!(Missing::OciClient);
    }
    let registry = distribution("");
    agrees(&registry.repository("mp/nsx")).await;
}

#[test]
fn names_are_split_as_oci_spec_splits_them() {
    let Some(program) = program() else { skip!(Missing::OciClient) };
    // The same names in each run, so that one that fails can be looked at.
    let mut runner = TestRunner::deterministic();
    let shape = "((localhost|[a-c01.:-]{1,8})/)?[ab01._/-]{1,10}";
    let names: BTreeSet<String> =
        (0..4000).map(|_| proptest::string::string_regex(shape).unwrap().new_tree(&mut runner).unwrap().current()).collect();
    let mut child = Command::new(program).arg("names").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    // It reads all before it writes.
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let theirs = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(theirs.lines().count(), names.len());
    for (name, theirs) in names.iter().zip(theirs.lines()) {
        // They take numbers of any length for a port.
        let is_port = |port: &str| port.parse::<u16>().is_ok();
        let host = theirs.split(' ').next().unwrap();
        let theirs = if host.split(':').nth(1).is_none_or(is_port) { theirs } else { "-" };
        // A host alone, which they take for an image of Docker Hub, is an error.
        let theirs = if name.contains('/') || !name.contains('.') { theirs } else { "-" };
        let ours = Repository::parse(name).map(|ours| format!("{} {}", ours.registry(), ours.path()));
        assert_eq!(ours.unwrap_or_else(|_| "-".into()), theirs, "{name}");
    }
}
