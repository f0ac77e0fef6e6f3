//! `mpimg run`: a local image's command, in the foreground or the background.
//!
//! Images are not pulled implicitly: an image in a registry is named `docker://NAME`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::flags::{ConnectionFlags, HostFlag, Pair, explained, parsed};
use crate::cli::image;
use crate::cli::size::Size;
use crate::cli::terminal::{Answer, Terminal};
use crate::container::{
    Attached, AttachedControl, ContainerSpec, MountFlag, NetworkMode, Outcome, PortMapping, Stream, Volume, parse_memory,
};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Platform;
use crate::operation::{AsProduct, Mpimg, RunRequest, Started, blocking};
use crate::sandbox::{IsolationMode, Ulimit};

/// What docker ends with when a container could not be started: the command's own status may be
/// anything else.
pub(crate) const NOT_STARTED: u8 = 125;

/// How often Ctrl-C or SIGTERM are passed on before everything is killed.
const PATIENCE: u32 = 2;

const EXAMPLES: &str = "\
The exit code is the container's: 126 or 127 if its program could not be started, 128 plus the signal's number if it was \
killed, 125 if mpimg failed. What a container writes outside of volumes is discarded when it ends.

In the foreground nothing is left of it; with -d, log and status stay until `mpimg stop --rm`. Ctrl-C, SIGTERM and \
others are passed on; the third Ctrl-C kills.

Examples:
  mpimg run my-adapter:1.0.0                      Try an adapter
  mpimg run -d -p 8080:8080 --memory 1g my-adapter
  mpimg run -v ./logs:/var/log -e LEVEL=debug my-adapter
  mpimg run -it --entrypoint sh my-adapter        A shell in the image";

/// Run a command in a container of a local image
#[derive(Debug, Args)]
#[command(override_usage = "mpimg run [OPTIONS] IMAGE [CMD]...", after_help = format!("{}\n  sha256:DIGEST                  an image of the local store\n\n{EXAMPLES}", image::FORMS))]
pub(crate) struct Run {
    /// The image, and a command in place of its default arguments; everything after the image
    /// belongs to the command, even `-v`
    // One list of both: clap would take for its own what follows an image and looks like a flag.
    #[arg(value_name = "IMAGE [CMD]", required = true, trailing_var_arg = true)]
    image: Vec<String>,

    /// Run in the background; prints the container's ID
    #[arg(short, long, conflicts_with = "interactive")]
    detach: bool,

    /// Forward standard input
    #[arg(short, long)]
    interactive: bool,

    /// Give the container a terminal
    #[arg(short, long)]
    tty: bool,

    /// Remove the container with its log and status when it ends (always so in the foreground)
    #[arg(long)]
    rm: bool,

    /// Name the container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Run this program in place of the image's entrypoint and default arguments
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,

