//! `buildah manifest`: lists of images for several platforms.
//!
//! The local store has no indexes: a list is a file beside it with the names of its images, which
//! are kept under names of their own.

use std::path::PathBuf;

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::command::{Command, REGISTRY};
use super::invocation::{CommandResult, Failure, Found, Invocation, MANIFEST, new_name};
use super::transfer::{destination, find_or_pull};
use crate::cli::drop_in::{Flag, Parsed};
use crate::error::Error;
use crate::image::{Image, ManifestTree, Transport, write_result};
use crate::oci::{Descriptor, Digest, MediaType, Platform, Reference};

const PLATFORM: &[Flag] = &[
    Flag::value("arch", "Architecture of the image"),
    Flag::value("os", "Operating system of the image"),
    Flag::value("variant", "Variant of the architecture"),
    Flag::value("platform", "OS/ARCHITECTURE[/VARIANT] of the image"),
];

pub(super) const CREATE: Command = Command {
    names: &["manifest create"],
    usage: "[OPTIONS] LIST [IMAGE…]",
    about: "Make a list",
    arguments: (1, usize::MAX),
    options_first: false,
    flags: &[
        &[
            Flag::switch("all", "All platforms of the images").refused("add each platform: `buildah manifest add --platform …`"),
            Flag::switch("amend", "An existing list is not an error"),
        ],
        REGISTRY,
    ],
    differs: "",
    run: |invocation, parsed| create(invocation, parsed).boxed_local(),
};

pub(super) const ADD: Command = Command {
    names: &["manifest add"],
    usage: "[OPTIONS] LIST IMAGE",
    about: "Add an image to a list",
    arguments: (2, 2),
    options_first: false,
    flags: &[
        &[
            Flag::switch("all", "All platforms of the image").refused("add each platform: `buildah manifest add --platform …`"),
            Flag::list("annotation", "Annotation of the entry").refused("annotate the image: `buildah config --annotation`"),
            Flag::list("features", "Feature").ignored("an index has none"),
            Flag::value("os-version", "Version of the operating system").ignored("it is for Windows"),
            Flag::list("os-features", "Feature of the operating system").ignored("it is for Windows"),
        ],
        PLATFORM,
        REGISTRY,
    ],
    differs: "one platform of the image",
    run: |invocation, parsed| add(invocation, parsed).boxed_local(),
};

pub(super) const PUSH: Command = Command {
    names: &["manifest push"],
    usage: "[OPTIONS] LIST [DESTINATION]",
    about: "Push a list with its images",
    arguments: (1, 2),
    options_first: false,
    flags: &[
        &[
            Flag::switch("all", "Push the images, too").ignored("they are pushed in any case"),
            Flag::value("digestfile", "Write the digest of the list to this file"),
            Flag::value("format", "oci or v2s2").short('f').differs("the list is OCI's, its images as they were built"),
            Flag::switch("quiet", "Say nothing").short('q'),
            Flag::switch("rm", "Remove the list after that"),
            Flag::switch("purge", "As --rm").short('p'),
            Flag::switch("remove-signatures", "Do not copy signatures").ignored("there are none in the store"),
            Flag::value("sign-by", "Sign with this key").refused("`mpimg sign IMAGE --key KEY` signs the pushed image"),
        ],
        REGISTRY,
    ],
    differs: "",
    run: |invocation, parsed| push(invocation, parsed).boxed_local(),
};

pub(super) const INSPECT: Command = Command {
    names: &["manifest inspect"],
    usage: "LIST",
    about: "Show a list",
    arguments: (1, 1),
    options_first: false,
    flags: &[REGISTRY],
    differs: "lists that were made here alone; `mpimg inspect docker://NAME` shows others",
    run: |invocation, parsed| inspect(invocation, parsed).boxed_local(),
};

pub(super) const RM: Command = Command {
    names: &["manifest rm"],
    usage: "LIST [LIST…]",
    about: "Remove lists",
    arguments: (1, usize::MAX),
    options_first: false,
    flags: &[],
    differs: "",
    run: |invocation, parsed| async move { remove(invocation, parsed) }.boxed_local(),
};

/// A list.
#[derive(Debug, Serialize, Deserialize)]
struct List {
    name: String,
    images: Vec<Entry>,
}

/// An image of a list, and what it is for.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    image: String,
    platform: Platform,
}

fn path(invocation: &Invocation, name: &Reference) -> Result<PathBuf, Failure> {
    let folder = invocation.mpimg().store()?.root().join("buildah-manifests");
    std::fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, error))?;
    Ok(folder.join(format!("{}.json", Digest::of(name.to_string()).hex())))
}

