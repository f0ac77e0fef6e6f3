//! `mpimg check`: would a push work, and can the product pull? A list of ticks and crosses.
//!
//! Refuses to leave anything in the registry.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::flags::{ConnectionFlags, LoginFlags};
use crate::cli::style::Theme;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Platform, Reference, Repository};
use crate::project::{ContainerRepository, Project, ProjectConfig};
use crate::registry::{CheckItem, CheckState, Client};

const EXAMPLES: &str = "\
With a tag or digest, the image is also tried to be pulled without logging in, as VMware Aria Operations does.

Examples:
  mpimg check                                   The project in this folder
  mpimg check harbor.example.com/mp/nsx
  mpimg check harbor.example.com/mp/nsx:1.0.0   An image that is there, too
  mpimg check --json || exit 1                  In CI, before a long build";

/// Check whether an image could be pushed, and pulled by the product
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Check {
    /// A project's folder, a repository, or an image in one
    #[arg(value_name = "PATH|REPOSITORY[:TAG|@DIGEST]", default_value = ".")]
    subject: String,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// What is checked.
struct Subject {
    push: Repository,
    pull: Repository,
    /// An image that is there.
    image: Option<Reference>,
}

impl Check {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let subject = subject(&self.subject)?;
        let credential = self.login.credential(terminal, subject.push.registry())?;
        let client = self.connection.client(terminal, None, credential)?;
        terminal.handle_signals();
        let mut items = client.check(&subject.push).await;
        let mut pulls = None;
        if let Some(image) = &subject.image {
            let digest = digest(&client, image).await?;
            let report = client.check_anonymous(&subject.pull, &digest).await;
            pulls = report.pulls;
            items.push(anonymous_item(&report.items, report.hint));
        }
        let passed = items.iter().all(|item| item.state == CheckState::Passed);
        let theme = terminal.theme();
        let mut text = format!("{}\n", theme.strong(&subject.push));
        text += &items.iter().map(|item| line(item, theme)).collect::<String>();
        if let Some((left, allowed)) = pulls {
            text += &format!("Docker Hub: {left} of {allowed} pulls are left for this address\n");
        }
        terminal.answer(&Answer {
            text,
            quiet: String::new(),
            json: json!({
                "repository": subject.push.to_string(),
                "passed": passed,
                "checks": items.iter().map(json).collect::<Vec<_>>(),
                "pulls": pulls.map(|(left, allowed)| json!({ "left": left, "allowed": allowed })),
            }),
        })?;
        match items.iter().filter(|item| item.state != CheckState::Passed).count() {
            0 => Ok(()),
            failed => Err(Error::new(ErrorKind::Registry, format!("{failed} of {} checks did not pass", items.len()))),
        }
    }
}

fn subject(text: &str) -> Result<Subject> {
    let path = PathBuf::from(text);
    if path.is_dir() {
        return of_project(&path);
    }
    let with_tag = text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    let reference = Reference::parse(text)
        .map_err(|error| error.with_hint("name a project's folder that exists, or a repository as HOST[:PORT]/PATH[:TAG]"))?;
    let repository = reference.repository().clone();
    Ok(Subject { push: repository.clone(), pull: repository, image: with_tag.then_some(reference) })
}

fn of_project(path: &Path) -> Result<Subject> {
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
    Ok(Subject { push: push.repository().clone(), pull: pull.repository().clone(), image: None })
}

/// The digest of what a tag names: of the image for the product's platform.
async fn digest(client: &Client, image: &Reference) -> Result<Digest> {
    match image.digest() {
        Some(digest) => Ok(*digest),
        None => Ok(client.pull_image(image, &Platform::default()).await?.digest),
    }
}

/// Many blobs, one question.
fn anonymous_item(items: &[CheckItem], hint: Option<String>) -> CheckItem {
    let failed = items.iter().find(|item| item.state != CheckState::Passed);
    let name = "anybody can pull".to_owned();
    match failed {
        Some(item) => {
            let hint = hint.or_else(|| item.hint.clone());
            CheckItem { name, state: item.state, detail: format!("{}: {}", item.name, item.detail), hint }
        }
        None if items.is_empty() => CheckItem { name, state: CheckState::Unknown, detail: "nothing was asked".into(), hint },
        None => CheckItem { name, state: CheckState::Passed, detail: format!("{} blobs and manifests", items.len()), hint: None },
    }
}

fn line(item: &CheckItem, theme: Theme) -> String {
    let sign = match item.state {
        CheckState::Passed => theme.good("✓"),
        CheckState::Failed => theme.bad("✗"),
        CheckState::Unknown => theme.warning("?"),
    };
    let mut text = format!("  {sign} {}  {}\n", item.name, theme.faint(&item.detail));
    if let Some(hint) = &item.hint {
        text += &format!("      {}: {}\n", theme.guide("hint"), hint.replace('\n', "\n      "));
    }
    text
}

fn json(item: &CheckItem) -> Value {
    let state = match item.state {
        CheckState::Passed => "passed",
        CheckState::Failed => "failed",
        CheckState::Unknown => "unknown",
    };
    json!({ "name": item.name, "state": state, "detail": item.detail, "hint": item.hint })
}
