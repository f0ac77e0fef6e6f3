//! Starting a container: the record, the monitor's process, and what is said to it.
//!
//! Does not wait for the container's end; it returns when the command runs, or cannot.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

use tokio::runtime::Handle;

use super::monitor_protocol::{Job, LayerFile, MONITOR_NAME, MonitorEvent};
use super::record::{self, ContainerInfo, ContainerState, Folder, Making};
use super::{ContainerSpec, Volume, copied, process, spec};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::image::{Image, Layer};
use crate::sandbox::channel::{read_message, receive_file, send_file, write_message};
use crate::sandbox::spawn_detached;
use crate::store::{BlobSource, Store, now};

/// Docker's, for images that name none.
const DEFAULT_STOP_SIGNAL: &str = "SIGTERM";

/// Docker's, too.
const LEAST_MEMORY: u64 = 6 << 20;

/// Set once this program's `main` is known to become a monitor when it is started as one.
static ALLOWED: OnceLock<()> = OnceLock::new();

pub(super) fn allow() {
    let _ = ALLOWED.set(());
}

/// A container that has just been started, and the socket to its monitor.
pub(super) struct Launched {
    pub(super) folder: Folder,
    pub(super) id: String,
    pub(super) socket: UnixStream,
    /// The other end of the command's standard input, where it has one.
    pub(super) input: Option<OwnedFd>,
}

/// Starts a container of `image`, which the record calls `name`; returns when its command runs.
pub(super) fn launch(
    store: &Store,
    image: &Image,
    name: &str,
    spec: &ContainerSpec,
    attached: bool,
    note: &mut dyn FnMut(&str),
) -> Result<Launched> {
    let info = describe(image, name, spec)?;
    let job = job(store, image, &info, attached)?;
    let making = record::make(store, &info)?;
    // Its monitor, if there is one, is about to end or has.
    supervise(making, info, &job, note, |folder| drop(folder.remove(None)))
}

/// Makes a container that [`start`] starts; its folder and its ID.
pub(super) fn create(store: &Store, image: &Image, name: &str, spec: &ContainerSpec) -> Result<(Folder, String)> {
    let info = ContainerInfo { state: ContainerState::Created, ..describe(image, name, spec)? };
    for layer in image.layers() {
        layer_file(store, layer)?;
    }
    let Making { folder, .. } = record::make(store, &info)?;
    Ok((folder, info.id))
}

/// Starts a container that was made before; it stays as it was if it cannot be started.
pub(super) fn start(
    store: &Store,
    image: &Image,
    folder: &Folder,
    attached: bool,
    note: &mut dyn FnMut(&str),
) -> Result<Launched> {
    let making = record::take(folder)?;
    let before = folder.read()?;
    let mut job = job(store, image, &before, attached)?;
    job.layers.extend(copied::read(folder)?);
    let info = ContainerInfo { state: ContainerState::Starting, ..before.clone() };
    folder.write(&info)?;
    supervise(making, info, &job, note, |folder| {
        // The error is the caller's; a record that cannot be written says later that the container
        // was lost.
        let _ = folder.write(&before);
    })
}

fn supervise(
    making: Making,
    info: ContainerInfo,
    job: &Job,
    note: &mut dyn FnMut(&str),
    undo: impl FnOnce(&Folder),
) -> Result<Launched> {
    let Making { folder, lock } = making;
    let started = start_monitor(job, lock).and_then(|socket| {
        wait_for_start(&socket, note)?;
        let has_input = job.attached && (job.interactive || job.terminal);
        let input = has_input.then(|| receive_file(&socket).context(ErrorKind::Sandbox, lost)).transpose()?;
        Ok((socket, input))
    });
    match started {
        Ok((socket, input)) => Ok(Launched { folder, id: info.id, socket, input }),
        Err(error) => {
            undo(&folder);
            Err(error)
        }
    }
}

/// The record of a new container.
fn describe(image: &Image, name: &str, spec: &ContainerSpec) -> Result<ContainerInfo> {
    let config = &image.config().config;
    let stop_signal = config.stop_signal.as_deref().unwrap_or(DEFAULT_STOP_SIGNAL);
    let info = ContainerInfo {
        id: format!("{:012x}", fastrand::u64(..) >> 16),
        name: spec.name.clone(),
        image: name.to_owned(),
        digest: image.descriptor().digest,
        command: process::arguments(config, spec)?,
        created: now(),
        ports: spec.ports.clone(),
        memory: spec.memory,
        network: None,
        isolation: None,
        pid: None,
        state: ContainerState::Starting,
        spec: spec.clone(),
        stop_signal: super::parse_signal(stop_signal)?,
        helper: None,
        cgroup: None,
    };
    if let Some(name) = spec.name.as_deref().filter(|name| !is_name(name)) {
        return Err(Error::new(ErrorKind::Usage, format!("`{name}` is not a name for a container"))
            .with_hint("use letters, digits, `_`, `.` and `-`, at least two, the first a letter or digit"));
    }
    if spec.memory.is_some_and(|memory| memory < LEAST_MEMORY) {
        return Err(Error::new(ErrorKind::Usage, "the memory limit is too small to start anything")
            .with_hint("give it at least 6m, as with Docker"));
    }
    if let Some(workdir) = spec.workdir.as_deref().filter(|workdir| !workdir.starts_with('/')) {
        return Err(Error::new(ErrorKind::Usage, format!("the working directory `{workdir}` is not an absolute path"))
            .with_hint(format!("write `/{workdir}`")));
    }
    Ok(info)
}

