//! Whether an image could be built, pushed, and pulled by the product.
//!
//! Invariant: nothing is built, and nothing is left in the registry.

use std::path::Path;

use super::policy::check_bases;
use super::{Mpimg, blocking};
use crate::build::{BaseFound, BuildCheck, BuildRequest, Builder};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Platform, Reference, Repository, Tag, expect_no_scheme, expect_path};
use crate::progress::Progress;
use crate::project::{ContainerRepository, Project, ProjectConfig};
use crate::registry::{AnonymousReport, CheckItem, CheckState, REGISTRY};
use crate::sandbox::{Isolation, IsolationMode};

/// The check that tells whether the product, which does not log in, will be able to pull.
const ANONYMOUS: &str = "anonymous pull";

/// A build with less room (bytes) than this is likely to fail: the SDK's base image takes most of a
/// gigabyte.
const LEAST_ROOM: u64 = 1 << 30;

/// What is checked.
#[derive(Debug, Clone)]
pub struct CheckSubject {
    /// Where it would be pushed to.
    pub push: Repository,
    /// Where the product would pull it from.
    pub pull: Repository,
    /// An image that is there.
    pub image: Option<Reference>,
    /// What would be built.
    pub build: Option<BuildRequest>,
}

impl CheckSubject {
    /// A project's folder, a repository, or an image in one: `PATH`, `REPOSITORY[:TAG|@DIGEST]`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: it is none of them, or config.json names no repository;
    /// [`ErrorKind::Project`].
    pub fn parse(text: &str) -> Result<Self> {
        if Path::new(text).is_dir() {
            return Self::project(Path::new(text));
        }
        // Their own hints name the repository.
        expect_no_scheme(text)?;
        expect_path(text)?;
        let with_tag = text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        let reference = Reference::parse(text)
            .map_err(|error| error.with_hint("name a project's folder that exists, or a repository as HOST[:PORT]/PATH[:TAG]"))?;
        let repository = reference.repository().clone();
        Ok(Self { push: repository.clone(), pull: repository, image: with_tag.then_some(reference), build: None })
    }

    fn project(path: &Path) -> Result<Self> {
        Project::open(path)?;
        let config = ProjectConfig::read(path)?;
        let pull = config.container_repository().map(ContainerRepository::parse).transpose()?;
        let push = config.container_push_repository().map(ContainerRepository::parse).transpose()?;
        let (push, pull) = match (push, pull) {
            (Some(push), Some(pull)) => (push, pull),
            (Some(one), None) | (None, Some(one)) => (one.clone(), one),
            (None, None) => {
                let config = config.path().display();
                return Err(Error::new(ErrorKind::Usage, format!("`{config}` names no repository"))
                    .with_hint(format!("name one: `mpimg check HOST/PATH`, or set `container_repository` in `{config}`")));
            }
        };
        let build = Some(BuildRequest::new(path).with_environment());
        Ok(Self { push: push.repository().clone(), pull: pull.repository().clone(), image: None, build })
    }
}

/// What a check found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CheckReport {
    /// Line by line.
    pub items: Vec<CheckItem>,
    /// Docker Hub: pulls left and allowed, for this source address.
    pub pulls: Option<(u64, u64)>,
}

impl CheckReport {
    /// Whether all is as it should be, as far as it can be told now.
    pub fn passed(&self) -> bool {
        self.items.iter().all(|item| matches!(item.state, CheckState::Passed | CheckState::Later))
    }
}

impl Mpimg {
    /// Checks whether the subject could be built and pushed, and whether anybody can pull it;
    /// before the first push, whether anybody will be able to, where the registry tells.
    ///
    /// # Errors
    /// None for now: all that fails is an item of the report.
    pub async fn check(&self, subject: &CheckSubject) -> Result<CheckReport> {
        let (mut items, (registry, pulls)) = tokio::join!(self.check_build(subject.build.as_ref()), self.check_registry(subject));
        items.extend(registry);
        Ok(CheckReport { items, pulls })
    }

    async fn check_registry(&self, subject: &CheckSubject) -> (Vec<CheckItem>, Option<(u64, u64)>) {
        let mut items = self.client().check(&subject.push).await;
        // Where no registry answers, there is nothing more to be asked.
        let answers = items.iter().any(|item| item.name == REGISTRY && item.state == CheckState::Passed);
        if !answers {
            return (items, None);
        }
        let image = match &subject.image {
            Some(image) => Some(image.clone()),
            None => self.newest_image(&subject.pull).await,
        };
        let Some(image) = image else {
            items.push(self.client().check_anonymous_access(ANONYMOUS, &subject.pull).await);
            return (items, None);
        };
        let mut pulls = None;
        match self.digest_of(&image).await {
            Ok(digest) => {
                let report = self.client().check_anonymous(&subject.pull, &digest).await;
                pulls = report.pulls;
                items.push(anonymous_item(&report));
                items.extend(self.check_policy(&image, &digest).await);
            }
            Err(error) => items.push(CheckItem::failed("image", &error)),
        }
        (items, pulls)
    }

