//! `mpimg push`: builds a project and pushes it, or pushes an image that exists; then finds out
//! whether the product can pull it.
//!
//! The library decides what is pushed where, and what is written to config.json.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::cli::digest_file::DigestFile;
use crate::cli::flags::{BuildFlags, ConnectionFlags, DestinationFlags, LoginFlags, PushSigningFlags, ask_for_sdk_base, parsed};
use crate::cli::image;
use crate::cli::progress::shown_time;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Transport;
use crate::oci::{Digest, Tag};
use crate::operation::{
    AttestationForm, IndexAttestations, ProvenanceOptions, PushRequest, PushSource, PushSubject, PushedImage, SbomOutputs, Signed,
};
use crate::registry::{AnonymousReport, CheckState};
use crate::sbom::{SbomFile, SbomFormat};

const EXAMPLES: &str = "\
The three lines on standard output belong in <kind>.conf of a management pack. The product pulls \
REGISTRY/REPOSITORY@DIGEST without logging in; whether that works is tried at the end of every push.

If an upload is interrupted, run the same command again: it continues where it stopped.

Examples:
  mpimg push                                       The project in this folder
  mpimg push ~/nsx -r harbor.example.com/mp/nsx    Another project and repository
  mpimg push --no-ttl --json --digest-file digest --require-anonymous-pull
  mpimg push --registry-username me --registry-password-stdin < token.txt
  mpimg push harbor.example.com/mp/app:1           An image of the local store, to where its name says
  mpimg push app:1 -r localhost:5000/app           The same, to another repository";

