//! The embedded registry, seen from outside: the distribution specification's conformance checks,
//! hostile and broken clients, restarts, and other programs as judges.

mod access;
mod discovery;
mod faults;
mod judges;
mod management;
mod pull;
mod push;
mod resume;
mod storage;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, Once};

use mpimg::oci::Digest;
use mpimg::serve::{Registry, RegistryOptions, Served};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A running registry with a client.
struct Rig {
    registry: Registry,
    addr: SocketAddr,
    client: Client,
    log: Arc<Mutex<Vec<Served>>>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<mpimg::Result<()>>,
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no `{name}` in {self:?}"));
        value.to_str().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON in {self:?}"))
    }

    /// The code of the first error.
    fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().expect("an error code").to_owned()
    }

    #[track_caller]
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:?} {}", self.headers, String::from_utf8_lossy(&self.body));
        self
    }
}

impl Rig {
    /// A registry in a temporary folder that lets everybody do everything. It does not wait for the
    /// disk: tests do not cut power.
    async fn new() -> Self {
        Self::with(RegistryOptions::default()).await
    }

    async fn in_dir(dir: &Path) -> Self {
        Self::with(RegistryOptions { dir: Some(dir.to_owned()), ..RegistryOptions::default() }).await
    }

    async fn with(mut options: RegistryOptions) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        options.durable = false;
        options.log = Some(Arc::new({
            let log = log.clone();
            move |served: &Served| log.lock().unwrap().push(served.clone())
        }));
        let registry = Registry::open(options).unwrap();
        let server = registry.bind("127.0.0.1:0").await.unwrap();
        let (addr, stop) = (server.addr(), CancellationToken::new());
        let running = tokio::spawn(server.run(stop.clone().cancelled_owned()));
        Self { registry, addr, client: client(), log, stop, running }
    }

    /// Stops it and waits until its folder is free.
    async fn stop(self) {
        self.stop.cancel();
        drop(self.client);
        self.running.await.unwrap().unwrap();
        drop(self.registry);
    }

    /// Waits until the heads of `count` requests have arrived.
    async fn arrived(&self, count: u64) {
        while self.registry.requests() < count {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// The address of a path or of a `Location`, which may be relative.
    fn url(&self, path: &str) -> String {
        if path.starts_with("http://") { path.to_owned() } else { format!("http://{}{path}", self.addr) }
    }

    async fn get(&self, path: &str) -> Reply {
        send(self.request(Method::GET, path)).await
    }

    async fn head(&self, path: &str) -> Reply {
        send(self.request(Method::HEAD, path)).await
    }

    async fn delete(&self, path: &str) -> Reply {
        send(self.request(Method::DELETE, path)).await
    }

    async fn post(&self, path: &str) -> Reply {
        send(self.request(Method::POST, path)).await
    }

    async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        send(self.request(Method::PUT, path).body(body)).await
    }

    async fn patch(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        send(self.request(Method::PATCH, path).body(body)).await
    }

    async fn patch_range(&self, path: &str, range: &str, body: impl Into<reqwest::Body>) -> Reply {
        send(self.request(Method::PATCH, path).header(CONTENT_RANGE, range).body(body)).await
    }

    /// Begins an upload: its location.
    async fn begin(&self, repository: &str) -> String {
        let reply = self.post(&format!("/v2/{repository}/blobs/uploads/")).await.expect(202);
        reply.header(LOCATION.as_str()).to_owned()
    }

    async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let location = self.begin(repository).await;
        self.put(&format!("{location}?digest={digest}"), bytes.to_vec()).await.expect(201);
        digest
    }

    async fn push_manifest(&self, repository: &str, reference: &str, media_type: &str, manifest: &Value) -> Reply {
        let path = format!("/v2/{repository}/manifests/{reference}");
        send(self.request(Method::PUT, &path).header(CONTENT_TYPE, media_type).body(manifest.to_string())).await
    }

    /// Pushes an image of one layer: its manifest's digest.
    async fn push_image(&self, repository: &str, tag: &str, content: &str) -> Digest {
        let manifest = self.image(repository, content).await;
        let reply = self.push_manifest(repository, tag, MANIFEST, &manifest).await.expect(201);
        Digest::parse(reply.header("docker-content-digest")).unwrap()
    }

    /// Pushes the blobs of an image of one layer: its manifest.
    async fn image(&self, repository: &str, content: &str) -> Value {
        self.push_blob(repository, content.as_bytes()).await;
        self.push_blob(repository, b"{}").await;
        image_manifest("{}", content)
    }

    /// Sends bytes as they are on a connection of their own, and reads until the server closes it.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        String::from_utf8_lossy(&reply).into_owned()
    }
}

/// The manifest of an image with this config and one layer.
fn image_manifest(config: &str, layer: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config.as_bytes()),
        "layers": [descriptor(LAYER, layer.as_bytes())],
    })
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.expect("the whole body").to_vec();
    Reply { status, headers, body }
}

fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// `length` bytes that do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    crate::registry::fixture::noise(1, length)
}
