//! `docker run` and `docker create`.

use std::path::{Path, PathBuf};

use super::command::{Arguments, Command};
use super::container_id::long_id;
use super::invocation::{CommandResult, Failure, Invocation};
use super::{networks, pull, run_spec, tag, value};
use crate::cli::command::attached;
use crate::cli::drop_in::{Flag, Parsed};
use crate::image::write_result;
use crate::operation::{LocalImage, RunRequest, Started};

/// The exit code of a container that could not be started.
const NOT_STARTED: u8 = 125;

const RIGHTS: &str = "a container has the rights that its isolation gives; `mpimg doctor` shows them";
const OWN_NETWORK: &str =
    "all share this machine's; a container finds those of its network that were started before it by their names, at 127.0.0.1";
const LIMIT: &str = "memory is limited by --memory, resources of a process by --ulimit";
const HEALTH: &str = "nothing watches a container here";
const NETWORKS: &str =
    "there are no networks between containers; -p publishes a port on this machine, where --network=host finds it";

/// The flags of `docker run` and `docker create`.
const FLAGS: &[Flag] = &[
    Flag::list("add-host", "Add a custom host-to-IP mapping").checked(value::HOST),
    Flag::list("annotation", "Add an annotation to the container").ignored("nothing reads it"),
    Flag::list("attach", "Attach to STDIN, STDOUT or STDERR")
        .checked(value::STREAM)
        .short('a')
        .ignored("without -d, output is passed on; -i passes input"),
    Flag::value("blkio-weight", "Block IO weight").checked(value::UNSIGNED).ignored(LIMIT),
    Flag::list("cap-add", "Add Linux capabilities").checked(value::CAPABILITY).ignored(RIGHTS),
    Flag::list("cap-drop", "Drop Linux capabilities").checked(value::CAPABILITY).ignored(RIGHTS),
    Flag::value("cgroup-parent", "Optional parent cgroup").ignored(LIMIT),
    Flag::value("cgroupns", "Cgroup namespace to use").checked(value::CGROUPNS).ignored(RIGHTS),
    Flag::value("cidfile", "Write the container ID to the file"),
    Flag::value("cpu-period", "Limit CPU CFS period").checked(value::INTEGER).ignored(LIMIT),
    Flag::value("cpu-quota", "Limit CPU CFS quota").checked(value::INTEGER).ignored(LIMIT),
    Flag::value("cpu-shares", "CPU shares").checked(value::INTEGER).short('c').ignored(LIMIT),
    Flag::value("cpus", "Number of CPUs").checked(value::CPUS).ignored(LIMIT),
    Flag::value("cpuset-cpus", "CPUs in which to allow execution").checked(value::CPU_LIST).ignored(LIMIT),
    Flag::value("cpuset-mems", "MEMs in which to allow execution").checked(value::CPU_LIST).ignored(LIMIT),
    Flag::list("device", "Add a host device to the container")
        .refused("leave it out: devices of this machine cannot be passed on"),
    Flag::switch("disable-content-trust", "Skip image verification").ignored("nothing is verified by Docker Content Trust"),
    Flag::list("dns", "Set custom DNS servers").checked(value::IP).ignored("names are looked up as this machine does"),
    Flag::list("dns-option", "Set DNS options").ignored("names are looked up as this machine does"),
    Flag::list("dns-search", "Set custom DNS search domains").ignored("names are looked up as this machine does"),
    Flag::value("domainname", "Container NIS domain name").ignored("--hostname sets the whole name"),
    Flag::value("entrypoint", "Overwrite the default ENTRYPOINT of the image"),
    Flag::list("env", "Set environment variables").checked(value::VARIABLE).short('e'),
    Flag::list("env-file", "Read in a file of environment variables"),
    Flag::list("expose", "Expose a port or a range of ports").checked(value::PORTS).ignored("-p publishes a port"),
    Flag::value("gpus", "GPU devices to add to the container")
        .refused("leave it out: devices of this machine cannot be passed on"),
    Flag::list("group-add", "Add additional groups to join").refused("give the group with the user: `-u USER:GROUP`"),
    Flag::value("health-cmd", "Command to run to check health").ignored(HEALTH),
    Flag::value("health-interval", "Time between running the check").checked(value::HEALTH_TIME).ignored(HEALTH),
    Flag::value("health-retries", "Consecutive failures needed to report unhealthy").checked(value::RETRIES).ignored(HEALTH),
    Flag::value("health-start-period", "Start period for the container").checked(value::HEALTH_TIME).ignored(HEALTH),
    Flag::value("health-timeout", "Maximum time to allow one check to run").checked(value::HEALTH_TIME).ignored(HEALTH),
    Flag::value("hostname", "Container host name").short('h'),
    Flag::switch("init", "Run an init inside the container").differs("there always is one"),
    Flag::switch("interactive", "Keep STDIN open").short('i').differs("with -d there is no standard input"),
    Flag::value("ip", "IPv4 address").checked(value::IP).refused(NETWORKS),
    Flag::value("ipc", "IPC mode to use").checked(value::IPC).ignored(RIGHTS),
    Flag::value("isolation", "Container isolation technology").checked(value::ISOLATION).ignored(RIGHTS),
    Flag::list("label", "Set meta data on a container").short('l').checked(value::LABEL),
    Flag::list("label-file", "Read in a line delimited file of labels").checked(value::FILE),
    Flag::list("link", "Add link to another container").refused(NETWORKS),
    Flag::value("log-driver", "Logging driver for the container")
        .checked(value::LOG_DRIVER)
        .ignored("`docker logs` shows what a container has written"),
    Flag::list("log-opt", "Log driver options")
        .checked(value::LOG_OPTION)
        .ignored("`docker logs` shows what a container has written"),
    Flag::value("memory", "Memory limit").short('m'),
    Flag::value("memory-reservation", "Memory soft limit").checked(value::SIZE).ignored(LIMIT),
    Flag::value("memory-swap", "Swap limit").checked(value::SWAP_SIZE).ignored(LIMIT),
    Flag::list("mount", "Attach a filesystem mount to the container").differs("types bind and tmpfs, and volume with a source"),
    Flag::value("name", "Assign a name to the container"),
    Flag::list("network", "Connect a container to a network").differs(OWN_NETWORK),
    Flag::list("net", "Connect a container to a network").differs(OWN_NETWORK),
    Flag::list("network-alias", "Add network-scoped alias"),
    Flag::switch("no-healthcheck", "Disable any container-specified HEALTHCHECK").ignored(HEALTH),
    Flag::switch("oom-kill-disable", "Disable OOM Killer").ignored(LIMIT),
    Flag::value("oom-score-adj", "Tune host's OOM preferences").checked(value::OOM_SCORE).ignored(LIMIT),
    Flag::value("pid", "PID namespace to use").checked(value::PID).ignored(RIGHTS),
    Flag::value("pids-limit", "Tune container pids limit").checked(value::INTEGER).ignored(LIMIT),
    Flag::value("platform", "Set platform if server is multi-platform capable").checked(value::PLATFORM),
    Flag::switch("privileged", "Give extended privileges to this container").ignored(RIGHTS),
    Flag::list("publish", "Publish a container's port(s) to the host").short('p').differs("TCP, one port each"),
    Flag::switch("publish-all", "Publish all exposed ports to random ports").short('P').refused("name the ports: `-p 8080`"),
    Flag::value("pull", "Pull image before running (always, missing, never)").checked(value::PULL),
    Flag::switch("quiet", "Suppress the pull output").short('q'),
    Flag::switch("read-only", "Mount the container's root filesystem as read only")
        .ignored("what is written is thrown away with the container"),
    Flag::value("restart", "Restart policy to apply when a container exits").checked(value::RESTART).ignored(HEALTH),
    Flag::value("runtime", "Runtime to use for this container").checked(value::RUNTIME).ignored(RIGHTS),
    Flag::list("security-opt", "Security Options").checked(value::SECURITY).ignored(RIGHTS),
    Flag::value("shm-size", "Size of /dev/shm").checked(value::SIZE),
    Flag::value("stop-signal", "Signal to stop the container").checked(value::SIGNAL).ignored("the image's STOPSIGNAL counts"),
    Flag::value("stop-timeout", "Timeout to stop a container").checked(value::INTEGER).ignored("`docker stop -t SECONDS` has it"),
    Flag::list("sysctl", "Sysctl options").checked(value::SYSCTL).ignored(RIGHTS),
    Flag::list("tmpfs", "Mount a tmpfs directory"),
    Flag::switch("tty", "Allocate a pseudo-TTY").short('t'),
    Flag::list("ulimit", "Ulimit options").checked(value::ULIMIT),
    Flag::value("user", "Username or UID").short('u'),
    Flag::value("userns", "User namespace to use").checked(value::USERNS).ignored(RIGHTS),
    Flag::value("uts", "UTS namespace to use").checked(value::UTS).ignored(RIGHTS),
    Flag::list("volume", "Bind mount a volume").short('v').differs("a named volume is a folder of the local store"),
    Flag::value("volume-driver", "Optional volume driver").ignored("a volume is a folder"),
    Flag::list("volumes-from", "Mount volumes from the specified container(s)").refused("name the folder: `-v HOST:CONTAINER`"),
    Flag::value("workdir", "Working directory inside the container").short('w'),
];