/// Build a project and push it; prints REGISTRY, REPOSITORY and DIGEST
///
/// PATH is an Integration SDK project (a folder with manifest.txt), or, with --repository, any
/// folder with a Dockerfile. NAME is an image of the local store; it is pushed under its own tag,
/// to the repository in its name unless --repository names one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Push {
    /// The project's folder, or an image of the local store [default: .]
    #[arg(value_name = "PATH|NAME[:TAG]", conflicts_with_all = ["project", "image"])]
    subject: Option<String>,

    /// The project's folder, as mp-build has it
    #[arg(short = 'p', long = "path", value_name = "PATH")]
    project: Option<PathBuf>,

    #[command(flatten)]
    destination: DestinationFlags,

    /// Push under this tag [default: the image's own; <version>_<unix time> for a project; else
    /// latest]; may be repeated
    #[arg(short, long, value_name = "TAG", value_parser = parsed::<Tag>)]
    tag: Vec<Tag>,

    /// Push this image instead of building one: NAME[:TAG] of the local store, oci:DIR,
    /// oci-archive:FILE, …
    #[arg(long, value_name = "IMAGE", value_parser = image::named)]
    image: Option<Transport>,

    /// Attach a bill of materials, what is installed in the image: `spdx` or `cyclonedx`
    #[arg(long, value_name = "FORMAT", value_parser = parsed::<SbomFormat>)]
    sbom: Option<SbomFormat>,

    /// Write a bill of materials to this file: FILE.spdx.json or FILE.cdx.json; the bytes that
    /// --sbom attaches in that form
    #[arg(long, value_name = "FILE")]
    sbom_file: Option<PathBuf>,

    /// Fail (exit code 1) if the pushed image cannot be pulled without logging in
    #[arg(long)]
    require_anonymous_pull: bool,

    #[command(flatten)]
    digest_file: DigestFile,

    /// Attach SLSA provenance: what the image was made of, by digest; signed if --sign is given
    #[arg(long)]
    provenance: bool,

    /// Write the values of build arguments into the provenance, not only their names
    #[arg(long, requires = "provenance", hide_short_help = true)]
    provenance_args: bool,

    /// Where the SBOM and the provenance are kept: `referrer`, artifacts that refer to the image,
    /// or `buildkit`, an index above it [default: referrer]
    ///
    /// With `buildkit` each tag names an index, as with docker buildx, and so do DIGEST and
    /// --digest-file. The image in it keeps its own digest, and whoever pulls the index gets that
    /// image.
    #[arg(long, value_name = "FORM", value_parser = parsed::<AttestationForm>, hide_short_help = true)]
    attest: Option<AttestationForm>,

    #[command(flatten)]
    signing: PushSigningFlags,

    #[command(flatten)]
    build: BuildFlags,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Push {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let started = Instant::now();
        self.digest_file.expect_writable()?;
        let sbom = SbomOutputs { attach: self.sbom, file: self.sbom_file.map(SbomFile::new).transpose()? };
        // Before the build: a key that cannot sign must not be found out at its end.
        let key = self.signing.key(terminal)?;
        let mpimg = self.connection.mpimg(terminal, None);
        let subject = match (self.image, self.project, self.subject) {
            (Some(image), _, _) => PushSubject::Image(image),
            (None, Some(folder), _) => PushSubject::Folder(folder),
            (None, None, Some(subject)) => mpimg.push_subject(&subject)?,
            (None, None, None) => PushSubject::Folder(".".into()),
        };
        let says_sdk_base = self.build.says_sdk_base() || !self.destination.may_ask();
        let (folder, source) = match subject {
            PushSubject::Folder(folder) => {
                self.build.platform()?;
                (folder.clone(), PushSource::Build(self.build.request(&folder)?))
            }
            PushSubject::Image(name) => (".".into(), PushSource::Image { name, platform: self.build.platform()? }),
        };
        let provenance = self.provenance.then_some(ProvenanceOptions { build_arg_values: self.provenance_args });
        let in_index =
            (self.attest == Some(AttestationForm::Buildkit)).then(|| IndexAttestations { sbom: sbom.clone(), provenance });
        let mut request = PushRequest {
            tags: self.tag,
            sbom: sbom.is_wanted(),
            provenance: provenance.is_some(),
            in_index,
            signed_by: key.as_ref().map(|key| key.public().clone()),
            ..PushRequest::new(source)
        }
        .in_folder(&folder)?;
        if let PushSource::Build(build) = &mut request.source
            && !says_sdk_base
        {
            ask_for_sdk_base(terminal, &mpimg, build).await?;
        }
        let destination = self.destination.decide(terminal, &mpimg, &mut request)?;
        let mpimg = match self.login.credential(terminal, destination.push.repository().registry())? {
            Some((registry, credential)) => mpimg.with_credential(&registry, credential),
            None => mpimg,
        };
        terminal.handle_signals();

        let pushed = mpimg.push(request).await?;
        self.digest_file.write(&pushed.digest)?;
        let mut done = Done { pushed, time: started.elapsed(), sbom: None, provenance: None, signed: Vec::new() };
        done.say(terminal);
        let in_index = done.pushed.attestation();
        done.sbom = match in_index {
            Some(manifest) => sbom.attach.map(|_| manifest),
            None => mpimg.add_sbom(&done.pushed, &sbom).await?,
        };
        done.say_sbom(terminal, &sbom);
        if let (Some(manifest), true) = (in_index, self.provenance) {
            terminal.say(&format!("its provenance is in the index: {manifest}"));
            done.provenance = Some(manifest);
        } else if let Some(options) = provenance {
            let digest = mpimg.add_provenance(&done.pushed, options, key.as_ref()).await?;
            terminal.say(&format!("attached its provenance: {digest}"));
            done.provenance = Some(digest);
        }
        if let Some(key) = &key {
            // Of an index all that it has is signed.
            let sbom = done.sbom.filter(|_| in_index.is_none());
            done.signed = mpimg.sign_pushed(&done.pushed, sbom, key).await?;
            terminal.say(&format!("signed it with the key {}", key.public().fingerprint().short()));
        }
        let report = mpimg.check_anonymous(&done.pushed).await;
        report.expect_stored()?;
        let refused = done.tell_anonymous(terminal, &report, self.require_anonymous_pull);
        done.answer(terminal, report.pullable())?;
        refused
    }
}

