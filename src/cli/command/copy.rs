//! `mpimg copy`: an image from anywhere to anywhere, byte for byte.
//!
//! Refuses to change what it copies: the digest stays.

use clap::Args;
use serde_json::{Value, json};

use crate::build::stored_image;
use crate::cli::blocking;
use crate::cli::flags::{ConnectionFlags, LoginFlags, parsed};
use crate::cli::image;
use crate::cli::size::Size;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ManifestTree, Transport};
use crate::oci::{Digest, Platform, Reference, Tag};
use crate::operation::not_stored;
use crate::registry::{BlobOutcome, Client, PushedBlob};
use crate::store::Store;

const EXAMPLES: &str = "\
All platforms of an image are copied, unless --platform names one; the local store and docker archives hold one, \
linux/amd64 unless told otherwise. What the destination has is not sent again: a copy that was cut off goes on when it is \
started again.

Both registries are logged in to with what `mpimg login` has stored; --registry-username is for the destination.

Examples:
  mpimg copy docker://staging.example.com/mp/app:1 docker://harbor.example.com/mp/app:1
  mpimg copy --referrers docker://ghcr.io/me/app:1 oci-archive:app.tar      Carry this file to a site without network,
  mpimg copy oci-archive:app.tar docker://harbor.site/mp/app:1              and copy it into its registry
  mpimg copy --platform linux/arm64 docker://python:3.12-slim python:arm";

/// Copy an image between registries, OCI layouts, archives and the local store
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n\n{EXAMPLES}", image::FORMS))]
pub(in crate::cli) struct Copy {
    /// The image
    #[arg(value_name = "SOURCE", value_parser = image::named)]
    source: Transport,

    /// Where it goes, in the same forms
    #[arg(value_name = "DESTINATION", value_parser = image::named)]
    destination: Transport,

    /// Copy the image for this platform only [default: all of them]
    #[arg(long, value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    platform: Option<Platform>,

    /// Copy what refers to the image, too: signatures, SBOMs
    #[arg(long)]
    referrers: bool,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// What is to be copied.
struct Found {
    tree: ManifestTree,
    referrers: Vec<ManifestTree>,
}

impl Copy {
    pub(super) async fn run(mut self, terminal: &Terminal) -> Result<()> {
        if self.referrers && holds_one(&self.destination) {
            let message = format!("`{}` has no place for what refers to an image", self.destination);
            return Err(Error::new(ErrorKind::Usage, message)
                .with_hint("leave out `--referrers`, or copy to a registry, `oci:` or `oci-archive:`"));
        }
        let credential = match &self.destination {
            Transport::Registry(name) => std::mem::take(&mut self.login).credential(terminal, name.repository().registry())?,
            _ => None,
        };
        let store = Store::open(Store::default_root()?)?;
        let client = std::mem::take(&mut self.connection).client(terminal, Some(&store), credential)?;
        terminal.handle_signals();
        let found = self.find(&store, &client).await?;
        let blobs = match &self.destination {
            Transport::Registry(name) => push(&client, name, &found).await?,
            other => {
                other.write_tree(&store, &found.tree, &found.referrers).await?;
                Vec::new()
            }
        };
        self.answer(terminal, &found, &blobs)
    }

    async fn find(&self, store: &Store, client: &Client) -> Result<Found> {
        let default = holds_one(&self.destination).then(Platform::default);
        let platform = self.platform.clone().or(default);
        match &self.source {
            Transport::Registry(name) => {
                let tree = client.pull_tree(name, platform.as_ref()).await?;
                let mut referrers = Vec::new();
                for manifest in tree.manifests().into_iter().filter(|_| self.referrers) {
                    referrers.extend(client.pull_referrers(name.repository(), &manifest.descriptor.digest).await?);
                }
                Ok(Found { tree, referrers })
            }
            Transport::Store(name) => {
                let platform = match (platform, store.resolve(name)?) {
                    (Some(platform), _) => platform,
                    // There is only one.
                    (None, record) => record.map(|record| record.platform).unwrap_or_default(),
                };
                let image = stored_image(store, client, name, &platform)?.ok_or_else(|| not_stored(store, name, &platform))?;
                Ok(Found { tree: ManifestTree::of_image(&image), referrers: Vec::new() })
            }
            source => {
                let (source, store, referrers) = (source.clone(), store.clone(), self.referrers);
                let (tree, referrers) = blocking(move || source.read_tree(&store, platform.as_ref(), referrers)).await?;
                Ok(Found { tree, referrers })
            }
        }
    }

    fn answer(&self, terminal: &Terminal, found: &Found, blobs: &[PushedBlob]) -> Result<()> {
        let Found { tree, referrers } = found;
        let digest = tree.descriptor.digest;
        let images = tree.manifests().iter().filter(|manifest| !manifest.descriptor.media_type.is_index()).count();
        let size: u64 = tree.all_blobs().iter().map(|(descriptor, _)| descriptor.size).sum();
        let beside = if referrers.is_empty() { String::new() } else { format!(", and {} that refer to it", referrers.len()) };
        let images = format!("{images} image{}", if images == 1 { "" } else { "s" });
        terminal.say(&format!("copied {} to {}: {images}, {}{beside}", self.source, self.destination, Size(size)));
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
                "referrers": referrers.iter().map(manifest_json).collect::<Vec<_>>(),
                "blobs": blobs.iter().map(blob_json).collect::<Vec<_>>(),
            }),
        })
    }
}

/// Whether a destination holds one platform under a name.
fn holds_one(destination: &Transport) -> bool {
    matches!(destination, Transport::Store(_) | Transport::DockerArchive { .. })
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

async fn push(client: &Client, name: &Reference, found: &Found) -> Result<Vec<PushedBlob>> {
    let digest = found.tree.descriptor.digest;
    expect(name.digest(), digest)?;
    let tags: Vec<Tag> = name.tag().cloned().into_iter().collect();
    let session = client.push(name.repository())?;
    session.offer_tree(&found.tree);
    let pushed = session.finish_tree(&found.tree, &tags).await?;
    if pushed.digest != digest && !found.referrers.is_empty() {
        return Err(Error::new(ErrorKind::Unsupported, "the registry takes no OCI manifest: the image has another digest there")
            .with_hint("leave out `--referrers`: they refer to the image's old digest"));
    }
    for referrer in &found.referrers {
        client.attach(name.repository(), referrer).await?;
    }
    Ok(pushed.blobs)
}

/// A destination with a digest is a promise.
fn expect(promised: Option<&Digest>, digest: Digest) -> Result<()> {
    match promised {
        Some(promised) if *promised != digest => {
            Err(Error::new(ErrorKind::Usage, format!("the image has the digest `{digest}`, not that of the destination"))
                .with_hint("leave out what comes after `@`"))
        }
        _ => Ok(()),
    }
}
