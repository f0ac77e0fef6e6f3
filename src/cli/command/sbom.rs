//! `mpimg sbom`: the bill of materials of any image.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, parsed};
use crate::cli::image;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::image::Transport;
use crate::oci::Platform;
use crate::operation::ImageSbom;
use crate::sbom::{Inventory, Package, SbomFile, SbomFormat};

const EXAMPLES: &str = "\
Layers are read as they are stored and not unpacked; those in a registry are fetched. docs/sbom.md says what is read.

Examples:
  mpimg sbom my-adapter:1.0.0 -o my-adapter.spdx.json
  mpimg sbom docker://harbor.example.com/mp/nsx:1.0.0 --format cyclonedx | grype
  mpimg sbom --json oci:out | jq -r '.packages[] | [.kind, .name, .version] | @tsv'";

/// Write an image's bill of materials: what is installed in it
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n\n{EXAMPLES}", image::FORMS))]
pub(crate) struct Sbom {
    /// The image
    #[arg(value_name = "IMAGE", value_parser = image::named)]
    image: Transport,

    /// spdx (2.3) or cyclonedx (1.6) [default: what the name of the output file tells, else spdx]
    #[arg(long, value_name = "FORMAT", value_parser = parsed::<SbomFormat>)]
    format: Option<SbomFormat>,

    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The platform, if the image is for several
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64", value_parser = parsed::<Platform>)]
    platform: Platform,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Sbom {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let file = match (self.output, self.format) {
            (Some(path), Some(format)) => Some(SbomFile::with_format(path, format)?),
            (Some(path), None) => Some(SbomFile::new(path)?),
            (None, _) => None,
        };
        let format = file.as_ref().map(SbomFile::format).or(self.format).unwrap_or(SbomFormat::Spdx);
        let mpimg = self.connection.mpimg(terminal, None);
        terminal.handle_signals();
        let ImageSbom { image, inventory, document } = mpimg.sbom(self.image, &self.platform, format).await?;
        if let Some(file) = &file {
            file.write(&document)?;
            terminal.say(&format!("wrote {} to `{}`", summary(&inventory), file.path().display()));
        }
        let json = json!({
            "digest": image.descriptor().digest,
            "format": format.to_string(),
            "file": file.as_ref().map(SbomFile::path),
            "files": inventory.files,
            "files_without_package": inventory.files_without_package,
            "notices": inventory.notices,
            "packages": inventory.packages.iter().map(package).collect::<Vec<_>>(),
        });
        let text = if file.is_some() { String::new() } else { document + "\n" };
        terminal.answer(&Answer { quiet: text.clone(), text, json })
    }
}

/// `412 packages; 30 of 9,876 files belong to none`
fn summary(inventory: &Inventory) -> String {
    let Inventory { packages, files, files_without_package, .. } = inventory;
    let packages = match packages.len() {
        1 => "1 package".to_owned(),
        count => format!("{count} packages"),
    };
    format!("{packages} ({files_without_package} of {files} files belong to none)")
}

fn package(package: &Package) -> serde_json::Value {
    json!({
        "kind": package.kind.name(),
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "licenses": package.licenses,
        "checksum": package.checksum.as_ref().map(|checksum| format!("{}:{}", checksum.algorithm(), checksum.hex())),
        "places": package.places.iter().map(|place| json!({ "path": place.path, "layer": place.layer })).collect::<Vec<_>>(),
    })
}
