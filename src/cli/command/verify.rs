//! `mpimg verify`: whether an image in a registry, or a file, is signed with a key.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, LoginFlags, registry_image};
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::visible::visible_line;
use crate::error::Result;
use crate::oci::Reference;
use crate::operation::{FoundAttestation, FoundSignature, SignatureForm, VerifiedManifest, VerifyRequest, verify_file};
use crate::signature::PublicKey;

const EXAMPLES: &str = "\
mpimg asks only the registry, no transparency log or certificate authority. It accepts signatures of `mpimg sign` and of cosign \
with a key, as a `.sig` tag or as a bundle. Exit code 1: no valid signature.

Examples:
  mpimg verify harbor.example.com/mp/nsx:1.0.0 --key release.pub
  mpimg verify harbor.example.com/mp/nsx@sha256:… --key old.pub --key new.pub --json
  mpimg verify --file nsx.pak --key release.pub    By nsx.pak.sigstore.json beside it, or nsx.pak.sig";

/// Verify that an image in a registry, or a file, is signed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// The image
    #[arg(value_name = "IMAGE", value_parser = registry_image, required_unless_present = "file")]
    image: Option<Reference>,

    /// Verify this file instead of an image; may be repeated
    ///
    /// Its signature is beside it: FILE.sigstore.json (a Sigstore bundle), or where there is none
    /// FILE.sig (base64), as `mpimg sign --file` and `cosign sign-blob` write them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "recursive"])]
    file: Vec<PathBuf>,

    /// The public key, a PEM file; may be repeated: any of them may have signed
    #[arg(short, long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,

    /// If IMAGE is an index, each image in it must be signed as well
    #[arg(long)]
    recursive: bool,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Verify {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let keys = self.key.iter().map(|path| PublicKey::read(path)).collect::<Result<Vec<_>>>()?;
        let Some(image) = self.image else { return verify_files(terminal, &self.file, &keys).await };
        let credential = self.login.credential(terminal, image.registry())?;
        let mpimg = self.connection.mpimg(terminal, credential);
        terminal.handle_signals();
        let repository = image.repository().clone();
        let mut request = VerifyRequest::new(image, keys);
        request.recursive = self.recursive;
        let verified = mpimg.must_be_signed(&request).await?;
        let text = verified.iter().map(|manifest| shown(&repository.with_digest(manifest.digest).familiar(), manifest)).collect();
        let digests = verified.iter().map(|manifest| format!("{}\n", manifest.digest)).collect();
        let entries = verified.iter().map(|manifest| {
            let mut json =
                json!({ "digest": manifest.digest, "signatures": manifest.signatures.iter().map(entry).collect::<Vec<_>>() });
            if !manifest.attestations.is_empty() {
                json["attestations"] = manifest.attestations.iter().map(attestation_entry).collect();
            }
            json
        });
        terminal.answer(&Answer { text, quiet: digests, json: json!({ "verified": entries.collect::<Vec<_>>() }) })
    }
}

fn shown(name: &str, manifest: &VerifiedManifest) -> String {
    let line = |signature: &FoundSignature| {
        let form = form(signature.form);
        let what = match &signature.predicate_type {
            Some(kind) if !signature.signs_image() && signature.error.is_none() => {
                format!("signed statement ({})", visible_line(kind))
            }
            _ => "signature".to_owned(),
        };
        match (&signature.error, &signature.key) {
            (Some(reason), _) => {
                format!("  not valid: {what} ({form}): {} (in {})\n", visible_line(reason), signature.manifest)
            }
            (None, Some(key)) => format!("  valid: {what} ({form}), key {}\n", key.short()),
            (None, None) => format!("  valid: {what} ({form})\n"),
        }
    };
    let lines: String = manifest.signatures.iter().map(line).collect();
    let attested = |found: &FoundAttestation| {
        let kind = visible_line(&found.predicate_type);
        match &found.error {
            None => format!("  in the index: statement ({kind}) about {}\n", found.image.short()),
            Some(reason) => {
                format!("  not valid: statement in the index ({kind}): {} (in {})\n", visible_line(reason), found.manifest)
            }
        }
    };
    let attested: String = manifest.attestations.iter().map(attested).collect();
    format!("{name}\n{lines}{attested}  not checked: transparency log, time stamp (only the registry was asked)\n")
}

fn form(form: SignatureForm) -> &'static str {
    match form {
        SignatureForm::Tag => "tag",
        SignatureForm::Bundle => "bundle",
    }
}

fn entry(signature: &FoundSignature) -> serde_json::Value {
    json!({
        "form": form(signature.form),
        "manifest": signature.manifest,
        "valid": signature.error.is_none(),
        "error": signature.error,
        "key": signature.key,
        "predicate_type": signature.predicate_type,
        "predicate": signature.predicate,
        "repository": signature.repository,
    })
}

fn attestation_entry(found: &FoundAttestation) -> serde_json::Value {
    json!({
        "manifest": found.manifest,
        "image": found.image,
        "valid": found.error.is_none(),
        "error": found.error,
        "predicate_type": found.predicate_type,
        "predicate": found.predicate,
    })
}

async fn verify_files(terminal: &Terminal, files: &[PathBuf], keys: &[PublicKey]) -> Result<()> {
    let mut verified = Vec::new();
    for file in files {
        let key = verify_file(file, keys.to_vec()).await?;
        verified.push((file, key.fingerprint()));
    }
    let entries = verified.iter().map(|(file, key)| json!({ "file": file, "key": key }));
    terminal.answer(&Answer {
        text: verified.iter().map(|(file, key)| format!("{}: signed with the key {}\n", file.display(), key.short())).collect(),
        quiet: verified.iter().map(|(file, _)| format!("{}\n", file.display())).collect(),
        json: json!({ "verified": entries.collect::<Vec<_>>() }),
    })
}
