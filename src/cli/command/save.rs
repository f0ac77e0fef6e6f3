//! `mpimg save`: an image as a file that docker, podman or another mpimg loads.
//!
//! Refuses to write an archive onto a terminal.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, parsed};
use crate::cli::image;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Transport};
use crate::oci::{Platform, Reference};
use crate::store::Store;

const EXAMPLES: &str = "\
Without a transport, FILE is a docker archive, as `docker save` writes it. The same image gives the same bytes.

Examples:
  mpimg save app:1 -o app.tar
  mpimg save app:1 | ssh host docker load
  mpimg save app:1 -o oci:layout -o oci-archive:app-oci.tar
  mpimg save docker://registry.example.com/app:1 -o app.tar";

/// Write an image to an archive or OCI layout
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n\n{EXAMPLES}", image::FORMS))]
pub(in crate::cli) struct Save {
    /// The image
    #[arg(value_name = "IMAGE", value_parser = image::named)]
    image: Transport,

    /// FILE, docker-archive:FILE[:NAME[:TAG]], oci-archive:FILE[:TAG] or oci:DIR[:TAG] [default: standard output]
    #[arg(short, long, value_name = "OUTPUT")]
    output: Vec<String>,

    /// Which of an image for several platforms
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64", value_parser = parsed::<Platform>)]
    platform: Platform,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Save {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let name = match &self.image {
            Transport::Store(name) | Transport::Registry(name) => Some(name.clone()),
            Transport::DockerArchive { reference, .. } => reference.clone(),
            Transport::OciLayout { .. } | Transport::OciArchive { .. } => None,
        };
        let outputs = self.output.iter().map(|text| output(text, name.as_ref())).collect::<Result<Vec<_>>>()?;
        if outputs.is_empty() && (io::stdout().is_terminal() || terminal.wants_json()) {
            return Err(Error::new(ErrorKind::Usage, "an archive is neither for a terminal nor for `--json`")
                .with_hint("name a file with `-o FILE`, or pipe the output to a program"));
        }
        let mpimg = self.connection.mpimg(terminal, None)?;
        terminal.handle_signals();
        let image = mpimg.find(self.image, &self.platform).await?;
        let store = mpimg.store()?.clone();
        if outputs.is_empty() {
            return to_standard_output(&store, &image, name).await;
        }
        for output in &outputs {
            output.write(&store, &image).await?;
        }
        let digest = image.descriptor().digest;
        terminal.answer(&Answer {
            text: String::new(),
            quiet: String::new(),
            json: json!({ "digest": digest, "outputs": outputs.iter().map(ToString::to_string).collect::<Vec<_>>() }),
        })
    }
}

/// A path alone is a docker archive; an archive has the image's name unless told another.
fn output(text: &str, name: Option<&Reference>) -> Result<Transport> {
    let with_transport = ["oci:", "oci-archive:", "docker-archive:", "docker://"].iter().any(|prefix| text.starts_with(prefix));
    if !with_transport {
        return Ok(Transport::DockerArchive { file: text.into(), reference: name.and_then(tagged) });
    }
    match Transport::parse(text)? {
        Transport::Registry(_) => {
            Err(Error::new(ErrorKind::Usage, format!("`{text}` is in a registry")).with_hint("use `mpimg push --image`"))
        }
        output => Ok(output.named(name.and_then(tagged))),
    }
}

/// Docker archives know names with tags only.
fn tagged(name: &Reference) -> Option<Reference> {
    name.tag().map(|tag| name.repository().with_tag(tag.clone()))
}

async fn to_standard_output(store: &Store, image: &Image, name: Option<Reference>) -> Result<()> {
    let scratch = store.scratch()?;
    let file: PathBuf = scratch.path().join("image.tar");
    Transport::DockerArchive { file: file.clone(), reference: name.as_ref().and_then(tagged) }.write(store, image).await?;
    let mut archive = std::fs::File::open(&file).map_err(|error| Error::io("open", &file, error))?;
    match io::copy(&mut archive, &mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Io, "cannot write to standard output").with_source(error))
        }
        _ => Ok(()),
    }
}
