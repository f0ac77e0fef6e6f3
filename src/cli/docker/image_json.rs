//! An image as `docker inspect` shows it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::image::{Healthcheck, ImageConfig, RunConfig};
use crate::oci::{DiffId, Digest, Reference};
use crate::operation::LocalImage;

/// The fields of docker's type, in its order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ImageJson<'i> {
    id: &'i Digest,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    parent: &'i str,
    comment: &'i str,
    created: &'i str,
    docker_version: &'i str,
    author: &'i str,
    config: ConfigJson<'i>,
    architecture: &'i str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'i str>,
    os: &'i str,
    size: u64,
    virtual_size: u64,
    graph_driver: Value,
    #[serde(rename = "RootFS")]
    root_fs: RootFsJson<'i>,
    metadata: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootFsJson<'i> {
    r#type: &'i str,
    layers: &'i [DiffId],
}

/// The configuration of an image or of a container.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ConfigJson<'i> {
    pub(super) hostname: &'i str,
    domainname: &'i str,
    pub(super) user: &'i str,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exposed_ports: Option<Map<String, Value>>,
    pub(super) tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    pub(super) env: Option<&'i [String]>,
    pub(super) cmd: Option<&'i [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<&'i Healthcheck>,
    pub(super) image: &'i str,
    volumes: Option<Map<String, Value>>,
    pub(super) working_dir: &'i str,
    pub(super) entrypoint: Option<&'i [String]>,
    on_build: Option<&'i [String]>,
    labels: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<&'i [String]>,
}

fn filled(list: &[String]) -> Option<&[String]> {
    if list.is_empty() { None } else { Some(list) }
}

/// Go's form of a set.
fn set<'s>(keys: impl IntoIterator<Item = &'s String>) -> Option<Map<String, Value>> {
    let set: Map<String, Value> = keys.into_iter().map(|key| (key.clone(), json!({}))).collect();
    if set.is_empty() { None } else { Some(set) }
}

impl<'i> ConfigJson<'i> {
    pub(super) fn new(config: &'i RunConfig) -> Self {
        Self {
            hostname: "",
            domainname: "",
            user: &config.user,
            attach_stdin: false,
            attach_stdout: false,
            attach_stderr: false,
            exposed_ports: set(&config.exposed_ports),
            tty: false,
            open_stdin: false,
            stdin_once: false,
            env: filled(&config.env),
            cmd: config.cmd.as_deref(),
            healthcheck: config.healthcheck.as_ref(),
            image: "",
            volumes: set(&config.volumes),
            working_dir: &config.working_dir,
            entrypoint: config.entrypoint.as_deref(),
            on_build: filled(&config.on_build),
            labels: (!config.labels.is_empty()).then(|| json!(config.labels)),
            stop_signal: config.stop_signal.as_deref(),
            shell: config.shell.as_deref(),
        }
    }
}

impl<'i> ImageJson<'i> {
    pub(super) fn new(image: &'i LocalImage, config: &'i ImageConfig) -> Self {
        let familiar = |names: &[Reference]| names.iter().map(Reference::familiar).collect();
        let last = config.history.last();
        Self {
            id: image.id(),
            repo_tags: familiar(&image.names),
            repo_digests: familiar(&image.digests),
            parent: "",
            comment: last.and_then(|step| step.comment.as_deref()).unwrap_or_default(),
            created: config.created.as_deref().unwrap_or_default(),
            docker_version: "",
            author: config.author.as_deref().unwrap_or_default(),
            config: ConfigJson::new(&config.config),
            architecture: &config.architecture,
            variant: config.variant.as_deref(),
            os: &config.os,
            size: image.size(),
            virtual_size: image.size(),
            graph_driver: json!({ "Data": null, "Name": "overlay2" }),
            root_fs: RootFsJson { r#type: "layers", layers: &config.rootfs.diff_ids },
            metadata: json!({ "LastTagTime": "0001-01-01T00:00:00Z" }),
        }
    }
}

/// The value for templates: what is left out of the JSON has a value there.
pub(super) fn for_templates(json: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(json).unwrap_or_default();
    let mut fill = |path: &str, fields: &[(&str, Value)]| {
        if let Some(object) = value.pointer_mut(path).and_then(Value::as_object_mut) {
            for (name, default) in fields {
                object.entry(*name).or_insert_with(|| default.clone());
            }
        }
    };
    fill("", &[("Variant", json!("")), ("OsVersion", json!(""))]);
    fill(
        "/Config",
        &[("ExposedPorts", Value::Null), ("Healthcheck", Value::Null), ("StopSignal", json!("")), ("Shell", Value::Null)],
    );
    fill("/State", &[("Health", Value::Null)]);
    value
}
