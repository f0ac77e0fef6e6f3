//! Running an adapter as VMware Aria Operations runs it: it answers HTTPS on port 443 with a
//! certificate that it is given, in the memory of `default_memory_limit`, and only `/var/log` is
//! kept.
//!
//! Source: the SDK's base image (`swagger_server`, which takes HTTPS where the two files are) and
//! its documentation of `config.json`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use super::{CheckReport, Mpimg, RunRequest, Started, blocking, find_local_image};
use crate::certificate::{SelfSigned, self_signed, today};
use crate::container::{Container, ContainerInfo, ContainerSpec, ContainerState, NetworkMode, PortMapping, Stream, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Transport};
use crate::layer::{Kind, LayerPath};
use crate::oci::{Compression, Platform};
use crate::progress::Progress;
use crate::registry::{CheckItem, CheckState, Connections, innermost};
use crate::sandbox::IsolationMode;
use crate::store::Store;

/// Bytes of memory where config.json does not say: its `default_memory_limit` is 1024 (MB).
const MEMORY: u64 = 1024 << 20;
/// Bytes of swap.
const SWAP: u64 = 512 << 20;
/// What the product's machines are.
const PLATFORM: &str = "linux/amd64";
/// The adapter's port.
const PORT: u16 = 443;
/// Where an adapter finds its certificate and key.
const CERTIFICATE: &str = "/etc/ssl/certs/dockerized.crt";
const KEY: &str = "/etc/ssl/certs/dockerized.key";
/// What is kept of what it writes.
const LOGS: &str = "/var/log";
/// How long it may take to answer, as in mp-build.
const STARTUP: Duration = Duration::from_secs(20);
/// The port of an adapter without a certificate.
const PLAIN_PORT: u16 = 8080;
/// How long an adapter that answers there has for port 443.
const PLAIN_GRACE: Duration = Duration::from_secs(2);
/// How often it is asked until then.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(20);
/// How long a collection may take of an instance that is not configured: it may wait for a machine
/// that is not there.
const COLLECT: Duration = Duration::from_secs(5);
/// Files that are named of all that are lost.
const NAMED: usize = 3;

/// What the product gives to an adapter's container: certificate, key and a folder for logs. They
/// go with this value.
#[derive(Debug)]
pub struct AsProduct {
    folder: TempDir,
}

impl AsProduct {
    /// Makes a certificate for this machine, its key, and a folder for logs.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: they cannot be written.
    pub fn new() -> Result<Self> {
        let temporary = std::env::temp_dir();
        let folder = tempfile::Builder::new().prefix("mpimg-as-product-").tempdir();
        let made = Self { folder: folder.map_err(|error| Error::io("create a folder in", &temporary, error))? };
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let SelfSigned { certificate, key } = self_signed("mpimg", &names, today(), today() + 2)?;
        made.write(&made.certificate(), &certificate)?;
        made.write(&made.key(), &key)?;
        let logs = made.logs();
        let make = || {
            std::fs::create_dir(&logs)?;
            // The adapter's user has another number than the one that runs this.
            std::fs::set_permissions(&logs, Permissions::from_mode(0o777))
        };
        make().map_err(|error| Error::io("create", &logs, error))?;
        Ok(made)
    }

    /// The certificate, as PEM: who asks the adapter trusts it.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("dockerized.crt")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("dockerized.key")
    }

    /// What the adapter sees as `/var/log`.
    pub fn logs(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A container as the product runs it. What `spec` says itself stays: its memory, a folder for
    /// the logs, where this machine listens for port 443 (else on a free port of 127.0.0.1).
    pub fn apply(&self, mut spec: ContainerSpec) -> ContainerSpec {
        let has =
            |spec: &ContainerSpec, target: &str| spec.volumes.iter().any(|volume| volume.target.trim_end_matches('/') == target);
        let files = [(self.certificate(), CERTIFICATE, true), (self.key(), KEY, true), (self.logs(), LOGS, false)];
        for (source, target, readonly) in files {
            if !has(&spec, target) {
                spec.volumes.push(Volume { source, target: target.into(), readonly });
            }
        }
        if !spec.ports.iter().any(|port| port.container == PORT) {
            spec.ports.push(PortMapping { ip: Some([127, 0, 0, 1].into()), host: 0, container: PORT });
        }
        spec.memory.get_or_insert(MEMORY);
        spec.swap.get_or_insert(SWAP);
        // Port 443 of this machine may be another's, and needs rights.
        spec.network = NetworkMode::Private;
        spec
    }

    /// Where this machine listens for the adapter's port 443.
    pub fn port(info: &ContainerInfo) -> Option<u16> {
        host_port(info, PORT)
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        // Readable for the adapter's user; the folder is this user's alone.
        let write = || {
            std::fs::write(path, text)?;
            std::fs::set_permissions(path, Permissions::from_mode(0o644))
        };
        write().map_err(|error| Error::io("write", path, error))
    }
}

