//! `docker build` and `docker buildx build`.

use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::build_output::{self, Output};
use super::command::{Arguments, Command};
use super::invocation::{CommandResult, Failure, Invocation};
use super::tag;
use crate::build::BuildRequest;
use crate::cli::command::metadata;
use crate::cli::drop_in::{Flag, Parsed};
use crate::cli::flags::{AttestFlags, BuildFlags};
use crate::context::ContextAddress;
use crate::error::ErrorKind;
use crate::image::{expect_writable, write_result};
use crate::oci::{Platform, Reference};
use crate::operation::{AttestationForm, BuildOutputs, Built, LocalImage, StreamedInput};

const LIMITS: &str = "RUN has this machine's limits";
const NO_MEANING: &str = "it has no meaning without Docker's own builder";

/// The flags of `docker build`, which are buildx's and the classic builder's.
const FLAGS: &[Flag] = &[
    Flag::list("add-host", "Add a custom host-to-IP mapping"),
    Flag::list("allow", "Allow extra privileged entitlement")
        .differs("security.insecure, and network.host, which is the default"),
    Flag::list("annotation", "Add annotation to the image"),
    Flag::list("attest", "Attestation parameters")
        .differs("an SBOM refers to the image that is pushed; of provenances, none is recorded here; `mpimg push --provenance` records one"),
    Flag::list("build-arg", "Set build-time variables"),
    Flag::list("build-context", "Additional build contexts"),
    Flag::value("builder", "Override the configured builder instance").ignored("there is one builder, mpimg"),
    Flag::list("cache-from", "External cache sources")
        .differs("type=registry, or the name of an image's repository; other types have no effect"),
    Flag::list("cache-to", "Cache export destinations")
        .differs("type=registry, or the name of an image's repository; other types have no effect"),
    Flag::value("call", "Set method for evaluating build").refused("leave it out: warnings are shown by the build itself"),
    Flag::value("cgroup-parent", "Set the parent cgroup for RUN instructions").ignored(LIMITS),
    Flag::switch("check", "Shorthand for --call=check").refused("leave it out: warnings are shown by the build itself"),
    Flag::switch("compress", "Compress the build context using gzip").ignored("the build context is not sent anywhere"),
    Flag::value("cpu-period", "Limit the CPU CFS period").ignored(LIMITS),
    Flag::value("cpu-quota", "Limit the CPU CFS quota").ignored(LIMITS),
    Flag::value("cpu-shares", "CPU shares (relative weight)").short('c').ignored(LIMITS),
    Flag::value("cpuset-cpus", "CPUs in which to allow execution").ignored(LIMITS),
    Flag::value("cpuset-mems", "MEMs in which to allow execution").ignored(LIMITS),
    Flag::switch("disable-content-trust", "Skip image verification").ignored("nothing is verified by Docker Content Trust"),
    Flag::value("file", "Name of the Dockerfile").short('f'),
    Flag::switch("force-rm", "Always remove intermediate containers").ignored("a step leaves no container"),
    Flag::value("iidfile", "Write the image ID to a file"),
    Flag::value("isolation", "Container isolation technology").ignored("`mpimg doctor` shows how RUN is isolated"),
    Flag::list("label", "Set metadata for an image"),
    Flag::switch("load", "Shorthand for --output=type=docker")
        .differs("the image is in mpimg's local store, as after every build"),
    Flag::value("memory", "Memory limit").short('m').ignored(LIMITS),
    Flag::value("memory-swap", "Swap limit").ignored(LIMITS),
    Flag::value("metadata-file", "Write build result metadata to a file"),
    Flag::value("network", "Set the networking mode for RUN"),
    Flag::switch("no-cache", "Do not use cache when building the image"),
    Flag::list("no-cache-filter", "Do not cache specified stages"),
    Flag::list("output", "Output destination").short('o').differs("types docker, image, registry, oci, local and tar"),
    Flag::list("platform", "Set target platform for build")
        .differs("several at once with --push, or into an OCI layout or archive"),
    Flag::value("progress", "Set type of progress output").differs("mpimg's own lines"),
    Flag::value("provenance", "Shorthand for --attest=type=provenance").differs("it refers to the image that is pushed; none of an index"),
    Flag::switch("pull", "Always attempt to pull all referenced images"),
    Flag::switch("push", "Shorthand for --output=type=registry"),
    Flag::switch("quiet", "Suppress the build output and print image ID on success").short('q'),
    Flag::switch("rm", "Remove intermediate containers").ignored("a step leaves no container"),
    Flag::value("sbom", "Shorthand for --attest=type=sbom").differs("it refers to the image that is pushed"),
    Flag::list("secret", "Secret to expose to the build"),
    Flag::list("security-opt", "Security options").ignored("`mpimg doctor` shows how RUN is isolated"),
    Flag::value("shm-size", "Shared memory size for build containers"),
    Flag::switch("squash", "Squash newly built layers"),
    Flag::list("ssh", "SSH agent socket or keys to expose to the build"),
    Flag::switch("stream", "Stream attaches to server").ignored(NO_MEANING),
    Flag::list("tag", "Name and optionally a tag").short('t'),
    Flag::value("target", "Set the target build stage to build"),
    Flag::list("ulimit", "Ulimit options"),
];

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[FLAGS],
    differs: "progress on standard error is mpimg's; layers are reproducible, so that CREATED is that of the last commit, or 1970",
    ..Command::new(
        &["build", "image build", "builder build", "buildx build", "buildx b"],
        "[OPTIONS] PATH | URL | -",
        "Start a build",
        |invocation, parsed| Box::pin(run(invocation, parsed)),
    )
};

async fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let names: Vec<Reference> = parsed.list("tag").into_iter().map(tag::name).collect::<Result<_, _>>()?;
    let files = ["iidfile", "metadata-file"].map(|flag| parsed.value(flag).map(PathBuf::from));
    files.iter().flatten().try_for_each(|path| expect_writable(path))?;
    let outputs = Output::all(parsed, &names)?;
    let Passed { build: flags, attest } = passed(invocation, parsed)?;
    let platforms = flags.platforms();
    // In the local store an image has no room for what refers to it.
    let attestations = attest.form();
    let sbom = attest.sbom().filter(|_| outputs.push || attestations == AttestationForm::Buildkit);
    let provenance = attest.provenance(outputs.push, platforms.len(), invocation.terminal());
    let mut request = request(parsed, flags)?;
    let _input = read_input(invocation, &mut request)?;
    invocation.terminal().handle_signals();
    let (names, archives) = (outputs.names.clone(), outputs.archives.clone());
    let wanted = BuildOutputs {
        names,
        outputs: archives,
        push: outputs.push,
        sbom,
        provenance,
        attestations,
        platforms,
        ..BuildOutputs::default()
    };
    let built = invocation.mpimg().build(request, &wanted).await.map_err(|error| {
        let refused = error.kind() == ErrorKind::Auth;
        let failure = Failure::from(error);
        if refused { failure } else { failure.with_text("ERROR: failed to build: failed to solve") }
    })?;
    // An index is where it was pushed or written to; the local store holds one platform under a
    // name.
    let id = match &built.index {
        Some(index) => index.descriptor.digest,
        None => {
            keep(invocation, &built, &wanted, &outputs).await?;
            built.image.manifest().config.digest
        }
    };
    let [id_file, metadata_file] = files;
    if let Some(path) = id_file {
        write_result(&path, id.to_string().as_bytes())?;
    }
    if let Some(path) = metadata_file {
        write_result(&path, format!("{:#}", metadata(&built, &wanted)).as_bytes())?;
    }
    tell(invocation, parsed, &wanted.names, &id)?;
    Ok(0)
}

/// Keeps an image that has no name, notes what registries call it, and writes its files.
async fn keep(invocation: &Invocation, built: &Built, wanted: &BuildOutputs, outputs: &Output) -> Result<(), Failure> {
    let record = match wanted.names.first() {
        Some(name) => invocation.mpimg().store()?.resolve(name)?,
        None => Some(invocation.mpimg().keep_unnamed(&built.image).await?),
    };
    if let (Some(record), true) = (&record, outputs.push) {
        for name in &wanted.names {
            invocation.mpimg().note_digest(name.repository(), record.manifest.digest, record)?;
        }
    }
    let stored = invocation.mpimg().local_image(&built.image.manifest().config.digest.to_string())?;
    match stored.as_ref().and_then(LocalImage::any_name) {
        Some(name) => build_output::export(invocation, &built.image, name, outputs).await,
        None => Ok(()),
    }
}

