//! `docker save`, `docker load` and `docker import`.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use super::command::{Arguments, Command};
use super::invocation::{CommandResult, Failure, Invocation};
use super::tag;
use crate::cli::drop_in::{Flag, Parsed};
use crate::error::{Error, ErrorKind};
use crate::oci::{Platform, Reference};
use crate::operation::{ArchiveSource, ImportRequest, LoadRequest};
use crate::store::ImageRecord;

pub(super) const SAVE: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[
        Flag::value("output", "Write to a file, instead of STDOUT").short('o'),
        Flag::value("platform", "Save only the given platform").ignored("an image of the local store is for one platform"),
    ]],
    differs: "the archive is an OCI layout with docker's manifest.json, as docker 25 and later write it",
    ..Command::new(
        &["save", "image save"],
        "[OPTIONS] IMAGE [IMAGE...]",
        "Save one or more images to a tar archive",
        |invocation, parsed| Box::pin(save(invocation, parsed)),
    )
};

pub(super) const LOAD: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[
        Flag::value("input", "Read from tar archive file, instead of STDIN").short('i'),
        Flag::value("platform", "Load only the given platform"),
        Flag::switch("quiet", "Suppress the load output").short('q'),
    ]],
    ..Command::new(&["load", "image load"], "[OPTIONS]", "Load an image from a tar archive or STDIN", |invocation, parsed| {
        Box::pin(load(invocation, parsed))
    })
};

pub(super) const IMPORT: Command = Command {
    arguments: Arguments::AtLeast(1),
    flags: &[&[
        super::commit::CHANGE,
        Flag::value("message", "Set commit message for imported image").short('m'),
        Flag::value("platform", "Set platform if server is multi-platform capable"),
    ]],
    ..Command::new(
        &["import", "image import"],
        "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        "Import the contents from a tarball to create a filesystem image",
        |invocation, parsed| Box::pin(import(invocation, parsed)),
    )
};

async fn save(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let mpimg = invocation.mpimg();
    let mut images: Vec<(ImageRecord, Vec<Reference>)> = Vec::new();
    for text in &parsed.arguments {
        let Some(image) = mpimg.local_image(text)? else { return Err(Failure::daemon("reference does not exist")) };
        let exact = Reference::parse(text).ok().filter(|name| image.names.contains(name) || image.digests.contains(name));
        // A repository alone means all its tags.
        let tagged = Reference::has_tag_or_digest(text);
        let names: Vec<Reference> = match exact {
            Some(name) if !tagged => all_of(invocation, &name)?,
            Some(name) => vec![name],
            None => Vec::new(),
        };
        if names.is_empty() {
            add(&mut images, image.record.clone(), None);
        }
        for name in names {
            let record = mpimg.store()?.resolve(&name)?.unwrap_or_else(|| image.record.clone());
            add(&mut images, record, Some(name));
        }
    }
    invocation.terminal().handle_signals();
    match parsed.value("output") {
        Some(path) => mpimg.save_images(images, Path::new(path)).await?,
        None if io::stdout().is_terminal() => {
            return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
        }
        None => {
            let scratch = mpimg.store()?.scratch()?;
            let path = scratch.path().join("images.tar");
            mpimg.save_images(images, &path).await?;
            let mut file = std::fs::File::open(&path).map_err(|error| Error::io("open", &path, error))?;
            // Half an archive is not an archive, even where its reader has seen enough.
            io::copy(&mut file, &mut io::stdout())
                .map_err(|error| Error::new(ErrorKind::Io, "cannot write the archive").with_source(error))?;
        }
    }
    Ok(0)
}

fn all_of(invocation: &Invocation, name: &Reference) -> Result<Vec<Reference>, Failure> {
    let tagged = |other: &Reference| other.digest().is_none() && other.repository() == name.repository();
    Ok(invocation.mpimg().store()?.list()?.into_iter().map(|(name, _)| name).filter(tagged).collect())
}

fn add(images: &mut Vec<(ImageRecord, Vec<Reference>)>, record: ImageRecord, name: Option<Reference>) {
    let known = images.iter_mut().find(|(known, _)| known.manifest.digest == record.manifest.digest);
    match known {
        Some((_, names)) => {
            if let Some(name) = name.filter(|name| !names.contains(name)) {
                names.push(name);
            }
        }
        None => images.push((record, name.into_iter().collect())),
    }
}

/// The archive that an argument names; without one, or as `-`, standard input.
fn source(path: Option<&str>) -> ArchiveSource {
    match path {
        None | Some("-") => ArchiveSource::Reader(Box::new(io::stdin())),
        Some(path) => PathBuf::from(path).into(),
    }
}

async fn load(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let input = parsed.value("input");
    if input.is_none() && io::stdin().is_terminal() {
        return Err(Failure::new("requested load from stdin, but stdin is empty"));
    }
    if let Some(path) = input.filter(|path| *path != "-" && !Path::new(path).exists()) {
        return Err(Failure::new(format!("open {path}: no such file or directory")));
    }
    let mut request = LoadRequest::new(source(input));
    request.platform = super::pull::platform(parsed.value("platform"))?;
    request.unnamed = true;
    for loaded in invocation.mpimg().load(request).await? {
        if loaded.names.is_empty() {
            invocation.print(format!("Loaded image ID: {}\n", loaded.image.manifest().config.digest))?;
        }
        let lines = loaded.names.iter().map(|name| format!("Loaded image: {}\n", name.familiar()));
        invocation.print(lines.collect::<String>())?;
    }
    Ok(0)
}

async fn import(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let name = parsed.arguments.get(1).map(|name| tag::name(name)).transpose()?;
    let Some(name) = name else {
        return Err(Error::new(ErrorKind::Unsupported, "an imported image needs a name here")
            .with_hint(format!("add one: `docker import {} NAME`", parsed.arguments[0]))
            .into());
    };
    if parsed.arguments[0].contains("://") {
        return Err(Error::new(ErrorKind::Unsupported, "mpimg imports from files and standard input alone")
            .with_hint(format!("fetch it first: `curl -fsSL {} | docker import - {}`", parsed.arguments[0], name.familiar()))
            .into());
    }
    if let Some(platform) = parsed.value("platform") {
        super::value::PLATFORM(platform).map_err(Failure::daemon)?;
    }
    let mut request = ImportRequest::new(source(Some(&parsed.arguments[0])), name.clone()).with_environment();
    request.message = parsed.value("message").map(str::to_owned);
    request.platform = parsed.value("platform").map_or_else(|| Ok(Platform::host()), Platform::parse)?;
    let image = invocation.mpimg().import(request).await?;
    let id = match parsed.list("change").as_slice() {
        [] => image.manifest().config.digest,
        changes => super::commit::keep(invocation, &image, Some(name), changes).await?,
    };
    invocation.print(format!("{id}\n"))?;
    Ok(0)
}
