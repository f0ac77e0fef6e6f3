//! `mpimg build`: builds an image from a Dockerfile and a folder.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::digest_file::DigestFile;
use crate::cli::flags::{AttestFlags, BuildFlags, ConnectionFlags, PushSigningFlags, ask_for_sdk_base, parsed};
use crate::cli::image;
use crate::cli::progress::shown_time;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ManifestTree, Transport, attested_digest, expect_writable, write_result};
use crate::oci::{Digest, Reference};
use crate::operation::{BuildOutputs, Built};
use crate::sbom::SbomFile;

const EXAMPLES: &str = "\
Base images come from the local store, or from a registry if they are not there; FROM also takes oci:DIR, \
oci-archive:FILE and docker-archive:FILE. In an Integration SDK project (a folder with manifest.txt) the folders \
that mp-build excludes are excluded, too; elsewhere docker's rules apply.

Examples:
  mpimg build                                    This folder; prints the digest
  mpimg build -t app:1.0 -f docker/Dockerfile .  With a name in the local store
  mpimg build -t HOST/PATH:1 --push              Also to a registry
  mpimg build -o oci:out -o docker-archive:a.tar To a layout and for docker load
  git archive HEAD | mpimg build -t app -        A build context from standard input
  mpimg build -t app https://HOST/PATH.git#v1    A tag of a git repository
  mpimg build --platform linux/amd64,linux/arm64 -t HOST/PATH:1 --push
  mpimg build -t app --sbom-file app.spdx.json   With a list of its packages
  mpimg build --target test --build-arg PORT=80 --secret id=token,src=token.txt";

/// Build an image from a Dockerfile; prints its digest
///
/// Nothing is named or written unless --tag or --output say so, but layers and the results of RUN
/// are kept in the local store, and not made again.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Build {
    /// The build context: a folder; - for a tar of it, or a Dockerfile alone, on standard input; or
    /// a URL
    ///
    /// A URL is that of a git repository (https://HOST/PATH.git#REF:FOLDER, git@HOST:PATH), of a
    /// tar, or of a Dockerfile. git is asked without the settings of this user; a token is given
    /// with `--secret id=GIT_AUTH_TOKEN,env=NAME`.
    #[arg(default_value = ".", value_name = "PATH|-|URL")]
    path: PathBuf,

    /// Give the image this name in the local store; may be repeated
    #[arg(short, long, value_name = "NAME[:TAG]", value_parser = parsed::<Reference>)]
    tag: Vec<Reference>,

    /// Write the image to oci:DIR[:TAG], oci-archive:FILE[:TAG] or
    /// docker-archive:FILE[:NAME[:TAG]]; may be repeated
    ///
    /// A docker archive without a name has that of the first --tag.
    #[arg(short, long, value_name = "TRANSPORT:PATH", value_parser = output)]
    output: Vec<Transport>,

    /// Push the image under each --tag, to the repository in that name
    #[arg(long)]
    push: bool,

    /// Build twice without the build cache, and fail if the images differ: each file that does is
    /// named, with its step
    ///
    /// What the build was asked for is done only if they are the same. Cache mounts begin empty
    /// each time.
    #[arg(long)]
    check_reproducible: bool,

    /// Load the image into docker, or podman, under each --tag
    #[arg(long)]
    load: bool,

    #[command(flatten)]
    digest_file: DigestFile,

    /// Write the image ID, the digest of its configuration, to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,

    /// Write the result as JSON to this file, with buildx's keys
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,

    /// Write a bill of materials, what is installed in the image, to this file: FILE.spdx.json or
    /// FILE.cdx.json
    ///
    /// The name decides the format: SPDX or CycloneDX. Layers that are not in the local store are
    /// fetched for it.
    #[arg(long, value_name = "FILE")]
    sbom_file: Option<PathBuf>,

    #[command(flatten)]
    attest: AttestFlags,

    #[command(flatten)]
    signing: PushSigningFlags,

    #[command(flatten)]
    build: BuildFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// An output is a file or folder; names and registries have flags and commands of their own.
fn output(text: &str) -> Result<Transport, String> {
    match Transport::parse(text) {
        Ok(Transport::Store(_)) => {
            Err("write oci:DIR, oci-archive:FILE or docker-archive:FILE; a name is given with --tag".into())
        }
        Ok(Transport::Registry(_)) => Err("give the image the name with --tag, and add --push".into()),
        Ok(transport) => Ok(transport),
        Err(error) => Err(error.hint().map_or_else(|| error.to_string(), str::to_owned)),
    }
}

