//! Pushing a project, a folder with a Dockerfile, or an image that exists.
//!
//! Invariant: config.json is not written before the image is in the registry.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::destination::{Destination, DestinationOptions};
#[cfg(feature = "sign")]
use super::recorded::IndexAttestations;
use super::transfer::Transfer;
use super::{Mpimg, Settings, blocking, image_size};
use crate::build::{BuildMaterials, BuildRequest};
use crate::context::{ContextAddress, existing_dockerfile};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::{Image, ManifestTree, Transport, attested_digest};
use crate::oci::{Digest, Platform, Reference, Repository, Tag};
use crate::project::{ConfEntries, ContainerRepository, Project, ProjectConfig};
use crate::registry::{AnonymousReport, Pushed};
#[cfg(feature = "sign")]
use crate::signature::PublicKey;
use crate::store::{LayerLocation, LayerRecord, Store};

/// What is pushed.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "made once a push, and a box would be in every caller's way")]
pub enum PushSource {
    /// It is built, and sent while it is built.
    Build(BuildRequest),
    /// It exists.
    Image {
        /// Its name.
        name: Transport,
        /// The platform, if the image is for several.
        platform: Platform,
    },
}

/// What is pushed, where to, and as what.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// What is pushed.
    pub source: PushSource,
    /// The project that it belongs to: gives the tag, and the repository where nothing else does.
    pub project: Option<(Project, ProjectConfig)>,
    /// Where to.
    pub destination: DestinationOptions,
    /// The tags; none: [`PushRequest::tags`] finds one.
    pub tags: Vec<Tag>,
    /// Whether a bill of materials will be made of it ([`Mpimg::add_sbom`]): then what the layers
    /// tell is read while they are written.
    pub sbom: bool,
    /// Whether its provenance will be attached ([`Mpimg::add_provenance`]).
    pub provenance: bool,
    /// What the push itself records in an index above the image, which the tags then name.
    #[cfg(feature = "sign")]
    pub in_index: Option<IndexAttestations>,
    /// The key that it will be signed with ([`Mpimg::sign_pushed`]).
    #[cfg(feature = "sign")]
    pub signed_by: Option<PublicKey>,
}

impl PushRequest {
    /// A build and push of the SDK project in the folder `path`.
    ///
    /// # Errors
    /// [`ErrorKind::Project`]: it is not a project, or manifest.txt or config.json is wrong.
    pub fn project(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let project = Some(read(&path)?);
        Ok(Self { project, ..Self::new(PushSource::Build(BuildRequest::new(path).with_environment())) })
    }

    /// A push that belongs to no project yet.
    pub fn new(source: PushSource) -> Self {
        Self {
            source,
            project: None,
            destination: DestinationOptions::default(),
            tags: Vec::new(),
            sbom: false,
            provenance: false,
            #[cfg(feature = "sign")]
            in_index: None,
            #[cfg(feature = "sign")]
            signed_by: None,
        }
    }

    /// Reads the project in the folder `path`. Without one, the Dockerfile or the image must tell
    /// what is pushed.
    ///
    /// # Errors
    /// [`ErrorKind::Project`]: it is not a project and nothing else says what is pushed, or
    /// manifest.txt or config.json is wrong.
    pub fn in_folder(mut self, path: &Path) -> Result<Self> {
        let is_enough = match &self.source {
            PushSource::Build(request) if request.context.to_str().is_some_and(|path| ContextAddress::parse(path).is_some()) => {
                true
            }
            PushSource::Build(request) => {
                let dockerfile = request.dockerfile.clone().unwrap_or_else(|| request.context.join("Dockerfile"));
                existing_dockerfile(&dockerfile).is_file()
            }
            PushSource::Image { .. } => true,
        };
        if Project::is_project(path) || !is_enough {
            self.project = Some(read(path)?);
        }
        Ok(self)
    }

    /// Where it goes: as given; else what is built goes to the repository of config.json, and an
    /// image to the one in its name. `None`: neither names one.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: a repository in config.json is not of the form that the SDK takes.
    pub fn destination(&self) -> Result<Option<Destination>> {
        let DestinationOptions { repository, push_repository, use_default_registry, .. } = &self.destination;
        match &self.source {
            PushSource::Image { name, .. } if repository.is_none() && push_repository.is_none() => {
                let destination = |own: ContainerRepository| Destination {
                    push: own.clone(),
                    pull: own,
                    remember: false,
                    use_default_registry: *use_default_registry,
                };
                Ok(own_repository(name).map(destination))
            }
            _ => self.destination.find(self.project.as_ref().map(|(_, config)| config)),
        }
    }