const FOREGROUND: &[Flag] = &[
    Flag::switch("detach", "Run container in background and print container ID").short('d'),
    Flag::value("detach-keys", "Override the key sequence for detaching")
        .ignored("a container in the foreground ends with this command"),
    Flag::switch("rm", "Automatically remove the container and its associated anonymous volumes when it exits"),
    Flag::switch("sig-proxy", "Proxy received signals to the process").ignored("signals are always passed on"),
];

const ENDS: &[Flag] = &[Flag::switch("rm", "Automatically remove the container when it exits")];

pub(super) const RUN: Command = Command {
    arguments: Arguments::AtLeast(1),
    options_first: true,
    flags: &[FLAGS, FOREGROUND],
    differs: "the network is this machine's unless a published port has to be moved",
    ..Command::new(
        &["run", "container run"],
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Create and run a new container from an image",
        |invocation, parsed| Box::pin(run(invocation, parsed)),
    )
};

pub(super) const CREATE: Command = Command {
    arguments: Arguments::AtLeast(1),
    options_first: true,
    flags: &[FLAGS, ENDS],
    ..Command::new(
        &["create", "container create"],
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Create a new container",
        |invocation, parsed| Box::pin(create(invocation, parsed)),
    )
};

fn not_started(failure: Failure) -> Failure {
    if failure.stands() {
        return failure;
    }
    failure.with_code(NOT_STARTED).with_text_before("docker: ")
}

async fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    run_or_fail(invocation, parsed).await.map_err(not_started)
}

async fn run_or_fail(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    if parsed.is("detach") && !parsed.list("attach").is_empty() {
        return Err(Failure::new("conflicting options: cannot specify both --attach and --detach").unchanged_by_commands());
    }
    let mut request = request(invocation, parsed).await?;
    let (detach, remove) = (parsed.is("detach"), parsed.is("rm"));
    if remove && parsed.value("restart").is_some_and(|policy| !matches!(policy, "" | "no")) {
        return Err(Failure::new("conflicting options: cannot specify both --restart and --rm"));
    }
    request.spec.remove = remove;
    request.spec.keep_changes = !remove;
    let id_file = id_file(parsed)?;
    if !detach {
        expect_terminal(parsed)?;
        let spec = request.spec.clone();
        let started = invocation.mpimg().attach(request).await?;
        networks::join(invocation, parsed, started.container.id())?;
        if let Some(path) = id_file {
            write_result(&path, long_id(started.container.id()).as_bytes())?;
        }
        return Ok(attached(invocation.terminal(), started, &spec).await?);
    }
    request.spec.interactive = false;
    let Started { container, notes, .. } = invocation.mpimg().run(request).await?;
    notes.iter().for_each(|note| invocation.tell(format!("note: {note}")));
    networks::join(invocation, parsed, container.id())?;
    finish(invocation, container.id(), id_file.as_deref())
}

/// Docker's rule for -i and -t together: standard input has to be a terminal.
pub(super) fn expect_terminal(parsed: &Parsed) -> Result<(), Failure> {
    if parsed.is("interactive") && parsed.is("tty") && !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(Failure::new("the input device is not a TTY").unchanged_by_commands());
    }
    Ok(())
}

async fn create(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let mut request = request(invocation, parsed).await?;
    request.spec.remove = parsed.is("rm");
    request.spec.keep_changes = !request.spec.remove;
    request.spec.interactive = false;
    let id_file = id_file(parsed)?;
    let container = invocation.mpimg().create(request).await?;
    networks::join(invocation, parsed, container.id())?;
    finish(invocation, container.id(), id_file.as_deref())
}

fn id_file(parsed: &Parsed) -> Result<Option<PathBuf>, Failure> {
    let path = parsed.value("cidfile").map(PathBuf::from);
    match &path {
        Some(path) if path.exists() => Err(Failure::new(format!(
            "container ID file found, make sure the other container isn't running or delete {}",
            path.display()
        ))),
        _ => Ok(path),
    }
}

fn finish(invocation: &Invocation, id: &str, id_file: Option<&Path>) -> CommandResult {
    let id = long_id(id);
    if let Some(path) = id_file {
        write_result(path, id.as_bytes())?;
    }
    invocation.print(id + "\n")?;
    Ok(0)
}

/// What is asked for; an image that is not here is pulled.
async fn request(invocation: &Invocation, parsed: &Parsed) -> Result<RunRequest, Failure> {
    let name = &parsed.arguments[0];
    let spec = run_spec::spec(invocation, parsed)?;
    let platform = pull::platform(parsed.value("platform"))?;
    let always = parsed.value("pull") == Some("always");
    // Only a platform that was asked for makes an image the wrong one.
    let asked = parsed.value("platform").is_some();
    let fits = |image: &LocalImage| !asked || image.record.platform.fits(&platform);
    let here = invocation.mpimg().local_image(name)?.filter(|image| !always && fits(image));
    let image = match here {
        Some(image) => image,
        None => {
            let reference = tag::name(name)?;
            if !always {
                invocation.tell(format!("Unable to find image '{}' locally", reference.familiar()));
            }
            if parsed.value("pull") == Some("never") {
                return Err(Failure::daemon(format!("No such image: {}", reference.familiar())));
            }
            invocation.terminal().handle_signals();
            pull::pull(invocation, &reference, &platform, true).await?;
            let image = invocation.mpimg().local_image(name)?;
            image.ok_or_else(|| Failure::daemon(format!("No such image: {}", reference.familiar())))?
        }
    };
    // A name is what lists show; an ID is the image's own.
    let by_name = image.names.iter().any(|known| tag::name(name).is_ok_and(|name| name == *known));
    let image_name = if by_name { name.clone() } else { image.id().to_string() };
    Ok(RunRequest { image: image_name, platform: image.record.platform.clone(), spec })
}
