//! buildah, Debian's, as the judge of builds: with a storage of its own that goes with the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::{judge, judge_path, run};

/// A buildah that shares nothing with the machine's.
pub(crate) struct Buildah {
    folder: TempDir,
}

impl Buildah {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A buildah command; its working folder and storage are this one's.
    pub(crate) fn command(&self) -> Command {
        // In a mount namespace of its own: nothing stays mounted when a test is killed.
        let mut command = judge("unshare");
        let at = |name: &str| self.folder.path().join(name);
        command.args(["--mount", "--propagation", "private"]).arg(judge_path("buildah"));
        // overlay, as docker: a change to one of several hard links parts it from the others.
        command.arg("--root").arg(at("root")).arg("--runroot").arg(at("run")).args(["--storage-driver", "overlay"]);
        command.env("TMPDIR", self.folder.path()).env("HOME", self.folder.path()).current_dir(self.folder.path());
        command
    }

    /// Runs a buildah command that must succeed; what it printed.
    pub(crate) fn run<I: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> String {
        run(self.command().args(arguments)).trim().to_owned()
    }

    /// Takes the image `tag` of an OCI layout under the name `localhost/NAME`, which a Dockerfile may call NAME.
    pub(crate) fn load(&self, layout: &Path, tag: &str, name: &str) {
        let id = self.run(["pull", "-q", &format!("oci:{}:{tag}", layout.display())]);
        self.run(["tag", &id, &format!("localhost/{name}")]);
    }

    /// Builds a folder; the image `built`, its configuration as docker would show it, and its files as an OCI layout with the
    /// tag `built`.
    pub(crate) fn build(&self, context: &Path, flags: &[String]) -> (Value, PathBuf) {
        let context = context.display().to_string();
        // docker's format: OCI's has no place for HEALTHCHECK, SHELL and ONBUILD.
        let output = ["build", "-q", "--format", "docker", "-t", "localhost/built"];
        // MKNOD is among docker's capabilities, not among buildah's.
        let steps = ["--isolation", "chroot", "--layers=false", "--cap-add", "CAP_MKNOD"];
        self.run(output.into_iter().chain(steps).chain(flags.iter().map(String::as_str)).chain([context.as_str()]));
        let shown: Value = serde_json::from_str(&self.run(["inspect", "--type", "image", "localhost/built"])).unwrap();
        let layout = self.folder.path().join("layout");
        self.run(["push", "-q", "--format", "oci", "localhost/built", &format!("oci:{}:built", layout.display())]);
        (shown["Docker"]["config"].clone(), layout)
    }
}
