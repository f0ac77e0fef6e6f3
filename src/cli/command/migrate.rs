//! `mpimg migrate`: puts the installed SDK's base images into the Dockerfile of an old project.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::flags::ConnectionFlags;
use crate::cli::prompt;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::operation::{MigrateRequest, Migration};

const EXAMPLES: &str = "\
Base images of the SDK until 1.2 were in registries that were shut down, and each release of the SDK builds one version of each. \
The change is shown as a diff; it is written once you agree, or with --yes.

Examples:
  mpimg migrate                    Show the change, ask, make it
  mpimg migrate --dry-run ~/nsx    Only show it
  mpimg migrate --dry-run | patch -p0";

/// Put the installed SDK's base images into the Dockerfile of an old project
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Migrate {
    /// The project's folder
    #[arg(default_value = ".", value_name = "PATH")]
    path: PathBuf,

    /// The Dockerfile [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Write the change without asking
    #[arg(short, long)]
    yes: bool,

    /// Only show the change
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

impl Migrate {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let migration = mpimg.migration(MigrateRequest { context: self.path, dockerfile: self.file }).await?;
        let file = migration.dockerfile.display();
        for name in &migration.left {
            terminal.warn(
                &format!("`{file}` builds on {name}, which is put together from variables"),
                Some("change it by hand: name the image that the installed SDK builds"),
            );
        }
        let diff = migration.diff();
        if migration.changes.is_empty() {
            terminal.say(&format!("nothing to change in `{file}`"));
            return answer(terminal, &migration, "", false);
        }
        let ask = !self.yes && !self.dry_run && terminal.can_ask();
        if ask {
            terminal.say(diff.trim_end());
        }
        let write = self.yes || (ask && prompt::confirm(terminal, &format!("Change `{file}`?"))?);
        if write {
            migration.write()?;
            terminal.say(&format!("changed `{file}`"));
        } else if !ask && !self.dry_run {
            terminal.say("nothing was written: there is no terminal to ask on, and no --yes");
        }
        answer(terminal, &migration, if ask { "" } else { &diff }, write)
    }
}

fn answer(terminal: &Terminal, migration: &Migration, text: &str, written: bool) -> Result<()> {
    let changes = migration.changes.iter().map(|change| json!({ "line": change.line, "from": change.from, "to": change.to }));
    terminal.answer(&Answer {
        text: text.to_owned(),
        quiet: text.to_owned(),
        json: json!({
            "dockerfile": migration.dockerfile,
            "changes": changes.collect::<Vec<_>>(),
            "left": migration.left,
            "diff": migration.diff(),
            "written": written,
        }),
    })
}
