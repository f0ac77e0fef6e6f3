//! `buildah build`, also called `bud`: its flags in the library's terms, and its log.

use std::collections::HashMap;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::command::{Command, REGISTRY};
use super::invocation::{CommandResult, Failure, Invocation, new_name};
use super::manifest;
use super::options::{format, platform, run_settings};
use super::steps::Steps;
use crate::build::{BuildRequest, NamedContext};
use crate::cli::drop_in::{Flag, Parsed};
use crate::cli::flags::{Pair, SecretFlag, SshFlag};
use crate::context::ContextAddress;
use crate::dockerfile::{Dockerfile, context_name};
use crate::error::Error;
use crate::image::{Image, Transport, write_result};
use crate::oci::Reference;
use crate::operation::{BuildOutputs, Mpimg, Options, StreamedInput};
use crate::registry::CredentialSources;

const LIMITS: &str = "commands have the limits of this machine; --ulimit limits what one may use";
const RIGHTS: &str = "a command has the rights that its isolation gives: see `mpimg doctor`";

const FLAGS: &[Flag] = &[
    Flag::list("tag", "Name of the image; may be repeated").short('t'),
    Flag::list("file", "Dockerfile; several are read one after the other; - is standard input").short('f'),
    Flag::list("build-arg", "Build argument; without a value it comes from the environment"),
    Flag::list("build-arg-file", "File with build arguments, one a line"),
    Flag::list("build-context", "NAME=CONTEXT: what FROM and --from find by this name"),
    Flag::switch("layers", "Keep the results of steps and use them")
        .differs("they are kept in any case, and layers stay apart; --squash makes one"),
    Flag::value("format", "oci or docker"),
    Flag::switch("no-cache", "Do every step"),
    Flag::list("cache-from", "Repository to take results of steps from").differs("it holds results of mpimg"),
    Flag::list("cache-to", "Repository to put results of steps into").differs("it holds results of mpimg"),
    Flag::value("cache-ttl", "How old a result may be").ignored("results do not age; --no-cache does every step"),
    Flag::value("isolation", "oci, rootless or chroot").differs("`chroot` is mpimg's; others are mpimg's own choice"),
    Flag::value("timestamp", "Seconds since 1970: the time of the image and its files"),
    Flag::switch("omit-timestamp", "As --timestamp 0"),
    Flag::value("manifest", "Add the image to this manifest list"),
    Flag::switch("quiet", "Print the image ID alone").short('q'),
    Flag::value("pull", "true, false, always, missing, never or newer")
        .differs("`newer` is `always`; `never` asks for a base image that is missing"),
    Flag::switch("pull-always", "Ask the registry for base images"),
    Flag::switch("pull-never", "Use base images of the store alone").ignored("the store is asked first in any case"),
    Flag::list("label", "Label of the image").short('l'),
    Flag::list("annotation", "Annotation of the manifest"),
    Flag::list("env", "Variable of the image").refused("write ENV in the Dockerfile"),
    Flag::list("unsetenv", "Variable that is not in the image").refused("use `buildah config --env NAME-`"),
    Flag::value("target", "Build this stage"),
    Flag::list("platform", "OS/ARCHITECTURE[/VARIANT]").differs("one platform"),
    Flag::value("arch", "Architecture"),
    Flag::value("os", "Operating system"),
    Flag::value("variant", "Variant of the architecture"),
    Flag::list("secret", "id=ID,src=FILE or id=ID,env=NAME"),
    Flag::list("ssh", "default or ID=SOCKET"),
    Flag::switch("squash", "Make one layer of all steps"),
    Flag::switch("squash-all", "Make one layer of all layers").refused("use --squash, which leaves those of the base image"),
    Flag::value("iidfile", "Write the image ID to this file"),
    Flag::value("metadata-file", "Write the result to this file").refused("use --iidfile"),
    Flag::value("network", "host, none or private").differs("a network of its own is `none`; all others are this machine's"),
    Flag::value("net", "As --network"),
    Flag::list("add-host", "NAME:ADDRESS in /etc/hosts"),
    Flag::value("shm-size", "Size of /dev/shm"),
    Flag::list("ulimit", "NAME=SOFT[:HARD]"),
    Flag::value("from", "Base image in place of the first FROM's")
        .refused("write `ARG BASE` before FROM, and use --build-arg BASE=…"),
    Flag::value("ignorefile", "Ignore file")
        .refused("name it `<Dockerfile>.dockerignore`, or `.dockerignore` in the build context"),
    Flag::value("jobs", "How many stages at once").ignored("stages that do not need each other are built side by side"),
    Flag::switch("rm", "Remove containers between").ignored("there are none"),
    Flag::switch("force-rm", "Remove containers between").ignored("there are none"),
    Flag::switch("compress", "Compress").ignored("layers are compressed"),
    Flag::switch("disable-compression", "Do not compress layers").short('D').ignored("layers are compressed"),
    Flag::switch("identity-label", "Label with buildah's version").ignored("none is added"),
    Flag::switch("all-platforms", "All platforms of the base image")
        .refused("`mpimg build --platform A,B --push` makes one index"),
    Flag::switch("stdin", "Pass standard input to RUN").refused("RUN has no standard input"),
    Flag::list("volume", "Mount a folder into RUN")
        .short('v')
        .refused("write RUN --mount=type=bind or type=cache, or use --build-context"),
    Flag::list("device", "Device for RUN").refused("mpimg has no devices for RUN"),
    Flag::list("security-opt", "Security option").ignored(RIGHTS),
    Flag::list("cap-add", "Capability for RUN").ignored(RIGHTS),
    Flag::list("cap-drop", "Capability that RUN has not").ignored(RIGHTS),
    Flag::value("userns", "User namespace").ignored(RIGHTS),
    Flag::value("pid", "PID namespace").ignored(RIGHTS),
    Flag::value("ipc", "IPC namespace").ignored(RIGHTS),
    Flag::value("uts", "UTS namespace").ignored(RIGHTS),
    Flag::value("cgroupns", "Cgroup namespace").ignored(RIGHTS),
    Flag::value("cgroup-parent", "Cgroup").ignored(LIMITS),
    Flag::value("memory", "Memory limit").short('m').ignored(LIMITS),
    Flag::value("memory-swap", "Limit of memory and swap").ignored(LIMITS),
    Flag::value("cpu-period", "CPU period").ignored(LIMITS),
    Flag::value("cpu-quota", "CPU quota").ignored(LIMITS),
    Flag::value("cpu-shares", "CPU shares").short('c').ignored(LIMITS),
    Flag::value("cpuset-cpus", "CPUs").ignored(LIMITS),
    Flag::value("cpuset-mems", "Memory nodes").ignored(LIMITS),
    Flag::list("dns", "Name server").ignored("RUN has this machine's name servers"),
    Flag::list("dns-search", "Search domain").ignored("RUN has this machine's name servers"),
    Flag::list("dns-option", "Resolver option").ignored("RUN has this machine's name servers"),
    Flag::switch("http-proxy", "Pass proxy variables on").ignored("RUN sees them in any case"),
    Flag::value("runtime", "OCI runtime").ignored("mpimg runs commands itself"),
    Flag::list("runtime-flag", "Flag of the OCI runtime").ignored("mpimg runs commands itself"),
    Flag::list("hooks-dir", "Folder with OCI hooks").ignored("mpimg runs commands itself"),
    Flag::value("logfile", "Write the log to this file").refused("redirect standard output and standard error"),
    Flag::value("sign-by", "Sign with this key").refused("`mpimg sign IMAGE --key KEY` signs the pushed image"),
    Flag::list("decryption-key", "Key of encrypted images").refused("mpimg does not read encrypted images"),
];

