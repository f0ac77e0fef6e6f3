//! What is to be built, as a value: the library's counterpart of `mpimg build`'s flags. The build
//! checks it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::allowed_bases::AllowedBase;
use super::named_context::NamedContext;
use super::run_settings::RunSettings;
use crate::dockerfile::Network;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Format;
use crate::layer::Codec;
use crate::oci::{Platform, Repository, expect_no_scheme, expect_path};
use crate::sandbox::{IsolationMode, SecretBytes, Ulimit};

/// Variables that proxies are configured with, in both spellings (Dockerfile reference, "Predefined
/// ARGs").
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Where base images of the SDK come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SdkBase {
    /// `base-adapter:LANGUAGE-VERSION` from the installed SDK, which builds it; what cannot be had
    /// fails the build.
    #[default]
    AsWritten,
    /// As `AsWritten`; but where the Dockerfile names one of a registry that was shut down, or of a
    /// version that the installed SDK does not build, the image of the same language that it
    /// builds.
    Installed,
    /// This repository, by the same tag; what is not there is built.
    Repository {
        /// The repository.
        repository: Repository,
        /// Whether what was built is put there. [`Mpimg::push`](crate::operation::Mpimg::push) sets
        /// it.
        publish: bool,
    },
}

impl SdkBase {
    /// The repository, and whether what was built is put there.
    pub(super) fn repository(&self) -> Option<(&Repository, bool)> {
        match self {
            Self::Repository { repository, publish } => Some((repository, *publish)),
            Self::AsWritten | Self::Installed => None,
        }
    }

    /// This source for a build whose result is pushed.
    #[must_use]
    pub(crate) fn published(self) -> Self {
        match self {
            Self::Repository { repository, .. } => Self::Repository { repository, publish: true },
            other => other,
        }
    }
}

impl FromStr for SdkBase {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Their own hints say what to write.
        expect_no_scheme(text)?;
        expect_path(text)?;
        let wrong = |error: Error| {
            Error::new(ErrorKind::Usage, format!("`{text}` is not a place of the SDK's base images"))
                .with_source(error)
                .with_hint("write `installed`, `as-written`, or a repository as HOST/PATH")
        };
        match text {
            "as-written" => Ok(Self::AsWritten),
            "installed" => Ok(Self::Installed),
            _ if !text.contains('/') => Err(wrong(Error::new(ErrorKind::Usage, "it has no `/`"))),
            _ => Ok(Self::Repository { repository: Repository::parse(text).map_err(wrong)?, publish: false }),
        }
    }
}

impl fmt::Display for SdkBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsWritten => f.write_str("as-written"),
            Self::Installed => f.write_str("installed"),
            Self::Repository { repository, .. } => repository.fmt(f),
        }
    }
}

