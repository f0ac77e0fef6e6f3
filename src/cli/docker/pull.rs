//! `docker pull`.

use super::command::{Arguments, Command};
use super::invocation::{CommandResult, Failure, Invocation};
use super::tag;
use crate::cli::drop_in::{Flag, Parsed};
use crate::error::ErrorKind;
use crate::image::Transport;
use crate::oci::{Digest, Platform, Reference};

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[
        Flag::switch("all-tags", "Download all tagged images in the repository").short('a'),
        Flag::switch("disable-content-trust", "Skip image verification").ignored("nothing is verified by Docker Content Trust"),
        Flag::value("platform", "Set platform if server is multi-platform capable"),
        Flag::switch("quiet", "Suppress verbose output").short('q'),
    ]],
    ..Command::new(
        &["pull", "image pull"],
        "[OPTIONS] NAME[:TAG|@DIGEST]",
        "Download an image from a registry",
        |invocation, parsed| Box::pin(run(invocation, parsed)),
    )
};

async fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let text = &parsed.arguments[0];
    let name = tag::name(text)?;
    let platform = platform(parsed.value("platform"))?;
    invocation.terminal().handle_signals();
    let quiet = parsed.is("quiet");
    if !parsed.is("all-tags") {
        if !quiet && !Reference::has_tag_or_digest(text) {
            invocation.print("Using default tag: latest\n")?;
        }
        pull(invocation, &name, &platform, quiet).await?;
        invocation.print(format!("{name}\n"))?;
        return Ok(0);
    }
    for tag in invocation.mpimg().tags(name.repository()).await? {
        pull(invocation, &name.repository().with_tag(tag), &platform, quiet).await?;
    }
    invocation.print(format!("{}\n", name.repository()))?;
    Ok(0)
}

/// The platform of a flag; without one that of this machine.
pub(super) fn platform(text: Option<&str>) -> Result<Platform, Failure> {
    let variable = std::env::var("DOCKER_DEFAULT_PLATFORM").ok().filter(|name| !name.is_empty());
    match text.or(variable.as_deref()) {
        Some(text) => Ok(Platform::parse(text)?),
        None => Ok(Platform::host()),
    }
}

/// Pulls one image, under its own name and under its digest.
pub(super) async fn pull(invocation: &Invocation, name: &Reference, platform: &Platform, quiet: bool) -> Result<Digest, Failure> {
    let mpimg = invocation.mpimg();
    let manifest = mpimg.client().pull_manifest(name).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            Failure::daemon(format!("manifest for {} not found: manifest unknown: manifest unknown", name.familiar()))
                .with_error(error)
        }
        _ => Failure::from(error),
    })?;
    let by_digest = name.repository().with_digest(manifest.digest);
    let local = if name.digest().is_some() { by_digest.clone() } else { name.clone() };
    let before = mpimg.store()?.resolve(&local)?;
    if !quiet {
        invocation.print(format!("{}: Pulling from {}\n", name.target(), name.path()))?;
    }
    match name.digest() {
        None => drop(mpimg.pull(name, platform).await?),
        Some(_) => {
            // A copy leaves the layers in the registry; they come first, so that the name never
            // stands for an image that is not whole.
            let image = mpimg.find(Transport::Registry(by_digest.clone()), platform).await?;
            image.layer_files(mpimg.store()?).await?;
            let record = image.write_to_store(mpimg.store()?).await?;
            mpimg.store()?.tag(&by_digest, &record)?;
        }
    }
    if let Some(record) = mpimg.store()?.resolve(&local)? {
        mpimg.note_digest(name.repository(), manifest.digest, &record)?;
        if !quiet {
            let same = before.is_some_and(|before| before.manifest.digest == record.manifest.digest);
            let status = if same { "Image is up to date" } else { "Downloaded newer image" };
            invocation.print(format!("Digest: {}\nStatus: {status} for {}\n", manifest.digest, name.familiar()))?;
        }
    }
    Ok(manifest.digest)
}
