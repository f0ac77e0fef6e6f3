//! Real parts: distribution 3 as a registry; cosign, crane and regctl as judges of what is pushed,
//! copied and signed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use mpimg::oci::Platform;
use tempfile::TempDir;

use super::copy_killed::copy_with_kills;
use super::distribution::push;
use super::fixture::{Image, client, distribution, distribution_3, options};
use super::proxy::{Fault, Proxy};
use crate::cli::fixture::{Serving, folder, run};
use crate::home::Home;
use crate::skip::{Missing, skip};
use crate::{judge, judges};

/// A program that tests/setup builds.
pub(crate) fn program(name: &str) -> PathBuf {
    judges().join("go/bin").join(name)
}

/// Skips the test unless these programs are there.
macro_rules! needs {
    ($($name:literal),*) => {
        if ![$($name),*].iter().all(|name| program(name).exists()) {
            skip!(Missing::Registries);
        }
    };
}

/// crane reads every blob and compares digests.
fn is_whole(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    crate::run(Command::new(program("crane")).args(["pull", "--insecure", "--format=oci", name]).arg(folder.path()));
}

/// cosign with a home of its own and a key pair there.
struct Cosign(TempDir);

impl Cosign {
    fn new() -> Self {
        let cosign = Self(tempfile::tempdir().unwrap());
        crate::run(cosign.command().args(["generate-key-pair"]));
        cosign
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("cosign"));
        command.current_dir(self.0.path()).env("HOME", self.0.path()).env("COSIGN_PASSWORD", "");
        // Nothing is asked of the public log and its keys.
        command.env("SIGSTORE_NO_CACHE", "1").env_remove("HTTPS_PROXY").env_remove("HTTP_PROXY");
        command
    }

    /// Signs in one of cosign's two forms: a bundle that refers to the image, or the tag
    /// `sha256-….sig`.
    fn sign(&self, image: &str, bundle: bool) {
        let form = format!("--new-bundle-format={bundle}");
        let arguments = ["sign", "--yes", "--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false", &form];
        crate::run(self.command().args(arguments).args(["--allow-insecure-registry", image]));
    }

    /// Whether it finds and accepts a signature.
    fn verifies(&self, image: &str) -> bool {
        let form = |bundle: bool| {
            let form = format!("--new-bundle-format={bundle}");
            let arguments = ["verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", "--allow-insecure-registry", &form];
            self.command().args(arguments).arg(image).output().unwrap().status.success()
        };
        form(true) || form(false)
    }
}