/// The command.
pub(super) const BUILD: Command = Command {
    names: &["build", "bud", "build-using-dockerfile"],
    usage: "[OPTIONS] [CONTEXT]",
    about: "Build an image from Dockerfiles",
    arguments: (0, 1),
    options_first: false,
    flags: &[FLAGS, REGISTRY],
    differs: "each step stays a layer of its own, and times in it are reproducible",
    run: build,
};

fn build<'a>(invocation: &'a Invocation, parsed: &'a Parsed) -> LocalBoxFuture<'a, CommandResult> {
    run(invocation, parsed).boxed_local()
}

async fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let names = parsed.list("tag").into_iter().map(new_name).collect::<Result<Vec<_>, _>>()?;
    let mut request = request(parsed)?;
    request.context = parsed.arguments.first().map_or(".", String::as_str).into();
    invocation.terminal().handle_signals();
    let _inputs = inputs(invocation, parsed, &mut request).await?;
    let text = std::fs::read(request.dockerfile.as_deref().unwrap_or(Path::new("Dockerfile")));
    let stages = text.ok().and_then(|text| Dockerfile::parse("Dockerfile", &text).ok());
    if let Some(dockerfile) = &stages {
        add_local_images(invocation, dockerfile, &mut request)?;
    }
    let mpimg = reporting(invocation, parsed, stages.map(|dockerfile| bases(&dockerfile)).unwrap_or_default());
    let built = mpimg
        .build(request, &BuildOutputs { names: names.clone(), ..BuildOutputs::default() })
        .await
        .map_err(Failure::of_command)?;
    if let Some(list) = parsed.value("manifest").filter(|list| !list.is_empty()) {
        manifest::add_built(invocation, list, &built.image).await?;
    }
    finish(invocation, parsed, &built.image, &names)
}