impl Build {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        self.digest_file.expect_writable()?;
        [&self.iidfile, &self.metadata_file].into_iter().flatten().try_for_each(|path| expect_writable(path))?;
        let mpimg = self.connection.mpimg(terminal, None);
        // Before the build: a key that cannot sign must not be found out at its end.
        let key = self.signing.key(terminal)?;
        let (sbom, platforms) = (self.attest.sbom(), self.build.platforms());
        let provenance = self.attest.provenance(self.push, platforms.len(), terminal);
        let attestations = self.attest.form();
        let says_sdk_base = self.build.says_sdk_base();
        let (mut request, from_input) = (self.build.request(&self.path)?, Path::new("-"));
        let _input = match (self.path == from_input, request.dockerfile.as_deref() == Some(from_input)) {
            (true, true) => {
                return Err(Error::new(ErrorKind::Usage, "standard input cannot be both the build context and the Dockerfile")
                    .with_hint("name a folder, or leave out `-f -`"));
            }
            (true, false) => Some(mpimg.read_context(&mut request, std::io::stdin())?),
            (false, true) => Some(mpimg.read_dockerfile(&mut request, std::io::stdin())?),
            (false, false) => None,
        };
        if !says_sdk_base {
            ask_for_sdk_base(terminal, &mpimg, &mut request).await?;
        }
        terminal.handle_signals();
        let sbom_file = self.sbom_file.map(SbomFile::new).transpose()?;
        let outputs = BuildOutputs {
            check_reproducible: self.check_reproducible,
            names: self.tag,
            outputs: self.output,
            push: self.push,
            load: self.load,
            sbom,
            provenance,
            attestations,
            key,
            platforms,
            sbom_file,
        };
        let built = mpimg.build(request, &outputs).await?;
        self.digest_file.write(&built.descriptor().digest)?;
        if let Some(path) = &self.iidfile {
            write_result(path, image_id(&built).to_string().as_bytes())?;
        }
        if let Some(path) = &self.metadata_file {
            write_result(path, format!("{:#}", metadata(&built, &outputs)).as_bytes())?;
        }
        report(terminal, &built, &outputs)
    }
}

fn report(terminal: &Terminal, built: &Built, outputs: &BuildOutputs) -> Result<()> {
    let (image, seconds) = (&built.image, built.time.as_secs_f64());
    let digest = built.descriptor().digest;
    let names: Vec<String> = outputs.names.iter().map(Reference::familiar).collect();
    let written: Vec<String> = outputs.outputs.iter().map(ToString::to_string).collect();
    let places: Vec<String> = names.iter().chain(&written).map(|place| format!("`{place}`")).collect();
    let whereto = if places.is_empty() { String::new() } else { format!(" as {}", places.join(", ")) };
    let extent = match &built.index {
        Some(index) if platforms(index) > 1 => format!("{} platforms", platforms(index)),
        _ => image::extent(image),
    };
    terminal.say(&format!("built{whereto}: {extent} in {}", shown_time(built.time)));
    if let Some(file) = &outputs.sbom_file {
        terminal.say(&image::wrote_sbom(file));
    }
    let mut json = json!({
        "digest": digest,
        "names": names,
        "outputs": written,
        "size": image::size(image),
        "layers": image::layers_json(image),
        "seconds": seconds,
    });
    // Of an image for one platform there is one manifest: that of `digest`.
    if let Some(index) = &built.index {
        json["manifests"] = image::manifests_json(index);
    }
    terminal.answer(&Answer { text: format!("{digest}\n"), quiet: format!("{digest}\n"), json })
}

/// How many images an index has.
fn platforms(index: &ManifestTree) -> usize {
    index.children.iter().filter(|child| attested_digest(&child.descriptor).is_none()).count()
}

/// The image ID as docker has it; of an index its digest, as with buildx.
fn image_id(built: &Built) -> Digest {
    match &built.index {
        Some(index) => index.descriptor.digest,
        None => built.image.manifest().config.digest,
    }
}

/// The result in buildx's words (docker buildx build, `--metadata-file`).
pub(in crate::cli) fn metadata(built: &Built, outputs: &BuildOutputs) -> Value {
    let descriptor = built.descriptor();
    let mut metadata = json!({
        "containerimage.descriptor": {
            "mediaType": descriptor.media_type.as_str(),
            "digest": descriptor.digest,
            "size": descriptor.size,
        },
        "containerimage.digest": descriptor.digest,
    });
    // An index has no configuration.
    if built.index.is_none() {
        metadata["containerimage.config.digest"] = json!(built.image.manifest().config.digest);
    }
    if !outputs.names.is_empty() {
        metadata["image.name"] = outputs.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(",").into();
    }
    metadata
}