    /// Set a variable; without a value it comes from the environment
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = parsed::<Pair>)]
    env: Vec<Pair>,

    /// Set the variables of this file: KEY=VALUE a line, `#` begins a comment
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,

    /// The user: NAME or UID, optionally with :GROUP or :GID
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,

    /// The working directory; made where it is missing
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,

    /// The host name inside [default: the ID]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,

    /// Mount a folder or file of this machine: HOST:CONTAINER[:ro]; a missing folder is made
    #[arg(short, long, value_name = "VOLUME", value_parser = parsed::<Volume>)]
    volume: Vec<Volume>,

    /// Mount a file system in memory: type=tmpfs,target=/PATH[,tmpfs-size=64m][,tmpfs-mode=1777];
    /// or what -v does: type=bind,source=/PATH,target=/PATH[,readonly]
    #[arg(long, value_name = "MOUNT", value_parser = parsed::<MountFlag>)]
    mount: Vec<MountFlag>,

    /// Publish a port of the container on this machine: [[IP:]HOST:]CONTAINER; without HOST on a
    /// free port, without IP on all addresses
    #[arg(short, long, value_name = "PORT", value_parser = parsed::<PortMapping>)]
    publish: Vec<PortMapping>,

    /// How much memory all its processes together may have: 512m, 2g
    #[arg(short, long, value_name = "SIZE", value_parser = |text: &str| parse_memory(text).map_err(|error| explained(&error)))]
    memory: Option<u64>,

    /// Limit a resource of each of its processes: nofile=1024:2048, nproc=100, …; -1 is no limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = parsed::<Ulimit>)]
    ulimit: Vec<Ulimit>,

    /// The size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE", value_parser = |text: &str| parse_memory(text).map_err(|error| explained(&error)))]
    shm_size: Option<u64>,

    /// Add a line to /etc/hosts: NAME:ADDRESS
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = parsed::<HostFlag>)]
    add_host: Vec<HostFlag>,

    /// A label: `ps --json` shows it
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parsed::<Pair>)]
    label: Vec<Pair>,

    /// Its network: auto, host (this machine's), private (its own) or none (its own, no way out)
    ///
    /// `auto` is this machine's network, unless a published port has to be moved. A network of its
    /// own reaches other machines by TCP and UDP where /dev/net/tun can be opened; the start says
    /// which one it got.
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "auto", value_parser = parsed::<NetworkMode>)]
    network: NetworkMode,

    /// How it is isolated: auto, root, userns, single, chroot or emulated
    ///
    /// `auto` uses the best that this machine provides; `mpimg doctor` shows which and why.
    /// `chroot` and `emulated` are not security boundaries.
    #[arg(long, value_name = "KIND", default_value = "auto", value_parser = parsed::<IsolationMode>)]
    isolation: IsolationMode,

    /// Stop and remove the container when process PID ends, for any reason
    #[arg(long, value_name = "PID")]
    end_with: Option<u32>,

    /// The platform, if the image has several [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    platform: Option<Platform>,

    /// Run it as VMware Aria Operations runs an adapter: HTTPS on port 443 with a certificate made
    /// for this, a network of its own, 1 GiB of memory and 512 MiB of swap, a folder as /var/log
    ///
    /// Port 443 is on a free port of 127.0.0.1 unless -p says where; --memory and -v …:/var/log
    /// override these. `mpimg check --as-product` also asks the adapter what the product asks.
    #[arg(long, conflicts_with_all = ["detach", "network"])]
    as_product: bool,

    /// Docker's way to a process 1 that reaps: here there always is one
    #[arg(id = "init", long = "init", hide = true)]
    _init: bool,

    /// Say more
    // Here `-v` is docker's: the global flag of the same name gives way.
    #[arg(id = "verbose", long = "verbose", action = clap::ArgAction::Count, hide = true)]
    _verbose: u8,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Run {
    pub(super) async fn run(self: Box<Self>, terminal: &Terminal) -> Result<()> {
        terminal.set_failed_code(NOT_STARTED);
        if terminal.wants_json() && !self.detach {
            return Err(Error::new(ErrorKind::Usage, "in the foreground standard output is the command's, and cannot be JSON")
                .with_hint("add -d, or leave out --json"));
        }
        let given = self.as_product.then(AsProduct::new).transpose()?;
        let spec = self.spec()?;
        let spec = given.iter().fold(spec, |spec, given| given.apply(spec));
        let mpimg = self.connection.mpimg(terminal, None);
        let platform = self.platform.unwrap_or_else(Platform::host);
        let request = RunRequest { image: self.image[0].clone(), platform, spec: spec.clone() };
        match self.detach {
            true => in_background(terminal, &mpimg, request).await,
            false => {
                let started = mpimg.attach(request).await?;
                if let Some(given) = &given {
                    say_where(terminal, &mpimg, given, &started)?;
                }
                terminal.set_done_code(attached(terminal, started, &spec).await?);
                Ok(())
            }
        }
    }

    fn spec(&self) -> Result<ContainerSpec> {
        let mut env = Vec::new();
        for path in &self.env_file {
            env.extend(read_env_file(path)?);
        }
        env.extend(Pair::environment(self.env.clone(), |name| std::env::var(name).ok()));
        let (mut volumes, mut tmpfs) = (self.volume.clone(), Vec::new());
        for mount in self.mount.clone() {
            match mount {
                MountFlag::Tmpfs(mount) => tmpfs.push(mount),
                MountFlag::Bind(volume) if volume.source.exists() => volumes.push(volume),
                // As docker: only -v makes it.
                MountFlag::Bind(Volume { source, .. }) => {
                    return Err(Error::new(ErrorKind::Usage, format!("there is no `{}` to mount", source.display()))
                        .with_hint("make the folder, or use -v, which makes it"));
                }
            }
        }
        Ok(ContainerSpec {
            name: self.name.clone(),
            entrypoint: self.entrypoint.clone().map(|program| if program.is_empty() { Vec::new() } else { vec![program] }),
            command: self.image[1..].to_vec(),
            env,
            without_env: Vec::new(),
            user: self.user.clone(),
            workdir: self.workdir.clone(),
            hostname: self.hostname.clone(),
            volumes,
            tmpfs,
            ports: self.publish.clone(),
            memory: self.memory,
            swap: None,
            ulimits: self.ulimit.clone(),
            shm_size: self.shm_size,
            extra_hosts: self.add_host.iter().cloned().map(HostFlag::into_pair).collect(),
            labels: Pair::labels(self.label.clone()),
            network: self.network,
            isolation: self.isolation,
            interactive: self.interactive,
            terminal: self.tty,
            remove: self.rm || !self.detach,
            keep_changes: false,
            end_with: self.end_with,
        })
    }
}

