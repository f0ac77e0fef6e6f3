//! Whether an image could be pushed, and pulled by the product.
//!
//! Invariant: nothing is left in the registry.

use std::path::Path;

use super::Mpimg;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Platform, Reference, Repository};
use crate::project::{ContainerRepository, Project, ProjectConfig};
use crate::registry::{ANSWERS, AnonymousReport, CheckItem, CheckState};

/// What is checked.
#[derive(Debug, Clone)]
pub struct CheckSubject {
    /// Where it would be pushed to.
    pub push: Repository,
    /// Where the product would pull it from.
    pub pull: Repository,
    /// An image that is there.
    pub image: Option<Reference>,
}

impl CheckSubject {
    /// A project's folder, a repository, or an image in one: `PATH`, `REPOSITORY[:TAG|@DIGEST]`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: it is none of them, or config.json names no repository; [`ErrorKind::Project`].
    pub fn parse(text: &str) -> Result<Self> {
        if Path::new(text).is_dir() {
            return Self::project(Path::new(text));
        }
        let with_tag = text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        let reference = Reference::parse(text)
            .map_err(|error| error.with_hint("name a project's folder that exists, or a repository as HOST[:PORT]/PATH[:TAG]"))?;
        let repository = reference.repository().clone();
        Ok(Self { push: repository.clone(), pull: repository, image: with_tag.then_some(reference) })
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
        Ok(Self { push: push.repository().clone(), pull: pull.repository().clone(), image: None })
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
    /// Whether all is as it should be.
    pub fn passed(&self) -> bool {
        self.items.iter().all(|item| item.state == CheckState::Passed)
    }
}

impl Mpimg {
    /// Checks whether an image could be pushed; and, if the subject is an image, whether anybody can pull it.
    ///
    /// # Errors
    /// None for now: all that fails is an item of the report.
    pub async fn check(&self, subject: &CheckSubject) -> Result<CheckReport> {
        let mut items = self.client().check(&subject.push).await;
        let mut pulls = None;
        // Where no registry answers, there is nothing more to be asked.
        let answers = items.iter().any(|item| item.name == ANSWERS && item.state == CheckState::Passed);
        if let Some(image) = subject.image.as_ref().filter(|_| answers) {
            match self.digest_of(image).await {
                Ok(digest) => {
                    let report = self.client().check_anonymous(&subject.pull, &digest).await;
                    pulls = report.pulls;
                    items.push(anonymous_item(&report));
                }
                Err(error) => items.push(CheckItem::failed("the image is there", &error)),
            }
        }
        Ok(CheckReport { items, pulls })
    }

    /// The digest of what a tag names: of the image for the product's platform.
    async fn digest_of(&self, image: &Reference) -> Result<Digest> {
        match image.digest() {
            Some(digest) => Ok(*digest),
            None => Ok(self.client().pull_image(image, &Platform::default()).await?.digest),
        }
    }
}

/// Many blobs, one question.
fn anonymous_item(report: &AnonymousReport) -> CheckItem {
    let name = "anybody can pull".to_owned();
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