    /// An image that was pushed before: the tag that ends in the latest time, as those of SDK
    /// projects do, or the last of all.
    async fn newest_image(&self, repository: &Repository) -> Option<Reference> {
        let tags = self.client().tags(repository).await.ok()?;
        let time = |tag: &Tag| {
            let (_, time) = tag.as_str().rsplit_once('_')?;
            let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
            Some((seconds.parse::<u64>().ok()?, fraction.to_owned()))
        };
        let newest = tags.into_iter().max_by_key(|tag| (time(tag), tag.clone()))?;
        Some(repository.with_tag(newest))
    }

    async fn check_build(&self, request: Option<&BuildRequest>) -> Vec<CheckItem> {
        let Some(request) = request else { return Vec::new() };
        let store = match self.store() {
            Ok(store) => store.clone(),
            Err(error) => return vec![CheckItem::failed("store", &error)],
        };
        let (root, mode, platform) = (store.root().to_owned(), request.isolation, request.platform.clone());
        let builder = Builder::new(store, self.client().in_background(), Progress::silent());
        let request = request.clone();
        let mut items = match blocking(move || builder.check(&request)).await {
            Ok(found) => {
                let runs_commands = found.runs_commands;
                let policy = check_bases(found.bases.iter().map(|(name, _)| name.as_str()));
                let mut items = build_items(found, &platform);
                items.extend(policy);
                let state = root.clone();
                items.push(match runs_commands {
                    true => blocking(move || Ok(isolation_item(&state, mode)))
                        .await
                        .unwrap_or_else(|error| CheckItem::failed("isolation", &error)),
                    false => CheckItem::passed("isolation", "none is needed: there is no RUN"),
                });
                items
            }
            Err(error) => vec![CheckItem::failed("dockerfile", &error)],
        };
        items.push(disk_item(&root));
        items
    }

    /// The digest of what a tag names: of the image for the product's platform.
    async fn digest_of(&self, image: &Reference) -> Result<Digest> {
        match image.digest() {
            Some(digest) => Ok(*digest),
            None => Ok(self.client().pull_image(image, &Platform::default()).await?.digest),
        }
    }
}

fn build_items(found: BuildCheck, platform: &Platform) -> Vec<CheckItem> {
    let BuildCheck { extent: (stages, steps), bases, sources, .. } = found;
    let plural = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let mut items = vec![CheckItem::passed("dockerfile", format!("{}, {}", plural(stages, "stage"), plural(steps, "step")))];
    items.push(match sources {
        Ok(number) => CheckItem::passed("sources", format!("{} of the build context", plural(number, "path"))),
        Err(error) => CheckItem::failed("sources", &error),
    });
    let mut there = Vec::new();
    for (name, found) in bases {
        match found {
            Ok(BaseFound::There) => there.push(format!("`{name}` is there for {platform}")),
            Ok(BaseFound::BuiltFromSdk) => there.push(format!("`{name}` is built from the installed SDK")),
            Err(error) => items.push(CheckItem::failed("base images", &error.wrap(format!("`{name}`")))),
        }
    }
    if items.iter().all(|item| item.state == CheckState::Passed) {
        let detail = if there.is_empty() { "none is needed".to_owned() } else { there.join(", ") };
        items.push(CheckItem::passed("base images", detail));
    }
    items
}

fn isolation_item(state: &Path, mode: IsolationMode) -> CheckItem {
    match Isolation::detect(state, mode) {
        Ok(isolation) => CheckItem::passed("isolation", isolation.kind().to_string()),
        Err(error) => CheckItem::failed("isolation", &error),
    }
}

fn disk_item(root: &Path) -> CheckItem {
    let room = match rustix::fs::statvfs(root) {
        Ok(status) => status.f_bavail.saturating_mul(status.f_frsize),
        Err(error) => return CheckItem::failed("disk", &Error::io("look at", root, error.into())),
    };
    let detail = format!("{:.1} GB are free for `{}`", room as f64 / 1e9, root.display());
    match room >= LEAST_ROOM {
        true => CheckItem::passed("disk", detail),
        false => {
            let error = Error::new(ErrorKind::Store, detail);
            CheckItem::failed("disk", &error.with_hint("free some room: `mpimg prune` removes what no image needs"))
        }
    }
}

/// Many blobs, one question.
fn anonymous_item(report: &AnonymousReport) -> CheckItem {
    let name = ANONYMOUS.to_owned();
    let hint = report.hint.clone();
    match report.worst() {
        Some(item) => {
            let hint = hint.or_else(|| item.hint.clone());
            CheckItem { name, state: item.state, detail: format!("{}: {}", item.name, item.detail), hint, kind: item.kind }
        }
        None if report.items.is_empty() => {
            CheckItem { name, state: CheckState::Unknown, detail: "nothing was asked".into(), hint, kind: None }
        }
        None => {
            let detail = format!("{} blobs and manifests", report.items.len());
            CheckItem { name, state: CheckState::Passed, detail, hint: None, kind: None }
        }
    }
}
