//! `--cache-repo`: machines that share results of RUN through a registry, and what becomes of
//! entries that are not what they say.

use std::path::PathBuf;

use bytes::Bytes;
use mpimg::oci::{Descriptor, MediaType, Repository, Tag};
use mpimg::store::BlobSource;
use serde_json::Value;

use crate::home::Home;
use crate::registry::fixture::{Server, client, distribution, distribution_in, options};
use crate::{judge, judges, run};

/// Every run of it gives another image, so that equal digests show that it was not run.
const DOCKERFILE: &str = "FROM oci:@BASE@:base\nRUN head -c 32 /dev/urandom >/opt/random\nRUN true\nUSER aria\n\
                          RUN cat /opt/random >~/copy && head -c 9 /dev/urandom >>~/copy\n";

/// A machine: a store of its own, and the same project everywhere.
struct Machine {
    home: Home,
}

impl Machine {
    fn new() -> Self {
        let home = Home::new();
        let context = home.path().join("context");
        std::fs::create_dir(&context).unwrap();
        let base = judges().join("base").display().to_string();
        std::fs::write(context.join("Dockerfile"), DOCKERFILE.replace("@BASE@", &base)).unwrap();
        Self { home }
    }

    fn build(&self, repository: &Repository) -> Built {
        self.build_with(repository, &[])
    }

    fn build_with(&self, repository: &Repository, flags: &[&str]) -> Built {
        let mut command = self.home.mpimg();
        command
            .args(["build", "--cache-repo", &repository.to_string(), "context"])
            .args(flags)
            .env("SOURCE_DATE_EPOCH", "1000000000");
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let built = Built { digest: text(output.stdout), messages: text(output.stderr) };
        assert!(output.status.success(), "{}", built.messages);
        built
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("context")
    }
}

struct Built {
    digest: String,
    messages: String,
}

impl Built {
    fn cached(&self) -> usize {
        self.messages.lines().filter(|line| line.to_lowercase().ends_with("cached")).count()
    }

    fn warnings(&self) -> Vec<&str> {
        self.messages.lines().filter(|line| line.starts_with("warning: the build cache")).collect()
    }
}

pub(super) async fn tags(repository: &Repository) -> Vec<Tag> {
    client(options()).tags(repository).await.unwrap().into_iter().collect()
}

#[tokio::test]
async fn what_one_machine_runs_another_need_not() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    let first = Machine::new().build(&repository);
    assert_eq!((first.cached(), first.warnings()), (0, vec![]), "{}", first.messages);
    assert_eq!(tags(&repository).await.len(), 3);

    let second = Machine::new();
    let built = second.build(&repository);
    assert_eq!((&built.digest, built.cached()), (&first.digest, 3), "{}", built.messages);
    // From then on it has them itself.
    drop(registry);
    let again = second.build(&repository);
    assert_eq!(
        (&again.digest, again.cached(), again.messages.matches("warning: the build cache").count()),
        (&first.digest, 3, 0)
    );
}

#[tokio::test]
async fn push_uses_the_cache_as_well() {
    let registry = distribution("");
    let cache = registry.repository("cache/steps");
    let first = Machine::new().build(&cache);
    let machine = Machine::new();
    let mut push = machine.home.mpimg();
    push.args(["push", "-q", "--no-ttl", "--tag", "1", "-r", &registry.repository("mp/app").to_string()]);
    push.args(["--cache-repo", &cache.to_string()]).arg(machine.folder()).env("SOURCE_DATE_EPOCH", "1000000000");
    assert_eq!(run(&mut push), first.digest);
}

#[tokio::test]
async fn entries_are_images_that_other_programs_read() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    Machine::new().build(&repository);
    for tag in tags(&repository).await {
        let image = format!("docker://{repository}:{tag}");
        let folder = tempfile::tempdir().unwrap();
        let layout = format!("oci:{}:x", folder.path().join("layout").display());
        run(judge("skopeo").args(["--insecure-policy", "copy", "-q", "--src-tls-verify=false", &image, &layout]));
        run(judge("umoci").args(["unpack", "--image", &layout[4..]]).arg(folder.path().join("bundle")));
    }
}

/// Changes a byte of the first layer of an entry.
pub(super) async fn damage_layer(registry: &Server, repository: &Repository, tag: &Tag) {
    let layer = manifest(repository, tag).await["layers"][0]["digest"].as_str().unwrap().to_owned();
    let file = blob_file(registry, &layer);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
}

/// The file of a blob in the registry's own storage.
pub(super) fn blob_file(registry: &Server, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    registry.folder.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
}

pub(super) async fn manifest(repository: &Repository, tag: &Tag) -> Value {
    let pulled = client(options()).pull_manifest(&repository.with_tag(tag.clone())).await.unwrap();
    serde_json::from_slice(&pulled.bytes).unwrap()
}

