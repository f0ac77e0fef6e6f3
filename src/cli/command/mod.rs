//! The commands, one file each.
//!
//! Refuses to know each other.

mod build;
mod images;
mod inspect;
mod push;
mod serve;

use clap::Subcommand;

use super::terminal::Terminal;
use crate::error::Result;

/// What `mpimg` can do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Build(Box<build::Build>),
    Push(Box<push::Push>),
    Images(images::Images),
    Inspect(inspect::Inspect),
    Serve(serve::Serve),
}

impl Command {
    /// Does it.
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        match self {
            Self::Build(command) => command.run(terminal).await,
            Self::Push(command) => command.run(terminal).await,
            Self::Images(command) => command.run(terminal),
            Self::Inspect(command) => command.run(terminal).await,
            Self::Serve(command) => command.run(terminal).await,
        }
    }
}
