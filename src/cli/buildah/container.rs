//! Working containers: `buildah from`, `run`, `copy`, `add`, `config`, `commit`, `rm`,
//! `containers`.
//!
//! A working container is an image of the store under a name of its own; each command makes the
//! next image of it.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::command::{Command, REGISTRY};
use super::config::{CONFIG_FLAGS, change_config};
use super::invocation::{CommandResult, Failure, Found, Invocation, WORKING, new_name, working_name};
use super::options::{format, platform, run_settings};
use super::steps::Steps;
use super::transfer::{destination, find_or_pull, say_blobs};
use crate::build::BuildRequest;
use crate::cli::drop_in::{Flag, Parsed};
use crate::cli::flags::Pair;
use crate::image::{Image, ImageConfig, Transport, write_result};
use crate::oci::Reference;
use crate::operation::{BuildOutputs, Mpimg, Options};
use crate::progress::Progress;
use crate::registry::CredentialSources;

const RIGHTS: &str = "a command has the rights that its isolation gives: see `mpimg doctor`";

pub(super) const FROM: Command = Command {
    names: &["from"],
    usage: "[OPTIONS] IMAGE",
    about: "Make a working container of an image; prints its name",
    arguments: (1, 1),
    options_first: false,
    flags: &[
        &[
            Flag::value("name", "Name of the working container"),
            Flag::value("pull", "true, false, always, missing, never or newer"),
            Flag::switch("pull-always", "Ask the registry"),
            Flag::switch("pull-never", "Use the store alone"),
            Flag::switch("quiet", "Say less").short('q'),
            Flag::value("platform", "OS/ARCHITECTURE[/VARIANT]"),
            Flag::value("arch", "Architecture"),
            Flag::value("os", "Operating system"),
            Flag::value("variant", "Variant of the architecture"),
            Flag::value("format", "oci or docker").short('f').ignored("`buildah commit --format` counts"),
            Flag::value("isolation", "Isolation").ignored("`buildah run --isolation` counts"),
            Flag::value("cidfile", "Write the name to this file"),
            Flag::list("volume", "Mount a folder").short('v').refused("use `buildah copy`, or `buildah run --mount`"),
            Flag::list("cap-add", "Capability").ignored(RIGHTS),
            Flag::list("cap-drop", "Capability").ignored(RIGHTS),
            Flag::list("security-opt", "Security option").ignored(RIGHTS),
        ],
        REGISTRY,
    ],
    differs: "a working container is shown by `mpimg images`, too",
    run: |invocation, parsed| from(invocation, parsed).boxed_local(),
};

pub(super) const RUN: Command = Command {
    names: &["run"],
    usage: "[OPTIONS] CONTAINER [--] COMMAND [ARGUMENT…]",
    about: "Run a command in a working container",
    arguments: (2, usize::MAX),
    options_first: true,
    flags: &[&[
        Flag::list("env", "Variable for this command").short('e'),
        Flag::value("user", "User of this command"),
        Flag::value("workingdir", "Folder that it starts in"),
        Flag::value("network", "host, none or private").differs("a network of its own is `none`; all others are this machine's"),
        Flag::value("net", "As --network"),
        Flag::list("add-host", "NAME:ADDRESS in /etc/hosts"),
        Flag::list("mount", "type=bind, cache, secret or tmpfs, as RUN --mount has it")
            .differs("`source` of a bind mount is in the current folder"),
        Flag::value("isolation", "oci, rootless or chroot").differs("`chroot` is mpimg's; others are mpimg's own choice"),
        Flag::switch("terminal", "Give it a terminal").short('t').ignored("a command has no terminal"),
        Flag::switch("tty", "Give it a terminal").ignored("a command has no terminal"),
        Flag::value("hostname", "Host name").ignored("it is `buildkitsandbox`"),
        Flag::list("volume", "Mount a folder").short('v').refused("use --mount type=bind, or `buildah copy`"),
        Flag::list("cap-add", "Capability").ignored(RIGHTS),
        Flag::list("cap-drop", "Capability").ignored(RIGHTS),
        Flag::value("runtime", "OCI runtime").ignored("mpimg runs commands itself"),
        Flag::list("runtime-flag", "Flag of the OCI runtime").ignored("mpimg runs commands itself"),
        Flag::switch("no-pivot", "Do not use pivot_root").ignored("mpimg runs commands itself"),
        Flag::switch("no-hosts", "No /etc/hosts of its own").ignored("/etc/hosts is hidden, and never changed"),
    ]],
    differs: "a command has no standard input, and its two streams are one; one that fails changes nothing",
    run: |invocation, parsed| run(invocation, parsed).boxed_local(),
};

