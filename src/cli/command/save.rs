//! `mpimg save`: an image as a file that docker, podman or another mpimg loads.

use std::io::{self, IsTerminal as _};

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, parsed};
use crate::cli::image;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Transport;
use crate::oci::Platform;
use crate::operation::SaveRequest;

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
pub(crate) struct Save {
    /// The image
    #[arg(value_name = "IMAGE", value_parser = image::named)]
    image: Transport,

    /// FILE, docker-archive:FILE[:NAME[:TAG]], oci-archive:FILE[:TAG] or oci:DIR[:TAG] [default:
    /// standard output]
    #[arg(short, long, value_name = "OUTPUT")]
    output: Vec<String>,

    /// The platform, if the image is for several
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64", value_parser = parsed::<Platform>)]
    platform: Platform,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Save {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        if self.output.is_empty() && (io::stdout().is_terminal() || terminal.wants_json()) {
            return Err(Error::new(ErrorKind::Usage, "an archive can be written neither to a terminal nor as JSON")
                .with_hint("name a file with `-o FILE`, or pipe the output to a program"));
        }
        let mut request = SaveRequest::new(self.image);
        request.platform = self.platform;
        self.output.iter().try_for_each(|output| request.add_output(output))?;
        let outputs: Vec<String> = request.outputs.iter().map(ToString::to_string).collect();
        let mpimg = self.connection.mpimg(terminal, None);
        terminal.handle_signals();
        if outputs.is_empty() {
            return mpimg.save_to(request, &mut io::stdout()).await.map(drop);
        }
        let digest = mpimg.save(request).await?.descriptor().digest;
        terminal.answer(&Answer {
            text: String::new(),
            quiet: String::new(),
            json: json!({ "digest": digest, "outputs": outputs }),
        })
    }
}
