//! `mpimg tags`: the tags of a repository in a registry.

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, LoginFlags, parsed};
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::oci::{Repository, Tag};

const EXAMPLES: &str = "\
Examples:
  mpimg tags harbor.example.com/mp/nsx
  mpimg tags python | grep slim";

/// List the tags of a repository in a registry
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tags {
    /// The repository
    #[arg(value_name = "REPOSITORY", value_parser = parsed::<Repository>)]
    repository: Repository,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Tags {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let credential = self.login.credential(terminal, self.repository.registry())?;
        let mpimg = self.connection.mpimg(terminal, credential);
        terminal.handle_signals();
        let tags = mpimg.tags(&self.repository).await?;
        let text: String = tags.iter().map(|tag| format!("{tag}\n")).collect();
        let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        let json = json!({ "repository": self.repository.familiar(), "tags": names });
        terminal.answer(&Answer { quiet: text.clone(), text, json })
    }
}
