//! `mpimg completions`: what a shell needs to complete mpimg's flags.

use clap::Args;
use clap_complete::Shell;
use serde_json::json;

use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  mpimg completions bash > /etc/bash_completion.d/mpimg
  mpimg completions zsh > \"${fpath[1]}/_mpimg\"
  mpimg completions fish > ~/.config/fish/completions/mpimg.fish";

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, terminal: &Terminal, mut grammar: clap::Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut grammar, "mpimg", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        let json = json!({ "shell": self.shell.to_string(), "script": script });
        terminal.answer(&Answer { quiet: script.clone(), text: script, json })
    }
}
