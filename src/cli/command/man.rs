//! `mpimg man`: manual pages, one a command.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  mpimg man /usr/local/share/man/man1
  mpimg man . && man ./mpimg-push.1";

/// Write manual pages into a folder
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Man {
    /// The folder; made if it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Man {
    pub(super) fn run(self, terminal: &Terminal, grammar: clap::Command) -> Result<()> {
        let wrong = |error| Error::io("write manual pages into", &self.dir, error);
        std::fs::create_dir_all(&self.dir).map_err(wrong)?;
        clap_mangen::generate_to(grammar, &self.dir).map_err(wrong)?;
        let mut pages: Vec<String> = std::fs::read_dir(&self.dir)
            .map_err(wrong)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with("mpimg") && name.ends_with(".1"))
            .collect();
        pages.sort();
        terminal.answer(&Answer {
            text: pages.iter().map(|page| format!("{}\n", self.dir.join(page).display())).collect(),
            quiet: String::new(),
            json: json!({ "dir": self.dir.display().to_string(), "pages": pages }),
        })
    }
}
