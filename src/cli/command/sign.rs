//! `mpimg sign`: signs an image in its registry, or files.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, LoginFlags, SigningFlags, names_a_file, registry_image};
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::visible::visible_line;
use crate::error::Result;
use crate::oci::Reference;
use crate::operation::{FoundReferrer, SignRequest, sign_file};
use crate::signature::SigningKey;

const EXAMPLES: &str = "\
The signature is written in both forms that cosign knows: as a Sigstore bundle that refers to the image (cosign 3, Harbor from 2.15 \
on) and under the tag sha256-HEX.sig (older ones). mpimg uses no transparency log or time stamp, so cosign needs \
--insecure-ignore-tlog=true to verify.

Examples:
  mpimg sign harbor.example.com/mp/nsx:1.0.0 --key release.key
  mpimg sign harbor.example.com/mp/nsx@sha256:… --key release.key --referrers
  mpimg sign --file nsx.pak --key release.key      Writes nsx.pak.sigstore.json and nsx.pak.sig
  mpimg sign localhost:5000/app --key-command 'openssl dgst -sha256 -sign key.pem' --public-key key.pub";

/// Sign an image in a registry, or files
///
/// If IMAGE is an index, each image in it is signed too. The image and its digest stay as they are.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sign {
    /// The image
    #[arg(value_name = "IMAGE", value_parser = image_to_sign, required_unless_present = "file")]
    image: Option<Reference>,

    /// Sign this file instead of an image; may be repeated
    ///
    /// The signature is written beside it, where it replaces an older one: as FILE.sigstore.json (a
    /// Sigstore bundle, for cosign 3) and FILE.sig (its base64, for openssl and older cosigns).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "no_tag", "no_recursive", "referrers"])]
    file: Vec<PathBuf>,

    #[command(flatten)]
    signing: SigningFlags,

    /// Write no signature under the tag sha256-HEX.sig
    #[arg(long)]
    no_tag: bool,

    /// Sign only the manifest or index that IMAGE names, not the images of an index
    #[arg(long)]
    no_recursive: bool,

    /// Sign the SBOMs and the statements (provenance) that refer to the image, too
    ///
    /// Anybody who may push can have attached one: `mpimg verify` lists them.
    #[arg(long)]
    referrers: bool,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Sign {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let key = self.signing.key(terminal)?;
        // A key command may take its time, or wait for somebody's finger.
        terminal.handle_signals();
        let Some(image) = self.image else { return sign_files(terminal, &self.file, &key).await };
        let credential = self.login.credential(terminal, image.registry())?;
        let mpimg = self.connection.mpimg(terminal, credential);
        let repository = image.repository().clone();
        let mut request = SignRequest::new(image, key);
        request.tag = !self.no_tag;
        request.recursive = !self.no_recursive;
        request.referrers = self.referrers;
        let signed = mpimg.sign(&request).await?;
        let unsigned = match request.referrers {
            true => Vec::new(),
            false => mpimg.unsigned_referrers(&request, &signed).await?,
        };
        let name = |digest| repository.with_digest(digest).familiar();
        let entries = signed.iter().map(|signed| json!({ "digest": signed.digest, "bundle": signed.bundle, "tag": signed.tag }));
        terminal.answer(&Answer {
            text: signed.iter().map(|signed| format!("signed {}\n", name(signed.digest))).chain(unsigned.iter().map(not_signed)).collect(),
            quiet: signed.iter().map(|signed| format!("{}\n", signed.digest)).collect(),
            json: json!({
                "signed": entries.collect::<Vec<_>>(),
                "unsigned": unsigned.iter().map(|one| json!({ "digest": one.manifest, "artifact_type": one.artifact_type })).collect::<Vec<_>>(),
                "key": request.key.public().fingerprint(),
            }),
        })
    }
}

fn image_to_sign(text: &str) -> Result<Reference, String> {
    match names_a_file(text) {
        true => Err("an image is signed in its registry: copy it there first, with `mpimg copy`".to_owned()),
        false => registry_image(text),
    }
}

fn not_signed(record: &FoundReferrer) -> String {
    let kind = visible_line(&record.artifact_type);
    format!("not signed: {kind} {}, which refers to it; --referrers signs it, too\n", record.manifest)
}

async fn sign_files(terminal: &Terminal, files: &[PathBuf], key: &SigningKey) -> Result<()> {
    let mut signed = Vec::new();
    for file in files {
        signed.push(sign_file(file, key).await?);
    }
    let entries = signed.iter().map(|one| json!({ "file": one.file, "bundle": one.bundle, "signature": one.signature }));
    terminal.answer(&Answer {
        text: signed.iter().map(|one| format!("signed {}: {}\n", one.file.display(), one.bundle.display())).collect(),
        quiet: signed.iter().map(|one| format!("{}\n", one.bundle.display())).collect(),
        json: json!({ "signed": entries.collect::<Vec<_>>(), "key": key.public().fingerprint() }),
    })
}