/// Which image is tried, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProductCheck {
    /// The image: one of [`Transport`](crate::image::Transport)'s forms, or a digest of one in the
    /// local store.
    pub image: String,
    /// Bytes of memory; 1 GiB where not given.
    pub memory: Option<u64>,
    /// How it is isolated.
    pub isolation: IsolationMode,
}

impl ProductCheck {
    /// The image with the SDK's default of memory, on the best isolation.
    pub fn new(image: impl Into<String>) -> Self {
        Self { image: image.into(), memory: None, isolation: IsolationMode::default() }
    }
}

impl Mpimg {
    /// Checks whether the product can run an adapter's image: its platform, layers and command;
    /// then starts it [as the product does](AsProduct) and asks it over TLS what the product asks
    /// first, and for a collection of an adapter instance that is not configured. The container is
    /// removed afterwards.
    ///
    /// # Errors
    /// Those of [`Mpimg::find`]; what fails later is an item of the report.
    pub async fn check_as_product(&self, check: ProductCheck) -> Result<CheckReport> {
        let store = self.open_store().await?;
        let found = find_local_image(&check.image, &Platform::parse(PLATFORM)?, &store, self.client()).await;
        let image = match (found, stored_platform(&store, &check.image)) {
            (Ok(image), _) => image,
            (Err(_), Some(other)) => return Ok(CheckReport { items: vec![platform_item(&other)], pulls: None }),
            (Err(error), None) => return Err(error),
        };
        let mut items = vec![platform_item(&image.config().platform()), layers_item(&image), command_item(&image)];
        if items.iter().all(|item| item.state == CheckState::Passed) {
            items.extend(self.try_as_product(&check, &image).await);
        }
        Ok(CheckReport { items, pulls: None })
    }

    async fn try_as_product(&self, check: &ProductCheck, image: &Image) -> Vec<CheckItem> {
        let given = match AsProduct::new() {
            Ok(given) => given,
            Err(error) => return vec![CheckItem::failed("start", &error)],
        };
        let connections = Connections::new(vec![given.certificate()], Vec::new(), ANSWER, Progress::silent(), Default::default());
        let spec =
            ContainerSpec { memory: check.memory, isolation: check.isolation, keep_changes: true, ..ContainerSpec::default() };
        let mut spec = given.apply(spec);
        spec.ports.push(PortMapping { ip: Some([127, 0, 0, 1].into()), host: 0, container: PLAIN_PORT });
        let request = RunRequest { spec, ..RunRequest::new(&check.image) };
        let container = match self.run(request).await {
            Ok(Started { container, .. }) => container,
            // Where no container has a network of its own, nothing is known of the image.
            Err(error) => return vec![CheckItem { state: CheckState::Unknown, ..CheckItem::failed("start", &error) }],
        };
        let mut items = ask(&container, &connections).await;
        let (image, store) = (image.clone(), self.store().cloned());
        let rest = blocking(move || {
            let rest = (|| {
                if !matches!(container.info()?.state, ContainerState::Running) {
                    // What was asked of it says so already.
                    return Ok(Vec::new());
                }
                let memory = memory_item(&container)?;
                container.kill()?;
                container.wait(&tokio_util::sync::CancellationToken::new())?;
                Ok(vec![memory, lost_item(&container, &store?, &image)?])
            })();
            container.remove()?;
            rest
        });
        match rest.await {
            Ok(rest) => items.extend(rest),
            Err(error) => items.push(CheckItem::failed("container", &error)),
        }
        items
    }
}

/// The platform of the store's image of that name, if it has one.
fn stored_platform(store: &Store, name: &str) -> Option<Platform> {
    match Transport::parse(name).ok()? {
        Transport::Store(reference) => store.resolve(&reference).ok().flatten().map(|record| record.platform),
        _ => None,
    }
}

