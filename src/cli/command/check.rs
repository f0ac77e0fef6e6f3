//! `mpimg check`: would a build and a push work, and can the product pull? A list of ticks and
//! crosses.
//!
//! Nothing is left in the registry.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::flags::{ConnectionFlags, LoginFlags};
use crate::cli::message::error_json;
use crate::cli::style::Theme;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{CheckReport, CheckSubject};
use crate::registry::{CheckItem, CheckState};

const EXAMPLES: &str = "\
For a project, `check` also reads the Dockerfile, and looks for the files and base images that it names, for an
isolation that RUN can have, and for room on the disk. With a tag or digest, or if an image was pushed before, it tries
to pull that without logging in, as VMware Aria Operations does; before the first push it asks the registry whether
that will work, where the registry tells (Harbor).

Examples:
  mpimg check                                   The project in this folder
  mpimg check harbor.example.com/mp/nsx
  mpimg check harbor.example.com/mp/nsx:1.0.0   Also an image that is there
  mpimg check --json || exit 1                  In CI, before a long build";

/// Check whether an image could be built, pushed, and pulled by the product
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    /// A project's folder, a repository, or an image in one
    #[arg(value_name = "PATH|REPOSITORY[:TAG|@DIGEST]", default_value = ".")]
    subject: String,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Check {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let subject = CheckSubject::parse(&self.subject)?;
        let credential = self.login.credential(terminal, subject.push.registry())?;
        let mpimg = self.connection.mpimg(terminal, credential);
        terminal.handle_signals();
        let report = mpimg.check(&subject).await?;
        let (passed, CheckReport { items, pulls }) = (report.passed(), report);
        let theme = terminal.theme();
        let mut text = format!("{}\n", theme.strong(&subject.push));
        text += &items.iter().map(|item| line(item, theme)).collect::<String>();
        if let Some((left, allowed)) = pulls {
            text += &format!("Docker Hub: {left} of {allowed} pulls are left for this address\n");
        }
        let mut report = json!({
            "repository": subject.push.to_string(),
            "passed": passed,
            "checks": items.iter().map(json).collect::<Vec<_>>(),
            "pulls": pulls.map(|(left, allowed)| json!({ "left": left, "allowed": allowed })),
        });
        // The answer is also the error that every command that fails gives a program.
        let is_amiss = |item: &&CheckItem| !matches!(item.state, CheckState::Passed | CheckState::Later);
        if let (Some(item), Some(report)) = (items.iter().find(is_amiss), report.as_object_mut()) {
            report.extend(error_of(item, &subject).as_object().cloned().unwrap_or_default());
        }
        terminal.answer(&Answer { text, quiet: String::new(), json: report })?;
        match items.iter().filter(is_amiss).count() {
            0 => Ok(()),
            failed => Err(Error::new(ErrorKind::Registry, format!("{failed} of {} checks did not pass", items.len()))),
        }
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
fn error_of(item: &CheckItem, subject: &CheckSubject) -> Value {
    let kind = item.kind.unwrap_or(ErrorKind::Registry);
    let cause = Error::new(kind, format!("{}: {}", item.name, item.detail));
    let error = Error::new(kind, format!("`{}` did not pass the check", subject.push)).with_source(cause);
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
