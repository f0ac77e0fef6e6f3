//! BuildKit of today as the judge of builds: a daemon with folders of its own, which ends with the
//! test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{judge, judges, run};

/// How long the daemon may take to start: a loaded machine needs several seconds.
const START: Duration = Duration::from_secs(60);

/// A `buildkitd` that shares nothing with the machine's.
pub(crate) struct Buildkit {
    folder: TempDir,
    daemon: Child,
}

/// What one build gets, in the words of the Dockerfile front end.
pub(crate) struct Build<'a> {
    /// The build context, with its Dockerfile.
    pub(crate) context: &'a Path,
    /// Images for FROM: a name, an OCI layout, and the tag in it.
    pub(crate) images: &'a [(&'a str, &'a Path, &'a str)],
    /// Flags of `docker build`: `--build-arg`, `--target`, `--no-cache`, `--label`, `--add-host`,
    /// `--provenance=true`, `--shm-size`, `--ulimit`, `--network`, `--build-context` of a folder.
    pub(crate) flags: &'a [String],
}

impl Buildkit {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("tmp")).unwrap();
        std::fs::write(at("config.toml"), "[worker.oci]\nenabled = true\n[worker.containerd]\nenabled = false\n").unwrap();
        // In PID and mount namespaces of its own: what it started and mounted ends with it, even
        // when it is killed.
        let mut command = judge("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg(program("buildkitd")).arg("--config").arg(at("config.toml")).arg("--root").arg(at("root"));
        command.arg("--addr").arg(format!("unix://{}", at("socket").display())).args(["--oci-worker-net", "host"]);
        command.env("TMPDIR", at("tmp")).env("HOME", folder.path()).env("XDG_RUNTIME_DIR", at("tmp"));
        // Spans and metrics have nowhere to go.
        command.env("OTEL_SDK_DISABLED", "true");
        let log = std::fs::File::create(at("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let started = Self { daemon: command.spawn().unwrap(), folder };
        started.wait();
        started
    }

    fn wait(&self) {
        let start = Instant::now();
        while !self.buildctl().args(["debug", "workers"]).output().unwrap().status.success() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(start.elapsed() < START, "buildkitd does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn buildctl(&self) -> Command {
        let mut command = Command::new(program("buildctl"));
        command.env("HOME", self.folder.path()).env("DOCKER_CONFIG", self.folder.path());
        command.arg("--addr").arg(format!("unix://{}", self.folder.path().join("socket").display()));
        command
    }

    /// The command that builds, without its output.
    fn build_command(&self, build: &Build<'_>) -> Command {
        let mut command = self.buildctl();
        command.args(["build", "--progress", "plain", "--frontend", "dockerfile.v0"]);
        for name in ["context", "dockerfile"] {
            let mut local = OsString::from(format!("{name}="));
            local.push(build.context);
            command.arg("--local").arg(local);
        }
        for (number, (name, layout, tag)) in build.images.iter().enumerate() {
            command.arg("--oci-layout").arg(format!("image{number}={}", layout.display()));
            let digest = digest_of(layout, tag);
            command.arg("--opt").arg(format!("context:{name}=oci-layout://image{number}@{digest}"));
        }
        let mut flags = build.flags.iter();
        while let Some(flag) = flags.next() {
            let mut value = || flags.next().unwrap().clone();
            match flag.as_str() {
                "--build-arg" => command.arg("--opt").arg(format!("build-arg:{}", value())),
                "--label" => command.arg("--opt").arg(format!("label:{}", value())),
                "--target" => command.arg("--opt").arg(format!("target={}", value())),
                "--provenance=true" => command.arg("--opt").arg("attest:provenance=mode=min"),
                "--no-cache" => command.arg("--no-cache"),
                "--add-host" => command.arg("--opt").arg(format!("add-hosts={}", value().replacen(':', "=", 1))),
                "--shm-size" => command.arg("--opt").arg(format!("shm-size={}", value())),
                "--ulimit" => command.arg("--opt").arg(format!("ulimit={}", value())),
                "--network" => command.arg("--opt").arg(format!("force-network-mode={}", value())),
                "--build-context" => {
                    let context = value();
                    let (name, folder) = context.split_once('=').unwrap();
                    command.arg("--local").arg(format!("of-{name}={folder}"));
                    command.arg("--opt").arg(format!("context:{name}=local:of-{name}"))
                }
                other => panic!("`{other}` is not known here"),
            };
        }
        command
    }

    /// Builds; the image as an OCI layout with the tag `built`, which goes with this BuildKit.
    pub(crate) fn build(&self, build: &Build<'_>) -> PathBuf {
        let layout = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let output = format!("type=oci,tar=false,name=built:built,dest={}", layout.display());
        run(self.build_command(build).arg("--output").arg(output));
        layout
    }
}

impl Drop for Buildkit {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A program that tests/setup builds from Go's module proxy.
fn program(name: &str) -> PathBuf {
    judges().join("go/bin").join(name)
}

/// Whether tests/setup has built BuildKit.
pub(crate) fn is_built() -> bool {
    program("buildkitd").exists() && program("buildctl").exists()
}

/// The digest of the image `tag` in an OCI layout.
fn digest_of(layout: &Path, tag: &str) -> String {
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let named = |image: &&Value| image["annotations"]["org.opencontainers.image.ref.name"] == tag;
    index["manifests"].as_array().unwrap().iter().find(named).unwrap()["digest"].as_str().unwrap().to_owned()
}