fn read(invocation: &Invocation, name: &Reference) -> Result<Option<List>, Failure> {
    let path = path(invocation, name)?;
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Failure::new(format!("`{}` is damaged: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &path, error).into()),
    }
}

fn must_read(invocation: &Invocation, text: &str) -> Result<(Reference, List), Failure> {
    let name = new_name(text)?;
    let list = read(invocation, &name)?.ok_or_else(|| Failure::not_known(text))?;
    Ok((name, list))
}

fn write(invocation: &Invocation, name: &Reference, list: &List) -> Result<(), Failure> {
    let text = json!(list).to_string();
    Ok(write_result(&path(invocation, name)?, text.as_bytes())?)
}

/// Adds an image to a list; one for the same platform is replaced.
async fn insert(invocation: &Invocation, name: &Reference, image: &Image, platform: Platform) -> Result<(), Failure> {
    let mut list = read(invocation, name)?.unwrap_or(List { name: name.to_string(), images: Vec::new() });
    let digest = image.descriptor().digest;
    let own = Reference::parse(&format!("{MANIFEST}/{}:{}", &Digest::of(name.to_string()).hex()[..16], &digest.hex()[..16]))?;
    let store = invocation.mpimg().store()?;
    let record = image.write_to_store(store).await?;
    store.tag(&own, &record)?;
    list.images.retain(|entry| entry.platform != platform);
    list.images.push(Entry { image: own.to_string(), platform });
    write(invocation, name, &list)
}

/// Adds an image that was built to a list, which is made if it is not there.
pub(super) async fn add_built(invocation: &Invocation, list: &str, image: &Image) -> Result<(), Failure> {
    insert(invocation, &new_name(list)?, image, image.config().platform()).await
}

async fn add_image(invocation: &Invocation, parsed: &Parsed, list: &Reference, text: &str) -> Result<(), Failure> {
    let found = find_or_pull(invocation, parsed, text).await?;
    let image = invocation.mpimg().find(Transport::Store(found.name), &found.record.platform).await?;
    let mut platform = image.config().platform();
    if let Some(whole) = parsed.value("platform") {
        platform = whole.parse()?;
    }
    platform.architecture = parsed.value("arch").map_or(platform.architecture, str::to_owned);
    platform.os = parsed.value("os").map_or(platform.os, str::to_owned);
    platform.variant = parsed.value("variant").map(str::to_owned).or(platform.variant);
    insert(invocation, list, &image, platform).await
}

async fn create(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let [text, images @ ..] = parsed.arguments.as_slice() else { return Ok(0) };
    let name = new_name(text)?;
    if read(invocation, &name)?.is_some() && !parsed.is("amend") {
        return Err(Failure::new(format!("that name is already in use: {name}")));
    }
    let list = read(invocation, &name)?.unwrap_or(List { name: name.to_string(), images: Vec::new() });
    write(invocation, &name, &list)?;
    for image in images {
        add_image(invocation, parsed, &name, image).await?;
    }
    invocation.print(format!("{}\n", Digest::of(name.to_string()).hex()))?;
    Ok(0)
}

async fn add(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let [list, image] = parsed.arguments.as_slice() else { return Ok(0) };
    let (name, _) = must_read(invocation, list)?;
    invocation.terminal().handle_signals();
    add_image(invocation, parsed, &name, image).await?;
    let (_, list) = must_read(invocation, list)?;
    let tree = tree(invocation, &list).await?;
    invocation.print(format!(
        "{}: {}\n",
        Digest::of(name.to_string()).hex(),
        tree.children.last().map(|child| child.descriptor.digest.to_string()).unwrap_or_default()
    ))?;
    Ok(0)
}

/// The index of a list.
async fn tree(invocation: &Invocation, list: &List) -> Result<ManifestTree, Failure> {
    let mut children = Vec::new();
    for entry in &list.images {
        let name = Reference::parse(&entry.image)?;
        let record = invocation.mpimg().store()?.resolve(&name)?.ok_or_else(|| Failure::not_known(&entry.image))?;
        let found = Found { name, record };
        let image = invocation.mpimg().find(Transport::Store(found.name), &found.record.platform).await?;
        let mut child = ManifestTree::of_image(&image);
        child.descriptor.platform = Some(entry.platform.clone());
        children.push(child);
    }
    let manifests: Vec<&Descriptor> = children.iter().map(|child| &child.descriptor).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": MediaType::Index.as_str(), "manifests": manifests }).to_string();
    let descriptor = Descriptor::of(MediaType::Index, index.as_bytes());
    Ok(ManifestTree::index(descriptor, index.into(), children)?)
}

async fn push(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let [text, rest @ ..] = parsed.arguments.as_slice() else { return Ok(0) };
    let (name, list) = must_read(invocation, text)?;
    let to = match rest.first() {
        Some(text) => destination(text, Some(&name))?,
        None => Transport::Registry(name.clone()),
    };
    invocation.terminal().handle_signals();
    let tree = tree(invocation, &list).await?;
    invocation.tell(format!("Getting image list signatures\nCopying {} of {0} images in list", tree.children.len()));
    let digest = match &to {
        Transport::Registry(name) => invocation.mpimg_for(parsed, name.registry()).push_index(name, &tree).await?,
        other => {
            other.write_tree(invocation.mpimg().store()?, &tree, &[]).await?;
            tree.descriptor.digest
        }
    };
    invocation.tell("Writing manifest list to image destination\nStoring list signatures");
    if let Some(file) = parsed.value("digestfile").filter(|file| !file.is_empty()) {
        write_result(std::path::Path::new(file), digest.to_string().as_bytes())?;
    }
    if parsed.is("rm") || parsed.is("purge") {
        forget(invocation, &name, &list)?;
    }
    Ok(0)
}

async fn inspect(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let Some(text) = parsed.arguments.first() else { return Ok(0) };
    let (_, list) = must_read(invocation, text)?;
    let tree = tree(invocation, &list).await?;
    let index: serde_json::Value = serde_json::from_slice(&tree.bytes).map_err(|error| Failure::new(error.to_string()))?;
    invocation.print(format!("{index:#}\n"))?;
    Ok(0)
}

fn forget(invocation: &Invocation, name: &Reference, list: &List) -> Result<(), Failure> {
    let names = list.images.iter().map(|entry| Reference::parse(&entry.image)).collect::<Result<Vec<_>, _>>()?;
    invocation.mpimg().remove(&names, true)?;
    let path = path(invocation, name)?;
    Ok(std::fs::remove_file(&path).map_err(|error| Error::io("remove", &path, error))?)
}

fn remove(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    for text in &parsed.arguments {
        let (name, list) = must_read(invocation, text)?;
        forget(invocation, &name, &list)?;
        invocation.print(format!("{}\n", Digest::of(name.to_string()).hex()))?;
    }
    Ok(0)
}
