//! `buildah push` and `buildah pull`.

use futures_util::FutureExt as _;

use super::command::{Command, REGISTRY};
use super::invocation::{CommandResult, Failure, Found, Invocation};
use crate::cli::drop_in::{Flag, Parsed};
use crate::error::{Error, ErrorKind};
use crate::image::{Transport, write_result};
use crate::oci::{Digest, Reference};
use crate::operation::CopyRequest;

pub(super) const PUSH: Command = Command {
    names: &["push"],
    usage: "[OPTIONS] IMAGE [DESTINATION]",
    about: "Push an image to docker://, oci:, oci-archive: or docker-archive:",
    arguments: (1, 2),
    options_first: false,
    flags: &[
        &[
            Flag::switch("all", "All images of a manifest list").ignored("a manifest list is pushed by `buildah manifest push`"),
            Flag::value("digestfile", "Write the digest of the pushed image to this file"),
            Flag::switch("quiet", "Say nothing").short('q'),
            Flag::value("format", "oci, v2s1 or v2s2").short('f').differs("the image is pushed as it was built"),
            Flag::value("compression-format", "gzip or zstd").ignored("layers are pushed as they are stored"),
            Flag::value("compression-level", "Level").ignored("layers are pushed as they are stored"),
            Flag::switch("disable-compression", "Do not compress layers")
                .short('D')
                .ignored("layers are pushed as they are stored"),
            Flag::switch("remove-signatures", "Do not copy signatures").ignored("there are none in the store"),
            Flag::switch("rm", "Remove the image after that"),
            Flag::value("sign-by", "Sign with this key").refused("`mpimg sign IMAGE --key KEY` signs the pushed image"),
            Flag::list("encryption-key", "Encrypt").refused("mpimg does not write encrypted images"),
            Flag::list("encrypt-layer", "Encrypt").refused("mpimg does not write encrypted images"),
        ],
        REGISTRY,
    ],
    differs: "`dir:`, `docker-daemon:` and `containers-storage:` are refused",
    run: |invocation, parsed| push(invocation, parsed).boxed_local(),
};

pub(super) const PULL: Command = Command {
    names: &["pull"],
    usage: "[OPTIONS] IMAGE",
    about: "Pull an image into the local store; prints its ID",
    arguments: (1, 1),
    options_first: false,
    flags: &[
        &[
            Flag::switch("quiet", "Say nothing but the ID").short('q'),
            Flag::switch("all-tags", "All tags").short('a').refused("pull each tag; `mpimg tags REPOSITORY` lists them"),
            Flag::value("policy", "always, missing, never or newer")
                .differs("`missing` and `never` take what is there; all others ask the registry"),
            Flag::list("platform", "OS/ARCHITECTURE[/VARIANT]"),
            Flag::value("arch", "Architecture"),
            Flag::value("os", "Operating system"),
            Flag::value("variant", "Variant of the architecture"),
            Flag::switch("remove-signatures", "Do not copy signatures").ignored("they are not copied"),
            Flag::list("decryption-key", "Key of encrypted images").refused("mpimg does not read encrypted images"),
        ],
        REGISTRY,
    ],
    differs: "a short name is Docker Hub's, whatever registries.conf says of short names",
    run: |invocation, parsed| pull(invocation, parsed).boxed_local(),
};

/// A destination in buildah's words: a name alone is one in a registry.
pub(super) fn destination(text: &str, named: Option<&Reference>) -> Result<Transport, Failure> {
    let refused = |scheme: &str| {
        let failure = Failure::new(format!("mpimg does not write `{scheme}`"));
        Failure {
            hint: Some("write docker://NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]".into()),
            ..failure
        }
    };
    let transport = match text.split_once(':') {
        Some(("oci" | "oci-archive" | "docker-archive", _)) => Transport::parse(text)?,
        Some((scheme @ ("dir" | "docker-daemon" | "containers-storage" | "ostree"), _)) => return Err(refused(scheme)),
        _ => Transport::Registry(Reference::parse(text.strip_prefix("docker://").unwrap_or(text))?),
    };
    Ok(transport.named(named.cloned()))
}

async fn push(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let [name, rest @ ..] = parsed.arguments.as_slice() else { return Ok(0) };
    let shown = rest.first().cloned().unwrap_or_else(|| format!("docker://{}", name.strip_prefix("docker://").unwrap_or(name)));
    let what = format!("pushing image \"{name}\" to \"{shown}\"");
    let found = invocation.must_find(name).map_err(|failure| failure.while_doing(&what))?;
    let to = match rest.first() {
        Some(text) => destination(text, Some(&found.name))?,
        None => Transport::Registry(found.name.clone()),
    };
    invocation.terminal().handle_signals();
    say_blobs(invocation, &found);
    let digest = copy(invocation, parsed, &found, to).await.map_err(|failure| failure.while_doing(&what))?;
    invocation.tell("Writing manifest to image destination\nStoring signatures");
    if let Some(file) = parsed.value("digestfile").filter(|file| !file.is_empty()) {
        write_result(std::path::Path::new(file), digest.to_string().as_bytes())?;
    }
    if parsed.is("rm") {
        invocation.mpimg().remove(&[found.name], true)?;
    }
    Ok(0)
}

