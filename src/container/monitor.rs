//! The process that supervises one container: it sets the container up, starts its command, writes
//! its log, carries out commands, and cleans up at the end.
//!
//! Speaks only to its starter (a socket) and to the container's folder: it has no terminal and no
//! standard streams.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::cgroup::Cgroup;
use super::log::{LogWriter, Stream};
use super::monitor_protocol::{Job, LayerFile, MONITOR_NAME, MonitorCommand, MonitorEvent};
use super::nat;
use super::network::{self, NetworkPlan};
use super::owner::Owner;
use super::record::{ContainerInfo, ContainerState, Folder, Outcome};
use super::spec;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Layer, unpacked_layers};
use crate::layer::LayerPath;
use crate::layer::unpack::Limits;
use crate::sandbox::channel::{read_message, receive_file, send_file, write_message};
use crate::sandbox::{Event, Isolation, Mount, Remote, RootSpec, RunSpec, User, detach, kill_orphans, lookup_user};
use crate::store::{BlobSource, Store, now};

/// The monitor's `main`. Returns its exit status.
pub(super) fn main() -> i32 {
    let Ok(socket) = detach() else { return 1 };
    // Started by /proc/self/exe, it would be called `exe`; by this name it is found.
    let _ = std::ffi::CString::new(MONITOR_NAME).map(|name| rustix::thread::set_name(&name));
    let Ok(Some(text)) = read_message::<String>(&socket) else { return 1 };
    let (Ok(job), Ok(lock)) = (serde_json::from_str::<Job>(&text), receive_file(&socket)) else { return 1 };
    let starter = Starter { socket: Arc::new(socket), sending: Arc::default(), attached: job.attached };
    let done = supervise(job, &starter);
    if let Err(error) = &done {
        starter.send(&MonitorEvent::Failed(clone(error).into()));
    }
    // Held to the very end: what is cleaned up must not be cleaned up by somebody else at the same
    // time.
    drop(lock);
    i32::from(done.is_err())
}

/// Errors cannot be cloned; what is shown of one can.
fn clone(error: &Error) -> Error {
    let causes = error.causes().into_iter().rev().fold(None, |source: Option<Error>, message| {
        let cause = Error::new(error.kind(), message);
        Some(match source {
            Some(source) => cause.with_source(source),
            None => cause,
        })
    });
    let mut copy = Error::new(error.kind(), error.to_string());
    if let Some(cause) = causes {
        copy = copy.with_source(cause);
    }
    match error.hint() {
        Some(hint) => copy.with_hint(hint),
        None => copy,
    }
}

/// The process that started this one; it may have gone.
#[derive(Clone)]
struct Starter {
    socket: Arc<UnixStream>,
    sending: Arc<Mutex<()>>,
    attached: bool,
}

impl Starter {
    fn send(&self, event: &MonitorEvent) {
        let _one = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = write_message(&*self.socket, event);
    }

    /// Tells that the command runs. Its input is written by the starter itself: a command that does
    /// not read it must keep nobody here from passing on a signal, or from seeing that the starter
    /// has gone.
    fn started(&self, input: Option<OwnedFd>) {
        let _one = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = write_message(&*self.socket, &MonitorEvent::Started);
        if let Some(input) = input {
            let _ = send_file(&self.socket, input);
        }
    }
}

/// From the first look at the machine to the last folder removed.
fn supervise(job: Job, starter: &Starter) -> Result<()> {
    let store = Store::open(&job.store)?;
    let folder = Folder::of(&store, &job.id);
    let mut info = folder.read()?;
    // What is tried out goes with this process, however it ends.
    let isolation = Isolation::detect(store.scratch()?.path(), job.isolation)?;
    info.isolation = Some(isolation.kind());
    folder.write(&info)?;
    let owner = job.end_with.map(Owner::find).transpose()?;
    let ended = run(&job, &store, &folder, &isolation, &mut info, starter, owner.as_ref());
    if let Some(cgroup) = info.cgroup.take() {
        cgroup.remove();
    }
    let removed = match job.keep_changes && !job.remove {
        // What was written stays until the container is removed.
        true => {
            drop(std::fs::remove_file(folder.orders()));
            Ok(())
        }
        false => folder.remove_scratch(info.isolation),
    };
    let outcome = ended?;
    info.state = ContainerState::Ended(outcome);
    (info.pid, info.helper) = (None, None);
    match job.remove || owner.is_some_and(|owner| owner.is_gone()) {
        true => folder.remove(info.isolation)?,
        false => folder.write_last(&info)?,
    }
    starter.send(&MonitorEvent::Ended(outcome));
    removed
}