const COPY_FLAGS: &[Flag] = &[
    Flag::value("chown", "Owner"),
    Flag::value("chmod", "Mode"),
    Flag::value("from", "Image or working container to copy from"),
    Flag::value("contextdir", "Folder that sources are relative to"),
    Flag::switch("quiet", "Do not print the digest").short('q'),
    Flag::value("ignorefile", "Ignore file").refused("name it `.dockerignore` in --contextdir"),
    Flag::switch("add-history", "Write it into the history").ignored("it is written in any case"),
];

pub(super) const COPY: Command = Command {
    names: &["copy"],
    usage: "[OPTIONS] CONTAINER SOURCE [SOURCE…] [DESTINATION]",
    about: "Copy files into a working container",
    arguments: (2, usize::MAX),
    options_first: false,
    flags: &[COPY_FLAGS, REGISTRY],
    differs: "prints the diff ID of the layer",
    run: |invocation, parsed| copy(invocation, parsed, "COPY").boxed_local(),
};

pub(super) const ADD: Command = Command {
    names: &["add"],
    usage: "[OPTIONS] CONTAINER SOURCE [SOURCE…] [DESTINATION]",
    about: "Copy files, archives and URLs into a working container",
    arguments: (2, usize::MAX),
    options_first: false,
    flags: &[COPY_FLAGS, REGISTRY],
    differs: "prints the diff ID of the layer",
    run: |invocation, parsed| copy(invocation, parsed, "ADD").boxed_local(),
};

pub(super) const CONFIG: Command = Command {
    names: &["config"],
    usage: "[OPTIONS] CONTAINER",
    about: "Change a working container's configuration",
    arguments: (1, 1),
    options_first: false,
    flags: &[CONFIG_FLAGS],
    differs: "",
    run: |invocation, parsed| config(invocation, parsed).boxed_local(),
};

pub(super) const COMMIT: Command = Command {
    names: &["commit"],
    usage: "[OPTIONS] CONTAINER [IMAGE]",
    about: "Make an image of a working container; prints its ID",
    arguments: (1, 2),
    options_first: false,
    flags: &[
        &[
            Flag::switch("rm", "Remove the working container"),
            Flag::switch("quiet", "Print the ID alone").short('q'),
            Flag::value("format", "oci or docker").short('f'),
            Flag::value("iidfile", "Write the image ID to this file"),
            Flag::value("manifest", "Add the image to this manifest list"),
            Flag::value("timestamp", "Seconds since 1970: the time of the image"),
            Flag::switch("omit-timestamp", "As --timestamp 0"),
            Flag::switch("squash", "Make one layer").refused("`buildah build --squash` does so for a Dockerfile"),
            Flag::switch("disable-compression", "Do not compress layers").short('D').ignored("layers are compressed"),
            Flag::switch("identity-label", "Label with buildah's version").ignored("none is added"),
            Flag::value("reference-time", "Time of the image by a file").refused("use --timestamp"),
            Flag::value("sign-by", "Sign with this key").refused("`mpimg sign IMAGE --key KEY` signs the pushed image"),
        ],
        REGISTRY,
    ],
    differs: "each command's changes stay a layer of their own",
    run: |invocation, parsed| commit(invocation, parsed).boxed_local(),
};

pub(super) const RM: Command = Command {
    names: &["rm", "delete"],
    usage: "[OPTIONS] [CONTAINER…]",
    about: "Remove working containers",
    arguments: (0, usize::MAX),
    options_first: false,
    flags: &[&[Flag::switch("all", "All of them").short('a')]],
    differs: "",
    run: |invocation, parsed| async move { remove(invocation, parsed) }.boxed_local(),
};