/// Copies an image of the store; its digest there.
pub(super) async fn copy(invocation: &Invocation, parsed: &Parsed, found: &Found, to: Transport) -> Result<Digest, Failure> {
    let mpimg = match &to {
        Transport::Registry(name) => invocation.mpimg_for(parsed, name.registry()),
        _ => invocation.mpimg().clone(),
    };
    let mut request = CopyRequest::new(Transport::Store(found.name.clone()), to);
    request.platform = Some(found.record.platform.clone());
    Ok(mpimg.copy(request).await?.tree.descriptor.digest)
}

/// What buildah says of the parts of an image.
pub(super) fn say_blobs(invocation: &Invocation, found: &Found) {
    invocation.tell("Getting image source signatures");
    found.record.layers.iter().for_each(|layer| invocation.tell(format!("Copying blob {}", layer.diff_id)));
    invocation.tell(format!("Copying config {}", found.record.config.digest));
}

async fn pull(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let Some(text) = parsed.arguments.first() else { return Ok(0) };
    let platform = super::options::platform(parsed)?;
    invocation.terminal().handle_signals();
    let id = pull_image(invocation, parsed, text, &platform).await?;
    invocation.print(format!("{id}\n"))?;
    Ok(0)
}

/// Pulls an image, or reads it from an archive; its ID.
async fn pull_image(
    invocation: &Invocation,
    parsed: &Parsed,
    text: &str,
    platform: &crate::oci::Platform,
) -> Result<String, Failure> {
    if matches!(parsed.value("policy"), Some("missing" | "never"))
        && let Some(found) = invocation.find(text)?
    {
        return Ok(found.id());
    }
    let source = match text.split_once(':') {
        Some(("oci" | "oci-archive" | "docker-archive", _)) => Transport::parse(text)?,
        _ => Transport::Registry(Reference::parse(text.strip_prefix("docker://").unwrap_or(text))?),
    };
    let name = match &source {
        Transport::Registry(name) => {
            let mpimg = invocation.mpimg_for(parsed, name.registry());
            let pulled = mpimg.pull(&with_tag(name)?, platform).await?;
            pulled.name
        }
        Transport::DockerArchive { reference: Some(name), .. } => name.clone(),
        other => {
            let path = other.to_string();
            let path = path.split(':').nth(1).unwrap_or_default();
            super::invocation::new_name(&path.trim_matches('/').to_lowercase())?
        }
    };
    if !matches!(source, Transport::Registry(_)) {
        let mut request = CopyRequest::new(source, Transport::Store(name.clone()));
        request.platform = Some(platform.clone());
        invocation.mpimg().copy(request).await?;
    }
    let found = invocation.must_find(&name.to_string())?;
    say_blobs(invocation, &found);
    invocation.tell("Writing manifest to image destination\nStoring signatures");
    Ok(found.id())
}

/// A name with a digest alone gets the digest's beginning as a tag.
fn with_tag(name: &Reference) -> Result<Reference, Failure> {
    match (name.tag(), name.digest()) {
        (None, Some(digest)) => {
            let tag = &digest.hex()[..12];
            Ok(Reference::parse(&format!("{}:{tag}@{digest}", name.repository()))?)
        }
        _ => Ok(name.clone()),
    }
}

/// The image that FROM or `buildah from` names: of the store, else pulled.
pub(super) async fn find_or_pull(invocation: &Invocation, parsed: &Parsed, text: &str) -> Result<Found, Failure> {
    let anew = parsed.is("pull-always") || matches!(parsed.value("pull"), Some("always" | "newer"));
    let never = parsed.is("pull-never") || matches!(parsed.value("pull"), Some("never" | "false"));
    if let Some(found) = invocation.find(text)?.filter(|_| !anew) {
        return Ok(found);
    }
    if never {
        return Err(Failure::not_known(text));
    }
    let platform = super::options::platform(parsed)?;
    let id = pull_image(invocation, parsed, text, &platform).await?;
    invocation.find(&id)?.ok_or_else(|| {
        Failure::from(
            Error::new(ErrorKind::NotFound, format!("`{text}` was pulled, and is gone")).with_hint("run the same command again"),
        )
    })
}
