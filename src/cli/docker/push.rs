//! `docker push`.

use super::command::{Arguments, Command};
use super::invocation::{CommandResult, Failure, Invocation};
use super::tag;
use crate::cli::drop_in::{Flag, Parsed};
use crate::image::Transport;
use crate::oci::Reference;
use crate::operation::{PushRequest, PushSource, PushedImage};
use crate::registry::BlobOutcome;
use crate::store::ImageRecord;

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[
        Flag::switch("all-tags", "Push all tags of an image to the repository").short('a'),
        Flag::switch("disable-content-trust", "Skip image signing").ignored("nothing is signed by Docker Content Trust"),
        Flag::value("platform", "Push a platform-specific manifest").ignored("an image of the local store is for one platform"),
        Flag::switch("quiet", "Suppress verbose output").short('q'),
    ]],
    differs: "an upload that was cut off goes on where it was",
    ..Command::new(&["push", "image push"], "[OPTIONS] NAME[:TAG]", "Upload an image to a registry", |invocation, parsed| {
        Box::pin(run(invocation, parsed))
    })
};

async fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let (text, quiet) = (&parsed.arguments[0], parsed.is("quiet"));
    let wanted = tag::name(text)?;
    let repository = wanted.repository();
    let tagged = Reference::has_tag_or_digest(text);
    if parsed.is("all-tags") && tagged {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if !quiet {
        if !tagged && !parsed.is("all-tags") {
            invocation.print("Using default tag: latest\n")?;
        }
        invocation.print(format!("The push refers to repository [{repository}]\n"))?;
    }
    let store = invocation.mpimg().store()?;
    let of_repository = |name: &Reference| name.digest().is_none() && name.repository() == repository;
    let all: Vec<Reference> = store.list()?.into_iter().map(|(name, _)| name).filter(of_repository).collect();
    let names = match parsed.is("all-tags") {
        true => all.clone(),
        false => all.iter().filter(|name| **name == wanted).cloned().collect(),
    };
    if all.is_empty() {
        return Err(Failure::new(format!("An image does not exist locally with the tag: {}", repository.familiar())));
    }
    if names.is_empty() {
        return Err(Failure::new(format!("tag does not exist: {}", wanted.familiar())));
    }
    invocation.terminal().handle_signals();
    for name in &names {
        let Some(record) = store.resolve(name)? else { continue };
        if !quiet {
            invocation.print(preparing(invocation, &record)?)?;
        }
        let source = PushSource::Image { name: Transport::Store(name.clone()), platform: record.platform.clone() };
        let pushed = invocation.mpimg().push(PushRequest::new(source)).await.map_err(|error| denied(error, name))?;
        invocation.mpimg().note_digest(name.repository(), pushed.digest, &record)?;
        if !quiet {
            invocation.print(report(&pushed, name))?;
        }
    }
    if quiet {
        invocation.print(format!("{}\n", if parsed.is("all-tags") { repository.to_string() } else { wanted.to_string() }))?;
    }
    Ok(0)
}

/// The layers, topmost first, before anything is known of them.
fn preparing(invocation: &Invocation, record: &ImageRecord) -> Result<String, Failure> {
    let image = invocation.mpimg().local_image(&record.config.digest.to_string())?;
    let config = image.and_then(|image| image.config);
    let layers = config.map(|config| config.rootfs.diff_ids).unwrap_or_default();
    Ok(layers.iter().rev().map(|layer| format!("{}: Preparing\n", layer.0.short())).collect())
}

/// A name without a registry is one of Docker Hub's own images, to which nobody pushes.
fn denied(error: crate::error::Error, name: &Reference) -> Failure {
    let official = name.registry() == "docker.io" && name.path().starts_with("library/");
    let failure = Failure::from(error);
    if official { failure.with_text("denied: requested access to the resource is denied") } else { failure }
}

/// What became of each layer, and the line that scripts read.
fn report(pushed: &PushedImage, name: &Reference) -> String {
    let mut text = String::new();
    for layer in pushed.image.layers() {
        let Some(blob) = pushed.pushed.blobs.iter().find(|blob| blob.descriptor.digest == layer.descriptor.digest) else {
            continue;
        };
        let outcome = match blob.outcome {
            BlobOutcome::Uploaded { .. } => "Pushed",
            BlobOutcome::Mounted => "Mounted from another repository",
            _ => "Layer already exists",
        };
        text += &format!("{}: {outcome}\n", layer.diff_id.0.short());
    }
    let tag = name.tag().map(ToString::to_string).unwrap_or_default();
    text + &format!("{tag}: digest: {} size: {}\n", pushed.digest, pushed.pushed.size())
}