/// A push that succeeded.
struct Done {
    pushed: PushedImage,
    time: Duration,
    /// The manifest that carries the bill of materials.
    sbom: Option<Digest>,
    /// The manifest that carries the provenance.
    provenance: Option<Digest>,
    /// Its signatures, and that of the bill of materials.
    signed: Vec<Signed>,
}

impl Done {
    fn say(&self, terminal: &Terminal) {
        let PushedImage { destination, tags, image, .. } = &self.pushed;
        let names: Vec<String> = tags.iter().map(|tag| format!("{}:{tag}", destination.push)).collect();
        terminal.say(&format!("pushed {}: {} in {}", names.join(", "), image::extent(image), shown_time(self.time)));
        if self.pushed.index.is_some() {
            let own = self.pushed.pushed.digest;
            terminal.say(&format!("the tag and the digest below name an index of the image and what is recorded of it; the image's own digest is {own}"));
        }
        if let Some(config) = &self.pushed.remembered_in {
            let config = config.strip_prefix(".").unwrap_or(config).display();
            terminal.say(&format!("wrote `container_repository` to {config}: the next push goes there without asking"));
        }
    }

    fn say_sbom(&self, terminal: &Terminal, outputs: &SbomOutputs) {
        if let Some(file) = &outputs.file {
            terminal.say(&image::wrote_sbom(file));
        }
        if let (Some(format), Some(digest)) = (outputs.attach, self.sbom) {
            terminal.say(&match self.pushed.index {
                Some(_) => format!("its SBOM ({format}) is in the index: {digest}"),
                None => format!("attached its SBOM ({format}): {digest}"),
            });
        }
    }

    /// Says whether the product will be able to pull. If it must be, "no" is an error.
    fn tell_anonymous(&self, terminal: &Terminal, report: &AnonymousReport, required: bool) -> Result<()> {
        if let Some((left, allowed)) = report.pulls {
            terminal.say(&format!("Docker Hub: {left} of {allowed} pulls are left for this address"));
        }
        if report.pullable() {
            let tick = terminal.error_theme().good("✓");
            terminal.say(&format!("{tick} it can be pulled without logging in, as VMware Aria Operations pulls it"));
            return Ok(());
        }
        let worst = report.worst();
        let name = format!("{}@{}", self.pushed.destination.pull, self.pushed.digest);
        let reason = worst.map_or_else(String::new, |item| format!("{}: {}", item.name, item.detail));
        let message = match worst {
            Some(item) if item.state == CheckState::Failed => {
                format!("`{name}` is pushed, but VMware Aria Operations cannot pull it without logging in")
            }
            _ => format!(
                "`{name}` is pushed; whether VMware Aria Operations can pull it without logging in could not be found out"
            ),
        };
        let hint = report.hint.as_deref().or(worst.and_then(|item| item.hint.as_deref()));
        if required {
            let error = Error::new(ErrorKind::Auth, message).with_source(reason);
            return Err(match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            });
        }
        terminal.warn(&format!("{message}\n{reason}"), hint);
        Ok(())
    }

    fn answer(&self, terminal: &Terminal, anonymous_pull: bool) -> Result<()> {
        let PushedImage { destination, tags, image, digest, index, .. } = &self.pushed;
        let conf = self.pushed.conf_entries();
        let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        let mut json = json!({
            "repository": destination.push.to_string(),
            "tag": tags.first(),
            "tags": tags,
            "digest": digest,
            "size": image::size(image),
            "layers": image::layers_json(image),
            "seconds": self.time.as_secs_f64(),
            "conf": { "registry": conf.registry, "repository": conf.repository, "digest": conf.digest },
            "anonymous_pull": anonymous_pull,
            "sbom": self.sbom,
            "provenance": self.provenance,
            "signed": self.signed.iter().map(|signed| signed.digest).collect::<Vec<_>>(),
        });
        if let Some(index) = index {
            json["manifests"] = image::manifests_json(index);
        }
        terminal.answer(&Answer { text: conf.to_string(), quiet: format!("{digest}\n"), json })
    }
}
