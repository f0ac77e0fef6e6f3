//! `docker rmi`.

use super::command::{Arguments, Command};
use super::invocation::{CommandResult, Failure, Invocation};
use super::tag::shown;
use crate::cli::drop_in::{Flag, Parsed};
use crate::container::ContainerState;
use crate::error::Error;
use crate::oci::Reference;
use crate::operation::LocalImage;
use crate::store::PruneOptions;

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[
        Flag::switch("force", "Force removal of the image").short('f'),
        Flag::switch("no-prune", "Do not delete untagged parents").ignored("there are no intermediate images"),
        Flag::list("platform", "Remove only the given platform variant")
            .ignored("an image of the local store is for one platform"),
    ]],
    differs: "one line `Deleted: ID` for an image; layers that the build cache uses stay until `docker builder prune`",
    ..Command::new(
        &["rmi", "image rm", "image remove"],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Remove one or more images",
        |invocation, parsed| Box::pin(run(invocation, parsed)),
    )
};

async fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let force = parsed.is("force");
    let (mut failures, mut deleted, mut code) = (Vec::new(), false, 0);
    for name in &parsed.arguments {
        match remove(invocation, name, force) {
            Ok((lines, gone)) => {
                invocation.print(lines)?;
                deleted |= gone;
            }
            Err(Refusal::Missing) => {
                failures.push(format!("Error response from daemon: No such image: {}", shown(name)));
                code = if force { code } else { 1 };
            }
            Err(Refusal::Failure(failure)) => {
                invocation.fail(&failure);
                code = 1;
            }
        }
    }
    if deleted {
        // What another process uses stays.
        invocation.mpimg().prune(PruneOptions::default()).await?;
    }
    failures.iter().for_each(|line| invocation.tell(line));
    Ok(code)
}

enum Refusal {
    Missing,
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failure(error.into())
    }
}

/// What was removed in docker's lines, and whether the image is gone.
fn remove(invocation: &Invocation, text: &str, force: bool) -> Result<(String, bool), Refusal> {
    let mpimg = invocation.mpimg();
    let image = mpimg.local_image(text)?.ok_or(Refusal::Missing)?;
    let conflict = |why: String| Refusal::Failure(Failure::daemon(format!("conflict: {why}")));
    let named = Reference::parse(text).ok().filter(|name| image.names.contains(name) || image.digests.contains(name));
    let left = named.as_ref().map_or(0, |named| image.names.iter().filter(|name| *name != named).count());
    let short = &image.id().hex()[..12];
    if left == 0
        && !force
        && let Some(user) = user(invocation, &image)?
    {
        return Err(conflict(match &named {
            Some(_) => format!(
                "unable to remove repository reference {text:?} (must force) - container {user} is using its referenced image {short}"
            ),
            None => format!("unable to delete {short} (must be forced) - image is being used by stopped container {user}"),
        }));
    }
    match named {
        Some(named) if left > 0 || named.digest().is_some() && !image.names.is_empty() => {
            let mut lines = untagged(invocation, &named)?;
            // The last tag of a repository takes what the repository calls the image with it.
            if !image.names.iter().any(|name| name != &named && name.repository() == named.repository()) {
                for digest in image.digests.iter().filter(|digest| digest.repository() == named.repository() && **digest != named)
                {
                    lines += &untagged(invocation, digest)?;
                }
            }
            Ok((lines, false))
        }
        Some(_) => Ok((forget(invocation, &image)?, true)),
        None => {
            let mut repositories: Vec<_> = image.names.iter().map(Reference::repository).collect();
            repositories.dedup();
            if repositories.len() > 1 && !force {
                return Err(conflict(format!(
                    "unable to delete {short} (must be forced) - image is referenced in multiple repositories"
                )));
            }
            Ok((forget(invocation, &image)?, true))
        }
    }
}

/// The first container of the image, by its ID.
fn user(invocation: &Invocation, image: &LocalImage) -> Result<Option<String>, Failure> {
    let containers = invocation.mpimg().containers()?;
    let uses = containers.into_iter().filter(|info| info.digest == image.record.manifest.digest);
    Ok(uses.filter(|info| info.state != ContainerState::Lost).map(|info| info.id).next())
}

fn untagged(invocation: &Invocation, name: &Reference) -> Result<String, Failure> {
    invocation.mpimg().store()?.untag(name)?;
    Ok(format!("Untagged: {}\n", name.familiar()))
}

fn forget(invocation: &Invocation, image: &LocalImage) -> Result<String, Failure> {
    invocation.mpimg().forget_image(image)?;
    let names = image.names.iter().chain(&image.digests);
    let lines: String = names.map(|name| format!("Untagged: {}\n", name.familiar())).collect();
    Ok(format!("{lines}Deleted: {}\n", image.id()))
}