/// Docker's format: no quotes, no expansion; a name without `=` comes from the environment.
pub(in crate::cli) fn read_env_file(path: &Path) -> Result<Vec<(String, String)>> {
    let file = File::open(path).map_err(|error| Error::io("read", path, error))?;
    let mut pairs = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| Error::io("read", path, error))?;
        let line = line.trim_start();
        if !line.is_empty() && !line.starts_with('#') {
            let cannot = |error: Error| error.wrap(format!("cannot read `{}`", path.display()));
            // As docker: what was meant as a comment, or for a shell (`export A=1`), is not a name.
            let name = line.split('=').next().unwrap_or_default();
            if name.contains(char::is_whitespace) {
                return Err(cannot(
                    Error::new(ErrorKind::Usage, format!("the name `{name}` has spaces"))
                        .with_hint("write KEY=VALUE, one a line, without `export` and without quotes"),
                ));
            }
            pairs.push(line.parse::<Pair>().map_err(cannot)?);
        }
    }
    Ok(Pair::environment(pairs, |name| std::env::var(name).ok()))
}

async fn in_background(terminal: &Terminal, mpimg: &Mpimg, request: RunRequest) -> Result<()> {
    let Started { container, notes } = mpimg.run(request).await?;
    notes.iter().for_each(|note| terminal.say(note));
    let id = container.id();
    // It may have ended and been forgotten already.
    let json = container.info().map_or_else(|_| json!({ "id": id }), |info| super::ps::json(&info));
    terminal.answer(&Answer { text: format!("{id}\n"), quiet: format!("{id}\n"), json })
}

/// Says how the adapter is asked.
fn say_where(terminal: &Terminal, mpimg: &Mpimg, given: &AsProduct, started: &Started<Attached>) -> Result<()> {
    let info = mpimg.container(started.container.id())?.info()?;
    if let Some(port) = AsProduct::port(&info) {
        let certificate = given.certificate();
        terminal
            .say(&format!("the adapter's port 443: curl --cacert {} https://localhost:{port}/apiVersion", certificate.display()));
    }
    Ok(())
}

