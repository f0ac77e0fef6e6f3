//! `docker buildx imagetools`.

use serde_json::{Value, json};

use super::command::{Arguments, Command};
use super::invocation::{CommandResult, Failure, Invocation};
use super::{format, tag};
use crate::cli::drop_in::{Flag, Parsed};
use crate::error::ErrorKind;
use crate::image::Format;
use crate::oci::{Platform, Reference};
use crate::operation::{CopyRequest, IndexPart};
use crate::registry::PulledManifest;

const BUILDER: Flag = Flag::value("builder", "Override the configured builder instance").ignored("there is one builder, mpimg");

pub(super) const INSPECT: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[
        BUILDER,
        Flag::value("format", "Format the output using the given Go template")
            .differs("Manifest, Name and Image of a single image"),
        Flag::switch("raw", "Show original, unformatted JSON manifest"),
    ]],
    ..Command::new(
        &["buildx imagetools inspect"],
        "[OPTIONS] NAME",
        "Show details of an image in the registry",
        |invocation, parsed| Box::pin(inspect(invocation, parsed)),
    )
};

pub(super) const CREATE: Command = Command {
    arguments: Arguments::AtLeast(0),
    flags: &[&[
        Flag::list("annotation", "Add annotation to the image")
            .refused("annotate the images as they are built: `docker build --annotation`"),
        Flag::switch("append", "Append to existing manifest"),
        BUILDER,
        Flag::switch("dry-run", "Show final image instead of pushing"),
        Flag::list("file", "Read source descriptor from file").short('f').refused("name the images as arguments"),
        Flag::switch("prefer-index", "Prefer an index even for a single source"),
        Flag::value("progress", "Set type of progress output"),
        Flag::list("tag", "Set reference for new image").short('t'),
    ]],
    ..Command::new(
        &["buildx imagetools create"],
        "[OPTIONS] [SOURCE...]",
        "Create a new image based on source images",
        |invocation, parsed| Box::pin(create(invocation, parsed)),
    )
};

/// What a registry has under a name; docker's words where it has nothing.
async fn manifest(invocation: &Invocation, name: &Reference) -> Result<PulledManifest, Failure> {
    invocation.mpimg().client().pull_manifest(name).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::new(format!("ERROR: {name}: not found")).with_error(error),
        _ => Failure::from(error),
    })
}

async fn inspect(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let name = tag::name(&parsed.arguments[0])?;
    let found = manifest(invocation, &name).await?;
    let text = String::from_utf8_lossy(&found.bytes);
    if parsed.is("raw") {
        invocation.print(text)?;
        return Ok(0);
    }
    let document: Value = serde_json::from_slice(&found.bytes).unwrap_or_default();
    let media_type = found.media_type.as_str();
    if let Some(format) = parsed.value("format").filter(|format| !format.is_empty() && *format != "{{.}}") {
        let mut descriptor = document.clone();
        descriptor["digest"] = found.digest.to_string().into();
        descriptor["size"] = found.bytes.len().into();
        descriptor["mediaType"] = media_type.into();
        let image = match found.media_type.is_index() {
            true => Value::Null,
            false => {
                let platform = Platform::host();
                let image = invocation.mpimg().find(crate::image::Transport::Registry(name.clone()), &platform).await?;
                serde_json::from_slice(image.config_bytes()).unwrap_or_default()
            }
        };
        let values = json!({ "Name": name.to_string(), "Manifest": descriptor, "Image": image });
        invocation.print(format::one(format, &fields_by_go(values))?)?;
        return Ok(0);
    }
    let mut lines = format!("Name:      {name}\nMediaType: {media_type}\nDigest:    {}\n", found.digest);
    let manifests = document["manifests"].as_array().cloned().unwrap_or_default();
    if !manifests.is_empty() {
        lines += "           \nManifests: \n";
    }
    let shown: Vec<String> = manifests
        .iter()
        .map(|manifest| {
            let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let variant = text("/platform/variant");
            let variant = if variant.is_empty() { variant } else { format!("/{variant}") };
            let platform = format!("{}/{}{variant}", text("/platform/os"), text("/platform/architecture"));
            let own = name.repository();
            format!("  Name:      {own}@{}\n  MediaType: {}\n  Platform:  {platform}\n", text("/digest"), text("/mediaType"))
        })
        .collect();
    invocation.print(lines + &shown.join("             \n"))?;
    Ok(0)
}

/// The names that templates use are those of Go's fields: `digest` is `Digest` there. Both are
/// kept.
fn fields_by_go(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut fields = serde_json::Map::new();
            for (name, value) in map {
                let value = fields_by_go(value);
                let mut letters = name.chars();
                let upper = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>());
                let upper = match name.as_str() {
                    "os" => Some("OS".to_owned()),
                    "urls" => Some("URLs".to_owned()),
                    _ => upper,
                };
                if let Some(upper) = upper.filter(|upper| *upper != name) {
                    fields.insert(upper, value.clone());
                }
                fields.insert(name, value);
            }
            Value::Object(fields)
        }
        Value::Array(list) => list.into_iter().map(fields_by_go).collect(),
        other => other,
    }
}

async fn create(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let targets: Vec<Reference> = parsed.list("tag").into_iter().map(tag::name).collect::<Result<_, _>>()?;
    let mut sources: Vec<Reference> = parsed.arguments.iter().map(|name| tag::name(name)).collect::<Result<_, _>>()?;
    if parsed.is("append") {
        let [target] = targets.as_slice() else { return Err(Failure::new("ERROR: append needs exactly one tag")) };
        sources.insert(0, target.clone());
    }
    if sources.is_empty() {
        return Err(Failure::new("ERROR: no sources specified"));
    }
    if targets.is_empty() && !parsed.is("dry-run") {
        return Err(Failure::new("ERROR: can't push with no tags specified, please set --tag or --dry-run"));
    }
    invocation.terminal().handle_signals();
    if let [source] = sources.as_slice() {
        let found = manifest(invocation, source).await?;
        let as_it_is = found.media_type.is_index() || parsed.switch("prefer-index") == Some(false);
        if as_it_is && !parsed.is("dry-run") {
            for target in &targets {
                let from = crate::image::Transport::Registry(source.clone());
                invocation.mpimg().copy(CopyRequest::new(from, crate::image::Transport::Registry(target.clone()))).await?;
                invocation.tell(format!("pushing {} to {target} done", found.digest));
            }
            return Ok(0);
        }
    }
    for source in &sources {
        manifest(invocation, source).await?;
    }
    let parts: Vec<IndexPart> = sources.into_iter().map(IndexPart::from).collect();
    let index = invocation.mpimg().join_index(&parts, Format::Oci).await?;
    if parsed.is("dry-run") {
        invocation.print(String::from_utf8_lossy(&index.bytes))?;
        return Ok(0);
    }
    for target in &targets {
        let digest = invocation.mpimg().push_index(target, &index).await?;
        invocation.tell(format!("pushing {digest} to {target} done"));
    }
    Ok(0)
}