    /// The tags as given; else the tag of an image, `<version>_<unix time>` of a project, `latest`.
    fn tags(&self) -> Result<Vec<Tag>> {
        if !self.tags.is_empty() {
            return Ok(self.tags.clone());
        }
        let tag = match (&self.source, &self.project) {
            (PushSource::Image { name: Transport::Store(name) | Transport::Registry(name), .. }, _) if name.tag().is_some() => {
                return Ok(name.tag().cloned().into_iter().collect());
            }
            (_, Some((project, _))) => project.tag_at(SystemTime::now())?,
            (_, None) => Tag::parse("latest")?,
        };
        Ok(vec![tag])
    }

    /// Whether a bill of materials is made of it.
    pub(super) fn wants_sbom(&self) -> bool {
        #[cfg(feature = "sign")]
        if self.in_index.as_ref().is_some_and(|wanted| wanted.sbom.is_wanted()) {
            return true;
        }
        self.sbom
    }

    /// Whether its provenance is attached.
    pub(super) fn wants_provenance(&self) -> bool {
        #[cfg(feature = "sign")]
        if self.in_index.as_ref().is_some_and(|wanted| wanted.provenance.is_some()) {
            return true;
        }
        self.provenance
    }

    /// Whether the tags name an index above the image; an error if it would hold nothing, or what
    /// is not known.
    #[cfg(feature = "sign")]
    fn has_index(&self) -> Result<bool> {
        let Some(wanted) = &self.in_index else { return Ok(false) };
        wanted.expect_some()?;
        match self.source {
            PushSource::Image { .. } if wanted.provenance.is_some() => Err(super::recorded::not_known()),
            _ => Ok(true),
        }
    }

    #[cfg(not(feature = "sign"))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the same signature as with the feature")]
    fn has_index(&self) -> Result<bool> {
        Ok(false)
    }

    /// The error of a push that is given no repository.
    pub(crate) fn no_destination(&self) -> Error {
        let give = format!("give it with {}", Setting::Repository.with("HOST/PATH"));
        match (&self.source, &self.project) {
            (PushSource::Image { name, .. }, project) => {
                let configured = project.as_ref().and_then(|(_, config)| config.container_repository());
                let hint = match configured {
                    Some(repository) => format!("give one with {}", Setting::Repository.with(repository)),
                    None => format!("{give}, or name the image HOST/PATH:TAG with `mpimg tag`"),
                };
                Error::new(ErrorKind::Usage, format!("`{name}` does not name a repository to push to")).with_hint(hint)
            }
            (PushSource::Build(_), Some((_, config))) => Error::new(ErrorKind::Usage, "no repository given")
                .with_hint(format!("{give}, or set `container_repository` in `{}`", config.path().display())),
            (PushSource::Build(_), None) => Error::new(ErrorKind::Usage, "no repository given")
                .with_hint(format!("{give}; only an Integration SDK project can keep it in config.json")),
        }
    }
}

/// The repository in the name of an image of the local store. A name alone, such as `app:1`, stands
/// for Docker Hub's official images, to which nobody pushes.
fn own_repository(name: &Transport) -> Option<ContainerRepository> {
    let Transport::Store(name) = name else { return None };
    let official = name.registry() == "docker.io" && name.path().starts_with("library/");
    if official { None } else { ContainerRepository::parse(&name.repository().to_string()).ok() }
}

/// What a name means that is to be pushed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PushSubject {
    /// A folder: a project, or a build context.
    Folder(PathBuf),
    /// An image.
    Image(Transport),
}

/// How many pushes of a repository whose tags tell only their time are listed in the local store.
const LISTED: usize = 5;