pub(super) const CONTAINERS: Command = Command {
    names: &["containers", "list", "ls", "ps"],
    usage: "[OPTIONS]",
    about: "List working containers",
    arguments: (0, 0),
    options_first: false,
    flags: &[&[
        Flag::switch("quiet", "IDs alone").short('q'),
        Flag::switch("noheading", "No heading").short('n'),
        Flag::switch("all", "Also those of other programs").short('a').ignored("there are none"),
        Flag::switch("notruncate", "Whole IDs"),
    ]],
    differs: "the ID is that of the image that the container is now",
    run: |invocation, parsed| async move { list(invocation, parsed) }.boxed_local(),
};

async fn keep(invocation: &Invocation, name: &Reference, image: &Image) -> Result<(), Failure> {
    let store = invocation.mpimg().store()?;
    let record = image.write_to_store(store).await?;
    Ok(store.tag(name, &record)?)
}

async fn read(invocation: &Invocation, found: &Found) -> Result<Image, Failure> {
    Ok(invocation.mpimg().find(Transport::Store(found.name.clone()), &found.record.platform).await?)
}

async fn from(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let Some(text) = parsed.arguments.first() else { return Ok(0) };
    invocation.terminal().handle_signals();
    let image = match text.as_str() {
        "scratch" => {
            Image::assemble(ImageConfig::scratch(&platform(parsed)?), Vec::new(), Default::default(), Default::default())?
        }
        text => read(invocation, &find_or_pull(invocation, parsed, text).await?).await?,
    };
    let name = match parsed.value("name").filter(|name| !name.is_empty()) {
        Some(name) if invocation.find_working(name)?.is_some() => {
            return Err(Failure::new(format!("creating container: the container name \"{name}\" is already in use")));
        }
        Some(name) => name.to_owned(),
        None => free_name(invocation, text)?,
    };
    keep(invocation, &working_name(&name)?, &image).await?;
    if let Some(file) = parsed.value("cidfile").filter(|file| !file.is_empty()) {
        write_result(Path::new(file), name.as_bytes())?;
    }
    invocation.print(format!("{name}\n"))?;
    Ok(0)
}

/// `alpine-working-container`, then `alpine-working-container-1` and so on.
fn free_name(invocation: &Invocation, image: &str) -> Result<String, Failure> {
    let last = image.rsplit('/').next().unwrap_or(image).split([':', '@']).next().unwrap_or_default();
    let first = if image == "scratch" { "working-container".to_owned() } else { format!("{last}-working-container") };
    let mut name = first.clone();
    for number in 1.. {
        if invocation.find_working(&name)?.is_none() {
            break;
        }
        name = format!("{first}-{number}");
    }
    Ok(name)
}

/// Does instructions of a Dockerfile on a working container; its configuration stays as it was.
async fn change(
    invocation: &Invocation,
    found: &Found,
    instructions: &str,
    mut request: BuildRequest,
    output: bool,
) -> Result<Image, Failure> {
    let text = format!("FROM {}\n{instructions}\n", found.name);
    let _input = invocation.mpimg().read_dockerfile(&mut request, text.as_bytes())?;
    request.platform = found.record.platform.clone();
    request.no_cache = true;
    let before = read(invocation, found).await?;
    let progress = if output {
        Progress::new(Arc::new(Steps::new(invocation.terminal().progress().clone(), false, Default::default())))
    } else {
        Progress::silent()
    };
    let mpimg = Mpimg::new(Options {
        credentials: CredentialSources { auth_file: invocation.auth_file.clone(), ..CredentialSources::default() },
        progress,
        cancel: invocation.terminal().interrupt().cancel().clone(),
        ..Options::default()
    });
    let after = mpimg.build(request, &BuildOutputs::default()).await.map_err(Failure::of_command)?.image;
    let config = ImageConfig {
        history: after.config().history.clone(),
        created: after.config().created.clone(),
        ..before.config().clone()
    };
    let image = Image::assemble(config, after.layers().to_vec(), before.manifest().annotations.clone(), Default::default())?;
    keep(invocation, &found.name, &image).await?;
    Ok(image)
}

