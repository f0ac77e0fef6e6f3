//! Steps ready to be executed: instructions with every variable expanded and every word typed.
//!
//! Steps know nothing of files: the build looks up wildcards, users and archives.

use super::{Base, Chmod, Device, Healthcheck, InlineFile, MountRequest, Network, Security};

/// A step, ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// ADD
    Add(AddStep),
    /// ARG: each name with the value that it has from here on.
    Arg(Vec<(String, Option<String>)>),
    /// CMD: the image config's `Cmd`, shell included.
    Cmd(Vec<String>),
    /// COPY
    Copy(CopyStep),
    /// ENTRYPOINT: the image config's `Entrypoint`, shell included. An inherited `Cmd` is dropped
    /// unless this stage has set it.
    Entrypoint(Vec<String>),
    /// ENV, in order.
    Env(Vec<(String, String)>),
    /// EXPOSE, in order, ranges spelled out.
    Expose(Vec<Port>),
    /// HEALTHCHECK
    Healthcheck(Healthcheck),
    /// LABEL, in order.
    Label(Vec<(String, String)>),
    /// MAINTAINER: the image config's `author`.
    Maintainer(String),
    /// ONBUILD: one more trigger of the image config's `OnBuild`.
    Onbuild(String),
    /// RUN
    Run(RunStep),
    /// SHELL
    Shell(Vec<String>),
    /// STOPSIGNAL
    StopSignal(String),
    /// USER
    User(String),
    /// VOLUME
    Volume(Vec<String>),
    /// WORKDIR: absolute. One that is written so stays as written, as in BuildKit: it may have `..`
    /// or a slash at its end.
    Workdir(String),
}

/// A port of EXPOSE; `Display` gives the key of the image config's `ExposedPorts`, such as
/// `8080/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// tcp unless written otherwise.
    pub protocol: Protocol,
}

/// The protocol of a [`Port`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
    /// `sctp`
    Sctp,
}

/// A RUN, ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStep {
    /// The program with its arguments, the shell included.
    pub argv: Vec<String>,
    /// A script that must be at `/dev/pipes/NAME`, mode 755, read-only, while `argv` runs.
    pub script: Option<InlineFile>,
    /// ENV and ARG as the command sees them, each name once.
    pub env: Vec<(String, String)>,
    /// Proxy variables to add to `env`: not for history, not for the image, not for a cache key.
    pub proxies: Vec<(String, String)>,
    /// ARGs with their values, only for the history.
    pub history_args: Vec<(String, String)>,
    /// File-system mounts, in order.
    pub mounts: Vec<MountRequest>,
    /// The build argument `BUILDKIT_SANDBOX_HOSTNAME`, if given: the machine's name inside RUN.
    pub hostname: Option<String>,
    /// `--network`
    pub network: Network,
    /// `--security`
    pub security: Security,
    /// The values of `--device`
    pub devices: Vec<Device>,
}

/// Where COPY and ADD put things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// As written, variables expanded: for history.
    pub written: String,
    /// Absolute, without `.`, `..` and double slashes, with a slash at the end where it must be a
    /// folder.
    pub path: String,
}

impl Destination {
    /// Whether it must be a folder: sources keep their names in it.
    pub fn is_folder(&self) -> bool {
        self.path.ends_with('/')
    }
}

/// A COPY, ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStep {
    /// Paths and patterns, relative to the root of `from` or of the build context.
    pub sources: Vec<String>,
    /// Files whose content is in the Dockerfile, expanded; they come after the sources.
    pub inline_files: Vec<InlineFile>,
    /// Where to.
    pub destination: Destination,
    /// A stage or an image; `None` is the build context.
    pub from: Option<Base>,
    /// `--chown` as `user[:group]`, names or numbers.
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<Chmod>,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// The values of `--exclude`
    pub exclude: Vec<String>,
}

/// An ADD, ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddStep {
    /// Sources, in order.
    pub sources: Vec<AddSource>,
    /// Files whose content is in the Dockerfile, expanded; they come after the sources.
    pub inline_files: Vec<InlineFile>,
    /// Where to.
    pub destination: Destination,
    /// `--chown` as `user[:group]`, names or numbers.
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<Chmod>,
    /// `--link`
    pub link: bool,
    /// The values of `--exclude`
    pub exclude: Vec<String>,
    /// `--checksum`: only ever with one URL or git source.
    pub checksum: Option<String>,
    /// `--keep-git-dir`
    pub keep_git_dir: bool,
    /// `--unpack`: `None` means local archives are unpacked and remote ones are not.
    pub unpack: Option<bool>,
}

/// A source of ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddSource {
    /// A path or pattern in the build context.
    Path(String),
    /// An `http://` or `https://` address.
    Url {
        /// The address.
        url: String,
        /// The last part of its path, or `__unnamed__`.
        file_name: String,
    },
    /// A git repository: `git@host:…`, `git://…`, `ssh://…`, or an http(s) address whose path ends
    /// with `.git`.
    Git(String),
}
