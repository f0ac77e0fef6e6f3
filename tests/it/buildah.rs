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

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A program with this one's storage, in a mount namespace of its own: nothing stays mounted
    /// when a test is killed.
    fn inside(&self, program: &str) -> Command {
        let mut command = judge("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(judge_path(program));
        command.env("TMPDIR", self.folder.path()).env("HOME", self.folder.path()).current_dir(self.folder.path());
        command
    }

    /// A buildah command.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.inside("buildah");
        // overlay, as docker: a change to one of several hard links parts it from the others.
        command.args(["--root", &self.at("root"), "--runroot", &self.at("run"), "--storage-driver", "overlay"]);
        command
    }

    /// Runs a buildah command that must succeed; what it printed.
    pub(crate) fn run<I: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> String {
        run(self.command().args(arguments)).trim().to_owned()
    }

    /// Takes the image `tag` of an OCI layout under the name `localhost/NAME`, which a Dockerfile
    /// may call NAME.
    pub(crate) fn load(&self, layout: &Path, tag: &str, name: &str) {
        let storage = format!("containers-storage:[overlay@{}+{}]localhost/{name}", self.at("root"), self.at("run"));
        let image = format!("oci:{}:{tag}", layout.display());
        run(self.inside("skopeo").args(["--insecure-policy", "copy", "-q", &image, &storage]));
    }

    /// Builds a folder; the image `built`, its configuration as docker would show it, and its files
    /// as an OCI layout with the tag `built`.
    pub(crate) fn build(&self, context: &Path, flags: &[String]) -> (Value, PathBuf) {
        let context = context.display().to_string();
        // docker's format: OCI's has no place for HEALTHCHECK, SHELL and ONBUILD.
        let output = ["build", "-q", "--format", "docker", "-t", "localhost/built"];
        // MKNOD is among docker's capabilities, not among buildah's.
        let steps = ["--isolation", "chroot", "--layers=false", "--cap-add", "CAP_MKNOD"];
        self.run(output.into_iter().chain(steps).chain(flags.iter().map(String::as_str)).chain([context.as_str()]));
        let shown: Value = serde_json::from_str(&self.run(["inspect", "--type", "image", "localhost/built"])).unwrap();
        let layout = self.at("layout");
        self.run(["push", "-q", "--format", "oci", "localhost/built", &format!("oci:{layout}:built")]);
        (shown["Docker"]["config"].clone(), layout.into())
    }
}