#[tokio::test]
async fn a_damaged_entry_is_told_once_and_replaced() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    let first = Machine::new().build(&repository);
    for tag in tags(&repository).await {
        damage_layer(&registry, &repository, &tag).await;
    }
    let machine = Machine::new();
    let built = machine.build(&repository);
    assert_ne!(built.digest, first.digest);
    let warnings = built.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("is damaged"), "{}", built.messages);
    assert_eq!(machine.home.work_files(), Vec::<PathBuf>::new());
    let other = Machine::new().build(&repository);
    assert_eq!((&other.digest, other.cached()), (&built.digest, 3), "{}", other.messages);
}

/// Puts an entry under `tag` whose layer is `tar`, and whose config is that of the entry that is
/// there.
pub(super) async fn replace_layer(repository: &Repository, tag: &Tag, tar: &[u8]) {
    let client = client(options());
    let mut manifest = manifest(repository, tag).await;
    let config = client.pull_image(&repository.with_tag(tag.clone()), &Default::default()).await.unwrap().config;
    let layer = Descriptor::of(MediaType::Layer, tar);
    manifest["layers"][0] = serde_json::to_value(&layer).unwrap();
    let push = client.push(repository).unwrap();
    push.offer_blob(layer, BlobSource::Memory(Bytes::copy_from_slice(tar)));
    let bytes = Bytes::from(serde_json::to_vec(&manifest).unwrap());
    push.finish(config, bytes, MediaType::Manifest, std::slice::from_ref(tag)).await.unwrap();
}

fn tar_with(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), "of somebody else\n").unwrap();
    judge("tar").arg("-C").arg(folder.path()).args(["-c", name]).output().unwrap().stdout
}

#[tokio::test]
async fn a_layer_that_is_not_the_one_that_the_entry_says_never_enters_an_image() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    Machine::new().build(&repository);
    for tag in tags(&repository).await {
        replace_layer(&repository, &tag, &tar_with("evil")).await;
    }
    let machine = Machine::new();
    let built = machine.build(&repository);
    assert_eq!(built.cached(), 0, "{}", built.messages);
    assert!(built.warnings().len() == 1 && built.warnings()[0].contains("is damaged"), "{}", built.messages);
    let files = files_of(&machine, &repository);
    assert!(files.contains("opt/random") && !files.contains("evil"), "{files}");
}

fn skopeo_copy(from: &str, to: &str) {
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    run(judge("skopeo").args(["--insecure-policy", "copy", "-q"]).args(plain).args([from, to]));
}

#[tokio::test]
async fn an_entry_under_the_tag_of_another_step_is_not_taken() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    let first = Machine::new().build(&repository);
    let all = tags(&repository).await;
    for (tag, other) in std::iter::zip(&all, all.iter().cycle().skip(1)) {
        let (from, to) =
            (format!("docker://{repository}:{other}"), format!("docker://{repository}:moved-{}", &tag.as_str()[5..]));
        skopeo_copy(&from, &to);
    }
    for tag in &all {
        let (from, to) = (format!("docker://{repository}:moved-{}", &tag.as_str()[5..]), format!("docker://{repository}:{tag}"));
        skopeo_copy(&from, &to);
    }
    let built = Machine::new().build(&repository);
    assert_eq!(built.cached(), 0, "{}", built.messages);
    assert_ne!(built.digest, first.digest);
    assert!(built.warnings().len() == 1 && built.warnings()[0].ends_with("is the result of another step"), "{}", built.messages);
}

#[tokio::test]
async fn a_cache_that_cannot_be_reached_or_entered_is_one_warning() {
    let nobody = Repository::parse("127.0.0.1:1/cache/steps").unwrap();
    let built = Machine::new().build(&nobody);
    assert_eq!(built.warnings().len(), 1, "{}", built.messages);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    std::fs::write(&file, judge("htpasswd").args(["-Bbn", "-C", "4", "user", "secret"]).output().unwrap().stdout).unwrap();
    let registry = distribution_in(folder, &format!("auth: {{htpasswd: {{realm: r, path: {}}}}}", file.display()));
    let repository = registry.repository("cache/steps");
    let machine = Machine::new();
    let built = machine.build(&repository);
    assert!(built.warnings().len() == 1 && !built.messages.contains("secret"), "{}", built.messages);
    let log_in = |machine: &Machine| {
        let login = ["login", "-u", "user", "-p", "secret", &registry.address.to_string()].map(str::to_owned);
        run(machine.home.mpimg().args(login));
    };
    log_in(&machine);
    // What it makes again it offers again.
    let mut again = machine.home.mpimg();
    again.args(["build", "-q", "--no-cache", "--cache-repo", &repository.to_string(), "context"]);
    let digest = run(again.env("SOURCE_DATE_EPOCH", "1000000000"));
    let other = Machine::new();
    log_in(&other);
    let built = other.build(&repository);
    assert_eq!((&built.digest, built.cached()), (&digest, 3), "{}", built.messages);
}

