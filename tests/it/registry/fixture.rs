//! What the registry tests stand on: running servers, clients that touch nothing of the user's,
//! small images.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mpimg::image::Layer;
use mpimg::oci::{Descriptor, DiffId, Digest, MediaType, Repository};
use mpimg::registry::{Client, ClientOptions, CredentialSources, Environment, RetryPolicy};
use mpimg::store::BlobSource;
use tempfile::TempDir;

use crate::judge;

/// A server process, ended with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// A repository of this registry.
    pub(crate) fn repository(&self, path: &str) -> Repository {
        Repository::parse(&format!("{}/{path}", self.address)).unwrap()
    }

    /// Waits until the server accepts connections.
    pub(crate) fn wait(&self) {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "the server at {} does not start", self.address);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A port that is free now.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Debian's docker-registry on a free port; `further` is appended to its configuration.
pub(crate) fn distribution(further: &str) -> Server {
    distribution_in(tempfile::tempdir().unwrap(), further)
}

/// The same with its files in `folder`.
pub(crate) fn distribution_in(folder: TempDir, further: &str) -> Server {
    let address = free_address();
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {0}/data}}\n  \
         delete: {{enabled: true}}\nhttp: {{addr: '{address}', secret: fixed}}\n{further}\n",
        folder.path().display()
    );
    start(folder, address, "docker-registry", &config, |config| vec!["serve".into(), config.into()])
}

/// distribution 3, which tests/setup builds, on a free port.
pub(crate) fn distribution_3() -> Server {
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}/data}}\n  \
         delete: {{enabled: true}}\nhttp: {{addr: '{address}', secret: fixed}}\n",
        folder.path().display()
    );
    let program = super::real::program("registry");
    start(folder, address, program.to_str().unwrap(), &config, |config| vec!["serve".into(), config.into()])
}

/// nginx with this `http` block on a free port.
pub(crate) fn nginx(http: impl FnOnce(SocketAddr, &Path) -> String) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let here = folder.path().display().to_string();
    let config = format!(
        "daemon off; master_process off; pid {here}/pid; error_log {here}/log;\nevents {{}}\nhttp {{ access_log off; \
         client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; \
         scgi_temp_path {here}/s;\n{}\n}}\n",
        http(address, folder.path())
    );
    let prefix = here.clone();
    start(folder, address, "nginx", &config, |config| vec!["-p".into(), prefix.into(), "-c".into(), config.into()])
}

/// moto's AWS on a free port. It checks who asks and the signature, but for as many actions as are
/// let pass.
pub(crate) fn moto() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let program = crate::judges().join("moto/bin/moto_server");
    assert!(program.exists(), "moto is missing: run tests/setup");
    let log = std::fs::File::create(folder.path().join("output")).unwrap();
    let child = std::process::Command::new(program)
        .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
        .env("INITIAL_NO_AUTH_ACTION_COUNT", "0")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let server = Server { child, address, folder };
    server.wait();
    server
}

fn start(
    folder: TempDir,
    address: SocketAddr,
    program: &str,
    config: &str,
    arguments: impl FnOnce(&Path) -> Vec<PathBuf>,
) -> Server {
    let path = folder.path().join("config");
    std::fs::write(&path, config).unwrap();
    let log = std::fs::File::create(folder.path().join("output")).unwrap();
    let child =
        judge(program).args(arguments(&path)).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let server = Server { child, address, folder };
    server.wait();
    server
}

/// Options that read nothing of this machine's user and do not wait long.
pub(crate) fn options() -> ClientOptions {
    ClientOptions {
        credentials: CredentialSources::default(),
        environment: Environment::fixed::<&str, &str>([]),
        registries_conf: Some("/dev/null".into()),
        certs_dirs: Some(Vec::new()),
        retry: RetryPolicy {
            first_delay: Duration::from_millis(5),
            longest_delay: Duration::from_secs(2),
            stall_timeout: Duration::from_secs(20),
            ..RetryPolicy::default()
        },
        ..ClientOptions::default()
    }
}

pub(crate) fn client(options: ClientOptions) -> Client {
    Client::new(options)
}

/// Bytes that look random and are the same each time.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// An image of uncompressed layers, each a tar with one file of noise.
pub(crate) struct Image {
    pub(crate) layers: Vec<Layer>,
    pub(crate) config: Bytes,
    pub(crate) manifest: Bytes,
    _folder: TempDir,
}

impl Image {
    /// Layers of these sizes.
    pub(crate) fn new(seed: u64, sizes: &[usize]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layers: Vec<Layer> =
            sizes.iter().enumerate().map(|(at, size)| layer(folder.path(), seed + at as u64, *size)).collect();
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Bytes::from(serde_json::to_vec(&config).unwrap());
        let descriptors: Vec<_> = layers.iter().map(|layer| &layer.descriptor).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MediaType::Manifest, "config": Descriptor::of(MediaType::Config, &config),
            "layers": descriptors,
        });
        let manifest = Bytes::from(serde_json::to_vec(&manifest).unwrap());
        Self { layers, config, manifest, _folder: folder }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

fn layer(folder: &Path, seed: u64, size: usize) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    let content = noise(seed, size);
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, format!("file{seed}"), content.as_slice()).unwrap();
    let bytes = tar.into_inner().unwrap();
    let path = folder.join(format!("{seed}.tar"));
    std::fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
    let descriptor = Descriptor::of(MediaType::Layer, &bytes);
    Layer { diff_id: DiffId(descriptor.digest), descriptor, source: BlobSource::File(path) }
}

/// Runs skopeo; its output.
pub(crate) fn skopeo(arguments: &[&str]) -> String {
    let output = judge("skopeo").arg("--insecure-policy").args(arguments).output().unwrap();
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
