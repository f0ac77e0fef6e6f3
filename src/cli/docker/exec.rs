//! `docker exec`.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use tokio::signal::unix::{SignalKind, signal};

use super::command::{Arguments, Command};
use super::container_id::{find, is_running};
use super::invocation::{CommandResult, Failure, Invocation};
use crate::cli::command::read_env_file;
use crate::cli::drop_in::{Flag, Parsed};
use crate::cli::flags::Pair;
use crate::container::{Container, ExecSpec, own_streams};
use crate::error::{Error, ErrorKind};
use crate::operation::blocking;
use crate::sandbox::Exit;

/// The exit code of a command that could not be started.
const COMMAND_NOT_STARTED: u8 = 126;

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::AtLeast(2),
    options_first: true,
    flags: &[&[
        Flag::switch("detach", "Detached mode: run command in the background").short('d'),
        Flag::value("detach-keys", "Override the key sequence for detaching").ignored("the command ends with docker"),
        Flag::list("env", "Set environment variables").short('e').checked(super::value::VARIABLE),
        Flag::list("env-file", "Read in a file of environment variables"),
        Flag::switch("interactive", "Keep STDIN open even if not attached").short('i'),
        Flag::switch("privileged", "Give extended privileges to the command")
            .ignored("a container has the rights that its isolation gives"),
        Flag::switch("tty", "Allocate a pseudo-TTY").short('t').differs("the command gets this terminal"),
        Flag::value("user", "Username or UID").short('u'),
        Flag::value("workdir", "Working directory inside the container").short('w'),
    ]],
    differs: "not in a container with isolation single or emulated",
    ..Command::new(
        &["exec", "container exec"],
        "[OPTIONS] CONTAINER COMMAND [ARG...]",
        "Execute a command in a running container",
        |invocation, parsed| Box::pin(run(invocation, parsed)),
    )
};

/// Starts it in a process of its own, which waits for it as nobody else does.
fn in_background(invocation: &Invocation, parsed: &Parsed, container: &Container) -> CommandResult {
    container.expect_enterable()?;
    let mut words: Vec<String> = Vec::new();
    if let Some(folder) = invocation.config_folder_given() {
        words.extend(["--config".into(), folder.display().to_string()]);
    }
    words.push("exec".into());
    for (flag, values) in [("--env", parsed.list("env")), ("--env-file", parsed.list("env-file"))] {
        words.extend(values.into_iter().map(|value| format!("{flag}={value}")));
    }
    for flag in ["user", "workdir"] {
        words.extend(parsed.value(flag).map(|value| format!("--{flag}={value}")));
    }
    words.extend(["--".into(), container.id().to_owned()]);
    words.extend(parsed.arguments[1..].iter().cloned());
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg0("docker").args(words).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = command.spawn();
    started.map(drop).map_err(|error| Error::io("start", "docker exec", error))?;
    Ok(0)
}

async fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let container = find(invocation, &parsed.arguments[0])?;
    if !is_running(&container.info()?) {
        return Err(Failure::daemon(format!("container {} is not running", super::container_id::long_id(container.id()))));
    }
    if parsed.is("detach") {
        return in_background(invocation, parsed, &container);
    }
    super::run::expect_terminal(parsed)?;
    let mut env = Vec::new();
    for path in parsed.list("env-file") {
        env.extend(read_env_file(path.as_ref())?);
    }
    let pairs = parsed.list("env").into_iter().map(str::parse).collect::<Result<Vec<Pair>, Error>>()?;
    env.extend(Pair::environment(pairs, |name| std::env::var(name).ok()));
    let spec = ExecSpec {
        command: parsed.arguments[1..].to_vec(),
        env,
        user: parsed.value("user").map(str::to_owned),
        workdir: parsed.value("workdir").map(str::to_owned),
    };
    let streams = own_streams(parsed.is("interactive"))?;
    let running = invocation.mpimg().exec(container.id(), spec, streams).await?;
    for (number, kind) in [(1, SignalKind::hangup()), (2, SignalKind::interrupt()), (15, SignalKind::terminate())] {
        let mut signals = signal(kind).map_err(|error| Error::new(ErrorKind::Io, "cannot receive signals").with_source(error))?;
        let remote = running.remote();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                remote.signal(number);
            }
        });
    }
    let exit =
        blocking(move || running.wait(&mut |_| {})).await.map_err(|error| Failure::from(error).with_code(COMMAND_NOT_STARTED))?;
    Ok(match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128_u8.saturating_add(signal),
    })
}
