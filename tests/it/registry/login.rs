//! Logging in: htpasswd and token authentication, wrong passwords, tokens that run out, secrets
//! that stay.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mpimg::ErrorKind;
use mpimg::oci::Platform;
use mpimg::progress::{Event, Progress, Reporter};
use mpimg::registry::{CheckState, Client, ClientOptions, Credential, CredentialStore};

use super::distribution::{outcomes, push};
use super::fixture::{Image, Server, client, distribution, distribution_in, options};
use super::proxy::{Fault, Proxy, Seen};
use super::token_server::TokenServer;
use crate::judge;

const PASSWORD: &str = "hunter2-secret";

/// A registry with one user, `user`.
fn with_htpasswd() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    let output = judge("htpasswd").args(["-Bbn", "-C", "4", "user", PASSWORD]).output().unwrap();
    std::fs::write(&file, output.stdout).unwrap();
    let further = format!("auth: {{htpasswd: {{realm: r, path: {}}}}}", file.display());
    distribution_in(folder, &further)
}

fn as_user(registry: &str, password: &str) -> ClientOptions {
    let mut options = options();
    options.credentials.explicit.push((registry.to_owned(), Credential::basic("user", password)));
    options
}

fn states(items: &[mpimg::registry::CheckItem]) -> Vec<(&str, CheckState)> {
    items.iter().map(|item| (item.name.as_str(), item.state)).collect()
}

#[tokio::test]
async fn a_login_at_a_server_that_takes_connections_and_says_nothing_ends_at_its_deadline() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = silent.local_addr().unwrap().to_string();
    let mut options = options();
    options.retry.login_deadline = std::time::Duration::from_secs(1);
    let tried = client(options).login(&name, &Credential::basic("user", PASSWORD)).await;
    let error = tried.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    let causes = error.causes().join("; ");
    assert!(causes.contains(&format!("`{name}` did not answer within 1 s")), "{error}: {causes}");
}