/// Takes away the names of older pushes.
fn forget_older(store: &Store, repository: &Repository) -> Result<()> {
    let by_time = |name: &Reference| {
        let (_, time) = name.tag()?.as_str().rsplit_once('_')?;
        time.parse::<f64>().ok()
    };
    let is_remote = |layer: &LayerRecord| layer.location == LayerLocation::Remote(repository.clone());
    let of_pushes =
        store.list()?.into_iter().filter(|(name, image)| name.repository() == repository && image.layers.iter().all(is_remote));
    let mut pushes: Vec<(f64, Reference)> = of_pushes.filter_map(|(name, _)| Some((by_time(&name)?, name))).collect();
    pushes.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    pushes.iter().skip(LISTED).try_for_each(|(_, name)| store.untag(name).map(drop))
}

/// What the answer to the question for a project's repository is kept under.
fn repository_question(config: &Path) -> String {
    format!("repository of {}", std::path::absolute(config).unwrap_or_else(|_| config.to_owned()).display())
}

fn read(path: &Path) -> Result<(Project, ProjectConfig)> {
    Ok((Project::open(path)?, ProjectConfig::read(path)?))
}

/// An image that was pushed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PushedImage {
    /// Where it went, and where the product pulls it from.
    pub destination: Destination,
    /// Under which tags.
    pub tags: Vec<Tag>,
    /// The image.
    pub image: Image,
    /// What it was made of; `None`: it was not built, but existed.
    pub materials: Option<BuildMaterials>,
    /// The digest of what the tags name, as the registry confirmed it: of the image's manifest, or
    /// of the index above it.
    pub digest: Digest,
    /// The index, where something is recorded in it.
    pub index: Option<ManifestTree>,
    /// The image's own manifest, and what became of each of its blobs.
    pub pushed: Pushed,
    /// How long it took.
    pub time: Duration,
    /// config.json, where it has learnt the repository.
    pub remembered_in: Option<PathBuf>,
}

impl PushedImage {
    /// What `<kind>.conf` says of it.
    pub fn conf_entries(&self) -> ConfEntries {
        self.destination.pull.conf_entries(&self.digest, self.destination.use_default_registry)
    }

    /// The manifest in the index that carries what is recorded of the image.
    pub fn attestation(&self) -> Option<Digest> {
        let children = &self.index.as_ref()?.children;
        children.iter().map(|child| &child.descriptor).find(|entry| attested_digest(entry).is_some()).map(|entry| entry.digest)
    }

    /// The bytes that it takes in the registry.
    pub fn size(&self) -> u64 {
        image_size(&self.image)
    }
}

impl Mpimg {
    /// Finds out what `text` means: a folder that exists; an image of the local store, or in one of
    /// [`Transport`]'s other forms.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: it is none of these.
    pub fn push_subject(&self, text: &str) -> Result<PushSubject> {
        if Path::new(text).is_dir() {
            return Ok(PushSubject::Folder(text.into()));
        }
        let looks_like_path = text.starts_with(['.', '/', '~']) || text.ends_with('/');
        let image = Transport::parse(text).ok().filter(|_| !looks_like_path);
        match image {
            Some(Transport::Store(name)) if self.store()?.resolve(&name)?.is_none() => {
                Err(Error::new(ErrorKind::NotFound, format!("`{text}` is neither a folder nor an image of the local store"))
                    .with_hint("name a project's folder; `mpimg images` lists the images"))
            }
            Some(image) => Ok(PushSubject::Image(image)),
            None => Err(Error::new(ErrorKind::NotFound, format!("there is no folder `{text}`"))
                .with_hint("name the folder of a project, or one with a Dockerfile")),
        }
    }

    /// The repository that was given for a project whose push has not succeeded yet: what a prompt
    /// offers the next time.
    pub fn repository_answer(&self, config: &ProjectConfig) -> Option<String> {
        self.store().ok()?.answer(&repository_question(config.path()))
    }

    /// Keeps such an answer until a push succeeds.
    pub fn keep_repository_answer(&self, config: &ProjectConfig, answer: &ContainerRepository) {
        let kept = self.store().and_then(|store| store.keep_answer(&repository_question(config.path()), &answer.to_string()));
        if let Err(error) = kept {
            tracing::info!(error = error.in_one_line(), "cannot keep the answer");
        }
    }

