//! `mpimg logout`: forgets what `login` stored.
//!
//! Credentials of podman and of environment variables are left alone.

use clap::Args;
use serde_json::json;

use crate::cli::flags::ConnectionFlags;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::operation::registry_name;

const EXAMPLES: &str = "\
Examples:
  mpimg logout harbor.example.com
  mpimg logout                         Docker Hub";

/// Forget the credentials of a registry
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Logout {
    /// The registry
    #[arg(value_name = "HOST[:PORT]", default_value = "docker.io")]
    registry: String,
}

impl Logout {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let registry = registry_name(&self.registry);
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let known = mpimg.logout(&registry).await?;
        if !known {
            terminal.warn(&format!("there was no login to `{registry}`"), None);
        }
        let text = if known { format!("Removed login of {registry}\n") } else { String::new() };
        terminal.answer(&Answer { text, quiet: String::new(), json: json!({ "registry": registry, "removed": known }) })
    }
}
