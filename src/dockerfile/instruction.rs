//! The instructions of a stage as written: typed, variables not yet expanded.
//!
//! FROM is not among them: it starts a [`Stage`](super::Stage).

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD [flags] source… destination`
    Add(AddInstruction),
    /// `ARG name[=default]…`
    Arg(Vec<ArgDeclaration>),
    /// `CMD command`
    Cmd(CommandLine),
    /// `COPY [flags] source… destination`
    Copy(CopyInstruction),
    /// `ENTRYPOINT command`
    Entrypoint(CommandLine),
    /// `ENV key=value…`
    Env(Vec<KeyValue>),
    /// `EXPOSE port…`
    Expose(Vec<String>),
    /// `HEALTHCHECK NONE` or `HEALTHCHECK [flags] CMD command`
    Healthcheck(Healthcheck),
    /// `LABEL key=value…`
    Label(Vec<KeyValue>),
    /// `MAINTAINER name`
    Maintainer(String),
    /// `ONBUILD instruction`: the trigger's text, heredocs included, checked to be an instruction.
    Onbuild(String),
    /// `RUN [flags] command`
    Run(RunInstruction),
    /// `SHELL ["program", "argument"…]`
    Shell(Vec<String>),
    /// `STOPSIGNAL signal`
    StopSignal(String),
    /// `USER user[:group]`
    User(String),
    /// `VOLUME path…`
    Volume(Vec<String>),
    /// `WORKDIR path`
    Workdir(String),
}

impl Instruction {
    /// The instruction's name in upper case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// Shell form: one string for the shell.
    Shell(String),
    /// Exec form: a JSON array, run as it is.
    Exec(Vec<String>),
}

/// A key with its value, as ENV and LABEL have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Left of `=`.
    pub key: String,
    /// Right of `=`.
    pub value: String,
}

/// One name of an ARG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name.
    pub name: String,
    /// What it is without `--build-arg`; `None` is not the same as empty.
    pub default: Option<String>,
}

/// A file whose content is in the Dockerfile (a heredoc source of COPY and ADD).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// The heredoc's word, which is the file's name where the destination is a folder.
    pub name: String,
    /// The content, without leading tabs with `<<-`. It need not be UTF-8.
    pub content: Vec<u8>,
    /// Whether variables in the content are expanded: the heredoc's word has no quotes.
    pub expand: bool,
}

/// COPY as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyInstruction {
    /// Paths and patterns, in order.
    pub sources: Vec<String>,
    /// Heredocs, in order; they come after all paths, as BuildKit has it.
    pub inline_files: Vec<InlineFile>,
    /// The last argument.
    pub destination: String,
    /// `--from`: a stage's name or number, or an image. Never has variables.
    pub from: Option<String>,
    /// `--chown`
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<String>,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// The values of `--exclude`
    pub exclude: Vec<String>,
}

/// ADD as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddInstruction {
    /// Paths, patterns, URLs and git repositories, in order.
    pub sources: Vec<String>,
    /// Heredocs, in order; they come after all other sources, as BuildKit has it.
    pub inline_files: Vec<InlineFile>,
    /// The last argument.
    pub destination: String,
    /// `--chown`
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<String>,
    /// `--link`
    pub link: bool,
    /// The values of `--exclude`
    pub exclude: Vec<String>,
    /// `--checksum`
    pub checksum: Option<String>,
    /// `--keep-git-dir`
    pub keep_git_dir: bool,
    /// `--unpack`: `None` means local archives are unpacked and remote ones are not.
    pub unpack: Option<bool>,
}

/// RUN as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInstruction {
    /// What is run.
    pub form: RunForm,
    /// The values of `--mount`, as written.
    pub mounts: Vec<String>,
    /// `--network`
    pub network: Network,
    /// `--security`
    pub security: Security,
    /// The values of `--device`
    pub devices: Vec<Device>,
}

/// What a RUN runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunForm {
    /// A text for the shell. A lone heredoc is its content; with more on the line, the line and the
    /// heredocs as a shell reads them.
    Shell(String),
    /// A program with its arguments.
    Exec(Vec<String>),
    /// A lone heredoc that starts with `#!`: a file of mode 755 at `/dev/pipes/NAME`, started
    /// through the shell.
    Script {
        /// The heredoc's word.
        name: String,
        /// The file's content, which need not be UTF-8.
        content: Vec<u8>,
    },
}

/// `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// The build's own.
    #[default]
    Default,
    /// None but loopback.
    None,
    /// The host's.
    Host,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// Confined.
    #[default]
    Sandbox,
    /// With all privileges.
    Insecure,
}

/// `RUN --device`: a CDI device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name, such as `vendor.com/device=name`.
    pub name: String,
    /// Whether the step fails without it.
    pub required: bool,
}

/// HEALTHCHECK: the image config's `Healthcheck`. Durations are nanoseconds; 0 is "inherit or
/// default".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    pub test: Vec<String>,
    /// `--interval`
    pub interval: i64,
    /// `--timeout`
    pub timeout: i64,
    /// `--start-period`
    pub start_period: i64,
    /// `--start-interval`
    pub start_interval: i64,
    /// `--retries`
    pub retries: i32,
}