/// Docker's last lines: the classic builder has them on standard output, BuildKit on standard
/// error.
fn tell(invocation: &Invocation, parsed: &Parsed, names: &[Reference], id: &crate::oci::Digest) -> Result<(), Failure> {
    let classic = std::env::var("DOCKER_BUILDKIT").is_ok_and(|value| value == "0" || value == "false");
    match (parsed.is("quiet"), classic) {
        (true, _) => invocation.print(format!("{id}\n")),
        (false, true) => {
            let tagged: String = names.iter().map(|name| format!("Successfully tagged {}\n", name.familiar())).collect();
            invocation.print(format!("Successfully built {}\n{tagged}", &id.hex()[..12]))
        }
        (false, false) => {
            invocation.tell(format!("writing image {id} done"));
            names.iter().for_each(|name| invocation.tell(format!("naming to {name} done")));
            Ok(())
        }
    }
}

/// Flags that mean to `mpimg build` what they mean to docker.
#[derive(Debug, clap::Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Passed {
    #[command(flatten)]
    build: BuildFlags,

    #[command(flatten)]
    attest: AttestFlags,
}

/// Their names.
const PASSED: [&str; 23] = [
    "add-host",
    "allow",
    "annotation",
    "attest",
    "build-arg",
    "build-context",
    "cache-from",
    "cache-to",
    "file",
    "label",
    "network",
    "no-cache",
    "no-cache-filter",
    "platform",
    "provenance",
    "pull",
    "sbom",
    "secret",
    "shm-size",
    "squash",
    "ssh",
    "target",
    "ulimit",
];

fn passed(invocation: &Invocation, parsed: &Parsed) -> Result<Passed, Failure> {
    let mut words = Vec::new();
    for flag in parsed.given().filter(|flag| PASSED.contains(&flag.long)) {
        if parsed.is(flag.long) {
            words.push(format!("--{}", flag.long));
        }
        for value in parsed.list(flag.long) {
            let unusable = flag.long.starts_with("cache-") && value.contains("type=") && !value.contains("type=registry");
            match flag.long {
                _ if unusable => {
                    invocation.tell(format!("note: --{}={value} has no effect here: caches are of type=registry", flag.long))
                }
                // An empty value is a variable that is not set.
                "target" | "platform" | "file" | "network" if value.is_empty() => {}
                "allow" => words.extend(value.split(',').map(|allowed| format!("--allow={allowed}"))),
                name => words.push(format!("--{name}={value}")),
            }
        }
    }
    if parsed.list("platform").is_empty() && std::env::var_os("DOCKER_DEFAULT_PLATFORM").is_none() {
        words.push(format!("--platform={}", Platform::host()));
    }
    Passed::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Failure::new(format!("ERROR: {first}")).with_code(125)
    })
}

fn request(parsed: &Parsed, flags: BuildFlags) -> Result<BuildRequest, Failure> {
    let context = &parsed.arguments[0];
    if context != "-" && ContextAddress::parse(context).is_none() && !Path::new(context).is_dir() {
        return Err(Failure::new(format!("ERROR: unable to prepare context: path {context:?} not found")));
    }
    Ok(flags.request(Path::new(context))?)
}

/// The context or the Dockerfile from standard input.
fn read_input(invocation: &Invocation, request: &mut BuildRequest) -> Result<Option<StreamedInput>, Failure> {
    let input = Path::new("-");
    match (request.context == input, request.dockerfile.as_deref() == Some(input)) {
        (true, true) => Err(Failure::new("ERROR: invalid argument: can't use stdin for both build context and dockerfile")),
        (true, false) => Ok(Some(invocation.mpimg().read_context(request, std::io::stdin())?)),
        (false, true) => Ok(Some(invocation.mpimg().read_dockerfile(request, std::io::stdin())?)),
        (false, false) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::drop_in::Effect;

    /// Flags that are read in this file and its neighbours.
    const HERE: [&str; 8] = ["iidfile", "load", "metadata-file", "output", "progress", "push", "quiet", "tag"];

    #[test]
    fn a_flag_that_has_an_effect_is_passed_on_or_read_here() {
        let has_effect = |flag: &&Flag| matches!(flag.effect, Effect::Same | Effect::Differs(_));
        let wanted: BTreeSet<&str> = FLAGS.iter().filter(has_effect).map(|flag| flag.long).collect();
        assert_eq!(wanted, PASSED.into_iter().chain(HERE).collect());
        let words = Passed::command();
        let known: BTreeSet<&str> = words.get_arguments().filter_map(clap::Arg::get_long).collect();
        PASSED.iter().for_each(|name| assert!(known.contains(name), "mpimg build has no --{name}"));
    }
}
