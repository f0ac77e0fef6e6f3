//! `mpimg sign`: signs an image in its registry.

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, LoginFlags, SigningFlags, registry_image};
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::oci::Reference;
use crate::operation::SignRequest;

const EXAMPLES: &str = "\
The signature is written in both forms that cosign knows: as a Sigstore bundle that refers to the image (cosign 3, Harbor from 2.15 \
on) and under the tag sha256-HEX.sig (older ones). mpimg uses no transparency log or time stamp, so cosign needs \
--insecure-ignore-tlog=true to verify.

Examples:
  mpimg sign harbor.example.com/mp/nsx:1.0.0 --key release.key
  mpimg sign harbor.example.com/mp/nsx@sha256:… --key release.key
  mpimg sign localhost:5000/app --key-command 'openssl dgst -sha256 -sign key.pem' --public-key key.pub";

/// Sign an image in a registry
///
/// If IMAGE is an index, each image in it is signed too. The image and its digest stay as they are.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sign {
    /// The image
    #[arg(value_name = "IMAGE", value_parser = registry_image)]
    image: Reference,

    #[command(flatten)]
    signing: SigningFlags,

    /// Write no signature under the tag sha256-HEX.sig
    #[arg(long)]
    no_tag: bool,

    /// Sign only the manifest or index that IMAGE names, not the images of an index
    #[arg(long)]
    no_recursive: bool,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Sign {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let key = self.signing.key(terminal)?;
        let credential = self.login.credential(terminal, self.image.registry())?;
        let mpimg = self.connection.mpimg(terminal, credential);
        terminal.handle_signals();
        let repository = self.image.repository().clone();
        let mut request = SignRequest::new(self.image, key);
        request.tag = !self.no_tag;
        request.recursive = !self.no_recursive;
        let signed = mpimg.sign(&request).await?;
        let name = |digest| repository.with_digest(digest).familiar();
        let entries = signed.iter().map(|signed| json!({ "digest": signed.digest, "bundle": signed.bundle, "tag": signed.tag }));
        terminal.answer(&Answer {
            text: signed.iter().map(|signed| format!("signed {}\n", name(signed.digest))).collect(),
            quiet: signed.iter().map(|signed| format!("{}\n", signed.digest)).collect(),
            json: json!({ "signed": entries.collect::<Vec<_>>(), "key": request.key.public().fingerprint() }),
        })
    }
}
