//! `mpimg load`: images of an archive into the local store, with the names they have there.
//!
//! Refuses tars of root file systems: `mpimg import` takes those.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::blocking;
use crate::cli::flags::parsed;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Layer, Listed, Transport};
use crate::layer::Codec;
use crate::oci::{Platform, Reference};
use crate::store::{ScratchDir, Store};

const EXAMPLES: &str = "\
What `docker save`, `podman save` and `mpimg save` write is recognised by itself, compressed or not; so is the folder \
of an OCI layout. Uncompressed layers are compressed on the way in. `-` is standard input.

Examples:
  docker save app:1 | mpimg load -
  mpimg load app.tar
  mpimg load -t app:1 oci-layout/";

/// Load the images of an archive into the local store
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Load {
    /// A docker archive, an OCI archive, the folder of an OCI layout, or - [default: standard input]
    #[arg(value_name = "ARCHIVE")]
    archive: Option<PathBuf>,

    /// The same as ARCHIVE, as docker has it
    #[arg(short, long, value_name = "ARCHIVE", conflicts_with = "archive")]
    input: Option<PathBuf>,

    /// Give the image this name, too; for an archive of one image
    #[arg(short, long, value_name = "NAME[:TAG]", value_parser = parsed::<Reference>)]
    tag: Option<Reference>,

    /// Which of an image for several platforms
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64", value_parser = parsed::<Platform>)]
    platform: Platform,
}

impl Load {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let archive = self.archive.or(self.input).unwrap_or_else(|| "-".into());
        if archive == Path::new("-") && io::stdin().is_terminal() {
            return Err(Error::new(ErrorKind::Usage, "no archive was named").with_hint("name a file, or pipe an archive in"));
        }
        let store = Store::open(Store::default_root()?)?;
        let (work, platform, shown) = (store.clone(), self.platform, archive.display().to_string());
        let images = blocking(move || read_all(&work, &archive, &platform)).await?;
        if self.tag.is_some() && images.len() != 1 {
            return Err(Error::new(ErrorKind::Usage, format!("`{shown}` holds {} images, and `--tag` names one", images.len()))
                .with_hint("leave out `--tag`, then use `mpimg tag`"));
        }
        let (mut text, mut quiet, mut loaded) = (String::new(), String::new(), Vec::new());
        for (image, mut names) in images {
            names.extend(self.tag.clone());
            let digest = image.descriptor().digest;
            if names.is_empty() {
                return Err(Error::new(ErrorKind::Usage, format!("the image `{digest}` in `{shown}` has no name"))
                    .with_hint("give it one with `--tag NAME`"));
            }
            let record = image.write_to_store(&store).await?;
            for name in &names {
                store.tag(name, &record)?;
                text += &format!("Loaded image: {}\n", name.familiar());
            }
            quiet += &format!("{digest}\n");
            loaded.push(json!({ "names": names.iter().map(Reference::familiar).collect::<Vec<_>>(), "digest": digest }));
        }
        terminal.answer(&Answer { text, quiet, json: json!({ "images": loaded }) })
    }
}

fn read_all(store: &Store, archive: &Path, platform: &Platform) -> Result<Vec<(Image, Vec<Reference>)>> {
    let (_scratch, path) = at_hand(store, archive)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let pack = |tar: &mut dyn io::Read| Layer::pack(store, tar, Codec::default(), threads);
    let read = |listed: Listed| Ok((listed.transport.read(store, platform, Some(&pack))?, listed.names));
    Transport::list(store, &path)?.into_iter().map(read).collect()
}

/// The file itself; of standard input a copy, which is gone with the folder.
pub(super) fn at_hand(store: &Store, path: &Path) -> Result<(Option<ScratchDir>, PathBuf)> {
    if path != Path::new("-") {
        return Ok((None, path.to_owned()));
    }
    let scratch = store.scratch()?;
    let copy = scratch.path().join("stdin");
    let mut file = std::fs::File::create(&copy).map_err(|error| Error::io("create", &copy, error))?;
    io::copy(&mut io::stdin().lock(), &mut file).map_err(|error| Error::io("read standard input into", &copy, error))?;
    Ok((Some(scratch), copy))
}