#[tokio::test]
async fn basic_authentication_opens_the_registry_and_a_wrong_password_does_not() {
    let registry = with_htpasswd();
    let name = registry.address.to_string();
    let image = Image::new(61, &[1000]);
    let repository = registry.repository("a/b");
    let right = client(as_user(&name, PASSWORD));
    push(&right, &repository, &image, &["1"]).await.unwrap();
    right.pull_image(&repository.with_digest(image.digest()), &Platform::default()).await.unwrap();
    let login = format!("log in with `mpimg login {name}`");
    for (wrong, hint) in [(client(as_user(&name, "wrong-secret")), "check the user name"), (client(options()), &*login)] {
        let error = push(&wrong, &repository, &Image::new(62, &[10]), &["1"]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
        assert!(!format!("{error:?}").contains("wrong-secret"));
    }
    let items = right.check(&repository).await;
    let names = ["dns", "tls", "registry", "login", "push"];
    assert_eq!(states(&items), names.map(|name| (name, CheckState::Passed)));
    let items = client(as_user(&name, "wrong")).check(&repository).await;
    assert_eq!(states(&items).last().unwrap(), &("login", CheckState::Failed));

    let report = right.check_anonymous(&repository, &image.digest()).await;
    assert!(!report.pullable());
    assert!(report.hint.unwrap().contains("make the repository public"));
}

#[tokio::test]
async fn tags_and_referrers_are_listed_with_our_login() {
    let registry = with_htpasswd();
    let client = client(as_user(&registry.address.to_string(), PASSWORD));
    let image = Image::new(72, &[100]);
    let repository = registry.repository("a/tags");
    push(&client, &repository, &image, &["1", "2", "latest"]).await.unwrap();
    let tags = client.tags(&repository).await.unwrap();
    assert_eq!(tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>(), ["1", "2", "latest"]);
    // 2.8 knows no referrers, and there is no tag in their place.
    assert_eq!(client.referrers(&repository, &image.digest()).await.unwrap(), []);
}

#[tokio::test]
async fn an_open_registry_passes_the_anonymous_check() {
    let registry = distribution("");
    let image = Image::new(63, &[1000, 2000]);
    let client = client(options());
    push(&client, &registry.repository("open"), &image, &[]).await.unwrap();
    let report = client.check_anonymous(&registry.repository("open"), &image.digest()).await;
    assert!(report.pullable(), "{report:?}");
    assert_eq!(report.items.len(), 4);
}

#[tokio::test]
async fn a_missing_layer_fails_the_anonymous_check() {
    let registry = distribution("");
    let proxy = Proxy::before(registry.address).await;
    let image = Image::new(64, &[1000]);
    let client = client(options());
    push(&client, &proxy.repository("gap"), &image, &[]).await.unwrap();
    let layer = image.layers[0].descriptor.digest.to_string();
    proxy.script(move |seen: &Seen, _| match seen.target.contains(&layer) {
        true => Fault::Answer(404, String::new(), String::new()),
        false => Fault::None,
    });
    let report = client.check_anonymous(&proxy.repository("gap"), &image.digest()).await;
    assert_eq!(report.items.iter().filter(|item| item.state == CheckState::Failed).count(), 1);
    assert!(!report.pullable());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_serves_a_push_and_a_mount_asks_for_its_source() {
    let (tokens, registry) = TokenServer::with_registry("user", PASSWORD, 300).await;
    let client = client(as_user(&registry.address.to_string(), PASSWORD));
    let image = Image::new(65, &[1000, 2000, 3000]);
    let first = registry.repository("private/first");
    push(&client, &first, &image, &["1"]).await.unwrap();
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("scope=repository%3Aprivate%2Ffirst%3Apull%2Cpush"), "{asked:?}");
    assert!(asked[0].contains("service=registry.test"), "{asked:?}");

    let pulled = client.pull_image(&first.with_digest(image.digest()), &Platform::default()).await.unwrap();
    let session = client.push(&registry.repository("private/second")).unwrap();
    pulled.layers.iter().for_each(|layer| session.offer(layer));
    let pushed = session.finish(pulled.config, pulled.manifest, pulled.media_type, &[]).await.unwrap();
    assert_eq!(outcomes(&pushed)[..3], [mpimg::registry::BlobOutcome::Mounted; 3]);
    let mounting = tokens.asked().into_iter().filter(|query| query.matches("scope=").count() == 2).count();
    assert_eq!(mounting, 1, "{:?}", tokens.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_may_pull_what_is_public() {
    let (_tokens, registry) = TokenServer::with_registry("user", PASSWORD, 300).await;
    let owner = client(as_user(&registry.address.to_string(), PASSWORD));
    let image = Image::new(66, &[1000]);
    for (path, pullable) in [("public/a", true), ("private/a", false)] {
        push(&owner, &registry.repository(path), &image, &[]).await.unwrap();
        let report = owner.check_anonymous(&registry.repository(path), &image.digest()).await;
        assert_eq!(report.pullable(), pullable, "{path}: {report:?}");
    }
    let error = push(&client(options()), &registry.repository("public/a"), &Image::new(67, &[5]), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let wrong = client(as_user(&registry.address.to_string(), "wrong"));
    let error = push(&wrong, &registry.repository("public/a"), &Image::new(67, &[5]), &[]).await.unwrap_err();
    assert!(error.causes().join("; ").contains("wrong password"), "{error:?}");
    assert!(error.causes().join("; ").contains("refuses the login as `user`"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_runs_out_in_the_middle_is_renewed_and_the_chunk_repeated() {
    let (tokens, registry) = TokenServer::with_registry("user", PASSWORD, 300).await;
    let proxy = Proxy::before(registry.address).await;
    let mut options = as_user(&proxy.address.to_string(), PASSWORD);
    options.chunk_size = 64 << 10;
    let client = client(options);
    let challenge = tokens.challenge();
    let refused = AtomicUsize::new(0);
    proxy.script(move |seen: &Seen, _| {
        match seen.method == "PATCH" && [2, 4].contains(&refused.fetch_add(1, Ordering::SeqCst)) {
            true => Fault::Answer(401, challenge.clone(), String::new()),
            false => Fault::None,
        }
    });
    let image = Image::new(68, &[400_000]);
    push(&client, &proxy.repository("private/long"), &image, &["1"]).await.unwrap();
    assert_eq!(tokens.asked().len(), 3);
    let posts = proxy.seen().iter().filter(|seen| seen.method == "POST" && seen.head.contains("uthorization")).count();
    assert_eq!(posts, 2, "a session was lost");
}

#[tokio::test]
async fn a_login_is_tried_before_it_is_stored_and_used_afterwards() {
    let registry = with_htpasswd();
    let name = registry.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.credentials.docker_config_dir = Some(folder.path().into());
    let client = client(options.clone());
    let error = client.login(&name, &Credential::basic("user", "wrong")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let path = folder.path().join("config.json");
    assert!(!path.exists());
    let store = client.login(&name, &Credential::basic("user", PASSWORD)).await.unwrap();
    assert_eq!(store, CredentialStore::File(path));
    let image = Image::new(69, &[100]);
    push(&Client::new(options.clone()), &registry.repository("a"), &image, &[]).await.unwrap();
    assert!(client.logout(&name).await.unwrap());
    let error = push(&Client::new(options), &registry.repository("b"), &image, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_do_not_travel_to_another_host() {
    let registry = with_htpasswd();
    let front = Proxy::before(registry.address).await;
    // The storage behind the registry: another port is another host.
    let storage = Proxy::before(registry.address).await;
    storage.script(|_: &Seen, _| Fault::Answer(404, String::new(), String::new()));
    let client = client(as_user(&front.address.to_string(), PASSWORD));
    let image = Image::new(70, &[1000]);
    push(&client, &front.repository("a"), &image, &[]).await.unwrap();
    let to = storage.address;
    front.script(move |seen: &Seen, _| match seen.target.contains("/blobs/") {
        true => Fault::Answer(307, format!("Location: http://{to}/elsewhere\r\n"), String::new()),
        false => Fault::None,
    });
    let error = client.pull_image(&front.repository("a").with_digest(image.digest()), &Platform::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let seen = storage.seen();
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|seen| !seen.head.to_ascii_lowercase().contains("authorization")), "{seen:?}");

    // Nor if the other host asks for it, in either way.
    for challenge in ["Basic realm=\"x\"".to_owned(), format!("Bearer realm=\"http://{to}/token\"")] {
        let challenge = format!("WWW-Authenticate: {challenge}\r\n");
        storage.script(move |_: &Seen, _| Fault::Answer(401, challenge.clone(), String::new()));
        let fresh = self::client(as_user(&front.address.to_string(), PASSWORD));
        fresh.pull_image(&front.repository("a").with_digest(image.digest()), &Platform::default()).await.unwrap_err();
        let seen = storage.seen();
        assert!(!seen.is_empty());
        assert!(seen.iter().all(|seen| !seen.head.to_ascii_lowercase().contains("authorization")), "{seen:?}");
    }

    // A Location elsewhere gets the bytes, and no credential either.
    storage.script(|_: &Seen, _| Fault::Answer(201, String::new(), String::new()));
    front.script(move |seen: &Seen, _| match (seen.method.as_str(), seen.head.contains("uthorization")) {
        ("POST", true) => Fault::Answer(202, format!("Location: http://{to}/upload?signed=1\r\n"), String::new()),
        _ => Fault::None,
    });
    let session = client.push(&front.repository("b")).unwrap();
    session.offer(&image.layers[0]);
    session.finish(image.config.clone(), image.manifest.clone(), mpimg::oci::MediaType::Manifest, &[]).await.unwrap_err();
    let seen = storage.seen();
    assert!(seen.iter().any(|seen| seen.is("PUT", "/upload?signed=1&digest=sha256%3A")), "{seen:?}");
    assert!(seen.iter().all(|seen| !seen.head.to_ascii_lowercase().contains("authorization")), "{seen:?}");
}

struct Transcript(Mutex<String>);

impl Reporter for Transcript {
    fn event(&self, event: Event<'_>) {
        self.0.lock().unwrap().push_str(&format!("{event:?}\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_shows_in_any_event_or_error() {
    let registry = with_htpasswd();
    let proxy = Proxy::before(registry.address).await;
    let transcript = Arc::new(Transcript(Mutex::default()));
    let mut options = as_user(&proxy.address.to_string(), PASSWORD);
    options.progress = Progress::new(transcript.clone());
    options.retry.attempts = 2;
    let client = client(options);
    for fault in [Fault::Reset, Fault::Answer(500, String::new(), "no".into()), Fault::Answer(403, String::new(), "no".into())] {
        let fault = fault.clone();
        proxy.script(move |seen: &Seen, _| if seen.head.contains("uthorization") { fault.clone() } else { Fault::None });
        let error = push(&client, &proxy.repository("a"), &Image::new(71, &[1000]), &["1"]).await.unwrap_err();
        transcript.0.lock().unwrap().push_str(&format!("{error:?} {error}"));
    }
    let text = transcript.0.lock().unwrap().clone();
    assert!(text.contains("Retry"), "{text}");
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("user:{PASSWORD}"));
    assert!(!text.contains(PASSWORD) && !text.contains(&encoded), "{text}");
}