fn platform_item(platform: &Platform) -> CheckItem {
    match platform.to_string() {
        text if text == PLATFORM => CheckItem::passed("platform", text),
        text => CheckItem::failed(
            "platform",
            &Error::new(ErrorKind::Unsupported, format!("the image is for {text}, and the product's machines are {PLATFORM}"))
                .with_hint(format!("build it for {PLATFORM}")),
        ),
    }
}

/// The product's engine is older than zstd in layers.
fn layers_item(image: &Image) -> CheckItem {
    let zstd =
        image.manifest().layers.iter().filter(|layer| layer.media_type.layer_compression() == Some(Compression::Zstd)).count();
    match zstd {
        0 => CheckItem::passed("layers", format!("{} of gzip", image.manifest().layers.len())),
        count => CheckItem::failed(
            "layers",
            &Error::new(
                ErrorKind::Unsupported,
                format!("{count} layers are compressed with zstd, which the product cannot read"),
            )
            .with_hint("build it with `--compression gzip`"),
        ),
    }
}

fn command_item(image: &Image) -> CheckItem {
    let config = &image.config().config;
    let command: Vec<&str> = config.entrypoint.iter().chain(&config.cmd).flatten().map(String::as_str).collect();
    match command.is_empty() {
        false => CheckItem::passed("command", command.join(" ")),
        true => CheckItem::failed(
            "command",
            &Error::new(ErrorKind::Unsupported, "the image has neither ENTRYPOINT nor CMD: the product would start nothing")
                .with_hint("build on the SDK's base image, or add the CMD of the adapter's server"),
        ),
    }
}

fn host_port(info: &ContainerInfo, container: u16) -> Option<u16> {
    info.ports.iter().find(|port| port.container == container).map(|port| port.host)
}

/// Asks the adapter what the product asks first.
async fn ask(container: &Container, connections: &Connections) -> Vec<CheckItem> {
    let info = container.info().ok();
    let host = |port| info.as_ref().and_then(|info| host_port(info, port)).unwrap_or_default();
    let port = host(PORT);
    let mut items = Vec::new();
    match first_answer(container, connections, port, host(PLAIN_PORT)).await {
        Ok((version, waited)) => {
            items.push(CheckItem::passed("https", format!("answers on port {PORT} after {:.1} s", waited.as_secs_f64())));
            items.push(CheckItem::passed("/apiVersion", version_text(&version)));
        }
        Err(error) => {
            items.push(CheckItem::failed("https", &error));
            return items;
        }
    }
    let definition = get(connections, &format!("https://localhost:{port}/adapterDefinition")).await;
    items.push(match &definition {
        Ok(definition) => CheckItem::passed("/adapterDefinition", definition_text(definition)),
        // Only the SDK asks for it, and not where the project has a describe.xml.
        Err(error) => CheckItem::later("/adapterDefinition", error),
    });
    let instance = unconfigured_instance(&definition.unwrap_or_default());
    items.push(match post(connections, &format!("https://localhost:{port}/collect"), &instance).await {
        Ok((status, answer)) => collect_item(status, &answer),
        Err(error) => CheckItem::later("/collect", &error),
    });
    items
}

/// What the product posts to `/collect` (`AdapterConfig` of its API), for an adapter instance that
/// has the defaults of its definition and neither credentials nor certificates.
fn unconfigured_instance(definition: &Value) -> Value {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let instance = &definition["adapter_instance"];
    let identifier = |identifier: &Value| {
        json!({
            "key": identifier["key"],
            "value": text(identifier, "default"),
            "isPartOfUniqueness": identifier["ident_type"] == 1,
        })
    };
    let identifiers: Vec<Value> = instance["identifiers"].as_array().into_iter().flatten().map(identifier).collect();
    let or_unknown = |name: String| if name.is_empty() { "unknown".to_owned() } else { name };
    json!({
        "adapterKey": {
            "name": "mpimg",
            "adapterKind": or_unknown(text(definition, "adapter_key")),
            "objectKind": or_unknown(text(instance, "key")),
            "identifiers": identifiers,
        },
        "clusterConnectionInfo": null,
        "certificateConfig": { "certificates": [] },
    })
}

