//! `mpimg build`: a Dockerfile and a folder become an image.
//!
//! Refuses to push: `mpimg push` does both.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::build::Builder;
use crate::cli::digest_file::DigestFile;
use crate::cli::flags::{BuildFlags, ConnectionFlags, parsed};
use crate::cli::progress::shown_time;
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::{blocking, image};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Transport};
use crate::oci::Reference;
use crate::store::Store;

const EXAMPLES: &str = "\
Base images come from the local store, or from a registry if they are not there; FROM also takes oci:DIR, \
oci-archive:FILE and docker-archive:FILE. In an Integration SDK project (a folder with manifest.txt) the folders \
that mp-build leaves out are left out, too; anywhere else docker's rules hold.

Examples:
  mpimg build                                    This folder; prints the digest
  mpimg build -t app:1.0 -f docker/Dockerfile .  With a name in the local store
  mpimg build -o oci:out -o docker-archive:a.tar To a layout and for docker load
  mpimg build --target test --build-arg PORT=80 --secret id=token,src=token.txt";

/// Build an image from a Dockerfile; prints its digest
///
/// Nothing is named or written unless --tag or --output say so, but layers and the results of RUN are kept in the
/// local store, and not made again.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Build {
    /// The folder of the build context
    #[arg(default_value = ".", value_name = "PATH")]
    path: PathBuf,

    /// Give the image this name in the local store; may be repeated
    #[arg(short, long, value_name = "NAME[:TAG]", value_parser = parsed::<Reference>)]
    tag: Vec<Reference>,

    /// Write the image to oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME[:TAG]]; may be repeated
    #[arg(short, long, value_name = "TRANSPORT:PATH", value_parser = output)]
    output: Vec<Transport>,

    #[command(flatten)]
    digest_file: DigestFile,

    #[command(flatten)]
    build: BuildFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// An output is a file or folder; names and registries have flags and commands of their own.
fn output(text: &str) -> Result<Transport, String> {
    match Transport::parse(text) {
        Ok(Transport::Store(_)) => {
            Err("write oci:DIR, oci-archive:FILE or docker-archive:FILE; a name is given with --tag".into())
        }
        Ok(Transport::Registry(_)) => Err("an image goes to a registry with `mpimg push`".into()),
        Ok(transport) => Ok(transport),
        Err(error) => Err(error.hint().map_or_else(|| error.to_string(), str::to_owned)),
    }
}

impl Build {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let started = Instant::now();
        let mut request = self.build.request(&self.path)?;
        request.cancel = terminal.interrupt().build().clone();
        if let Some(name) = self.tag.iter().find(|name| name.digest().is_some()) {
            return Err(Error::new(ErrorKind::Usage, format!("`{}` has a digest", name.familiar()))
                .with_hint("name the image by NAME:TAG; the digest is what the build finds out"));
        }
        let store = Store::open(Store::default_root()?)?;
        let client = self.connection.client(terminal, Some(&store), None)?;
        terminal.handle_signals();

        let builder = Builder::new(store.clone(), client, terminal.progress().clone());
        let image = blocking(move || builder.build(&request, None)).await?;
        if !self.tag.is_empty() {
            let record = image.write_to_store(&store).await?;
            self.tag.iter().try_for_each(|name| store.tag(name, &record))?;
        }
        for output in &self.output {
            output.write(&store, &image).await?;
        }
        self.digest_file.write(&image.descriptor().digest)?;
        report(terminal, &image, &self.tag, &self.output, started)
    }
}

fn report(terminal: &Terminal, image: &Image, names: &[Reference], outputs: &[Transport], started: Instant) -> Result<()> {
    let digest = image.descriptor().digest;
    let names: Vec<String> = names.iter().map(Reference::familiar).collect();
    let outputs: Vec<String> = outputs.iter().map(ToString::to_string).collect();
    let places: Vec<String> = names.iter().chain(&outputs).map(|place| format!("`{place}`")).collect();
    let whereto = if places.is_empty() { String::new() } else { format!(" as {}", places.join(", ")) };
    terminal.say(&format!("built{whereto}: {} in {}", image::extent(image), shown_time(started.elapsed())));
    terminal.answer(&Answer {
        text: format!("{digest}\n"),
        quiet: format!("{digest}\n"),
        json: json!({
            "digest": digest,
            "names": names,
            "outputs": outputs,
            "size": image::size(image),
            "layers": image::layers_json(image),
            "seconds": started.elapsed().as_secs_f64(),
        }),
    })
}