/// Words as the exec form of an instruction.
fn exec_form(words: &[String]) -> String {
    serde_json::Value::from(words.to_vec()).to_string()
}

async fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let [container, words @ ..] = parsed.arguments.as_slice() else { return Ok(0) };
    let words = words.strip_prefix(&["--".to_owned()]).unwrap_or(words);
    let found = invocation.must_find_working(container)?;
    if words.is_empty() {
        return Err(Failure::new("command must be specified"));
    }
    invocation.terminal().handle_signals();
    let mut request = BuildRequest::new(".").with_environment();
    run_settings(parsed, &mut request)?;
    if parsed.value("isolation") == Some("chroot") {
        request.isolation = "chroot".parse()?;
    }
    let mut instructions = String::new();
    let pairs = parsed.list("env").into_iter().map(Pair::from_str).collect::<Result<Vec<_>, _>>()?;
    for (name, value) in Pair::environment(pairs, |name| std::env::var(name).ok()) {
        instructions += &format!("ENV {name}={}\n", quoted(&value));
    }
    for (word, flag) in [("WORKDIR", "workingdir"), ("USER", "user")] {
        if let Some(value) = parsed.value(flag).filter(|value| !value.is_empty()) {
            instructions += &format!("{word} {}\n", quoted(value));
        }
    }
    let mounts: String = parsed.list("mount").into_iter().map(|mount| format!("--mount={mount} ")).collect();
    instructions += &format!("RUN {mounts}{}", exec_form(words));
    change(invocation, &found, &instructions, request, true).await?;
    Ok(0)
}

/// A word in double quotes, in which nothing is expanded.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        if matches!(letter, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted + "\""
}

async fn copy(invocation: &Invocation, parsed: &Parsed, instruction: &str) -> CommandResult {
    let [container, words @ ..] = parsed.arguments.as_slice() else { return Ok(0) };
    let found = invocation.must_find_working(container)?;
    let (sources, destination) = match words {
        [one] => (vec![one.clone()], ".".to_owned()),
        [sources @ .., destination] => (sources.to_vec(), destination.clone()),
        [] => return Ok(0),
    };
    invocation.terminal().handle_signals();
    let folder = parsed.value("contextdir").map_or_else(std::env::current_dir, std::path::absolute);
    let folder = folder.map_err(|error| Failure::new(error.to_string()))?;
    let mut flags = String::new();
    for flag in ["chown", "chmod"] {
        if let Some(value) = parsed.value(flag).filter(|value| !value.is_empty()) {
            flags += &format!("--{flag}={value} ");
        }
    }
    // Sources may be anywhere on this machine, so the build context is all of it; nothing but them
    // is looked at.
    let mut request = BuildRequest::new("/").with_environment();
    let mut sources = sources;
    match parsed.value("from").filter(|from| !from.is_empty()) {
        Some(from) => {
            let from = match invocation.find_working(from)? {
                Some(found) => found,
                None => find_or_pull(invocation, parsed, from).await?,
            };
            flags += &format!("--from={} ", from.name);
        }
        None => {
            for source in &mut sources {
                if !source.contains("://") {
                    *source = folder.join(&*source).display().to_string();
                }
            }
        }
    }
    let words: Vec<String> = sources.into_iter().chain([destination]).collect();
    request.source_date_epoch = request.source_date_epoch.or(Some("0".into()));
    let image = change(invocation, &found, &format!("{instruction} {flags}{}", exec_form(&words)), request, false).await?;
    if let Some(layer) = image.layers().last().filter(|_| !invocation.quiet()) {
        invocation.print(format!("{}\n", layer.diff_id.0.hex()))?;
    }
    Ok(0)
}

async fn config(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let Some(container) = parsed.arguments.first() else { return Ok(0) };
    let found = invocation.must_find_working(container)?;
    let image = read(invocation, &found).await?;
    let mut config = image.config().clone();
    let mut annotations = image.manifest().annotations.clone();
    change_config(parsed, &mut config, &mut annotations)?;
    let image = Image::assemble(config, image.layers().to_vec(), annotations, Default::default())?;
    keep(invocation, &found.name, &image).await?;
    Ok(0)
}

