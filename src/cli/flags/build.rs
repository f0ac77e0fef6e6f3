//! What `build` and `push` have in common: how an image is built.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::secret::{SecretFlag, SshFlag};
use super::{CacheFlags, Pair, RunFlags, parsed};
use crate::build::{BuildRequest, NamedContext, RunMount, RunSettings, SdkBase};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Format;
use crate::layer::Codec;
use crate::oci::Platform;
use crate::operation::Settings;
use crate::sandbox::{IsolationMode, SecretBytes};

/// How an image is built.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Build options")]
pub(crate) struct BuildFlags {
    /// The Dockerfile; - reads it from standard input [default: PATH/Dockerfile]
    ///
    /// Beside it, `<FILE>.dockerignore` wins over the build context's `.dockerignore`.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Build this stage, by name or number [default: the last]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,

    /// Set a build argument (ARG); without a value it comes from the environment
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = parsed::<Pair>)]
    build_arg: Vec<Pair>,

    /// Add a label to the image
    #[arg(long, value_name = "KEY=VALUE", value_parser = parsed::<Pair>)]
    label: Vec<Pair>,

    /// Add an annotation to the image's manifest
    #[arg(long, value_name = "KEY=VALUE", value_parser = parsed::<Pair>)]
    annotation: Vec<Pair>,

    /// What the image runs on: OS/ARCHITECTURE[/VARIANT]
    ///
    /// `build --push` and `build --output` take several, separated by commas, and make one image
    /// index.
    /// RUN for another kind of CPU needs qemu-user, registered with the kernel (binfmt_misc).
    #[arg(long, value_name = "PLATFORM", env = "DOCKER_DEFAULT_PLATFORM", hide_env_values = true,
        default_value = "linux/amd64", value_delimiter = ',', value_parser = parsed::<Platform>)]
    platform: Vec<Platform>,

    /// Ask registries for base images, even for stored ones
    #[arg(long)]
    pull: bool,

    /// Use NAME in FROM and --from for a folder, docker-image://IMAGE, oci-layout://DIR[:TAG] or a
    /// URL; may be repeated
    ///
    /// It takes the place of a stage or an image of that name. The URL is that of a git repository,
    /// a tar or a file.
    #[arg(long, value_name = "NAME=CONTEXT", value_parser = parsed::<ContextFlag>, hide_short_help = true)]
    build_context: Vec<ContextFlag>,

    /// Merge everything that the target stage's own steps changed into one layer
    #[arg(long, hide_short_help = true)]
    squash: bool,

    /// Where the SDK's base images come from: `installed`, a repository HOST/PATH, or `as-written`
    ///
    /// `installed` builds on the image that the installed SDK builds, where the Dockerfile names
    /// one of a registry that was shut down or of another version; `mpimg migrate` changes the
    /// Dockerfile for good. Without this flag, mpimg asks if there is a terminal. From a
    /// repository, a team's machines get the same image without building it; `mpimg push` puts it
    /// there if it is missing.
    #[arg(long, value_name = "PLACE", value_parser = parsed::<SdkBase>)]
    sdk_base: Option<SdkBase>,

    /// How new layers are compressed: gzip[:0-12], zstd[:1-19] or none
    ///
    /// The level changes the digest. Docker before 23 and some registries do not read zstd.
    #[arg(long, value_name = "CODEC", default_value = "gzip:3", value_parser = parsed::<Codec>)]
    compression: Codec,

    /// The manifest format; `docker` is for registries that refuse OCI manifests
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = FormatFlag::Oci)]
    format: FormatFlag,

    /// Let RUN see a secret: id=ID,src=FILE or id=ID,env=NAME; it never enters the image
    ///
    /// The Dockerfile asks for it with `RUN --mount=type=secret,id=ID`. At most 500 KiB.
    #[arg(long, value_name = "SECRET", value_parser = parsed::<SecretFlag>)]
    secret: Vec<SecretFlag>,

    /// Let RUN use an SSH agent: `default` (the one of SSH_AUTH_SOCK) or ID=SOCKET
    #[arg(long, value_name = "ID[=SOCKET]", value_parser = parsed::<SshFlag>)]
    ssh: Vec<SshFlag>,

    /// Let RUN trust this certificate authority, too; it never enters the image
    ///
    /// A PEM file, such as of a company's package index or proxy. pip, apt, curl, wget, git, Node,
    /// Java and Python's requests read it.
    #[arg(long, value_name = "FILE")]
    run_ca_file: Vec<PathBuf>,

    /// Set a variable for RUN alone; without a value it comes from the environment
    ///
    /// It wins over the Dockerfile's, and is in no layer, no history and no key of the build cache:
    /// PIP_INDEX_URL, for example.
    #[arg(long, hide_short_help = true, value_name = "NAME[=VALUE]", value_parser = parsed::<Pair>)]
    run_env: Vec<Pair>,

    /// Let RUN see a file or folder of this machine, read-only; it never enters the image
    #[arg(long, hide_short_help = true, value_name = "SOURCE:TARGET", value_parser = parsed::<RunMount>)]
    run_mount: Vec<RunMount>,

    /// How RUN is isolated: auto, root, userns, single, chroot or emulated
    ///
    /// `auto` uses the best that this machine provides; `mpimg doctor` shows which and why.
    /// `chroot` and `emulated` are not security boundaries.
    #[arg(long, value_name = "KIND", default_value = "auto", value_parser = parsed::<IsolationMode>)]
    isolation: IsolationMode,

    /// Let RUN have more rights where it asks for them: `security.insecure` for
    /// `RUN --security=insecure`
    #[arg(long, value_enum, value_name = "ENTITLEMENT", hide_possible_values = true, hide_short_help = true)]
    allow: Vec<Entitlement>,

    /// Let this file of the build context enter the image although it looks like a secret
    ///
    /// Without it, `connections.json`, private keys, `.env` and cloud credentials stop the build of
    /// an SDK project.
    #[arg(long, value_name = "PATH")]
    allow_secret_file: Vec<String>,

    /// How many threads compress a layer [default: one a core]
    #[arg(long, value_name = "N", hide = true)]
    threads: Option<std::num::NonZeroUsize>,

    // Last: a heading holds for all that follows.
    #[command(flatten)]
    cache: CacheFlags,

    #[command(flatten)]
    run: RunFlags,
}

