//! `docker commit`, and the instructions that it and `docker import` apply (`--change`).

use std::io::Cursor;

use super::command::{Arguments, Command};
use super::container_id::find;
use super::invocation::{CommandResult, Failure, Invocation};
use super::{tag, value};
use crate::build::{BuildRequest, NamedContext};
use crate::cli::drop_in::{Flag, Parsed};
use crate::error::{Error, ErrorKind};
use crate::image::{Image, Transport};
use crate::oci::{Digest, Reference};
use crate::operation::{BuildOutputs, CommitRequest, LocalImage};

/// Instructions over the image; `docker import` has the flag, too.
pub(super) const CHANGE: Flag = Flag::list("change", "Apply Dockerfile instruction to the created image").short('c');

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[
        Flag::value("author", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")").short('a'),
        CHANGE,
        Flag::value("message", "Commit message").short('m'),
        Flag::switch("pause", "Pause container during commit").short('p').ignored("a running container goes on meanwhile"),
    ]],
    ..Command::new(
        &["commit", "container commit"],
        "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        "Create a new image from a container's changes",
        |invocation, parsed| Box::pin(run(invocation, parsed)),
    )
};

async fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let name = parsed.arguments.get(1).map(|name| tag::name(name)).transpose()?;
    let container = find(invocation, &parsed.arguments[0])?;
    let mut request = CommitRequest::default().with_environment();
    request.author = parsed.value("author").map(str::to_owned);
    request.message = parsed.value("message").map(str::to_owned);
    let image = invocation.mpimg().commit(&container, request).await?;
    let id = keep(invocation, &image, name, &parsed.list("change")).await?;
    invocation.print(format!("{id}\n"))?;
    Ok(0)
}

/// Keeps an image under a name, or under none, after `changes` over it. Returns its ID.
pub(super) async fn keep(
    invocation: &Invocation,
    image: &Image,
    name: Option<Reference>,
    changes: &[&str],
) -> Result<Digest, Failure> {
    changes.iter().try_for_each(|change| value::CHANGE(change)).map_err(Failure::daemon)?;
    let mpimg = invocation.mpimg();
    let record = mpimg.keep_unnamed(image).await?;
    let kept = mpimg.local_image(&record.config.digest.to_string())?;
    let gone = || Error::new(ErrorKind::NotFound, "the new image is gone").with_hint("try again");
    let kept = kept.ok_or_else(gone)?;
    if changes.is_empty() {
        if let Some(name) = name {
            mpimg.store()?.tag(&name, &record)?;
        }
        return Ok(record.config.digest);
    }
    let base = kept.any_name().cloned().ok_or_else(gone)?;
    let mut request = BuildRequest::new(".").with_environment();
    request.platform = record.platform.clone();
    request.contexts.insert("base".into(), NamedContext::Image(Transport::Store(base)));
    let text = format!("FROM base\n{}\n", changes.join("\n"));
    let _input = mpimg.read_dockerfile(&mut request, Cursor::new(text))?;
    let named = name.is_some();
    let wanted = BuildOutputs { names: name.into_iter().collect(), ..BuildOutputs::default() };
    let built = mpimg.build(request, &wanted).await?;
    if !named {
        mpimg.keep_unnamed(&built.image).await?;
    }
    // The image between has no name, and nobody has seen it.
    if let Some(between) = mpimg.local_image(&record.config.digest.to_string())?.filter(has_no_name)
        && built.image.manifest().config.digest != record.config.digest
    {
        mpimg.forget_image(&between)?;
    }
    Ok(built.image.manifest().config.digest)
}

fn has_no_name(image: &LocalImage) -> bool {
    image.names.is_empty() && image.digests.is_empty()
}