/// Runs the command to its end.
fn run(
    job: &Job,
    store: &Store,
    folder: &Folder,
    isolation: &Isolation,
    info: &mut ContainerInfo,
    starter: &Starter,
    owner: Option<&Owner>,
) -> Result<Outcome> {
    let plan = network::plan(isolation.kind(), job.network, &job.ports)?;
    info.network = Some(plan.words.to_owned());
    info.ports.clone_from(&plan.ports);
    if let Some(note) = &plan.note {
        starter.send(&MonitorEvent::Note(note.clone()));
    }
    let scratch = folder.scratch();
    std::fs::create_dir(&scratch).map_err(|error| Error::io("make", &scratch, error))?;
    let (root, user) = root(job, store, isolation, &scratch)?;
    let mut spec = RunSpec::new(info.command.iter().map(String::as_str), root);
    match user {
        Some(user) => spec.user = user,
        None => spec.user_name = Some(job.user.clone()),
    }
    set_up_environment(&mut spec, job, &plan)?;
    limit(&mut spec, job, info, starter);

    let log = Arc::new(LogWriter::create(&folder.log())?);
    let orders = open_orders(&folder.orders())?;
    let (streams, ends) = super::streams::streams(job)?;
    let running = isolation.start(&spec, streams, |pid| match &info.cgroup {
        Some(cgroup) => cgroup.add(pid).map_err(|error| Error::new(ErrorKind::Sandbox, "cannot limit memory").with_source(error)),
        None => Ok(()),
    })?;
    info.helper = Some(running.id());
    let remote = running.remote();
    let _ports = plan.publish(&remote)?;
    run_commands(orders, remote.clone())?;
    owner.map(|owner| owner.watch(remote.clone())).transpose()?;
    let mut readers = Vec::new();
    let mut outputs = Some(ends.outputs);
    let mut read = |outputs: &mut Option<Vec<(Stream, File)>>| {
        for (stream, output) in outputs.take().into_iter().flatten() {
            readers.extend(record_output(stream, output, log.clone(), starter.clone()));
        }
    };
    let (mut input, mut outside) = (ends.input, None);
    let exit = running.wait(&mut |event| {
        let pid = match event {
            Event::Tun(packets) => {
                match packets.map_err(nat::closed).and_then(nat::open) {
                    Ok(open) => outside = Some(open),
                    Err(error) => {
                        starter.send(&MonitorEvent::Note(format!("network: the container's own has no way out: {error}")))
                    }
                }
                return;
            }
            Event::Started(pid) => Some(pid),
        };
        let running = ContainerInfo { pid, state: ContainerState::Running, ..info.clone() };
        // A disk that is full now was not a moment ago; the record is of use to others only.
        let _ = folder.write(&running);
        let _ = folder.reserve(&running);
        starter.started(input.take().filter(|_| starter.attached));
        if starter.attached {
            listen(starter, remote.clone());
        }
        // Not before: nothing may come before the start.
        read(&mut outputs);
    });
    kill_orphans();
    drop(outside);
    read(&mut outputs);
    readers.into_iter().for_each(|reader: JoinHandle<()>| drop(reader.join()));
    let out_of_memory = info.cgroup.as_ref().is_some_and(Cgroup::out_of_memory);
    Ok(Outcome { exit: exit?, out_of_memory, finished: now() })
}

/// The root file system: layers under a folder for the changes, or a tree of its own. And the user,
/// where it had to be known for that.
fn root(job: &Job, store: &Store, isolation: &Isolation, scratch: &Path) -> Result<(RootSpec, Option<User>)> {
    let layers: Vec<Layer> = job.layers.iter().map(layer).collect();
    let open = |layer: &Layer| match &layer.source {
        BlobSource::File(path) => layer.open_tar(path),
        _ => Err(Error::new(ErrorKind::NotFound, format!("layer `{}` is not here", layer.descriptor.digest))),
    };
    let unpacked = |user: &User| {
        unpacked_layers(store, &layers, &isolation.ownership(user), |layer, folder, below| {
            isolation.unpack_for(user, &mut open(layer)?, folder, below, &Limits::default()).map(|done| done.uses_lower_layers)
        })
    };
    if !isolation.kind().needs_tree() {
        let mut lower = unpacked(&User::default())?;
        let mut user = None;
        if isolation.kind().records_owners_in_xattrs() {
            // There the files are another tree for each user.
            let read = |name: &str| accounts(&lower, name);
            let found = lookup_user(&read("passwd"), &read("group"), &job.user)?;
            lower = unpacked(&found)?;
            user = Some(found);
        }
        return Ok((RootSpec::Overlay { lower, upper: scratch.join("upper"), work: scratch.join("work") }, user));
    }
    let path = scratch.join("tree");
    std::fs::create_dir(&path).map_err(|error| Error::io("make", &path, error))?;
    for layer in &layers {
        isolation.unpack(&mut open(layer)?, &path, &[], &Limits::default())?;
    }
    Ok((RootSpec::Tree { path }, None))
}

