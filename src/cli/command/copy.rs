//! `mpimg copy`: an image from anywhere to anywhere, byte for byte.
//!
//! Invariant: the digest stays.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::flags::{ConnectionFlags, LoginFlags, parsed};
use crate::cli::image;
use crate::cli::size::Size;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::image::{ManifestTree, Transport};
use crate::oci::Platform;
use crate::operation::{CopiedImage, CopyRequest};
use crate::registry::{BlobOutcome, PushedBlob};

const EXAMPLES: &str = "\
All platforms of an image are copied, unless --platform names one; the local store and docker archives hold one, \
linux/amd64 by default. What the destination has is not sent again: a copy that was cut off goes on when it is \
started again.

Both registries are logged in to with what `mpimg login` has stored; --registry-username is for the destination.

Examples:
  mpimg copy docker://staging.example.com/mp/app:1 docker://harbor.example.com/mp/app:1
  mpimg copy --referrers docker://ghcr.io/me/app:1 oci-archive:app.tar      Carry this file to a site without network,
  mpimg copy --referrers oci-archive:app.tar docker://harbor.site/mp/app:1  and copy it into its registry
  mpimg copy --platform linux/arm64 docker://python:3.12-slim python:arm";

/// Copy an image between registries, OCI layouts, archives and the local store
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n\n{EXAMPLES}", image::FORMS))]
pub(crate) struct Copy {
    /// The image
    #[arg(value_name = "SOURCE", value_parser = image::named)]
    source: Transport,

    /// Where it goes, in the same forms
    #[arg(value_name = "DESTINATION", value_parser = image::named)]
    destination: Transport,

    /// Copy the image for this platform only [default: all of them]
    #[arg(long, value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    platform: Option<Platform>,

    /// Copy what belongs to the image, too: signatures, attestations, SBOMs, in each form that they
    /// have
    #[arg(long)]
    referrers: bool,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Copy {
    pub(super) async fn run(mut self, terminal: &Terminal) -> Result<()> {
        let credential = match &self.destination {
            Transport::Registry(name) => std::mem::take(&mut self.login).credential(terminal, name.repository().registry())?,
            _ => None,
        };
        let mpimg = std::mem::take(&mut self.connection).mpimg(terminal, credential);
        terminal.handle_signals();
        let copied = mpimg
            .copy(CopyRequest {
                source: self.source.clone(),
                destination: self.destination.clone(),
                platform: self.platform.take(),
                referrers: self.referrers,
            })
            .await?;
        self.answer(terminal, &copied)
    }

    fn can_hold_referrers(&self) -> bool {
        !matches!(self.destination, Transport::Store(_) | Transport::DockerArchive { .. })
    }

    fn answer(&self, terminal: &Terminal, copied: &CopiedImage) -> Result<()> {
        let CopiedImage { tree, referrers, left_behind, blobs } = copied;
        let digest = tree.descriptor.digest;
        let images = tree.manifests().iter().filter(|manifest| !manifest.descriptor.media_type.is_index()).count();
        let size = copied.size();
        let beside = if referrers.is_empty() { String::new() } else { format!(", and {} that belong to it", referrers.len()) };
        let images = format!("{images} image{}", if images == 1 { "" } else { "s" });
        let place = if matches!(self.destination, Transport::Store(_)) { " in the local store" } else { "" };
        terminal.say(&format!("copied {} to {}{place}: {images}, {}{beside}", self.source, self.destination, Size(size)));
        if *left_behind > 0 {
            let hint = "copy again with `--referrers`: what is there is not sent again";
            let what = format!("not copied: {left_behind} that belong to it, such as signatures and SBOMs");
            terminal.warn(&what, Some(hint).filter(|_| self.can_hold_referrers()));
        }
        terminal.answer(&Answer {
            text: format!("{digest}\n"),
            quiet: format!("{digest}\n"),
            json: json!({
                "source": self.source.to_string(),
                "destination": self.destination.to_string(),
                "digest": digest,
                "media_type": tree.descriptor.media_type.as_str(),
                "size": size,
                "manifests": tree.manifests().iter().map(|manifest| manifest_json(manifest)).collect::<Vec<_>>(),
                "left_behind": left_behind,
                "referrers": referrers.iter().map(manifest_json).collect::<Vec<_>>(),
                "blobs": blobs.iter().map(blob_json).collect::<Vec<_>>(),
            }),
        })
    }
}

fn manifest_json(manifest: &ManifestTree) -> Value {
    json!({
        "digest": manifest.descriptor.digest,
        "media_type": manifest.descriptor.media_type.as_str(),
        "platform": manifest.descriptor.platform.as_ref().map(ToString::to_string),
    })
}

fn blob_json(blob: &PushedBlob) -> Value {
    let (outcome, sent) = match blob.outcome {
        BlobOutcome::Mounted => ("mounted", 0),
        BlobOutcome::Uploaded { sent } => ("uploaded", sent),
        _ => ("exists", 0),
    };
    json!({ "digest": blob.descriptor.digest, "size": blob.descriptor.size, "outcome": outcome, "sent": sent })
}