/// Passes on what a container that was started in the foreground writes and gets, until its command
/// ends; its exit status.
pub(in crate::cli) async fn attached(terminal: &Terminal, started: Started<Attached>, spec: &ContainerSpec) -> Result<u8> {
    let (interactive, memory) = (spec.interactive, spec.memory);
    let on_terminal = spec.terminal && std::io::stdin().is_terminal();
    let Started { container: attached, notes } = started;
    notes.iter().for_each(|note| terminal.say(note));
    pass_signals(&attached.control())?;
    if on_terminal {
        pass_size(&attached.control())?;
    }
    // Where no key goes to the container, Ctrl-C has to remain this terminal's.
    let restore = (on_terminal && interactive).then(raw_terminal).transpose()?;
    if interactive {
        pass_input(attached.control());
    }
    let outcome = blocking(move || attached.wait(&mut write)).await;
    drop(restore);
    let outcome: Outcome = outcome?;
    if outcome.out_of_memory {
        let limit = memory.map(|bytes| format!(" of {}", Size(bytes))).unwrap_or_default();
        terminal.warn(&format!("the container has reached its memory limit{limit}"), Some("give it more with --memory"));
    }
    Ok(outcome.status())
}

/// A reader that has gone ends the container, as it would end the command without one.
fn write(stream: Stream, bytes: &[u8]) -> Result<()> {
    let written = match stream {
        Stream::Out => {
            let mut output = std::io::stdout().lock();
            output.write_all(bytes).and_then(|()| output.flush())
        }
        Stream::Error => std::io::stderr().lock().write_all(bytes),
    };
    written.map_err(|error| Error::new(ErrorKind::Io, "cannot pass on what the command writes").with_source(error))
}

fn pass_signals(control: &AttachedControl) -> Result<()> {
    let cannot = |error| Error::new(ErrorKind::Io, "cannot receive signals").with_source(error);
    for (number, kind) in [
        (1, SignalKind::hangup()),
        (2, SignalKind::interrupt()),
        (3, SignalKind::quit()),
        (10, SignalKind::user_defined1()),
        (12, SignalKind::user_defined2()),
        (15, SignalKind::terminate()),
    ] {
        let mut signals = signal(kind).map_err(cannot)?;
        let control = control.clone();
        tokio::spawn(async move {
            let mut came = 0;
            while signals.recv().await.is_some() {
                came += 1;
                match matches!(number, 2 | 15) && came > PATIENCE {
                    true => control.kill(),
                    false => control.signal(number),
                }
            }
        });
    }
    Ok(())
}

/// Standard input may wait for ever: its thread is left alone at the end.
fn pass_input(control: AttachedControl) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        let mut input = std::io::stdin().lock();
        while let Ok(read) = input.read(&mut buffer) {
            if read == 0 {
                break;
            }
            control.input(&buffer[..read]);
        }
        control.end_input();
    });
}

/// The terminal as it was.
struct Restore(rustix::termios::Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}

fn cannot_prepare(error: impl Into<std::io::Error>) -> Error {
    Error::new(ErrorKind::Io, "cannot prepare the terminal").with_source(error.into())
}

/// Every key goes to the container's terminal, which does with it what terminals do.
fn raw_terminal() -> Result<Restore> {
    let stdin = rustix::stdio::stdin();
    let before = rustix::termios::tcgetattr(stdin).map_err(cannot_prepare)?;
    let restore = Restore(before.clone());
    let mut raw = before;
    raw.make_raw();
    rustix::termios::tcsetattr(stdin, rustix::termios::OptionalActions::Now, &raw).map_err(cannot_prepare)?;
    Ok(restore)
}

/// The size of the container's terminal follows this one's.
fn pass_size(control: &AttachedControl) -> Result<()> {
    let resize = |control: &AttachedControl| {
        if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
            control.resize(size.ws_row, size.ws_col);
        }
    };
    resize(control);
    let mut changes = signal(SignalKind::window_change()).map_err(cannot_prepare)?;
    let control = control.clone();
    tokio::spawn(async move {
        while changes.recv().await.is_some() {
            resize(&control);
        }
    });
    Ok(())
}