/// What buildah says at the end; the last line is the image ID.
fn finish(invocation: &Invocation, parsed: &Parsed, image: &Image, names: &[Reference]) -> CommandResult {
    let id = image.manifest().config.digest.hex();
    if let Some(file) = parsed.value("iidfile").filter(|file| !file.is_empty()) {
        write_result(Path::new(file), format!("sha256:{id}").as_bytes())?;
    }
    let mut text = String::new();
    if !invocation.quiet() {
        text += &names.first().map_or_else(|| "COMMIT\n".to_owned(), |name| format!("COMMIT {name}\n"));
        text += &format!("--> {}\n", &id[..11]);
        names.iter().for_each(|name| text += &format!("Successfully tagged {name}\n"));
    }
    invocation.print(text + &id + "\n")?;
    Ok(0)
}

/// The library with buildah's log in place of mpimg's progress.
fn reporting(invocation: &Invocation, parsed: &Parsed, bases: HashMap<String, String>) -> Mpimg {
    let steps = Steps::new(invocation.terminal().progress().clone(), !invocation.quiet(), bases);
    let mpimg = Mpimg::new(Options {
        credentials: CredentialSources { auth_file: invocation.auth_file.clone(), ..CredentialSources::default() },
        insecure_registries: if parsed.switch("tls-verify").unwrap_or(true) { Vec::new() } else { vec!["*".into()] },
        progress: crate::progress::Progress::new(Arc::new(steps)),
        cancel: invocation.terminal().interrupt().cancel().clone(),
        ..Options::default()
    });
    match parsed.value("creds").and_then(|creds| creds.split_once(':')) {
        // buildah asks every registry with it.
        Some((username, password)) => {
            let credential = crate::registry::Credential::basic(username, password);
            let registries = parsed.list("tag").into_iter().filter_map(|name| Some(new_name(name).ok()?.registry().to_owned()));
            registries.fold(mpimg, |mpimg, registry| mpimg.with_credential(&registry, credential.clone()))
        }
        None => mpimg,
    }
}

/// What each stage is built on, by the names that steps have.
fn bases(dockerfile: &Dockerfile) -> HashMap<String, String> {
    let alone = dockerfile.stages.len() == 1;
    let stages = dockerfile.stages.iter().enumerate().map(|(index, stage)| {
        let name = stage.name.clone().unwrap_or_else(|| format!("stage-{index}"));
        let text = match &stage.name {
            Some(name) => format!("{} AS {name}", stage.base.value()),
            None => stage.base.value().clone(),
        };
        (if alone { String::new() } else { name }, text)
    });
    stages.collect()
}

/// Local images win over Docker Hub's of the same name, but not over stages.
fn add_local_images(invocation: &Invocation, dockerfile: &Dockerfile, request: &mut BuildRequest) -> Result<(), Failure> {
    let stages: Vec<String> = dockerfile.stages.iter().filter_map(|stage| stage.name.clone()).collect();
    for found in invocation.images()? {
        let Some(short) = found.name.to_string().strip_prefix("localhost/").map(context_name) else { continue };
        if !stages.contains(&short) && !request.contexts.contains_key(&short) {
            request.contexts.insert(short, NamedContext::Image(Transport::Store(found.name)));
        }
    }
    Ok(())
}