    /// Builds if asked to, and pushes. Once the image is in the registry, config.json learns a
    /// repository that it did not know; if it cannot be written, that is a warning. What was cut
    /// off goes on in the next push, even of another process.
    ///
    /// # Errors
    /// Those of [`Mpimg::build`] and [`Mpimg::find`]; [`ErrorKind::Usage`]: no repository;
    /// [`ErrorKind::Policy`]: what the site demands would be left out; [`ErrorKind::Auth`],
    /// [`ErrorKind::Registry`], [`ErrorKind::Network`]: the registry.
    pub async fn push(&self, request: PushRequest) -> Result<PushedImage> {
        let started = Instant::now();
        if let Some((project, _)) = &request.project {
            project.check_pak()?;
        }
        let destination = request.destination()?.ok_or_else(|| request.no_destination())?;
        let policy = Settings::read()?.policy;
        policy.check_push(&request)?;
        let tags = request.tags()?;
        let untagged = request.has_index()?;
        #[cfg(feature = "sign")]
        let in_index = request.in_index.clone();
        let transfer = Transfer {
            store: self.open_store().await?,
            client: self.client().clone(),
            repository: destination.push.repository().clone(),
            tags: tags.clone(),
            untagged,
            cancel: self.cancellation().clone(),
        };
        let (sbom, provenance) = (request.wants_sbom(), request.wants_provenance());
        let (image, materials, pushed) = match request.source {
            PushSource::Image { name, platform } => {
                let (image, pushed) = transfer.push_image(name, &platform).await?;
                (image, None, pushed)
            }
            PushSource::Build(mut build) => {
                let _fetched = self.fetch_inputs(&mut build).await?;
                build.sdk_base = build.sdk_base.published();
                build.list_packages |= sbom;
                build.provenance |= provenance;
                build.allowed_bases.extend(policy.bases);
                let done = transfer.build_and_push(build, self.progress()).await;
                self.keep_to_limit().await;
                let (image, materials, pushed) = done?;
                (image, Some(materials), pushed)
            }
        };
        let digest = pushed.digest;
        let time = started.elapsed();
        let mut done =
            PushedImage { destination, tags, image, materials, digest, index: None, pushed, time, remembered_in: None };
        #[cfg(feature = "sign")]
        if let Some(wanted) = &in_index {
            self.attest_pushed(&mut done, wanted).await?;
            done.time = started.elapsed();
        }
        if let Some((_, mut config)) = request.project {
            self.name_pushed(&done).await;
            if done.destination.remember {
                done.remembered_in = self.remember(&done.destination, &mut config);
            }
        }
        Ok(done)
    }

    /// The image is where it should be: a config.json that cannot be written does not make the push
    /// fail.
    fn remember(&self, destination: &Destination, config: &mut ProjectConfig) -> Option<PathBuf> {
        match config.set_container_repository(&destination.pull) {
            Ok(()) => {
                if let Ok(store) = self.store() {
                    // What a prompt would offer is in the file now.
                    let _ = store.forget_answer(&repository_question(config.path()));
                }
                Some(config.path().to_owned())
            }
            Err(error) => {
                let hint = format!("set `container_repository` in it to {}", destination.pull);
                self.progress().warn(&format!("the image is pushed, but {}", error.in_one_line()), Some(&hint));
                None
            }
        }
    }

    /// Lists what was pushed among the images of the local store. Its layers are those of the
    /// registry: the name keeps nothing here that pruning would remove, and costs no waiting for
    /// the disk. Of tags that only tell the time of a push, the newest few of a repository stay.
    async fn name_pushed(&self, pushed: &PushedImage) {
        let PushedImage { destination, tags, image, .. } = pushed;
        let repository = destination.push.repository().clone();
        let (tags, image) = (tags.clone(), image.clone());
        let store = match self.open_store().await {
            Ok(store) => store,
            Err(_) => return,
        };
        // The image is where it should be; a list that cannot be written is no reason to fail.
        let named = blocking(move || {
            let record = image.record_in(&store, &repository)?;
            tags.iter().try_for_each(|tag| store.tag(&repository.with_tag(tag.clone()), &record))?;
            forget_older(&store, &repository)
        });
        if let Err(error) = named.await {
            tracing::info!(error = error.in_one_line(), "cannot list the pushed image in the local store");
        }
    }

    /// Whether the product, which does not log in, can pull what was pushed.
    pub async fn check_anonymous(&self, pushed: &PushedImage) -> AnonymousReport {
        if pushed.index.is_some() {
            return self.client().check_anonymous(pushed.destination.pull.repository(), &pushed.digest).await;
        }
        self.client().check_pushed(pushed.destination.pull.repository(), &pushed.pushed).await
    }
}