/// What an answer to `/collect` says: objects, or why there are none, which is well for an instance
/// that nobody has configured.
fn collect_item(status: StatusCode, answer: &str) -> CheckItem {
    const NAME: &str = "/collect";
    let last = answer.trim_end_matches(['"', '\n', ' ']).rsplit(['\n', '\r']).next().unwrap_or_default();
    let last = last.rsplit("\\n").next().unwrap_or_default().trim();
    if status.is_server_error() {
        let message = format!("no result for an adapter instance that is not configured ({status}: {last})");
        let error = Error::new(ErrorKind::Project, message)
            .with_hint("`mpimg mp-test collect` tries it with a connection of the project");
        return CheckItem::later(NAME, &error);
    }
    let result: Value = serde_json::from_str(answer).unwrap_or_default();
    let reason = result["errorMessage"].as_str().filter(|reason| !reason.is_empty());
    match (status.is_success(), reason, result["result"].as_array()) {
        (true, Some(reason), _) => CheckItem::passed(NAME, format!("answers; not configured, it says: {reason}")),
        (true, None, Some(objects)) => CheckItem::passed(NAME, format!("answers with {} objects", objects.len())),
        _ => CheckItem::failed(
            NAME,
            &Error::new(ErrorKind::Project, format!("the answer is no result of a collection ({status}: {last})"))
                .with_hint("`mpimg run --as-product IMAGE` starts the adapter; its log says what it made of the request"),
        ),
    }
}