/// One `--build-context`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ContextFlag {
    name: String,
    context: NamedContext,
}

impl FromStr for ContextFlag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some((name, context)) if !name.is_empty() => Ok(Self { name: name.to_owned(), context: context.parse()? }),
            _ => Err(Error::new(ErrorKind::Usage, format!("`{text}` is not a build context with a name"))
                .with_hint("write NAME=CONTEXT")),
        }
    }
}

/// What a Dockerfile may ask for, in BuildKit's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Entitlement {
    /// All the rights that mpimg itself has
    #[value(name = "security.insecure")]
    Insecure,
    /// This machine's network, which RUN has in any case
    #[value(name = "network.host")]
    NetworkHost,
}

/// Whose manifest format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatFlag {
    /// The Open Container Initiative's image manifest
    Oci,
    /// Docker's image manifest, schema 2
    Docker,
}

impl BuildFlags {
    /// The platforms, each once: at least one.
    pub(crate) fn platforms(&self) -> Vec<Platform> {
        let mut platforms = Vec::new();
        for platform in &self.platform {
            if !platforms.contains(platform) {
                platforms.push(platform.clone());
            }
        }
        platforms
    }

    /// The platform of a command that knows only one.
    pub(crate) fn platform(&self) -> Result<Platform> {
        match self.platforms().as_slice() {
            [one] => Ok(one.clone()),
            _ => Err(Error::new(ErrorKind::Usage, "this command takes one platform, and several were given")
                .with_hint("`mpimg build --platform A,B -t HOST/PATH:TAG --push` makes one index of several")),
        }
    }

    /// Whether it is said what stands in for a base image of the SDK that cannot be had.
    pub(crate) fn says_sdk_base(&self) -> bool {
        self.sdk_base.is_some()
    }

    /// What the library is asked to build. Reads secrets, and the environment.
    pub(crate) fn request(self, context: &Path) -> Result<BuildRequest> {
        let mut request = BuildRequest::new(context).with_environment();
        request.dockerfile = self.file;
        request.target = self.target;
        request.build_args = Pair::build_args(self.build_arg, |name| std::env::var(name).ok());
        request.labels = Pair::labels(self.label);
        request.annotations = Pair::labels(self.annotation);
        request.platform = self.platform.first().cloned().unwrap_or_default();
        request.pull = self.pull;
        request.squash = self.squash;
        request.contexts = self.build_context.into_iter().map(|flag| (flag.name, flag.context)).collect();
        self.cache.put_into(&mut request);
        self.run.put_into(&mut request);
        request.format = match self.format {
            FormatFlag::Oci => Format::Oci,
            FormatFlag::Docker => Format::Docker,
        };
        request.codec = self.compression;
        if let Some(threads) = self.threads {
            request.threads = threads.get();
        }
        request.sdk_base = self.sdk_base.unwrap_or_default();
        request.allow_insecure = self.allow.contains(&Entitlement::Insecure);
        request.allowed_secret_files = self.allow_secret_file;
        request.secrets = self.secret.iter().map(SecretFlag::read).collect::<Result<_>>()?;
        request.ssh = self.ssh.into_iter().map(SshFlag::find).collect::<Result<_>>()?;
        let env = Pair::environment(self.run_env, |name| std::env::var(name).ok());
        request.run = Settings::read()?.run.with(RunSettings {
            ca_files: self.run_ca_file,
            env: env.into_iter().map(|(name, value)| (name, SecretBytes::new(value))).collect(),
            mounts: self.run_mount,
        });
        request.isolation = self.isolation;
        Ok(request)
    }
}
