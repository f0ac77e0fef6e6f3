//! Every fault at every request of a push: it succeeds with the right image, or ends with the right
//! error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mpimg::ErrorKind;
use mpimg::oci::{Digest, MediaType, Platform, Tag};
use mpimg::progress::{Event, Progress, Reporter};
use mpimg::registry::{Client, RetryPolicy};

use super::distribution::push;
use super::fixture::{Image, Server, client, distribution, options};
use super::proxy::{Fault, Proxy, Seen};

const CHUNK: u64 = 64 << 10;

fn answer(status: u16) -> Fault {
    Fault::Answer(status, String::new(), String::new())
}

/// Faults that pass; statuses that mean the same change places, so that each comes somewhere.
fn passing(at: usize) -> Vec<Fault> {
    let status = [408, 429, 500, 502, 503, 504][at % 6];
    let wait = Fault::Answer(429, "Retry-After: 0\r\n".into(), String::new());
    let status = if at % 7 == 6 { wait } else { answer(status) };
    vec![status, Fault::Reset, Fault::Unanswered, Fault::Broken([1, 30_000][at % 2]), Fault::Truncated(20)]
}

async fn set_up() -> (Server, Proxy, Client, Image) {
    let registry = distribution("");
    let proxy = Proxy::before(registry.address).await;
    let mut options = options();
    options.chunk_size = CHUNK;
    options.retry.first_delay = Duration::from_millis(1);
    (registry, proxy, client(options), Image::new(7, &[150_000, 500]))
}

