//! What Python passes: dictionaries that the Python sources fill completely.
//!
//! Defaults are in the Python signatures, where they can be read. Nothing here implements Debug: it
//! holds secrets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use mpimg::build::{BuildRequest, RunMount, RunSettings};
use mpimg::dockerfile::Network;
use mpimg::image::{Format, Transport};
use mpimg::operation::{AttestationForm, CopyRequest, DestinationOptions, Mpimg, PushRequest, PushSource, SbomOutputs, Settings};
use mpimg::progress::Progress;
use mpimg::project::ContainerRepository;
use mpimg::registry::{Credential, CredentialSources};
use mpimg::sandbox::SecretBytes;
use mpimg::sbom::SbomFile;
use mpimg::{CancellationToken, Error, ErrorKind, Result};
use pyo3::prelude::*;

/// `Mpimg.__init__`
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Options {
    home: Option<PathBuf>,
    ca_files: Vec<PathBuf>,
    insecure_registries: Vec<String>,
    registry_mirrors: Vec<String>,
    /// By registry: user name and password.
    credentials: BTreeMap<String, (String, String)>,
    cancel: Option<Py<Cancellation>>,
}

/// `mpimg.CancellationToken`
#[pyclass(frozen, name = "CancellationToken", module = "mpimg")]
#[derive(Default)]
pub(crate) struct Cancellation(CancellationToken);

#[pymethods]
impl Cancellation {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Cancels every operation that has the token, now or later.
    fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it was cancelled.
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Options {
    /// The caller's token.
    pub(crate) fn cancellation(&self) -> CancellationToken {
        self.cancel.as_ref().map(|cancel| cancel.get().0.clone()).unwrap_or_default()
    }

    pub(crate) fn mpimg(self, progress: Progress, cancel: CancellationToken) -> Mpimg {
        let credential = |(registry, (username, password))| (registry, Credential::Basic { username, password });
        let explicit = self.credentials.into_iter().map(credential).collect();
        Mpimg::new(mpimg::operation::Options {
            home: self.home,
            credentials: CredentialSources { explicit, ..CredentialSources::default() },
            ca_files: self.ca_files,
            insecure_registries: self.insecure_registries,
            registry_mirrors: self.registry_mirrors,
            progress,
            cancel,
        })
    }
}

/// What `Mpimg.build` takes.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct BuildOptions {
    context: PathBuf,
    dockerfile: Option<PathBuf>,
    target: Option<String>,
    build_args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    platform: String,
    format: String,
    codec: String,
    no_cache: bool,
    no_cache_stages: Vec<String>,
    pull: bool,
    contexts: BTreeMap<String, String>,
    network: String,
    extra_hosts: Vec<(String, String)>,
    shm_size: Option<u64>,
    ulimits: Vec<String>,
    /// Seconds.
    cache_max_age: Option<f64>,
    source_date_epoch: Option<u64>,
    allowed_secret_files: Vec<String>,
    secrets: BTreeMap<String, Vec<u8>>,
    ssh: BTreeMap<String, PathBuf>,
    isolation: String,
    cache_repo: Option<String>,
    cache_from: Vec<String>,
    cache_to: Vec<String>,
    squash: bool,
    sdk_base: String,
    allow_insecure: bool,
    threads: Option<NonZeroUsize>,
    /// Those of the environment without any.
    proxies: Option<BTreeMap<String, String>>,
    run_ca_files: Vec<PathBuf>,
    run_env: BTreeMap<String, String>,
    run_mounts: Vec<(PathBuf, String)>,
    pub(crate) names: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) push: bool,
    pub(crate) load: bool,
    pub(crate) sbom: Option<String>,
    pub(crate) attest: Option<String>,
    pub(crate) platforms: Vec<String>,
    pub(crate) check_reproducible: bool,
    pub(crate) sbom_file: Option<PathBuf>,
}

impl BuildOptions {
    pub(crate) fn request(self) -> Result<BuildRequest> {
        let usual = BuildRequest::new("").with_environment();
        // All fields are named: one that is new in Rust does not compile here until Python has it.
        Ok(BuildRequest {
            context: self.context,
            dockerfile: self.dockerfile,
            target: self.target,
            build_args: self.build_args,
            labels: self.labels,
            annotations: self.annotations,
            platform: self.platform.parse()?,
            format: match self.format.as_str() {
                "oci" => Format::Oci,
                "docker" => Format::Docker,
                other => {
                    return Err(Error::new(ErrorKind::Usage, format!("`{other}` is not a manifest format"))
                        .with_hint("write `oci` or `docker`"));
                }
            },
            codec: self.codec.parse()?,
            threads: self.threads.map_or(usual.threads, NonZeroUsize::get),
            no_cache: self.no_cache,
            no_cache_stages: self.no_cache_stages,
            pull: self.pull,
            contexts: self.contexts.into_iter().map(|(name, context)| Ok((name, context.parse()?))).collect::<Result<_>>()?,
            network: network(&self.network)?,
            extra_hosts: self.extra_hosts.into_iter().map(extra_host).collect::<Result<_>>()?,
            shm_size: self.shm_size,
            ulimits: parse_all(&self.ulimits)?,
            cache_max_age: self.cache_max_age.map(age).transpose()?,
            source_date_epoch: self.source_date_epoch.map(|epoch| epoch.to_string()).or(usual.source_date_epoch),
            allowed_secret_files: self.allowed_secret_files,
            secrets: self.secrets.into_iter().map(|(id, bytes)| (id, SecretBytes::new(bytes))).collect(),
            ssh: self.ssh,
            proxies: self.proxies.unwrap_or(usual.proxies),
            run: Settings::read()?.run.with(RunSettings {
                ca_files: self.run_ca_files,
                env: self.run_env.into_iter().map(|(name, value)| (name, SecretBytes::new(value))).collect(),
                mounts: self.run_mounts.into_iter().map(|(source, target)| RunMount { source, target }).collect(),
            }),
            isolation: self.isolation.parse()?,
            cache_repo: self.cache_repo.as_deref().map(str::parse).transpose()?,
            cache_from: parse_all(&self.cache_from)?,
            cache_to: parse_all(&self.cache_to)?,
            squash: self.squash,
            // What is made of the build asks for these.
            list_packages: false,
            provenance: false,
            allowed_bases: Vec::new(),
            sdk_base: self.sdk_base.parse()?,
            allow_insecure: self.allow_insecure,
        })
    }
}

