//! `mpimg verify`: whether an image in a registry, a layout or an archive, or a file, is signed
//! with a key.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, LoginFlags, explained, names_a_file, registry_image};
use crate::cli::message::error_json;
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::visible::visible_line;
use crate::error::Result;
use crate::image::Transport;
use crate::operation::{
    FoundAttestation, FoundReferrer, FoundSignature, SignatureForm, VerifiedManifest, VerifyRequest, manifest_name, verify_file,
};
use crate::signature::PublicKey;

const EXAMPLES: &str = "\
mpimg asks only the registry, no transparency log or certificate authority. It accepts signatures of `mpimg sign` and of cosign \
with a key, as a `.sig` tag or as a bundle. It lists what else refers to the image, such as an SBOM, and whether that is signed, \
too. Exit code 1: no valid signature of the image.

Examples:
  mpimg verify harbor.example.com/mp/nsx:1.0.0 --key release.pub
  mpimg verify harbor.example.com/mp/nsx@sha256:… --key old.pub --key new.pub --json
  mpimg verify oci-archive:nsx.tar --key release.pub     A copy made with `mpimg copy --referrers`
  mpimg verify --file nsx.pak --key release.pub    By nsx.pak.sigstore.json beside it, or nsx.pak.sig";

/// Verify that an image, or a file, is signed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// The image in its registry, or oci:DIR[:TAG] or oci-archive:FILE[:TAG]
    #[arg(value_name = "IMAGE", value_parser = signed_image, required_unless_present = "file")]
    image: Option<Transport>,

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
        let credential = match &image {
            Transport::Registry(name) => self.login.credential(terminal, name.registry())?,
            _ => None,
        };
        let mpimg = self.connection.mpimg(terminal, credential);
        terminal.handle_signals();
        let mut request = VerifyRequest::new(image, keys);
        request.recursive = self.recursive;
        let verified = mpimg.verify(&request).await?;
        let judged = request.expect_signed(&verified);
        // What was found is told, good or bad.
        answer(terminal, &request, &verified, judged)
    }
}

/// An image in a registry, or in what can hold its signatures besides.
fn signed_image(text: &str) -> Result<Transport, String> {
    match names_a_file(text) {
        true => Transport::parse(text).map_err(|error| explained(&error)),
        false => registry_image(text).map(Transport::Registry),
    }
}

fn answer(terminal: &Terminal, request: &VerifyRequest, verified: &[VerifiedManifest], judged: Result<()>) -> Result<()> {
    let text = verified.iter().map(|manifest| shown(request, manifest)).collect();
    let digests =
        verified.iter().filter(|manifest| manifest.is_signed()).map(|manifest| format!("{}\n", manifest.digest)).collect();
    let entries = verified.iter().map(|manifest| {
            let mut json =
                json!({ "digest": manifest.digest, "signed": manifest.is_signed(), "signatures": manifest.signatures.iter().map(entry).collect::<Vec<_>>() });
            if !manifest.attestations.is_empty() {
                json["attestations"] = manifest.attestations.iter().map(attestation_entry).collect();
            }
            if !manifest.referrers.is_empty() {
                json["referrers"] = manifest.referrers.iter().map(referrer_entry).collect();
            }
            json
        });
    let mut report = json!({ "verified": entries.collect::<Vec<_>>() });
    // As every command that fails tells a program.
    if let (Err(error), Some(report)) = (&judged, report.as_object_mut()) {
        report.extend(error_json(error).as_object().cloned().unwrap_or_default());
    }
    terminal.answer(&Answer { text, quiet: digests, json: report })?;
    judged
}

fn shown(request: &VerifyRequest, manifest: &VerifiedManifest) -> String {
    let name = manifest_name(&request.image, &manifest.digest);
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
    let referring: String = manifest.referrers.iter().map(shown_referrer).collect();
    let asked = match &request.image {
        Transport::Registry(_) => "only the registry was asked",
        _ => "nothing else was asked), the bytes of layers (they are when they are read",
    };
    let images = match request.recursive || manifest.images == 0 {
        true => String::new(),
        false => {
            format!("  not checked: the {} of the index, and what refers to them (--recursive)\n", of_images(manifest.images))
        }
    };
    format!("{name}\n{lines}{attested}{referring}{images}  not checked: transparency log, time stamp ({asked})\n")
}

fn of_images(count: usize) -> String {
    if count == 1 { "image".to_owned() } else { format!("{count} images") }
}

fn shown_referrer(found: &FoundReferrer) -> String {
    let kind = match (found.artifact_type.as_str(), &found.predicate_types[..]) {
        ("", _) => "something".to_owned(),
        (kind, []) => visible_line(kind),
        (kind, stated) => format!("{} ({})", visible_line(kind), visible_line(&stated.join(", "))),
    };
    let state = match (&found.error, found.signed().map(|signature| signature.key)) {
        (Some(error), _) => visible_line(error),
        // Its type promises more than is true.
        (None, _) if !found.documents_alone => {
            format!("{}not an SBOM or statement alone", if found.signed().is_some() { "signed, " } else { "" })
        }
        (None, Some(Some(key))) => format!("signed, key {}", key.short()),
        (None, Some(None)) => "signed".to_owned(),
        (None, None) if found.signatures.is_empty() => "not signed".to_owned(),
        (None, None) => "no valid signature".to_owned(),
    };
    format!("  refers to it: {kind}, {state} (in {})\n", found.manifest)
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

fn referrer_entry(found: &FoundReferrer) -> serde_json::Value {
    json!({
        "manifest": found.manifest,
        "artifact_type": found.artifact_type,
        "predicate_types": found.predicate_types,
        "documents_alone": found.documents_alone,
        "error": found.error,
        "signed": found.signed().is_some(),
        "signatures": found.signatures.iter().map(entry).collect::<Vec<_>>(),
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
