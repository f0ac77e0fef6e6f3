//! `mpimg check`: would a build and a push work, and can the product pull? A list of ticks and
//! crosses.
//!
//! Nothing is left in the registry.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::flags::{ConnectionFlags, LoginFlags, explained, parsed};
use crate::cli::message::error_json;
use crate::cli::style::Theme;
use crate::cli::terminal::{Answer, Terminal};
use crate::container::parse_memory;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{CheckReport, CheckSubject, ProductCheck};
use crate::registry::{CheckItem, CheckState};
use crate::sandbox::IsolationMode;

const EXAMPLES: &str = "\
For a project, `check` also reads the Dockerfile, and looks for the files and base images that it names, for an isolation that \
RUN can have, and for room on the disk. With a tag or digest, or if an image was pushed before, it tries to pull that without \
logging in, as VMware Aria Operations does; before the first push it asks the registry whether that will work, where the registry \
tells (Harbor).

Examples:
  mpimg check                                   The project in this folder
  mpimg check harbor.example.com/mp/nsx
  mpimg check harbor.example.com/mp/nsx:1.0.0   Also an image that is there
  mpimg check --as-product my-adapter:1.0.0     An adapter, as the product runs it
  mpimg check --json || exit 1                  In CI, before a long build";

/// Check whether an image could be built, pushed, and pulled by the product
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    /// A project's folder, a repository, or an image in one
    #[arg(value_name = "PATH|REPOSITORY[:TAG|@DIGEST]", default_value = ".")]
    subject: String,

    /// Start an adapter's local image as VMware Aria Operations does, and send it the product's
    /// requests, a collection without credentials too: HTTPS on port 443, memory, /var/log
    ///
    /// Its platform, layers and command are looked at before. The container is removed afterwards.
    #[arg(long, value_name = "IMAGE", conflicts_with = "subject")]
    as_product: Option<String>,

    /// With --as-product: how much memory the adapter may have [default: 1g, as config.json's
    /// `default_memory_limit`]
    #[arg(long, value_name = "SIZE", requires = "as_product", value_parser = |text: &str| parse_memory(text).map_err(|error| explained(&error)))]
    memory: Option<u64>,

    /// With --as-product: how it is isolated; see `mpimg run`
    #[arg(long, value_name = "KIND", requires = "as_product", default_value = "auto", value_parser = parsed::<IsolationMode>)]
    isolation: IsolationMode,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Check {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let (name, report) = match &self.as_product {
            Some(image) => {
                let mpimg = self.connection.mpimg(terminal, None);
                terminal.handle_signals();
                let mut check = ProductCheck::new(image);
                (check.memory, check.isolation) = (self.memory, self.isolation);
                (image.clone(), mpimg.check_as_product(check).await?)
            }
            None => {
                let subject = CheckSubject::parse(&self.subject)?;
                let credential = self.login.credential(terminal, subject.push.registry())?;
                let mpimg = self.connection.mpimg(terminal, credential);
                terminal.handle_signals();
                (subject.push.to_string(), mpimg.check(&subject).await?)
            }
        };
        answer(terminal, &name, self.as_product.is_some(), report)
    }
}

/// Shows what was found; an error if something is not as it should be.
fn answer(terminal: &Terminal, name: &str, is_image: bool, report: CheckReport) -> Result<()> {
    let (passed, CheckReport { items, pulls }) = (report.passed(), report);
    let theme = terminal.theme();
    let mut text = format!("{}\n", theme.strong(name));
    text += &items.iter().map(|item| line(item, theme)).collect::<String>();
    if let Some((left, allowed)) = pulls {
        text += &format!("Docker Hub: {left} of {allowed} pulls are left for this address\n");
    }
    let mut report = json!({
        if is_image { "image" } else { "repository" }: name,
        "passed": passed,
        "checks": items.iter().map(json).collect::<Vec<_>>(),
        "pulls": pulls.map(|(left, allowed)| json!({ "left": left, "allowed": allowed })),
    });
    // The answer is also the error that every command that fails gives a program.
    let is_amiss = |item: &&CheckItem| !matches!(item.state, CheckState::Passed | CheckState::Later);
    if let (Some(item), Some(report)) = (items.iter().find(is_amiss), report.as_object_mut()) {
        report.extend(error_of(item, name).as_object().cloned().unwrap_or_default());
    }
    terminal.answer(&Answer { text, quiet: String::new(), json: report })?;
    match items.iter().filter(is_amiss).count() {
        0 => Ok(()),
        failed => Err(Error::new(ErrorKind::Registry, format!("{failed} of {} checks did not pass", items.len()))),
    }
}

fn line(item: &CheckItem, theme: Theme) -> String {
    let sign = match item.state {
        CheckState::Passed => theme.good("✓"),
        CheckState::Failed => theme.bad("✗"),
        CheckState::Unknown => theme.warning("?"),
        CheckState::Later => theme.faint("–"),
    };
    let mut text = format!("  {sign} {}  {}\n", item.name, theme.faint(&item.detail));
    if let Some(hint) = &item.hint {
        text += &format!("      {}: {}\n", theme.guide("hint"), hint.replace('\n', "\n      "));
    }
    text
}

/// What keeps the image from being pushed or pulled, as an error.
fn error_of(item: &CheckItem, name: &str) -> Value {
    let kind = item.kind.unwrap_or(ErrorKind::Registry);
    let cause = Error::new(kind, format!("{}: {}", item.name, item.detail));
    let error = Error::new(kind, format!("`{name}` did not pass the check")).with_source(cause);
    error_json(&match &item.hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    })
}

fn json(item: &CheckItem) -> Value {
    let state = match item.state {
        CheckState::Passed => "passed",
        CheckState::Failed => "failed",
        CheckState::Unknown => "unknown",
        CheckState::Later => "later",
    };
    json!({ "name": item.name, "state": state, "detail": item.detail, "hint": item.hint })
}