async fn commit(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let Some(container) = parsed.arguments.first() else { return Ok(0) };
    let found = invocation.must_find_working(container)?;
    invocation.terminal().handle_signals();
    let image = read(invocation, &found).await?;
    let mut config = image.config().clone();
    let time = if parsed.is("omit-timestamp") { Some("0") } else { parsed.value("timestamp") };
    if let Some(time) = time {
        let seconds = time.parse().map_err(|_| Failure::new(format!("parsing timestamp \"{time}\": not a number")))?;
        config.created = Some(crate::image::rfc3339(seconds));
    }
    let image = Image::assemble(config, image.layers().to_vec(), image.manifest().annotations.clone(), format(parsed)?)?;
    let id = image.manifest().config.digest.hex();
    let target = parsed.arguments.get(1).map(String::as_str).unwrap_or_default();
    let elsewhere =
        ["docker://", "oci:", "oci-archive:", "docker-archive:", "dir:"].iter().any(|scheme| target.starts_with(scheme));
    // An image without a name could not be found again by its ID.
    let name = match target {
        "" => new_name(&format!("committed-{}", &id[..12]))?,
        _ if elsewhere => new_name(&format!("committed-{}", &id[..12]))?,
        target => new_name(target)?,
    };
    keep(invocation, &name, &image).await?;
    let committed = invocation.must_find(&name.to_string())?;
    say_blobs(invocation, &committed);
    if elsewhere {
        super::transfer::copy(invocation, parsed, &committed, destination(target, None)?).await?;
        invocation.mpimg().remove(std::slice::from_ref(&name), true)?;
    }
    invocation.tell("Writing manifest to image destination\nStoring signatures");
    if let Some(list) = parsed.value("manifest").filter(|list| !list.is_empty()) {
        super::manifest::add_built(invocation, list, &image).await?;
    }
    if let Some(file) = parsed.value("iidfile").filter(|file| !file.is_empty()) {
        write_result(Path::new(file), format!("sha256:{id}").as_bytes())?;
    }
    if parsed.is("rm") {
        invocation.mpimg().remove(&[found.name], true)?;
    }
    invocation.print(format!("{id}\n"))?;
    Ok(0)
}

fn working(invocation: &Invocation) -> Result<Vec<(String, Found)>, Failure> {
    let all = invocation.mpimg().store()?.list()?.into_iter();
    let own = all.filter_map(|(name, record)| {
        let short = name.repository().to_string().strip_prefix(WORKING)?.trim_start_matches('/').to_owned();
        Some((short, Found { name, record }))
    });
    Ok(own.collect())
}

fn remove(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let found: Vec<Found> = match parsed.is("all") {
        true => working(invocation)?.into_iter().map(|(_, found)| found).collect(),
        false => parsed.arguments.iter().map(|name| invocation.must_find_working(name)).collect::<Result<_, _>>()?,
    };
    if found.is_empty() && !parsed.is("all") {
        return Err(Failure::new("container ID must be specified"));
    }
    for found in found {
        invocation.mpimg().remove(std::slice::from_ref(&found.name), true)?;
        invocation.print(format!("{}\n", found.id()))?;
    }
    Ok(0)
}

fn list(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let mut text = String::new();
    if !parsed.is("noheading") && !parsed.is("quiet") {
        text += &format!("{:<14}{:<9}{:<14}CONTAINER NAME\n", "CONTAINER ID", "BUILDER", "IMAGE ID");
    }
    for (name, found) in working(invocation)? {
        let id = found.id();
        let id = if parsed.is("notruncate") { id.as_str() } else { &id[..12] };
        text += &match parsed.is("quiet") {
            true => format!("{}\n", found.id()),
            false => format!("{id:<14}{:<9}{id:<14}{name}\n", "   *"),
        };
    }
    invocation.print(text)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_expanded_in_a_word() {
        assert_eq!(quoted("a \"b\" $C \\"), "\"a \\\"b\\\" \\$C \\\\\"");
        assert_eq!(exec_form(&["a b".into(), "\"".into()]), r#"["a b","\""]"#);
    }
}
