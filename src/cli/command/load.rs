//! `mpimg load`: loads the images of an archive into the local store.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, parsed};
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Platform, Reference};
use crate::operation::{LoadRequest, LoadedImage};

const EXAMPLES: &str = "\
What `docker save`, `podman save` and `mpimg save` write is recognised, compressed or not; so is the folder \
of an OCI layout. Uncompressed layers are compressed on the way in. `-` is standard input.

Examples:
  docker save app:1 | mpimg load -
  mpimg load app.tar
  mpimg load -t app:1 oci-layout/";

/// Load the images of an archive into the local store
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Load {
    /// A docker archive, an OCI archive, the folder of an OCI layout, or - [default: standard
    /// input]
    #[arg(value_name = "ARCHIVE")]
    archive: Option<PathBuf>,

    /// The same as ARCHIVE; docker's spelling
    #[arg(short, long, value_name = "ARCHIVE", conflicts_with = "archive")]
    input: Option<PathBuf>,

    /// Also give the image this name; for an archive of one image
    #[arg(short, long, value_name = "NAME[:TAG]", value_parser = parsed::<Reference>)]
    tag: Option<Reference>,

    /// The platform, if the image is for several
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64", value_parser = parsed::<Platform>)]
    platform: Platform,
}

impl Load {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let archive = self.archive.or(self.input).unwrap_or_else(|| "-".into());
        if archive == Path::new("-") && io::stdin().is_terminal() {
            return Err(Error::new(ErrorKind::Usage, "no archive was named").with_hint("name a file, or pipe an archive in"));
        }
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let mut request = LoadRequest::new(super::import::archive(archive));
        request.name = self.tag;
        request.platform = self.platform;
        let (mut text, mut quiet, mut loaded) = (String::new(), String::new(), Vec::new());
        for LoadedImage { image, names, .. } in mpimg.load(request).await? {
            let (digest, names) = (image.descriptor().digest, names.iter().map(Reference::familiar).collect::<Vec<_>>());
            text += &names.iter().map(|name| format!("Loaded image: {name}\n")).collect::<String>();
            quiet += &format!("{digest}\n");
            loaded.push(json!({ "names": names, "digest": digest }));
        }
        terminal.answer(&Answer { text, quiet, json: json!({ "images": loaded }) })
    }
}