fn request(parsed: &Parsed) -> Result<BuildRequest, Failure> {
    let mut request = BuildRequest::new(".").with_environment();
    let pairs = |flag: &str| parsed.list(flag).into_iter().map(Pair::from_str).collect::<Result<Vec<_>, _>>();
    let mut arguments = Vec::new();
    for file in parsed.list("build-arg-file") {
        let text = std::fs::read_to_string(file).map_err(|error| Error::io("read", Path::new(file), error))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        arguments.extend(lines.map(Pair::from_str).collect::<Result<Vec<_>, _>>()?);
    }
    arguments.extend(pairs("build-arg")?);
    request.build_args = Pair::build_args(arguments, |name| std::env::var(name).ok());
    request.labels = Pair::labels(pairs("label")?);
    request.annotations = Pair::labels(pairs("annotation")?);
    request.target = parsed.value("target").filter(|target| !target.is_empty()).map(str::to_owned);
    request.platform = platform(parsed)?;
    request.format = format(parsed)?;
    request.no_cache = parsed.is("no-cache");
    request.squash = parsed.is("squash");
    request.pull =
        parsed.is("pull-always") || matches!(parsed.value("pull"), Some("true" | "always" | "newer" | "ifnewer" | "1"));
    let epoch = if parsed.is("omit-timestamp") { Some("0") } else { parsed.value("timestamp") };
    request.source_date_epoch = epoch.map(str::to_owned).or(request.source_date_epoch);
    let caches = |flag: &str| {
        let names = parsed.list(flag).into_iter();
        names.map(|name| Reference::parse(name).map(|name| name.repository().clone())).collect::<Result<Vec<_>, _>>()
    };
    (request.cache_from, request.cache_to) = (caches("cache-from")?, caches("cache-to")?);
    let isolation = parsed.value("isolation").map(str::to_owned).or_else(|| std::env::var("BUILDAH_ISOLATION").ok());
    if isolation.as_deref() == Some("chroot") {
        request.isolation = "chroot".parse()?;
    }
    let secrets = parsed.list("secret").into_iter().map(SecretFlag::from_str).collect::<Result<Vec<_>, _>>()?;
    request.secrets = secrets.iter().map(SecretFlag::read).collect::<Result<_, _>>()?;
    let agents = parsed.list("ssh").into_iter().map(SshFlag::from_str).collect::<Result<Vec<_>, _>>()?;
    request.ssh = agents.into_iter().map(SshFlag::find).collect::<Result<_, _>>()?;
    run_settings(parsed, &mut request)?;
    for context in parsed.list("build-context") {
        let (name, context) = context.split_once('=').ok_or_else(|| {
            Failure::new(format!("while parsing additional build context: expected NAME=CONTEXT, got {context}"))
        })?;
        request.contexts.insert(name.to_owned(), context.parse()?);
    }
    Ok(request)
}

/// Finds the Dockerfile, and fetches a build context that is elsewhere.
async fn inputs(invocation: &Invocation, parsed: &Parsed, request: &mut BuildRequest) -> Result<Vec<StreamedInput>, Failure> {
    let mpimg = invocation.mpimg();
    let mut inputs = Vec::new();
    let address = request.context.to_str().filter(|_| !request.context.exists()).and_then(ContextAddress::parse);
    if let Some(address) = address.transpose()? {
        inputs.push(mpimg.fetch_context(request, &address).await?);
    } else if request.context == Path::new("-") {
        inputs.push(mpimg.read_context(request, std::io::stdin())?);
    } else if !request.context.is_dir() {
        return Err(Failure::new(format!("discovering Containerfile: {}: no such file or directory", request.context.display())));
    }
    let files = parsed.list("file");
    match files.as_slice() {
        [] if request.dockerfile.is_some() => {}
        [] => {
            let names = ["Containerfile", "Dockerfile"].map(|name| request.context.join(name));
            let found = names.into_iter().find(|path| path.is_file());
            request.dockerfile = Some(found.ok_or_else(|| {
                Failure::new("no Containerfile or Dockerfile specified or found in context directory")
                    .while_doing("discovering Containerfile")
            })?);
        }
        [one] if *one != "-" => request.dockerfile = Some(dockerfile(one, &request.context)?),
        several => {
            let mut text = Vec::new();
            for file in several {
                match *file {
                    "-" => drop(std::io::stdin().lock().read_to_end(&mut text).map_err(|error| Failure::new(error.to_string()))?),
                    file => {
                        let path = dockerfile(file, &request.context)?;
                        text.extend(std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?);
                    }
                }
                text.push(b'\n');
            }
            inputs.push(mpimg.read_dockerfile(request, Cursor::new(text))?);
        }
    }
    Ok(inputs)
}

/// A path from here, else one in the build context.
fn dockerfile(file: &str, context: &Path) -> Result<PathBuf, Failure> {
    let places = [PathBuf::from(file), context.join(file)];
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Failure::new(format!("the specified Containerfile or Dockerfile does not exist, {file}: no such file or directory"))
    })
}
