//! `mpimg tag`: one more name for an image of the local store.
//!
//! Refuses to move anything.

use clap::Args;
use serde_json::json;

use crate::cli::flags::parsed;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Reference;
use crate::store::Store;

const EXAMPLES: &str = "\
Examples:
  mpimg tag app:1.0 app:latest
  mpimg tag app:1.0 harbor.example.com/mp/app:1.0";

/// Give an image of the local store another name; a name that is taken moves to it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Tag {
    /// A name that the image has
    #[arg(value_name = "NAME[:TAG]", value_parser = parsed::<Reference>)]
    source: Reference,

    /// The name that it gets
    #[arg(value_name = "NEW_NAME[:TAG]", value_parser = parsed::<Reference>)]
    target: Reference,
}

impl Tag {
    pub(super) fn run(self, terminal: &Terminal) -> Result<()> {
        let store = Store::open(Store::default_root()?)?;
        let image = store.resolve(&self.source)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no image `{}` in the local store", self.source.familiar()))
                .with_hint("`mpimg images` lists what is there")
        })?;
        if self.target.digest().is_some_and(|digest| *digest != image.manifest.digest) {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("the image has the digest `{}`, not that of the new name", image.manifest.digest),
            )
            .with_hint("leave out what comes after `@`"));
        }
        store.tag(&self.target, &image)?;
        let digest = image.manifest.digest;
        terminal.answer(&Answer {
            text: String::new(),
            quiet: String::new(),
            json: json!({ "name": self.target.familiar(), "digest": digest }),
        })
    }
}