fn network(name: &str) -> Result<Network> {
    match name {
        "default" => Ok(Network::Default),
        "host" => Ok(Network::Host),
        "none" => Ok(Network::None),
        other => Err(Error::new(ErrorKind::Usage, format!("`{other}` is not a network of RUN"))
            .with_hint("write `default`, `host` or `none`")),
    }
}

pub(crate) fn extra_host((name, address): (String, String)) -> Result<(String, IpAddr)> {
    let wrong =
        |_| Error::new(ErrorKind::Usage, format!("`{address}` is not an IP address")).with_hint("give a name and an address");
    let parsed = address.parse().map_err(wrong)?;
    Ok((name, parsed))
}

fn age(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Error::new(ErrorKind::Usage, format!("`{seconds}` is not an age")).with_hint("give seconds, 0 or more"))
}

/// Where an SBOM and provenance are kept.
pub(crate) fn attestations(form: Option<&str>) -> Result<AttestationForm> {
    form.map_or(Ok(AttestationForm::default()), str::parse)
}

/// What `Mpimg.push` takes.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct PushOptions {
    /// The project's folder.
    path: PathBuf,
    /// An image that exists, instead of a build.
    image: Option<String>,
    repository: Option<String>,
    push_repository: Option<String>,
    use_default_registry: bool,
    tags: Vec<String>,
    username: Option<String>,
    password: Option<String>,
    sbom: Option<String>,
    sbom_file: Option<PathBuf>,
    pub(crate) provenance: bool,
    pub(crate) attest: Option<String>,
    build: BuildOptions,
}

impl PushOptions {
    /// Who asks the registry that is pushed to.
    pub(crate) fn credential(&mut self) -> Result<Option<Credential>> {
        credential(self.username.take(), self.password.take())
    }

    /// Where the bill of materials goes.
    pub(crate) fn sbom(&mut self) -> Result<SbomOutputs> {
        Ok(SbomOutputs {
            attach: self.sbom.as_deref().map(str::parse).transpose()?,
            file: self.sbom_file.take().map(SbomFile::new).transpose()?,
        })
    }

    pub(crate) fn request(self) -> Result<PushRequest> {
        let repository = |text: Option<String>| text.as_deref().map(ContainerRepository::parse).transpose();
        let source = match self.image {
            Some(name) => PushSource::Image { name: Transport::parse(&name)?, platform: self.build.platform.parse()? },
            None => PushSource::Build(self.build.request()?),
        };
        let destination = DestinationOptions {
            repository: repository(self.repository)?,
            push_repository: repository(self.push_repository)?,
            use_default_registry: self.use_default_registry,
            remember: false,
        };
        // All fields are named here, too.
        PushRequest {
            source,
            project: None,
            destination,
            tags: parse_all(&self.tags)?,
            sbom: false,
            provenance: self.provenance,
            in_index: None,
            signed_by: None,
        }
        .in_folder(&self.path)
    }
}

/// What `Mpimg.copy` takes.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct CopyOptions {
    source: String,
    destination: String,
    platform: Option<String>,
    referrers: bool,
    username: Option<String>,
    password: Option<String>,
}

impl CopyOptions {
    /// What is copied, and who asks the registry that it is copied to.
    pub(crate) fn request(self) -> Result<(CopyRequest, Option<Credential>)> {
        let request = CopyRequest {
            source: Transport::parse(&self.source)?,
            destination: Transport::parse(&self.destination)?,
            platform: self.platform.map(|platform| platform.parse()).transpose()?,
            referrers: self.referrers,
        };
        Ok((request, credential(self.username, self.password)?))
    }
}

/// A user name with its password.
pub(crate) fn credential(username: Option<String>, password: Option<String>) -> Result<Option<Credential>> {
    match (username, password) {
        (Some(username), Some(password)) => Ok(Some(Credential::Basic { username, password })),
        (None, None) => Ok(None),
        _ => Err(Error::new(ErrorKind::Usage, "a user name and a password belong together")
            .with_hint("give both, or neither: then those that docker, podman or `mpimg login` have stored are used")),
    }
}

/// Reads each text with the library's own parser.
pub(crate) fn parse_all<T: FromStr<Err = Error>>(texts: &[String]) -> Result<Vec<T>> {
    texts.iter().map(|text| text.parse()).collect()
}