/// The API's version, once the adapter answers, and how long that took.
async fn first_answer(container: &Container, connections: &Connections, port: u16, plain: u16) -> Result<(Value, Duration)> {
    let start = Instant::now();
    let mut answers_plain: Option<Instant> = None;
    loop {
        let failure = match get(connections, &format!("https://localhost:{port}/apiVersion")).await {
            Ok(version) => return Ok((version, start.elapsed())),
            Err(error) => error,
        };
        if let ContainerState::Ended(outcome) = container.info()?.state {
            let printed = last_lines(container);
            let why = match (outcome.out_of_memory, printed.is_empty()) {
                (true, _) => "it reached its memory limit".to_owned(),
                (false, true) => "it printed nothing".to_owned(),
                (false, false) => format!("it printed: {printed}"),
            };
            let message = format!("the adapter ended with exit code {} before it answered; {why}", outcome.status());
            return Err(Error::new(ErrorKind::Network, message).with_hint("`mpimg run --as-product IMAGE` shows how it starts"));
        }
        if answers_plain.is_some_and(|since| since.elapsed() > PLAIN_GRACE) {
            let message = format!("the adapter answers plain HTTP on port {PLAIN_PORT}, and not HTTPS on port {PORT}");
            return Err(Error::new(ErrorKind::Network, message).with_hint(format!(
                "have its server listen on port {PORT} where `{CERTIFICATE}` and `{KEY}` are, as the SDK's does; or build with \
                 `mp-build -i`, which has the product ask by plain HTTP"
            )));
        }
        if answers_plain.is_none() && get(connections, &format!("http://localhost:{plain}/apiVersion")).await.is_ok() {
            answers_plain = Some(Instant::now());
        }
        if start.elapsed() > STARTUP {
            let message = format!("the adapter did not answer HTTPS on port {PORT} within {} seconds", STARTUP.as_secs());
            return Err(Error::new(ErrorKind::Network, message).with_source(failure).with_hint(format!(
                "its server has to listen on port {PORT} with `{CERTIFICATE}` and `{KEY}`, as that of the SDK's base image does"
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One answer of the adapter, as JSON.
async fn get(connections: &Connections, url: &str) -> Result<Value> {
    let cannot =
        |error: &(dyn std::error::Error + 'static)| Error::new(ErrorKind::Network, format!("GET {url}: {}", innermost(error)));
    let url = Url::parse(url).map_err(|error| cannot(&error))?;
    let answer = connections.client(&url, false)?.get(url).timeout(ANSWER).send().await.map_err(|error| cannot(&error))?;
    let answer = answer.error_for_status().map_err(|error| cannot(&error))?;
    answer.json().await.map_err(|error| cannot(&error))
}

/// What the adapter answers to JSON, whatever it is.
async fn post(connections: &Connections, url: &str, body: &Value) -> Result<(StatusCode, String)> {
    let cannot = |error: &(dyn std::error::Error + 'static)| {
        Error::new(ErrorKind::Network, format!("POST {url}: {}", innermost(error)))
            .with_hint("`mpimg mp-test collect` tries it with a connection of the project")
    };
    let url = Url::parse(url).map_err(|error| cannot(&error))?;
    let request = connections.client(&url, false)?.post(url).header(CONTENT_TYPE, "application/json").body(body.to_string());
    let answer = request.timeout(COLLECT).send().await.map_err(|error| cannot(&error))?;
    Ok((answer.status(), answer.text().await.map_err(|error| cannot(&error))?))
}

/// `1.0.0`, from its parts or as it is written.
fn version_text(version: &Value) -> String {
    let part = |name: &str| version.get(name).and_then(Value::as_u64);
    match (part("majorVersion").or(part("major")), part("minorVersion").or(part("minor"))) {
        (Some(major), Some(minor)) => {
            format!("{major}.{minor}.{}", part("maintenanceVersion").or(part("maintenance")).unwrap_or(0))
        }
        _ => version.to_string(),
    }
}

fn definition_text(definition: &Value) -> String {
    let key = ["adapter_key", "adapterKey", "key"].into_iter().find_map(|name| definition.get(name)?.as_str());
    key.map_or_else(|| "the adapter describes itself".to_owned(), |key| format!("adapter kind {key}"))
}

fn last_lines(container: &Container) -> String {
    let mut printed = Vec::new();
    let _ = container.logs(&mut |_: Stream, bytes: &[u8]| printed.extend_from_slice(bytes));
    let text = String::from_utf8_lossy(&printed).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

fn memory_item(container: &Container) -> Result<CheckItem> {
    let stats = container.stats()?;
    let megabytes = |bytes: u64| bytes >> 20;
    Ok(CheckItem::passed("memory", format!("{} of {} MB", megabytes(stats.memory), megabytes(stats.memory_limit))))
}

/// What the adapter has written that a new container does not have. That is not a fault, but should
/// not surprise.
fn lost_item(container: &Container, store: &Store, image: &Image) -> Result<CheckItem> {
    let mut lost: Vec<LayerPath> = Vec::new();
    container.changes(store, image, &mut |entry, _| {
        let is_bytecode = entry.path.as_bytes().ends_with(b".pyc");
        if matches!(entry.kind, Kind::File { .. }) && !is_bytecode {
            lost.push(entry.path.clone());
        }
        Ok(())
    })?;
    let named: Vec<String> = lost.iter().take(NAMED).map(LayerPath::to_string).collect();
    let more = if lost.len() > NAMED { ", …" } else { "" };
    Ok(CheckItem::passed(
        "files",
        match lost.len() {
            0 => format!("writes nothing outside {LOGS}"),
            count => format!("{count} written outside {LOGS} are gone when it starts again: {}{more}", named.join(", ")),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_is_not_configured_has_the_defaults_of_its_definition() {
        let definition = json!({"adapter_key": "Kind", "adapter_instance": {"key": "kind_instance", "identifiers": [
            {"key": "host", "ident_type": 1, "default": null},
            {"key": "memory", "ident_type": 2, "default": "1024"},
        ]}});
        let instance = unconfigured_instance(&definition);
        let identifiers = json!([
            {"key": "host", "value": "", "isPartOfUniqueness": true},
            {"key": "memory", "value": "1024", "isPartOfUniqueness": false},
        ]);
        let key = json!({"name": "mpimg", "adapterKind": "Kind", "objectKind": "kind_instance", "identifiers": identifiers});
        assert_eq!(instance["adapterKey"], key);
        assert_eq!(unconfigured_instance(&Value::Null)["adapterKey"]["adapterKind"], "unknown");
    }

    #[test]
    fn an_answer_to_a_collection_is_judged_by_its_form() {
        for (status, answer, state, detail) in [
            (200, r#"{"result": [{}, {}]}"#, CheckState::Passed, "answers with 2 objects"),
            (200, r#"{"errorMessage": "no host"}"#, CheckState::Passed, "answers; not configured, it says: no host"),
            (200, r#"{"hello": 1}"#, CheckState::Failed, "the answer is no result of a collection (200 OK: {\"hello\": 1})"),
            (
                400,
                "No body in request",
                CheckState::Failed,
                "the answer is no result of a collection (400 Bad Request: No body in request)",
            ),
            (
                500,
                "\"No result from adapter. Captured stderr:\\n  Traceback\\nKeyError: 'host'\"\n",
                CheckState::Later,
                "no result for an adapter instance that is not configured (500 Internal Server Error: KeyError: 'host')",
            ),
        ] {
            let item = collect_item(StatusCode::from_u16(status).unwrap(), answer);
            assert_eq!((item.state, item.detail.as_str()), (state, detail));
        }
    }
}