/// What the monitor has to do for a container.
fn job(store: &Store, image: &Image, info: &ContainerInfo, attached: bool) -> Result<Job> {
    let (config, spec) = (&image.config().config, &info.spec);
    let hostname = spec.hostname.clone().unwrap_or_else(|| info.id.clone());
    let first = |given: &Option<String>, image: &str| given.clone().unwrap_or_else(|| image.to_owned());
    Ok(Job {
        store: store.root().to_owned(),
        id: info.id.clone(),
        layers: image.layers().iter().map(|layer| layer_file(store, layer)).collect::<Result<_>>()?,
        env: process::environment(config, spec, &hostname),
        user: first(&spec.user, &config.user),
        workdir: first(&spec.workdir, &config.working_dir),
        hostname,
        volumes: spec.volumes.iter().map(volume).collect::<Result<_>>()?,
        tmpfs: spec.tmpfs.clone(),
        ports: spec.ports.clone(),
        ulimits: spec.ulimits.clone(),
        shm_size: spec.shm_size,
        extra_hosts: spec.extra_hosts.clone(),
        network: spec.network,
        isolation: spec.isolation,
        interactive: spec.interactive,
        terminal: spec.terminal,
        remove: spec.remove,
        keep_changes: spec.keep_changes,
        end_with: spec.end_with,
        attached,
    })
}

/// Docker's rule for names.
fn is_name(name: &str) -> bool {
    let mut letters = name.bytes();
    let first = letters.next().is_some_and(|letter| letter.is_ascii_alphanumeric());
    first && name.len() > 1 && letters.all(|letter| letter.is_ascii_alphanumeric() || b"_.-".contains(&letter))
}

/// Fetches the layer where neither its tree nor its bytes are here.
fn layer_file(store: &Store, layer: &Layer) -> Result<LayerFile> {
    let unpacked = || !store.unpacked_paths(&layer.diff_id).is_empty();
    let file = match &layer.source {
        BlobSource::File(path) => std::path::absolute(path).map_err(|error| Error::io("find", path, error))?,
        _ if unpacked() => store.blob_path(&layer.descriptor.digest),
        source => {
            let runtime = Handle::try_current().map_err(|error| {
                Error::new(ErrorKind::Usage, "a layer has to be fetched, which needs a tokio runtime around it")
                    .with_source(error)
            })?;
            runtime.block_on(store.fetch(source, &layer.descriptor))?
        }
    };
    Ok(LayerFile { diff_id: layer.diff_id, descriptor: layer.descriptor.clone(), file })
}

/// The volume by absolute path; made where it is missing, as docker does.
fn volume(volume: &Volume) -> Result<Volume> {
    spec::inside(&volume.target)?;
    let source = std::path::absolute(&volume.source).map_err(|error| Error::io("find", &volume.source, error))?;
    if let Err(error) = source.symlink_metadata() {
        match error.kind() {
            io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&source).map_err(|error| Error::io("make", &source, error))?;
            }
            _ => return Err(Error::io("open", &source, error)),
        }
    }
    Ok(Volume { source, ..volume.clone() })
}

fn lost() -> String {
    "lost the container's process".to_owned()
}

fn start_monitor(job: &Job, lock: std::fs::File) -> Result<UnixStream> {
    let socket = spawn_detached(MONITOR_NAME, ALLOWED.get().is_some())?;
    let text = serde_json::to_string(job).context(ErrorKind::Sandbox, lost)?;
    write_message(&socket, &text).context(ErrorKind::Sandbox, lost)?;
    // From here on the monitor holds it, too, and alone as soon as this function returns.
    send_file(&socket, lock).context(ErrorKind::Sandbox, lost)?;
    Ok(socket)
}

fn wait_for_start(socket: &UnixStream, note: &mut dyn FnMut(&str)) -> Result<()> {
    loop {
        match read_message::<MonitorEvent>(socket).context(ErrorKind::Sandbox, lost)? {
            Some(MonitorEvent::Note(text)) => note(&text),
            Some(MonitorEvent::Started) => return Ok(()),
            Some(MonitorEvent::Failed(refusal)) => return Err(refusal.into()),
            // Nothing else comes before the start.
            Some(MonitorEvent::Output(..) | MonitorEvent::Ended(_)) => {}
            None => return Err(Error::new(ErrorKind::Sandbox, "the container's process was killed while it started")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_docker_s() {
        for (name, right) in
            [("web", true), ("a1_.-", true), ("a", false), ("-a", false), ("a/b", false), ("", false), ("ä1", false)]
        {
            assert_eq!(is_name(name), right, "{name}");
        }
    }
}