#[tokio::test]
async fn distribution_3_gets_an_image_that_crane_and_regctl_find_whole() {
    needs!("registry", "crane", "regctl");
    let registry = distribution_3();
    let (repository, image) = (registry.repository("mp/nsx"), Image::new(201, &[1000, 12 << 20]));
    let client = client(options());
    push(&client, &repository, &image, &["1"]).await.unwrap();
    assert!(client.check_anonymous(&repository, &image.digest()).await.pullable());
    let name = format!("{repository}:1");
    let digest = crate::run(Command::new(program("crane")).args(["digest", "--insecure", &name]));
    assert_eq!(digest.trim(), image.digest().to_string());
    is_whole(&name);
    let home = tempfile::tempdir().unwrap();
    let host = format!("reg={},tls=disabled", registry.address);
    let found =
        crate::run(Command::new(program("regctl")).env("HOME", home.path()).args(["--host", &host, "manifest", "head", &name]));
    assert_eq!(found.trim(), image.digest().to_string());
    let pulled = client.pull_image(&repository.with_digest(image.digest()), &Platform::default()).await.unwrap();
    assert_eq!(pulled.manifest, image.manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_distribution_3_a_copy_that_is_killed_goes_on() {
    needs!("registry", "crane");
    let (home, image, source) = (Home::new(), Image::new(211, &[17 << 20, 11 << 20, 3000]), distribution(""));
    push(&client(options()), &source.repository("app"), &image, &["1"]).await.unwrap();
    let destination = distribution_3();
    let proxy = Proxy::before(destination.address).await;
    let name = format!("docker://{}/app:1", source.address);
    let (uploaded, size) = copy_with_kills(&home, &name, &proxy, &image).await;
    // It keeps the bytes of a request that broke off: what is sent again is what was lost on the
    // way.
    assert!(uploaded <= size + (1 << 20), "{uploaded} bytes for {size}");
    is_whole(&format!("{}/copied:1", destination.address));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_distribution_3_goes_on_in_the_middle_of_a_chunk() {
    needs!("registry", "crane");
    let registry = distribution_3();
    let proxy = Proxy::before(registry.address).await;
    let state = tempfile::tempdir().unwrap();
    let mut options = options();
    options.state_dir = Some(state.path().into());
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let broken = count.clone();
    proxy.script(move |seen, _| match seen.method.as_str() {
        "PATCH" if broken.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1 => Fault::Broken(3_000_000),
        _ => Fault::None,
    });
    let image = Image::new(221, &[24 << 20]);
    push(&client(options), &proxy.repository("app"), &image, &["1"]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let size = image.layers[0].descriptor.size as usize + image.config.len();
    // The proxy has seen the whole chunk, of which the registry kept three megabytes.
    assert!(proxy.uploaded() < size + (20 << 20), "{} bytes for {size}", proxy.uploaded());
    is_whole(&format!("{}/app:1", registry.address));
}

#[test]
fn signatures_in_both_of_cosigns_forms_verify_wherever_they_are_copied() {
    needs!("registry", "cosign");
    let (home, cosign) = (Home::new(), Cosign::new());
    let (old, new, own) = (distribution(""), distribution_3(), Serving::open());
    folder(&home, "app", "FROM scratch\nCOPY app /\n");
    let hosts = [old.address.to_string(), new.address.to_string(), own.host.clone()];
    for (number, bundle) in [(1, true), (2, false)] {
        for host in &hosts {
            let pushed =
                run(&mut home.mpimg(), ["push", "app", "-r", &format!("{host}/mp/app"), "-t", &number.to_string(), "--json"]);
            let digest = pushed.done().json()["digest"].as_str().unwrap().to_owned();
            let image = format!("{host}/mp/app@{digest}");
            cosign.sign(&image, bundle);
            assert!(cosign.verifies(&image), "{image} {bundle}");
            for to in &hosts {
                let copy = format!("{to}/copy{number}/{}", host.replace([':', '.'], "-"));
                let arguments = ["copy", "--referrers", &format!("docker://{image}"), &format!("docker://{copy}:1")];
                run(&mut home.mpimg(), arguments).done();
                assert!(cosign.verifies(&format!("{copy}@{digest}")), "from {image} to {copy}, bundle: {bundle}");
            }
            // By way of a layout.
            let layout = format!("oci:{}{number}:1", host.replace([':', '.'], "-"));
            run(&mut home.mpimg(), ["copy", "--referrers", &format!("docker://{image}"), &layout]).done();
            let back = format!("{host}/back{number}");
            run(&mut home.mpimg(), ["copy", "--referrers", &layout, &format!("docker://{back}:1")]).done();
            assert!(cosign.verifies(&format!("{back}@{digest}")), "{back}, bundle: {bundle}");
        }
    }
}

#[test]
fn layouts_of_cosign_and_regctl_keep_their_signatures() {
    needs!("regctl", "cosign");
    let (home, cosign, registry) = (Home::new(), Cosign::new(), distribution(""));
    folder(&home, "app", "FROM scratch\nCOPY app /\n");
    let target = format!("{}/mp/app", registry.address);
    let pushed = run(&mut home.mpimg(), ["push", "app", "-r", &target, "-t", "1", "--json"]).done().json();
    let digest = pushed["digest"].as_str().unwrap();
    let signed = |bundle| {
        let image = format!("{target}@{digest}");
        cosign.sign(&image, bundle);
        image
    };
    let image = signed(false);
    let saved = cosign.0.path().join("saved");
    crate::run(cosign.command().args(["save", "--allow-insecure-registry", "--dir"]).arg(&saved).arg(&image));
    let back = format!("{}/saved", registry.address);
    let layout = format!("oci:{}", saved.display());
    run(&mut home.mpimg(), ["copy", "--referrers", &layout, &format!("docker://{back}:1")]).done();
    assert!(cosign.verifies(&format!("{back}@{digest}")));

    signed(true);
    let (layout, host) = (home.path().join("regctl"), format!("reg={},tls=disabled", registry.address));
    let mut copy = Command::new(program("regctl"));
    copy.env("HOME", cosign.0.path()).args([
        "--host",
        &host,
        "image",
        "copy",
        "--referrers",
        "--digest-tags",
        &format!("{target}:1"),
    ]);
    crate::run(copy.arg(format!("ocidir://{}:1", layout.display())));
    let back = format!("{}/regctl", registry.address);
    let layout = format!("oci:{}:1", layout.display());
    run(&mut home.mpimg(), ["copy", "--referrers", &layout, &format!("docker://{back}:1")]).done();
    assert!(cosign.verifies(&format!("{back}@{digest}")));
}

#[test]
fn what_crane_makes_of_nothing_is_built_on() {
    needs!("crane");
    let (home, registry) = (Home::new(), distribution(""));
    let base = format!("{}/base:1", registry.address);
    let layer = home.path().join("layer.tar");
    std::fs::write(home.path().join("file"), "x").unwrap();
    crate::run(judge("tar").arg("-C").arg(home.path()).arg("-cf").arg(&layer).arg("file"));
    crate::run(Command::new(program("crane")).args(["append", "--insecure", "-t", &base, "-f"]).arg(&layer));
    folder(&home, "app", &format!("FROM {base}\nCOPY app /app\n"));
    run(&mut home.mpimg(), ["build", "app", "-t", "app:1", "--platform", "linux/arm64"]).done();
    let config = run(&mut home.mpimg(), ["inspect", "--json", "--platform", "linux/arm64", "app:1"]).done().json();
    assert_eq!(config["platform"], "linux/arm64");
    // The image itself fits any platform, too.
    run(&mut home.mpimg(), ["pull", &base]).done();
    run(&mut home.mpimg(), ["inspect", "--json", &base]).done();
}
