//! A container as `docker inspect` shows it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::container_id::{is_running, long_id, name_of};
use super::image_json::ConfigJson;
use super::ps::state;
use crate::container::{ContainerInfo, ContainerState, NetworkMode, Volume};
use crate::image::{RunConfig, rfc3339};
use crate::operation::LocalImage;

/// A time that never was, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The fields of docker's type, in its order, as far as there is anything to say.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerJson {
    id: String,
    created: String,
    path: String,
    args: Vec<String>,
    state: State,
    image: String,
    name: String,
    restart_count: u32,
    driver: &'static str,
    platform: &'static str,
    host_config: Value,
    mounts: Vec<Value>,
    config: Value,
    network_settings: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: &'static str,
    running: bool,
    paused: bool,
    restarting: bool,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    dead: bool,
    pid: i32,
    exit_code: u8,
    error: &'static str,
    started_at: String,
    finished_at: String,
}

/// What is known of a container; `image` is what it was made of, where that is still here.
pub(super) fn of(info: &ContainerInfo, image: Option<&LocalImage>, networks: &[String]) -> ContainerJson {
    let (path, args) =
        info.command.split_first().map_or((String::new(), Vec::new()), |(path, args)| (path.clone(), args.to_vec()));
    let outcome = match info.state {
        ContainerState::Ended(outcome) => Some(outcome),
        _ => None,
    };
    let bind = |port: &crate::container::PortMapping| {
        let ip = port.ip.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
        (format!("{}/tcp", port.container), json!([{ "HostIp": ip, "HostPort": port.host.to_string() }]))
    };
    let ports: Map<String, Value> = info.ports.iter().map(bind).collect();
    let spec = &info.spec;
    let mounts = spec.volumes.iter().map(|volume| {
        let mode = if volume.readonly { "ro" } else { "" };
        json!({
            "Type": "bind", "Source": volume.source, "Destination": volume.target, "Mode": mode, "RW": !volume.readonly,
            "Propagation": "rprivate",
        })
    });
    let network = match (networks, spec.network) {
        ([name, ..], _) => name.as_str(),
        (_, NetworkMode::None) => "none",
        (_, NetworkMode::Host) => "host",
        _ => "default",
    };
    // A network of its own has no address that others reach: its ports are published on this
    // machine.
    let address = if is_running(info) { "127.0.0.1" } else { "" };
    let shown: Vec<&str> = if networks.is_empty() { vec![network] } else { networks.iter().map(String::as_str).collect() };
    ContainerJson {
        id: long_id(&info.id),
        created: rfc3339(info.created),
        path,
        args,
        state: State {
            status: state(info),
            running: is_running(info),
            paused: false,
            restarting: false,
            oom_killed: outcome.is_some_and(|outcome| outcome.out_of_memory),
            dead: info.state == ContainerState::Lost,
            pid: info.pid.unwrap_or(0),
            exit_code: match info.state {
                ContainerState::Lost => 137,
                _ => outcome.map_or(0, |outcome| outcome.status()),
            },
            error: "",
            started_at: if info.state == ContainerState::Created { NEVER.into() } else { rfc3339(info.created) },
            finished_at: outcome.map_or_else(|| NEVER.into(), |outcome| rfc3339(outcome.finished)),
        },
        image: image.map(|image| image.id().to_string()).unwrap_or_default(),
        name: format!("/{}", name_of(info)),
        restart_count: 0,
        driver: "overlay2",
        platform: "linux",
        host_config: json!({
            "Binds": spec.volumes.iter().map(bind_of).collect::<Vec<_>>(),
            "NetworkMode": network,
            "PortBindings": ports,
            "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
            "AutoRemove": spec.remove,
            "LogConfig": { "Type": "json-file", "Config": {} },
            "Privileged": false,
            "PublishAllPorts": false,
            "ReadonlyRootfs": false,
            "CapAdd": null,
            "CapDrop": null,
            "Devices": [],
            "Dns": [],
            "ExtraHosts": spec.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect::<Vec<_>>(),
            "GroupAdd": null,
            "IpcMode": "private",
            "Links": null,
            "PidMode": "",
            "SecurityOpt": null,
            "Runtime": "mpimg",
            "ShmSize": spec.shm_size.unwrap_or(64 << 20),
            "CpuShares": 0,
            "NanoCpus": 0,
            "CpusetCpus": "",
            "MemoryReservation": 0,
            "MemorySwap": 0,
            "PidsLimit": null,
            "Memory": info.memory.unwrap_or(0),
        }),
        mounts: mounts.collect(),
        config: config(info, image),
        network_settings: json!({
            "Ports": ports,
            "Gateway": "",
            "IPAddress": address,
            "MacAddress": "",
            "Networks": shown.iter().map(|name| ((*name).to_owned(), json!({ "IPAddress": address, "Gateway": "" }))).collect::<Map<_, _>>(),
        }),
    }
}

/// A bind as -v has it.
fn bind_of(volume: &Volume) -> String {
    format!("{}:{}{}", volume.source.display(), volume.target, if volume.readonly { ":ro" } else { "" })
}

/// The image's configuration with what the container was asked to be over it.
fn config(info: &ContainerInfo, image: Option<&LocalImage>) -> Value {
    let spec = &info.spec;
    let own = image.and_then(|image| image.config.as_ref()).map_or_else(RunConfig::default, |config| config.config.clone());
    let merged = spec.over(&own);
    let hostname = spec.hostname.clone().unwrap_or_else(|| info.id.clone());
    let mut json = ConfigJson::new(&merged);
    (json.hostname, json.image, json.tty) = (&hostname, &info.image, spec.terminal);
    serde_json::to_value(&json).unwrap_or_default()
}
