//! `docker start`, `stop`, `kill`, `restart`, `wait`, `rm`, `rename`, `port` and `top`.

use std::time::Duration;

use super::command::{Arguments, Command};
use super::container_id::{find, is_running};
use super::invocation::{CommandResult, Failure, Invocation};
use crate::cli::command::attached;
use crate::cli::drop_in::{Flag, Parsed};
use crate::container::{Container, ContainerState, parse_signal};
use crate::error::{Error, ErrorKind};
use crate::operation::{StopRequest, blocking};

const CONTAINERS: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

pub(super) const START: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[
        Flag::switch("attach", "Attach STDOUT/STDERR and forward signals").short('a'),
        Flag::value("detach-keys", "Override the key sequence for detaching")
            .ignored("a container in the foreground ends with this command"),
        Flag::switch("interactive", "Attach container's STDIN").short('i').refused("use `docker run -i`"),
    ]],
    differs: "starts what `docker create` has made, once",
    ..Command::new(&["start", "container start"], CONTAINERS, "Start one or more stopped containers", |invocation, parsed| {
        Box::pin(start(invocation, parsed))
    })
};

pub(super) const STOP: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[
        Flag::value("signal", "Signal to send to the container").short('s').ignored("the image's STOPSIGNAL is sent"),
        Flag::value("time", "Seconds to wait before killing the container").short('t'),
        Flag::value("timeout", "Seconds to wait before killing the container"),
    ]],
    ..Command::new(&["stop", "container stop"], CONTAINERS, "Stop one or more running containers", |invocation, parsed| {
        Box::pin(stop(invocation, parsed))
    })
};

pub(super) const KILL: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[Flag::value("signal", "Signal to send to the container").short('s')]],
    ..Command::new(&["kill", "container kill"], CONTAINERS, "Kill one or more running containers", |invocation, parsed| {
        Box::pin(kill(invocation, parsed))
    })
};

pub(super) const WAIT: Command = Command {
    arguments: Arguments::AtLeast(1),
    ..Command::new(
        &["wait", "container wait"],
        "CONTAINER [CONTAINER...]",
        "Block until one or more containers stop, then print their exit codes",
        |invocation, parsed| Box::pin(wait(invocation, parsed)),
    )
};

pub(super) const RM: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[
        Flag::switch("force", "Force the removal of a running container").short('f'),
        Flag::switch("link", "Remove the specified link").short('l').refused("there are no links between containers"),
        Flag::switch("volumes", "Remove anonymous volumes").short('v').differs("there are none"),
    ]],
    ..Command::new(
        &["rm", "container rm", "container remove"],
        CONTAINERS,
        "Remove one or more containers",
        |invocation, parsed| Box::pin(rm(invocation, parsed)),
    )
};

pub(super) const PORT: Command = Command {
    arguments: Arguments::AtLeast(1),
    ..Command::new(
        &["port", "container port"],
        "CONTAINER [PRIVATE_PORT[/PROTO]]",
        "List port mappings or a specific mapping for the container",
        |invocation, parsed| Box::pin(async move { port(invocation, parsed) }),
    )
};

pub(super) const TOP: Command = Command {
    arguments: Arguments::AtLeast(1),
    options_first: true,
    differs: "options of ps are left out",
    ..Command::new(
        &["top", "container top"],
        "CONTAINER [ps OPTIONS]",
        "Display the running processes of a container",
        |invocation, parsed| Box::pin(async move { top(invocation, parsed) }),
    )
};

/// Does the same with each container, and prints its name where that worked. A wrong name keeps no
/// other from its turn.
async fn each(
    invocation: &Invocation,
    names: &[String],
    work: impl AsyncFn(&str) -> Result<Option<String>, Failure>,
) -> CommandResult {
    let mut code = 0;
    for name in names {
        match work(name).await {
            Ok(Some(line)) => invocation.print(line + "\n")?,
            Ok(None) => {}
            Err(failure) => {
                invocation.fail(&failure);
                code = 1;
            }
        }
    }
    Ok(code)
}

async fn start(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    if parsed.is("attach") {
        let [name] = parsed.arguments.as_slice() else {
            return Err(Failure::new("you cannot start and attach multiple containers at once"));
        };
        let container = find(invocation, name)?;
        let spec = container.info()?.spec;
        let started = invocation.mpimg().attach_container(container.id()).await?;
        return Ok(attached(invocation.terminal(), started, &spec).await?);
    }
    each(invocation, &parsed.arguments, async |name| {
        let container = find(invocation, name)?;
        if is_running(&container.info()?) {
            return Ok(Some(name.to_owned()));
        }
        let started = invocation.mpimg().start_container(container.id()).await?;
        started.notes.iter().for_each(|note| invocation.tell(format!("note: {note}")));
        Ok(Some(name.to_owned()))
    })
    .await
}

