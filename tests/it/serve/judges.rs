//! Other programs push, pull, list and delete, and read the folder itself.

use std::process::{Command, Output};

use mpimg::serve::{AuthOptions, AuthScheme, User};

use super::*;
use crate::judge;

/// A folder of a test's own that is also the programs' home.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::write(home.path("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
        home
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    async fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.try_run(program, args).await;
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a program while the registry of the same runtime goes on answering.
    async fn try_run(&self, program: &str, args: &[&str]) -> Output {
        let mut command: Command = judge(program);
        command.args(args).env("HOME", self.0.path()).env("XDG_RUNTIME_DIR", self.0.path()).env("TMPDIR", self.0.path());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn skopeo(&self, args: &[&str]) -> String {
        let policy = self.path("policy.json");
        self.run("skopeo", &[&["--policy", &policy], args].concat()).await
    }

    /// An image made by umoci: its layout's path, with a tag.
    async fn umoci_image(&self) -> String {
        let layout = self.path("layout");
        let image = format!("{layout}:made");
        std::fs::create_dir(self.0.path().join("content")).unwrap();
        std::fs::write(self.0.path().join("content/file"), noise(3_000_000)).unwrap();
        self.run("umoci", &["init", "--layout", &layout]).await;
        self.run("umoci", &["new", "--image", &image]).await;
        self.run("umoci", &["insert", "--image", &image, &self.path("content"), "/content"]).await;
        self.run("umoci", &["config", "--image", &image, "--config.entrypoint", "/content/file"]).await;
        image
    }
}

