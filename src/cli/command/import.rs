//! `mpimg import`: makes a base image of a tar of a root file system.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, parsed};
use crate::cli::image;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::layer::Codec;
use crate::oci::{Platform, Reference};
use crate::operation::{ArchiveSource, ImportRequest};

const EXAMPLES: &str = "\
The tar may be plain or compressed with gzip, bzip2, xz or zstd; `-` is standard input. The image's time is \
SOURCE_DATE_EPOCH, else that of the file, so that the same file gives the same digest.

Examples:
  tar -C rootfs -c . | mpimg import - debian:bookworm
  mpimg import rootfs.tar.xz base:1 --platform linux/arm64";

/// Make a base image of a tar of a root file system
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Import {
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
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let mut request = ImportRequest::new(archive(self.tar), self.name.clone()).with_environment();
        request.platform = self.platform;
        request.codec = self.compression;
        let image = mpimg.import(request).await?;
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

/// The archive that an argument names: `-` is standard input.
pub(super) fn archive(path: PathBuf) -> ArchiveSource {
    if path == Path::new("-") { ArchiveSource::Reader(Box::new(std::io::stdin())) } else { path.into() }
}
