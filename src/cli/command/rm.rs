//! `mpimg rm`: takes names away from images of the local store.
//!
//! The space is freed by `mpimg prune`.

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, LoginFlags, parsed};
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{ErrorKind, Result};
use crate::oci::Reference;
use crate::operation::Mpimg;

const EXAMPLES: &str = "\
The image's bytes stay until `mpimg prune`, which spares what another name or the build cache still needs.

Examples:
  mpimg rm app:1.0 app:latest
  mpimg rm -f app:maybe
  mpimg rm --remote harbor.example.com/mp/app:1.0";

/// Remove images from the local store, by name; with --remote from a registry
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, visible_alias = "rmi")]
pub(crate) struct Rm {
    /// The names
    #[arg(value_name = "NAME[:TAG|@DIGEST]", required = true, value_parser = parsed::<Reference>)]
    names: Vec<Reference>,

    /// Do not fail where there is no such image
    #[arg(short, long, conflicts_with = "remote")]
    force: bool,

    /// Delete from the registry instead: a tag, or with @DIGEST a manifest and all its tags
    #[arg(long)]
    remote: bool,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Rm {
    pub(super) async fn run(mut self, terminal: &Terminal) -> Result<()> {
        let login = std::mem::take(&mut self.login);
        let credential = login.credential(terminal, self.names[0].registry())?;
        let mpimg = std::mem::take(&mut self.connection).mpimg(terminal, credential);
        if self.remote {
            terminal.handle_signals();
            mpimg.remove_remote(&self.names).await?;
            let removed: Vec<String> = self.names.iter().map(Reference::familiar).collect();
            return terminal.answer(&Answer {
                text: removed.iter().map(|name| format!("Deleted: {name}\n")).collect(),
                quiet: removed.iter().map(|name| format!("{name}\n")).collect(),
                json: json!({ "removed": removed }),
            });
        }
        let removed = mpimg.remove(&self.names, self.force).map_err(|error| match self.container(&mpimg) {
            Some(name) if error.kind() == ErrorKind::NotFound => {
                error.with_hint(format!("`{name}` is a container: `mpimg stop --rm {name}` removes it"))
            }
            _ => error,
        })?;
        let removed: Vec<String> = removed.iter().map(Reference::familiar).collect();
        terminal.answer(&Answer {
            text: removed.iter().map(|name| format!("Untagged: {name}\n")).collect(),
            quiet: removed.iter().map(|name| format!("{name}\n")).collect(),
            json: json!({ "removed": removed }),
        })
    }

    /// The first of the names that a container has.
    fn container(&self, mpimg: &Mpimg) -> Option<String> {
        let names = self.names.iter().map(Reference::familiar);
        let mut names = names.map(|name| name.strip_suffix(":latest").map_or_else(|| name.clone(), str::to_owned));
        names.find(|name| mpimg.container(name).is_ok())
    }
}