/// What is to be built. [`BuildRequest::new`] gives docker's defaults.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The folder of the build context.
    pub context: PathBuf,
    /// The Dockerfile; `Dockerfile` in the context without it.
    pub dockerfile: Option<PathBuf>,
    /// The stage whose image is wanted; the last without it.
    pub target: Option<String>,
    /// `--build-arg`
    pub build_args: BTreeMap<String, String>,
    /// `--label`: they win over the Dockerfile's.
    pub labels: BTreeMap<String, String>,
    /// `--annotation`: of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What the image runs on.
    pub platform: Platform,
    /// Docker's or OCI's media types.
    pub format: Format,
    /// How new layers are compressed.
    pub codec: Codec,
    /// How many threads compress one layer.
    pub threads: usize,
    /// Whether the build cache is left alone.
    pub no_cache: bool,
    /// Stages, by name or number, whose steps are all done again.
    pub no_cache_stages: Vec<String>,
    /// Whether registries are asked for base images even where the local store has them.
    pub pull: bool,
    /// Build contexts by name: what FROM and `--from` find in place of a stage or an image of that
    /// name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// The network of RUN steps that say nothing of it. `Default` and `Host` are this machine's.
    pub network: Network,
    /// Further lines of `/etc/hosts` in RUN: names and addresses.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Bytes of `/dev/shm` in RUN; 64 MiB without it.
    pub shm_size: Option<u64>,
    /// Limits of resources in RUN.
    pub ulimits: Vec<Ulimit>,
    /// How old a result of RUN may be that is taken from a build cache; without it any age is
    /// taken.
    pub cache_max_age: Option<Duration>,
    /// `SOURCE_DATE_EPOCH`, seconds since 1970; the last git commit's time without it, 0 without
    /// that.
    pub source_date_epoch: Option<String>,
    /// Files of the build context that may enter the image although they look like secrets.
    pub allowed_secret_files: Vec<String>,
    /// `--secret`: what `RUN --mount=type=secret,id=…` sees.
    pub secrets: BTreeMap<String, SecretBytes>,
    /// `--ssh`: agent sockets by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// Proxy variables of this machine: RUN sees them, the image does not.
    pub proxies: BTreeMap<String, String>,
    /// What RUN gets of this machine without a word in the Dockerfile.
    pub run: RunSettings,
    /// How RUN steps are isolated.
    pub isolation: IsolationMode,
    /// A repository for results of steps that other machines take, and that this one takes from
    /// them.
    pub cache_repo: Option<Repository>,
    /// Further repositories from which results of steps are taken.
    pub cache_from: Vec<Repository>,
    /// Further repositories into which results of steps are put.
    pub cache_to: Vec<Repository>,
    /// Whether what the target's own steps changed is one layer, whatever their number.
    pub squash: bool,
    /// Whether what its layers tell of packages is read while they are written, for a bill of
    /// materials. Without it that reads them a second time.
    pub list_packages: bool,
    /// Whether it will be told how the image was made: then it is found out whether the work tree
    /// is as it was committed.
    pub provenance: bool,
    /// What may be built on and copied from; none: any image. [`Mpimg::push`] sets what the site
    /// demands.
    ///
    /// [`Mpimg::push`]: crate::operation::Mpimg::push
    pub allowed_bases: Vec<AllowedBase>,
    /// Where base images of the SDK come from.
    pub sdk_base: SdkBase,
    /// Whether `RUN --security=insecure` may have all the rights that this program has.
    pub allow_insecure: bool,
}

impl BuildRequest {
    /// A build of the folder `context` for linux/amd64.
    pub fn new(context: impl Into<PathBuf>) -> Self {
        Self {
            context: context.into(),
            dockerfile: None,
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            platform: Platform::default(),
            format: Format::default(),
            codec: Codec::default(),
            threads: crate::threads::available(),
            no_cache: false,
            no_cache_stages: Vec::new(),
            pull: false,
            contexts: BTreeMap::new(),
            network: Network::Default,
            extra_hosts: Vec::new(),
            shm_size: None,
            ulimits: Vec::new(),
            cache_max_age: None,
            source_date_epoch: None,
            allowed_secret_files: Vec::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            proxies: BTreeMap::new(),
            run: RunSettings::default(),
            isolation: IsolationMode::default(),
            cache_repo: None,
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            squash: false,
            list_packages: false,
            provenance: false,
            allowed_bases: Vec::new(),
            sdk_base: SdkBase::default(),
            allow_insecure: false,
        }
    }

    /// The network of a RUN step: its own word, else the request's.
    pub(super) fn network_of(&self, step: Network) -> Network {
        match step {
            Network::Default => self.network,
            own => own,
        }
    }

    /// Takes `SOURCE_DATE_EPOCH` and the proxy variables of this process, as docker and the command
    /// do.
    #[must_use]
    pub fn with_environment(mut self) -> Self {
        self.source_date_epoch = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|epoch| !epoch.is_empty());
        let both_spellings = PROXIES.iter().flat_map(|name| [(*name).to_owned(), name.to_lowercase()]);
        self.proxies = both_spellings.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect();
        self
    }
}
