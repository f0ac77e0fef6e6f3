//! The flags of kaniko's executor: it is parsed by this table, and docs/kaniko.md is made of it.

use crate::cli::drop_in::Flag;

const NO_CONTAINER: &str = "nothing here unpacks an image over the container's own files";

/// All flags of kaniko's last version, in the order of their names.
pub(super) const FLAGS: &[Flag] = &[
    Flag::value("azure-container-registry-config", "Path to the file with the Azure container registry configuration")
        .refused("log in with a token instead: write it into DOCKER_CONFIG's config.json"),
    Flag::value("bucket", "Name of the bucket with the build context").short('b').refused(super::context::FETCH_IT),
    Flag::list("build-arg", "Set a build argument; without a value it comes from the environment"),
    Flag::switch("cache", "Use the build cache, shared through a repository")
        .differs("the local store's cache counts too; what kaniko has stored is not used"),
    Flag::switch("cache-copy-layers", "Cache layers of COPY").ignored("layers of COPY from 1 MiB on are shared in any case"),
    Flag::value("cache-dir", "Folder with base images of kaniko's warmer").ignored("base images are kept in the local store"),
    Flag::value("cache-repo", "Repository of the build cache; DESTINATION/cache without it")
        .differs("`oci:` folders are refused"),
    Flag::switch("cache-run-layers", "Cache layers of RUN").ignored("layers of RUN are shared in any case"),
    Flag::value("cache-ttl", "How old a result may be: 336h, 30m").differs("it holds for RUN; COPY compares what files hold"),
    Flag::switch("cleanup", "Clean the file system at the end").ignored(NO_CONTAINER),
    Flag::switch("compressed-caching", "Compress cached layers").ignored("layers are compressed while they are read"),
    Flag::value("compression", "How new layers are compressed: gzip or zstd"),
    Flag::value("compression-level", "The level of that"),
    Flag::value("context", "The build context: a folder, dir://, tar://, git:// or https://").short('c'),
    Flag::value("context-sub-path", "Folder in a build context that is given with a scheme"),
    Flag::value("custom-platform", "What the image runs on: OS/ARCHITECTURE[/VARIANT]"),
    Flag::value("customPlatform", "As --custom-platform"),
    Flag::list("destination", "Push the image here; may be repeated").short('d'),
    Flag::value("digest-file", "Write the image's digest to this file"),
    Flag::value("dockerfile", "The Dockerfile: a path, or one in the build context").short('f'),
    Flag::switch("force", "Build outside of a container").ignored(NO_CONTAINER),
    Flag::switch("force-build-metadata", "Force adding metadata layers to the image")
        .ignored("all of the configuration is written in any case"),
    Flag::list("git", "Options of git: branch=…, recurse-submodules=…").differs("`single-branch` has no effect"),
    Flag::list("ignore-path", "Leave this path out of layers").ignored(NO_CONTAINER),
    Flag::switch("ignore-var-run", "Leave /var/run out of layers")
        .ignored("what is mounted there is in no layer; files of the image's own are"),
    Flag::value("image-download-retry", "How often to try to fetch an image")
        .ignored("requests that fail are repeated in any case"),
    Flag::value("image-fs-extract-retry", "How often to try to unpack an image")
        .ignored("requests that fail are repeated in any case"),
    Flag::value("image-name-tag-with-digest-file", "Write NAME:TAG@DIGEST of each destination to this file"),
    Flag::value("image-name-with-digest-file", "Write NAME@DIGEST of each destination to this file"),
    Flag::switch("insecure", "Push by plain HTTP"),
    Flag::switch("insecure-pull", "Pull by plain HTTP"),
    Flag::list("insecure-registry", "Reach this registry by plain HTTP"),
    Flag::value("kaniko-dir", "kaniko's own folder").differs("only its `.docker/config.json` is looked at"),
    Flag::list("label", "Add a label to the image"),
    Flag::value("log-format", "Format of the log: text, color or json").ignored("progress is plain lines"),
    Flag::switch("log-timestamp", "Times in the log").ignored("progress is plain lines"),
    Flag::switch("no-push", "Do not push the image"),
    Flag::switch("no-push-cache", "Do not push results of steps"),
    Flag::value("oci-layout-path", "Write the image to this folder, as an OCI layout"),
    Flag::switch("push-ignore-immutable-tag-errors", "An existing immutable tag is not an error")
        .ignored("a tag that names the same image already is not an error; one that names another image is"),
    Flag::value("push-retry", "How often to try to push")
        .ignored("requests that fail are repeated, and uploads continued, in any case"),
    Flag::list("registry-certificate", "HOST=FILE: trust these certificate authorities")
        .differs("they are trusted for all registries"),
    Flag::list("registry-client-cert", "HOST=CERTIFICATE,KEY: show the registry this certificate")
        .refused("put both files into /etc/docker/certs.d/HOST/ as client.cert and client.key"),
    Flag::list("registry-map", "HOST=MIRROR[;HOST=MIRROR…]: ask the mirror before the registry"),
    Flag::list("registry-mirror", "Ask this mirror before Docker Hub"),
    Flag::switch("reproducible", "Strip times, so that the same input gives the same image")
        .differs("images are reproducible in any case"),
    Flag::list("secret", "Let RUN see a secret: id=ID,src=FILE or id=ID,env=NAME"),
    Flag::switch("single-snapshot", "Make one layer of all that the steps changed"),
    Flag::switch("skip-default-registry-fallback", "Do not ask the registry if the mirrors do not have an image")
        .ignored("the registry itself is asked last"),
    Flag::switch("skip-push-permission-check", "Do not check first whether the push is allowed")
        .ignored("nothing is checked first"),
    Flag::switch("skip-tls-verify", "Push whatever the registry's certificate is"),
    Flag::switch("skip-tls-verify-pull", "Pull whatever the registry's certificate is"),
    Flag::list("skip-tls-verify-registry", "Do not verify this registry's certificate"),
    Flag::switch("skip-unused-stages", "Build only what the target needs")
        .ignored("only what the target needs is built in any case"),
    Flag::value("snapshot-mode", "How changes are found: full, redo or time").ignored("the kernel tells what a step changed"),
    Flag::value("snapshotMode", "As --snapshot-mode").ignored("the kernel tells what a step changed"),
    Flag::value("tar-path", "Write the image to this file, as `docker save` does")
        .differs("the archive has the first destination's name alone"),
    Flag::value("target", "Build this stage"),
    Flag::value("tarPath", "As --tar-path").differs("the archive has the first destination's name alone"),
    Flag::switch("use-new-run", "Another way to run commands").ignored("there is one way"),
    Flag::value("verbosity", "panic, fatal, error, warn, info, debug or trace").short('v'),
    Flag::switch("whitelist-var-run", "As --ignore-var-run")
        .ignored("what is mounted there is in no layer; files of the image's own are"),
];
