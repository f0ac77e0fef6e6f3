//! `docker tag`.

use super::command::{Arguments, Command};
use super::invocation::{CommandResult, Failure, Invocation};
use crate::cli::drop_in::Parsed;
use crate::oci::Reference;

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::Exactly(2),
    ..Command::new(
        &["tag", "image tag"],
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        |invocation, parsed| Box::pin(async move { run(invocation, parsed) }),
    )
};

fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let (source, target) = (&parsed.arguments[0], &parsed.arguments[1]);
    let target = name(target)?;
    if target.digest().is_some() {
        return Err(Failure::new("refusing to create a tag with a digest reference"));
    }
    let Some(image) = invocation.mpimg().local_image(source)? else {
        return Err(Failure::daemon(format!("No such image: {}", shown(source))));
    };
    invocation.mpimg().store()?.tag(&target, &image.record)?;
    Ok(0)
}

/// A name with a tag; docker's words for an invalid one.
pub(super) fn name(text: &str) -> Result<Reference, Failure> {
    Reference::parse(text).map_err(|error| {
        let why = if text.chars().any(char::is_uppercase) && Reference::parse(&text.to_lowercase()).is_ok() {
            "invalid reference format: repository name must be lowercase"
        } else {
            "invalid reference format"
        };
        Failure::new(format!("Error parsing reference: {text:?} is not a valid repository/tag: {why}")).with_error(error)
    })
}

/// A name as docker shows it: with its tag.
pub(super) fn shown(text: &str) -> String {
    Reference::parse(text).map_or_else(|_| text.to_owned(), |name| name.familiar())
}