/// Whether the registry itself has the whole image.
async fn is_there(registry: &Server, path: &str, image: &Image) -> bool {
    let client = client(options());
    let Ok(pulled) = client.pull_image(&registry.repository(path).with_digest(image.digest()), &Platform::default()).await else {
        return false;
    };
    for layer in &pulled.layers {
        let bytes = layer.source.read(0).try_collect::<Vec<_>>().await.unwrap().concat();
        assert_eq!(Digest::of(bytes), layer.descriptor.digest);
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn any_passing_fault_at_any_request_is_got_over() {
    let (registry, proxy, client, image) = set_up().await;
    push(&client, &proxy.repository("clean"), &image, &["1"]).await.unwrap();
    let requests = proxy.seen().len();
    assert!((12..40).contains(&requests), "{requests} requests");
    for at in 0..requests {
        for (kind, fault) in passing(at).into_iter().enumerate() {
            proxy.script(move |_, count| if count == at { fault.clone() } else { Fault::None });
            let path = format!("single/f{kind}/r{at}");
            push(&client, &proxy.repository(&path), &image, &["1"]).await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
            assert!(is_there(&registry, &path, &image).await, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_of_faults_are_got_over() {
    let (registry, proxy, client, image) = set_up().await;
    for round in 0..30usize {
        let faults = passing(round);
        let (first, second) = (faults[round % faults.len()].clone(), faults[(round * 7 + 3) % faults.len()].clone());
        let at = [round * 5 % 14, round * 5 % 14 + 1 + round % 3];
        proxy.script(move |_, count| match count {
            count if count == at[0] => first.clone(),
            count if count == at[1] => second.clone(),
            _ => Fault::None,
        });
        let path = format!("pair/{round}");
        push(&client, &proxy.repository(&path), &image, &["1"]).await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert!(is_there(&registry, &path, &image).await, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_refusal_ends_the_push_with_the_registrys_words_and_no_image() {
    let (registry, proxy, client, image) = set_up().await;
    let refusal = |status, code: &str, message: &str| {
        Fault::Answer(status, String::new(), format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#))
    };
    let harbor = "unauthorized to access repository: mp/nsx, action: push: unauthorized to access repository";
    for (method, part, fault, kind, words, hint) in [
        (
            "POST",
            "uploads",
            refusal(401, "UNAUTHORIZED", "project lasting not found"),
            ErrorKind::Auth,
            "project lasting not found",
            "create the project `lasting` in Harbor",
        ),
        ("POST", "uploads", refusal(401, "UNAUTHORIZED", harbor), ErrorKind::Auth, harbor, "log in with `mpimg login"),
        ("PATCH", "uploads", refusal(403, "DENIED", "no"), ErrorKind::Auth, "DENIED: no", "may push to"),
        (
            "PUT",
            "uploads",
            refusal(403, "DENIED", "will exceed the configured upper limit of 1 MiB"),
            ErrorKind::Auth,
            "upper limit",
            "quota",
        ),
        (
            "PUT",
            "manifests",
            refusal(412, "PRECONDITION", "tag configured as immutable."),
            ErrorKind::Registry,
            "immutable",
            "new tag",
        ),
        (
            "PUT",
            "manifests",
            refusal(400, "TAG_INVALID", "manifest tag did not match URI"),
            ErrorKind::Registry,
            "did not match",
            "",
        ),
    ] {
        proxy.script(move |seen: &Seen, _| if seen.is(method, part) { fault.clone() } else { Fault::None });
        let error = push(&client, &proxy.repository("lasting/x"), &image, &["1"]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(error.to_string(), format!("cannot push `{}`", proxy.repository("lasting/x")));
        assert!(error.causes().join("; ").contains(words), "{error:?}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{error:?}");
        assert!(!is_there(&registry, "lasting/x", &image).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_never_recovers_is_given_up_with_its_last_words() {
    let (_registry, proxy, _, image) = set_up().await;
    let mut options = options();
    options.retry = RetryPolicy { attempts: 3, first_delay: Duration::from_millis(1), ..RetryPolicy::default() };
    let client = client(options);
    proxy.script(|seen: &Seen, _| if seen.is("PUT", "blobs") { answer(503) } else { Fault::None });
    let error = push(&client, &proxy.repository("down"), &image, &["1"]).await.unwrap_err();
    assert!(error.causes().join("; ").contains("registry answered 503"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_stops_answering_is_not_waited_for_for_ever() {
    let (registry, proxy, _, image) = set_up().await;
    let mut options = options();
    options.retry.stall_timeout = Duration::from_millis(300);
    options.retry.response_timeout = Duration::from_millis(300);
    let client = client(options);
    for part in ["uploads/", "manifests/"] {
        let stuck = AtomicUsize::new(0);
        proxy.script(move |seen: &Seen, _| match seen.target.contains(part) && stuck.fetch_add(1, Ordering::SeqCst) == 1 {
            true => Fault::Delayed(Duration::from_secs(30)),
            false => Fault::None,
        });
        let tags = ["1", "2", "3"];
        push(&client, &proxy.repository("stuck"), &image, &tags).await.unwrap();
        assert!(is_there(&registry, "stuck", &image).await);
    }
}

struct Retries(AtomicUsize);

impl Reporter for Retries {
    fn event(&self, event: Event<'_>) {
        if let Event::Retry { attempt, .. } = event {
            assert!(attempt >= 2);
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_retry_is_reported() {
    let (_registry, proxy, _, image) = set_up().await;
    let retries = Arc::new(Retries(AtomicUsize::new(0)));
    let mut options = options();
    options.progress = Progress::new(retries.clone());
    let client = client(options);
    let failed = AtomicUsize::new(0);
    proxy.script(move |seen: &Seen, _| match seen.is("PUT", "/manifests/") && failed.fetch_add(1, Ordering::SeqCst) < 2 {
        true => answer(502),
        false => Fault::None,
    });
    push(&client, &proxy.repository("seen"), &image, &["1"]).await.unwrap();
    assert_eq!(retries.0.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_go_on_where_they_were_cut_off() {
    let (registry, proxy, client, _) = set_up().await;
    let image = Image::new(9, &[2_000_000]);
    push(&client, &registry.repository("cut"), &image, &[]).await.unwrap();
    proxy.script(|seen: &Seen, count| match seen.is("GET", "/blobs/") && count < 6 {
        true => Fault::Truncated(400_000),
        false => Fault::None,
    });
    let pulled = client.pull_image(&proxy.repository("cut").with_digest(image.digest()), &Platform::default()).await.unwrap();
    let bytes = pulled.layers[0].source.read(0).try_collect::<Vec<_>>().await.unwrap().concat();
    assert_eq!(Digest::of(bytes), image.layers[0].descriptor.digest);
    let ranges = proxy.seen().iter().filter(|seen| seen.head.to_ascii_lowercase().contains("range: bytes=")).count();
    assert!(ranges >= 3, "{:?}", proxy.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_never_pass() {
    let (registry, proxy, client, image) = set_up().await;
    push(&client, &registry.repository("bad"), &image, &["1"]).await.unwrap();
    let reference = proxy.repository("bad").with_digest(image.digest());
    let config = Digest::of(&image.config).to_string();
    proxy.script(move |seen: &Seen, _| match seen.target.contains(&config) {
        true => Fault::Answer(200, String::new(), "x".repeat(200)),
        false => Fault::None,
    });
    let error = client.pull_image(&reference, &Platform::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    proxy.script(|seen: &Seen, _| match seen.target.contains("/manifests/") {
        true => Fault::Answer(200, String::new(), "{}".into()),
        false => Fault::None,
    });
    assert_eq!(client.pull_image(&reference, &Platform::default()).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_takes_no_oci_manifest_gets_dockers_schema_2() {
    let (registry, proxy, client, _) = set_up().await;
    let plain = Image::new(10, &[1000]);
    proxy.script(|seen: &Seen, _| match seen.is("PUT", "/manifests/") && seen.head.contains("vnd.oci.image.manifest") {
        true => {
            Fault::Answer(400, String::new(), r#"{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid"}]}"#.into())
        }
        false => Fault::None,
    });
    let pushed = push(&client, &proxy.repository("old"), &plain, &["1", "2"]).await.unwrap();
    assert_eq!(pushed.media_type, MediaType::DockerManifest);
    assert_eq!(pushed.digest, Digest::of(&pushed.manifest));
    for tag in ["1", "2"] {
        let reference = registry.repository("old").with_tag(Tag::parse(tag).unwrap());
        let pulled = client.pull_image(&reference, &Platform::default()).await.unwrap();
        assert_eq!((pulled.digest, pulled.media_type), (pushed.digest, MediaType::DockerManifest));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_resolved_to_the_platform() {
    let (registry, proxy, client, image) = set_up().await;
    push(&client, &registry.repository("multi"), &image, &[]).await.unwrap();
    let entry = |architecture: &str, digest: Digest, size: usize| {
        serde_json::json!({"mediaType": MediaType::Manifest, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": MediaType::Index, "manifests": [
        entry("arm64", Digest::of("other"), 5), entry("amd64", image.digest(), image.manifest.len())]});
    let index = index.to_string();
    proxy.script(move |seen: &Seen, _| match seen.target.ends_with("/manifests/all") {
        true => Fault::Answer(200, format!("Content-Type: {}\r\n", MediaType::Index), index.clone()),
        false => Fault::None,
    });
    let reference = proxy.repository("multi").with_tag(Tag::parse("all").unwrap());
    let pulled = client.pull_image(&reference, &Platform::default()).await.unwrap();
    assert_eq!(pulled.digest, image.digest());
    let error = client.pull_image(&reference, &Platform::parse("linux/s390x").unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.hint(), Some("choose one of these with `platform`: linux/arm64, linux/amd64"));
}