async fn stop(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let seconds = parsed.value("time").or(parsed.value("timeout"));
    let seconds = match seconds.map(str::parse::<i64>) {
        None => 10,
        // Without end, as docker says it.
        Some(Ok(-1)) => u64::from(u32::MAX),
        Some(Ok(seconds)) => u64::try_from(seconds).unwrap_or(0),
        Some(Err(_)) => {
            let text = format!("invalid argument {:?} for \"-t, --timeout\" flag", seconds.unwrap_or_default());
            return Err(Failure::new(text).with_code(125));
        }
    };
    each(invocation, &parsed.arguments, async |name| {
        let container = find(invocation, name)?;
        let mut request = StopRequest::new(vec![container.id().to_owned()]);
        request.grace = Duration::from_secs(seconds);
        match invocation.mpimg().stop(request).await?.errors.pop() {
            Some(error) => Err(error.into()),
            None => Ok(Some(name.to_owned())),
        }
    })
    .await
}

async fn kill(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let signal = parsed.value("signal").map(parse_signal).transpose()?;
    each(invocation, &parsed.arguments, async |name| {
        let container = find(invocation, name)?;
        if !is_running(&container.info()?) {
            return Err(Failure::daemon(format!("Cannot kill container: {name}: Container {} is not running", container.id())));
        }
        let kill = move || match signal {
            None | Some(9) => container.kill(),
            Some(number) => container.signal(number),
        };
        blocking(kill).await?;
        Ok(Some(name.to_owned()))
    })
    .await
}

async fn wait(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    invocation.terminal().handle_signals();
    each(invocation, &parsed.arguments, async |name| {
        let container = find(invocation, name)?;
        let cancel = invocation.mpimg().cancellation().clone();
        let outcome = blocking(move || container.wait(&cancel)).await?;
        Ok(Some(outcome.status().to_string()))
    })
    .await
}

async fn rm(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let force = parsed.is("force");
    each(invocation, &parsed.arguments, async |name| {
        let container = match find(invocation, name) {
            Ok(container) => container,
            // Docker says so, and goes on.
            Err(failure) if force && failure.is_of_docker() => {
                invocation.tell(failure.text());
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        if !force && is_running(&container.info()?) {
            let text = format!(
                "cannot remove container {name:?}: container is running: stop the container before removing or force remove"
            );
            return Err(Failure::daemon(text));
        }
        blocking(move || container.remove()).await?;
        Ok(Some(name.to_owned()))
    })
    .await
}

/// The container, which must run.
fn running(invocation: &Invocation, name: &str) -> Result<Container, Failure> {
    let container = find(invocation, name)?;
    match container.info()?.state {
        ContainerState::Running | ContainerState::Starting => Ok(container),
        _ => Err(Failure::daemon(format!("container {} is not running", container.id()))),
    }
}

fn port(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let name = &parsed.arguments[0];
    let info = find(invocation, name)?.info()?;
    let wanted = parsed.arguments.get(1).map(|port| port.trim_end_matches("/tcp").to_owned());
    let mut text = String::new();
    for port in info.ports.iter().filter(|_| is_running(&info)) {
        let ip = port.ip.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
        let here = if ip.contains(':') { format!("[{ip}]:{}", port.host) } else { format!("{ip}:{}", port.host) };
        match &wanted {
            None => text += &format!("{}/tcp -> {here}\n", port.container),
            Some(wanted) if *wanted == port.container.to_string() => text += &format!("{here}\n"),
            Some(_) => {}
        }
    }
    if let (Some(wanted), true) = (&parsed.arguments.get(1), text.is_empty()) {
        let protocol = if wanted.contains('/') { "" } else { "/tcp" };
        return Err(Failure::new(format!("no public port '{wanted}{protocol}' published for {name}")));
    }
    invocation.print(text)?;
    Ok(0)
}

fn top(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let container = running(invocation, &parsed.arguments[0])?;
    let mut lines = vec!["UID\tPID\tPPID\tCMD".to_owned()];
    for pid in container.processes()? {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let command = read("cmdline").replace('\0', " ");
        let status = read("status");
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            value.split_whitespace().next().unwrap_or_default().to_owned()
        };
        lines.push(format!("{}\t{pid}\t{}\t{}", field("Uid:"), field("PPid:"), command.trim_end()));
    }
    invocation.print(super::format::tabulate(&lines))?;
    Ok(0)
}

pub(super) const RESTART: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[
        Flag::value("signal", "Signal to send to the container").short('s'),
        Flag::value("time", "Seconds to wait before killing the container").short('t').checked(super::value::INTEGER),
        Flag::value("timeout", "Seconds to wait before killing the container").checked(super::value::INTEGER),
    ]],
    differs: "refused: an ended container is not started again",
    ..Command::new(&["restart", "container restart"], CONTAINERS, "Restart one or more containers", |_, parsed| {
        Box::pin(async move { Err(never_again(&parsed.arguments[0])) })
    })
};

fn never_again(name: &str) -> Failure {
    Error::new(
        ErrorKind::Unsupported,
        format!("container `{name}` cannot be started again: its process and its network are gone"),
    )
    .with_hint("`docker rm -f` it, and start a new one with `docker run`")
    .into()
}
