//! `mpimg pull`: an image of a registry into the local store.

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, LoginFlags, parsed, registry_image};
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::oci::{Platform, Reference};

const EXAMPLES: &str = "\
Builds and `docker://NAME` need no pull: they fetch what they use. A pulled image can be run, tagged, saved and inspected without \
the registry.

Examples:
  mpimg pull python:3.12-slim
  mpimg pull harbor.example.com/mp/nsx:1.0.0";

/// Pull an image from a registry into the local store
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pull {
    /// The image; `latest` without a tag
    #[arg(value_name = "NAME[:TAG]", value_parser = registry_image)]
    name: Reference,

    /// The image's platform
    #[arg(long, value_name = "PLATFORM", env = "DOCKER_DEFAULT_PLATFORM", hide_env_values = true,
        default_value = "linux/amd64", value_parser = parsed::<Platform>)]
    platform: Platform,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Pull {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let credential = self.login.credential(terminal, self.name.repository().registry())?;
        let mpimg = self.connection.mpimg(terminal, credential);
        terminal.handle_signals();
        let pulled = mpimg.pull(&self.name, &self.platform).await?;
        let name = pulled.name.familiar();
        let done = if pulled.up_to_date { "is up to date" } else { "is in the local store" };
        terminal.say(&format!("`{name}` {done}"));
        terminal.answer(&Answer {
            text: format!("{}\n", pulled.digest),
            quiet: format!("{}\n", pulled.digest),
            json: json!({ "name": name, "digest": pulled.digest, "up_to_date": pulled.up_to_date }),
        })
    }
}