/// A file of /etc of an image; empty where there is none. Links are not followed: they would lead
/// out of it.
fn accounts(lower: &[PathBuf], name: &str) -> Vec<u8> {
    let plain = |tree: &&PathBuf| tree.join("etc").symlink_metadata().is_ok_and(|etc| etc.is_dir());
    let mut found = lower.iter().filter(plain).map(|tree| tree.join("etc").join(name));
    let topmost = found.find_map(|path| path.symlink_metadata().ok().map(|metadata| (path, metadata)));
    topmost.filter(|(_, metadata)| metadata.is_file()).and_then(|(path, _)| std::fs::read(path).ok()).unwrap_or_default()
}

fn layer(file: &LayerFile) -> Layer {
    let source = BlobSource::File(file.file.clone());
    Layer { diff_id: file.diff_id, descriptor: file.descriptor.clone(), source }
}

/// What the command sees besides its files.
fn set_up_environment(spec: &mut RunSpec, job: &Job, plan: &NetworkPlan) -> Result<()> {
    spec.env.clone_from(&job.env);
    spec.cwd = LayerPath::clean(if job.workdir.is_empty() { "/" } else { &job.workdir })?;
    spec.container = true;
    spec.make_cwd = true;
    spec.hostname.clone_from(&job.hostname);
    spec.network = plan.network;
    spec.uplink = plan.uplink;
    spec.name_servers = plan.name_servers();
    spec.terminal = job.terminal;
    spec.ulimits.clone_from(&job.ulimits);
    spec.shm_size = job.shm_size;
    spec.extra_hosts.clone_from(&job.extra_hosts);
    for tmpfs in &job.tmpfs {
        spec.mounts.push(Mount::Tmpfs { target: spec::inside(&tmpfs.target)?, size: tmpfs.size, mode: Some(tmpfs.mode) });
    }
    for volume in &job.volumes {
        let target = spec::inside(&volume.target)?;
        spec.mounts.push(Mount::Volume { source: volume.source.clone(), target, readonly: volume.readonly });
    }
    Ok(())
}

/// Limits memory by a control group, or else as well as can be.
fn limit(spec: &mut RunSpec, job: &Job, info: &mut ContainerInfo, starter: &Starter) {
    match Cgroup::create(&job.id, info.memory, info.spec.swap) {
        Ok(cgroup) => info.cgroup = Some(cgroup),
        Err(error) => {
            let Some(bytes) = info.memory else { return };
            spec.data_limit = Some(bytes);
            starter.send(&MonitorEvent::Note(format!(
                "memory: no control group can be made here ({error}); the limit holds for each process alone, not for all together"
            )));
        }
    }
}

/// Writes what comes from `output` to the log, and to the starter where it stayed.
fn record_output(stream: Stream, mut output: File, log: Arc<LogWriter>, starter: Starter) -> Option<JoinHandle<()>> {
    let work = move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match output.read(&mut buffer) {
                Ok(read) if read > 0 => {
                    log.append(stream, &buffer[..read]);
                    if starter.attached {
                        starter.send(&MonitorEvent::Output(stream, buffer[..read].to_vec()));
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // A terminal whose other side has closed gives an error instead of an end.
                Ok(_) | Err(_) => break,
            }
        }
    };
    std::thread::Builder::new().name("output".into()).spawn(work).ok()
}

/// Does what the starter wishes; kills everything when it has gone.
fn listen(starter: &Starter, remote: Remote) {
    let socket = starter.socket.clone();
    let work = move || {
        loop {
            match read_message::<MonitorCommand>(&*socket) {
                Ok(Some(MonitorCommand::Signal(number))) => remote.signal(number),
                Ok(Some(MonitorCommand::Kill)) => remote.kill(),
                Ok(None) | Err(_) => return remote.kill(),
            }
        }
    };
    let _ = std::thread::Builder::new().name("starter".into()).spawn(work);
}

/// Both ends: one without a writer would be at its end all the time.
fn open_orders(path: &Path) -> Result<File> {
    File::options().read(true).write(true).open(path).map_err(|error| Error::io("open", path, error))
}

/// Does what lines in the pipe say: `signal NUMBER` or `kill`.
fn run_commands(orders: File, remote: Remote) -> Result<()> {
    let work = move || {
        for line in BufReader::new(orders).lines().map_while(std::io::Result::ok) {
            match line.split_once(' ') {
                Some(("signal", number)) => drop(number.parse().map(|number| remote.signal(number))),
                _ if line == "kill" => remote.kill(),
                _ => {}
            }
        }
    };
    let thread = std::thread::Builder::new().name("orders".into()).spawn(work);
    thread.map(drop).map_err(|error| Error::new(ErrorKind::Io, "cannot start a thread").with_source(error))
}