/// Every file of a layout's blobs, by name.
fn blobs(layout: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(Path::new(layout).join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_pushes_pulls_lists_and_deletes_an_image_of_umoci() {
    let (home, rig) = (Home::new(), Rig::new().await);
    let image = home.umoci_image().await;
    let remote = format!("docker://{}/mp/nsx:1.0", rig.addr);
    home.skopeo(&["copy", "--dest-tls-verify=false", &format!("oci:{image}"), &remote]).await;
    let back = home.path("back");
    home.skopeo(&["copy", "--src-tls-verify=false", &remote, &format!("oci:{back}:made")]).await;
    let index = |layout: &str| {
        let json = std::fs::read(Path::new(layout).join("index.json")).unwrap();
        serde_json::from_slice::<Value>(&json).unwrap()["manifests"][0]["digest"].clone()
    };
    assert_eq!(index(&back), rig.head("/v2/mp/nsx/manifests/1.0").await.header("docker-content-digest"));
    home.run("umoci", &["unpack", "--image", &format!("{back}:made"), &home.path("unpacked")]).await;
    let unpacked = std::fs::read(home.0.path().join("unpacked/rootfs/content/file")).unwrap();
    assert!(unpacked == noise(3_000_000));

    // Into another repository: the blobs are mounted or found, not sent again.
    let sent = || -> u64 { rig.log.lock().unwrap().iter().map(|served| served.request_bytes).sum() };
    let before = sent();
    let other = format!("docker://{}/mp/other:2.0", rig.addr);
    home.skopeo(&["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &remote, &other]).await;
    assert!(sent() - before < 100_000, "{} bytes", sent() - before);

    home.skopeo(&["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &remote, &remote.replace("1.0", "1.1")]).await;
    let listed = home.skopeo(&["list-tags", "--tls-verify=false", &format!("docker://{}/mp/nsx", rig.addr)]).await;
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()["Tags"], json!(["1.0", "1.1"]));
    let inspected = home.skopeo(&["inspect", "--tls-verify=false", &remote]).await;
    assert_eq!(serde_json::from_str::<Value>(&inspected).unwrap()["RepoTags"], json!(["1.0", "1.1"]));
    home.skopeo(&["delete", "--tls-verify=false", &remote]).await;
    rig.get("/v2/mp/nsx/manifests/1.0").await.expect(404);
    rig.get("/v2/mp/other/manifests/2.0").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_keeps_digests_in_docker_format_and_reads_the_folder_as_a_layout() {
    let (home, rig) = (Home::new(), Rig::new().await);
    let image = home.umoci_image().await;
    let remote = format!("docker://{}/a/b:v1", rig.addr);
    home.skopeo(&["copy", "--format", "v2s2", "--dest-tls-verify=false", &format!("oci:{image}"), &remote]).await;
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    assert_eq!(rig.head("/v2/a/b/manifests/v1").await.expect(200).header("content-type"), docker);
    home.skopeo(&["copy", "--dest-tls-verify=false", &format!("oci:{image}"), &remote.replace("v1", "v2")]).await;
    let digest = rig.head("/v2/a/b/manifests/v2").await.header("docker-content-digest").to_owned();
    let layout = rig.registry.dir().join("repositories/a/b/_layout");
    let raw = home.skopeo(&["inspect", "--raw", &format!("oci:{}:v2", layout.display())]).await;
    assert_eq!(Digest::of(raw).to_string(), digest);
    let copy = home.path("copy");
    home.skopeo(&["copy", &format!("oci:{}:v2", layout.display()), &format!("oci:{copy}:v2")]).await;
    assert_eq!(blobs(&copy).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_logs_in_with_tokens_and_pulls_without() {
    let users = vec![User::new("ci", "secret")];
    let scheme = AuthScheme::Bearer { lifetime: std::time::Duration::from_secs(60) };
    let auth = AuthOptions { users, scheme, anonymous_pull: true };
    let rig = Rig::with(RegistryOptions { auth: Some(auth), ..RegistryOptions::default() }).await;
    let home = Home::new();
    let image = home.umoci_image().await;
    let (local, remote) = (format!("oci:{image}"), format!("docker://{}/mp/nsx:1", rig.addr));
    let policy = home.path("policy.json");
    let push = ["--policy", &policy, "copy", "--dest-tls-verify=false", &local, &remote];
    assert!(!home.try_run("skopeo", &push).await.status.success());
    home.skopeo(&["copy", "--dest-tls-verify=false", "--dest-creds", "ci:secret", &local, &remote]).await;
    home.skopeo(&["copy", "--src-tls-verify=false", &remote, &format!("oci:{}:1", home.path("back"))]).await;
    let refused = ["--policy", &policy, "delete", "--tls-verify=false", &remote];
    assert!(!home.try_run("skopeo", &refused).await.status.success());
    home.skopeo(&["delete", "--tls-verify=false", "--creds", "ci:secret", &remote]).await;
    rig.log.lock().unwrap().iter().find(|served| served.request.path == "/token").expect("a request for a token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buildah_pushes_and_pulls() {
    let (home, rig) = (Home::new(), Rig::new().await);
    let (root, runroot, policy) = (home.path("root"), home.path("runroot"), home.path("policy.json"));
    let storage = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
    let buildah = async |args: &[&str]| home.run("buildah", &[&storage[..], args].concat()).await;
    std::fs::write(home.0.path().join("file"), "hello").unwrap();
    let container = buildah(&["from", "--signature-policy", &policy, "scratch"]).await.trim().to_owned();
    buildah(&["copy", &container, &home.path("file"), "/file"]).await;
    buildah(&["commit", "--signature-policy", &policy, &container, "made"]).await;
    let remote = format!("docker://{}/mp/built:1", rig.addr);
    buildah(&["push", "--signature-policy", &policy, "--tls-verify=false", "made", &remote]).await;
    rig.get("/v2/mp/built/manifests/1").await.expect(200);
    buildah(&["rm", &container]).await;
    buildah(&["rmi", "made"]).await;
    let name = format!("{}/mp/built:1", rig.addr);
    buildah(&["pull", "--signature-policy", &policy, "--tls-verify=false", &name]).await;
    let container = buildah(&["from", "--signature-policy", &policy, &name]).await.trim().to_owned();
    let mounted = buildah(&["mount", &container]).await.trim().to_owned();
    let content = std::fs::read_to_string(Path::new(&mounted).join("file"));
    buildah(&["umount", &container]).await;
    assert_eq!(content.unwrap(), "hello");
}
