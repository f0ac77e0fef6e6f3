//! `mpimg images`: what the local store has names for.

use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::flags::{ConnectionFlags, parsed};
use crate::cli::size::Size;
use crate::cli::table::Table;
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::when;
use crate::error::{Error, Result};
use crate::oci::Reference;
use crate::operation::StoredImage;

const EXAMPLES: &str = "\
SIZE is what the image takes in a registry: compressed. MADE is when the image was built. An image dated 1970 (built by \
mpimg outside a git repository) shows when it was named here. A project that was pushed is listed by the name it \
has in its registry.

Examples:
  mpimg images                  All images of the local store
  mpimg images base-adapter     Those of one repository
  mpimg images -q | sort -u     Their digests";

/// List the images of the local store
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, visible_alias = "ls")]
pub(crate) struct Images {
    /// Only images of this repository, or with this tag
    #[arg(value_name = "NAME[:TAG]", value_parser = parsed::<NameFilter>)]
    name: Option<NameFilter>,
}

/// What is listed: all of a repository where no tag or digest was written.
#[derive(Debug, Clone)]
struct NameFilter {
    name: Reference,
    is_repository: bool,
}

impl FromStr for NameFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Self { name: text.parse()?, is_repository: !Reference::has_tag_or_digest(text) })
    }
}

impl Images {
    pub(super) fn run(self, terminal: &Terminal) -> Result<()> {
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let mut table = Table::new(["REPOSITORY", "TAG", "DIGEST", "MADE", "SIZE"], &[]);
        let (mut digests, mut list) = (String::new(), Vec::new());
        let now = when::now();
        for image in mpimg.images()?.into_iter().filter(|image| self.wants(&image.name)) {
            let (size, named) = (image.size(), !image.is_unnamed());
            let made = image.made();
            let StoredImage { name, record, created, .. } = image;
            let digest = record.manifest.digest;
            let repository = named.then(|| name.repository().familiar());
            let tag = name.tag().map(ToString::to_string);
            let short = format!("{}:{}", digest.algorithm(), digest.short());
            let shown_tag = tag.clone().unwrap_or_else(|| "<none>".into());
            let shown_repository = repository.clone().unwrap_or_else(|| "<none>".into());
            table.row([shown_repository, shown_tag, short, when::ago(made.as_deref(), now), Size(size).to_string()]);
            digests += &format!("{digest}\n");
            list.push(json!({
                "name": named.then(|| name.familiar()),
                "repository": repository,
                "tag": tag,
                "digest": digest,
                "platform": record.platform.to_string(),
                "created": created,
                "made": made,
                "size": size,
            }));
        }
        terminal.answer(&Answer { text: table.draw(), quiet: digests, json: json!({ "images": Value::Array(list) }) })
    }

    fn wants(&self, name: &Reference) -> bool {
        self.name.as_ref().is_none_or(|wanted| match wanted.is_repository {
            true => wanted.name.repository() == name.repository(),
            false => wanted.name == *name,
        })
    }
}
