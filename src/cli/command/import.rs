//! `mpimg import`: a tar of a root file system becomes a base image.
//!
//! Refuses archives of images: `mpimg load` takes those.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::flags::parsed;
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::{blocking, image};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Layer, import_rootfs};
use crate::layer::Codec;
use crate::oci::{Platform, Reference};
use crate::store::Store;

const EXAMPLES: &str = "\
The tar may be plain or compressed with gzip, bzip2, xz or zstd; `-` is standard input. The image's time is \
SOURCE_DATE_EPOCH, else that of the file, so that the same file gives the same digest.

Examples:
  tar -C rootfs -c . | mpimg import - debian:bookworm
  mpimg import rootfs.tar.xz base:1 --platform linux/arm64";

/// Make a base image of a tar of a root file system
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Import {
    /// The tar, or - for standard input
    #[arg(value_name = "ROOTFS.tar")]
    tar: PathBuf,

    /// The image's name in the local store
    #[arg(value_name = "NAME[:TAG]", value_parser = parsed::<Reference>)]
    name: Reference,

    /// What the image runs on
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64", value_parser = parsed::<Platform>)]
    platform: Platform,

    /// How the layer is compressed: gzip[:0-12], zstd[:1-19] or none; a gzip file stays as it is
    #[arg(long, value_name = "CODEC", default_value = "gzip:3", value_parser = parsed::<Codec>)]
    compression: Codec,
}

impl Import {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let store = Store::open(Store::default_root()?)?;
        let (platform, codec, tar) = (self.platform, self.compression, self.tar);
        let work = store.clone();
        let image = blocking(move || {
            let (_scratch, file) = super::load::at_hand(&work, &tar)?;
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let pack = |tar: &mut dyn std::io::Read| Layer::pack(&work, tar, codec, threads);
            import_rootfs(&work, &file, &platform, created(&file)?, &pack)
        });
        let image = image.await?;
        let record = image.write_to_store(&store).await?;
        store.tag(&self.name, &record)?;
        let digest = image.descriptor().digest;
        terminal.answer(&Answer {
            text: format!("{digest}\n"),
            quiet: format!("{digest}\n"),
            json: json!({
                "name": self.name.familiar(),
                "digest": digest,
                "size": image::size(&image),
                "layers": image::layers_json(&image),
            }),
        })
    }
}

/// The image's time in seconds since 1970.
fn created(file: &Path) -> Result<i64> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return epoch.parse().map_err(|_| {
            Error::new(ErrorKind::Usage, format!("SOURCE_DATE_EPOCH is `{epoch}`, which is no number"))
                .with_hint("set it to seconds since 1970, or unset it")
        });
    }
    let modified = file.metadata().and_then(|metadata| metadata.modified()).map_err(|error| Error::io("read", file, error))?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_secs()).unwrap_or_default())
}