/// The files in the image that the machine builds.
fn files_of(machine: &Machine, repository: &Repository) -> String {
    let layout = machine.home.path().join("layout");
    let mut command = machine.home.mpimg();
    command.args([
        "build",
        "-q",
        "--cache-repo",
        &repository.to_string(),
        "-o",
        &format!("oci:{}:x", layout.display()),
        "context",
    ]);
    run(command.env("SOURCE_DATE_EPOCH", "1000000000"));
    run(machine.home.mpimg().args(["inspect", "--files", &format!("oci:{}:x", layout.display())]))
}

#[tokio::test]
async fn a_result_that_is_too_old_is_made_again_wherever_it_is() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    let machine = Machine::new();
    let first = machine.build(&repository);
    let young = machine.build_with(&repository, &["--cache-max-age", "1h"]);
    assert_eq!((&young.digest, young.cached()), (&first.digest, 3), "{}", young.messages);
    let other = Machine::new().build_with(&repository, &["--cache-max-age", "1h"]);
    assert_eq!((&other.digest, other.cached()), (&first.digest, 3), "{}", other.messages);

    let anew = machine.build_with(&repository, &["--cache-max-age", "0"]);
    assert_eq!(anew.cached(), 0, "{}", anew.messages);
    assert_ne!(anew.digest, first.digest);
    // What is new takes the place of what was old, there and here.
    let shared = Machine::new().build(&repository);
    assert_eq!((&shared.digest, shared.cached()), (&anew.digest, 3), "{}", shared.messages);
    assert_eq!(machine.build(&repository).digest, anew.digest);
}

/// A file that cannot be compressed, large enough to be worth asking others for, and one that is
/// not.
fn with_files(machine: &Machine) {
    let base = judges().join("base").display().to_string();
    let mut random = fastrand::Rng::with_seed(7);
    std::fs::write(machine.folder().join("large"), std::iter::repeat_with(|| random.u8(..)).take(3 << 20).collect::<Vec<_>>())
        .unwrap();
    std::fs::write(machine.folder().join("small"), "x").unwrap();
    let dockerfile = format!(
        "FROM oci:{base}:base AS one\nCOPY large /a\nFROM oci:{base}:base\nCOPY small /\nADD large /added/\nCOPY --from=one /a /b\n"
    );
    std::fs::write(machine.folder().join("Dockerfile"), dockerfile).unwrap();
}

#[tokio::test]
async fn what_one_machine_copies_another_takes_and_small_files_are_not_asked_for() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    let machines = [Machine::new(), Machine::new()];
    machines.iter().for_each(with_files);
    let first = machines[0].build(&repository);
    assert_eq!((first.cached(), first.warnings()), (0, vec![]), "{}", first.messages);
    // Two layers of files and the one from the stage.
    assert_eq!(tags(&repository).await.len(), 3);
    let second = machines[1].build(&repository);
    assert_eq!((&second.digest, second.cached()), (&first.digest, 3), "{}", second.messages);
}

#[tokio::test]
async fn a_layer_of_files_that_is_not_what_its_entry_says_is_made_here() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    let machines = [Machine::new(), Machine::new(), Machine::new()];
    machines.iter().for_each(with_files);
    let first = machines[0].build(&repository);
    for tag in tags(&repository).await {
        replace_layer(&repository, &tag, &tar_with("evil")).await;
    }
    let built = machines[1].build(&repository);
    assert_eq!((&built.digest, built.cached()), (&first.digest, 0), "{}", built.messages);
    assert!(built.warnings().len() == 1 && built.warnings()[0].contains("is damaged"), "{}", built.messages);
    let other = machines[2].build(&repository);
    assert_eq!((&other.digest, other.cached()), (&first.digest, 3), "{}", other.messages);
}

#[tokio::test]
async fn what_a_machine_has_had_for_long_it_offers_where_it_is_missing() {
    let registry = distribution("");
    let machine = Machine::new();
    let digest = machine.build(&registry.repository("cache/first")).digest;
    let second = registry.repository("cache/second");
    let again = machine.build(&second);
    assert_eq!((&again.digest, again.cached()), (&digest, 3), "{}", again.messages);
    assert_eq!(tags(&second).await.len(), 3);
    let other = Machine::new().build(&second);
    assert_eq!((&other.digest, other.cached()), (&digest, 3), "{}", other.messages);

    let copies = Machine::new();
    with_files(&copies);
    let digest = copies.build(&registry.repository("cache/first")).digest;
    let third = registry.repository("cache/third");
    assert_eq!(copies.build(&third).cached(), 4);
    assert_eq!(tags(&third).await.len(), 3);
    let other = Machine::new();
    with_files(&other);
    let other = other.build(&third);
    assert_eq!((&other.digest, other.cached()), (&digest, 3), "{}", other.messages);
}
