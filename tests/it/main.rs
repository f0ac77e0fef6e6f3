//! Tests against the world outside: other programs judge what mpimg does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, in their helper functions too")]

// What the tests stand on: a user with an empty home, programs that judge, file trees, tars made by
// hand.
mod buildah;
mod buildkit;
mod git_daemon;
mod home;
mod serve_folder;
mod skip;
mod tar_builder;
mod tree;

// The rooms of the crate (docs/architecture.md), each with the tests of what it does.
mod build;
mod cli;
mod container;
mod context;
mod image;
mod layer;
mod project;
mod python;
mod registry;
mod release;
mod sandbox;
mod sbom;
mod serve;
mod store;

// The repository itself: its rooms, its documentation, the image that it publishes.
mod circles;
mod documentation;
mod own_image;
mod rooms;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a program that judges is; a test without its judge fails and says what to install.
pub(crate) fn judge_path(program: &str) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&folders).collect();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("`{program}` is missing: run tests/setup, or `apt-get install {program}`"))
}

/// A program that judges what mpimg made.
pub(crate) fn judge(program: &str) -> Command {
    Command::new(judge_path(program))
}

/// Runs a command to its end; what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The folder of what tests/setup makes once: base images, the SDK.
pub(crate) fn judges() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("judges");
    assert!(folder.join("base.made").exists(), "`{}` is not complete: run tests/setup", folder.display());
    folder
}
