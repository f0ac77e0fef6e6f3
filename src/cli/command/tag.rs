//! `mpimg tag`: one more name for an image of the local store.

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, parsed};
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::oci::Reference;

const EXAMPLES: &str = "\
Examples:
  mpimg tag app:1.0 app:latest
  mpimg tag app:1.0 harbor.example.com/mp/app:1.0";

/// Give an image of the local store another name; a name that is taken moves to it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tag {
    /// A name that the image has
    #[arg(value_name = "NAME[:TAG]", value_parser = parsed::<Reference>)]
    source: Reference,

    /// The name that it gets
    #[arg(value_name = "NEW_NAME[:TAG]", value_parser = parsed::<Reference>)]
    target: Reference,
}

impl Tag {
    pub(super) fn run(self, terminal: &Terminal) -> Result<()> {
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let digest = mpimg.tag(&self.source, &self.target)?;
        terminal.answer(&Answer {
            text: String::new(),
            quiet: String::new(),
            json: json!({ "name": self.target.familiar(), "digest": digest }),
        })
    }
}
